/**
 * A session: one model loaded into one device's window. It builds a program for each batch geometry, keeps the last ones, and
 * runs them. Synchronous, on the calling thread: the daemon gives it a worker of its own (host.ts).
 */
import { buildProgram } from '../compiler/build.js';
import type { Program } from '../compiler/program.js';
import type { Range } from '../device/allocator.js';
import { checkRequirements } from '../device/capabilities.js';
import type { Device } from '../device/device.js';
import type { Artifact } from '../model/artifact/read.js';
import type { Plan } from '../model/plan.js';
import { type BatchLimits, groupSequences } from './batches.js';
import { InputError } from './errors.js';
import { LeastRecentlyUsed } from './lru.js';

/** One tokenised input. */
export interface Sequence {
  /** Token ids, 1 to plan.maxTokens of them. */
  readonly ids: ArrayLike<number>;
  /** Token types, 0 where left out. */
  readonly types?: ArrayLike<number>;
}

/** Where the time of a run went, milliseconds. */
export interface RunTimes {
  readonly total: number;
  /** Waiting for the engine. */
  readonly engine: number;
  /** Vector steps on the CPU. */
  readonly vector: number;
  /** The rest: JavaScript and calls. */
  readonly host: number;
}

export interface RunResult {
  /** One logit per label, for every sequence in the order given. */
  readonly logits: Float32Array[];
  readonly times: RunTimes;
}

/** 1024 rows fill every QMM; more would only add latency and arena. */
const LIMITS: BatchLimits = { rows: 1024, sequences: 256 };

/** Programs kept; natural traffic has few distinct geometries, and one takes tens of kilobytes. */
const PROGRAMS_KEPT = 64;

export class Session {
  readonly artifact: Artifact;
  readonly #device: Device;
  readonly #plan: Plan;
  readonly #model: Range;
  #arena: Range | undefined;
  readonly #programs = new LeastRecentlyUsed<Program>(PROGRAMS_KEPT);
  #engineMs = 0;
  #vectorMs = 0;

  /** Loads the model into the device's window. Throws ArtifactError, CompatibilityError, DeviceError 'window-full'. */
  constructor(device: Device, artifact: Artifact) {
    checkRequirements(device.capabilities, artifact.plan.requirements, `model ${artifact.name}`);
    this.#device = device;
    this.artifact = artifact;
    this.#plan = artifact.plan;
    this.#model = device.allocator.allocate(artifact.dataBytes, `model ${artifact.name}`);
    try {
      artifact.load(device.window.subarray(this.#model.off, this.#model.off + artifact.dataBytes));
    } catch (error) {
      device.allocator.free(this.#model);
      throw error;
    }
    device.syncForDevice(this.#model.off, artifact.dataBytes);
  }

  /**
   * Logits of every sequence, each computed as if it were alone and unpadded. Throws InputError before anything runs, DeviceError when
   * the engine fails (the device then needs reset(); the session stays loaded).
   */
  run(sequences: readonly Sequence[]): RunResult {
    sequences.forEach((sequence, index) => {
      this.#check(sequence, index);
    });
    const begin = performance.now();
    this.#engineMs = 0;
    this.#vectorMs = 0;
    const logits = new Array<Float32Array>(sequences.length);
    for (const group of groupSequences(
      sequences.map(({ ids }) => ids.length),
      LIMITS,
    )) {
      const results = this.#runGroup(group.map((index) => sequences[index]!));
      group.forEach((index, place) => {
        logits[index] = results[place]!;
      });
    }
    const total = performance.now() - begin;
    const engine = this.#engineMs;
    const vector = this.#vectorMs;
    return { logits, times: { total, engine, vector, host: total - engine - vector } };
  }

  /** Gives the model's part of the window back. */
  unload(): void {
    this.#device.allocator.free(this.#model);
    if (this.#arena) this.#device.allocator.free(this.#arena);
    this.#arena = undefined;
    this.#programs.clear();
  }

  #check({ ids, types }: Sequence, index: number): void {
    const { maxTokens, embeddings } = this.#plan;
    const name = `input ${index}`;
    if (ids.length < 1 || ids.length > maxTokens) {
      throw new InputError(`${name} has ${ids.length} tokens, ${this.artifact.name} takes 1 to ${maxTokens}`);
    }
    if (types !== undefined && types.length !== ids.length) {
      throw new InputError(`${name} has ${types.length} token types for ${ids.length} tokens`);
    }
    for (const [what, values, rows] of [
      ['token id', ids, embeddings.word.rows],
      ['token type', types ?? [], embeddings.type.rows],
    ] as const) {
      for (let i = 0; i < values.length; i++) {
        const value = values[i]!;
        if (!Number.isInteger(value) || value < 0 || value >= rows) {
          throw new InputError(`${name}: ${what} ${value} at ${i} is not one of 0 to ${rows - 1}`);
        }
      }
    }
  }

  #runGroup(sequences: readonly Sequence[]): Float32Array[] {
    const program = this.#program(sequences.map(({ ids }) => ids.length));
    this.#writeInputs(program, sequences);
    this.#execute(program);
    const labels = this.#plan.labels.length;
    const { buffer, byteOffset } = this.#device.window;
    return sequences.map((_, index) =>
      new Float32Array(buffer, byteOffset + program.logits + index * labels * 4, labels).slice(),
    );
  }

  #program(lengths: readonly number[]): Program {
    const key = lengths.join(' ');
    const cached = this.#programs.get(key);
    if (cached) return cached;
    const address = (name: string) => this.#model.off + this.artifact.tensors.get(name)!.off;
    let program = buildProgram(this.#plan, address, lengths, this.#arena?.off ?? 0);
    if (program.arenaBytes > (this.#arena?.bytes ?? 0)) {
      this.#growArena(program.arenaBytes);
      program = buildProgram(this.#plan, address, lengths, this.#arena!.off);
    }
    this.#programs.set(key, program);
    return program;
  }

  /** A larger arena; programs hold its offsets, so they go with the old one. */
  #growArena(bytes: number): void {
    this.#programs.clear();
    if (this.#arena) this.#device.allocator.free(this.#arena);
    this.#arena = undefined;
    this.#arena = this.#device.allocator.allocate(bytes, `activations of model ${this.artifact.name}`);
  }

  #writeInputs({ inputs }: Program, sequences: readonly Sequence[]): void {
    const { buffer, byteOffset } = this.#device.window;
    const rows = sequences.reduce((sum, { ids }) => sum + ids.length, 0);
    const words = (off: number, count: number) => new Uint32Array(buffer, byteOffset + off, count);
    const ids = words(inputs.ids, rows);
    const positions = words(inputs.positions, rows);
    const types = words(inputs.types, rows);
    const starts = words(inputs.starts, sequences.length + 1);
    let row = 0;
    sequences.forEach((sequence, index) => {
      starts[index] = row;
      for (let i = 0; i < sequence.ids.length; i++, row++) {
        ids[row] = sequence.ids[i]!;
        positions[row] = i;
        types[row] = sequence.types?.[i] ?? 0;
      }
    });
    starts[sequences.length] = row;
  }

  #execute(program: Program): void {
    const device = this.#device;
    const base = device.submitted;
    for (const operation of program.operations) {
      switch (operation.kind) {
        case 'submit':
          device.submit(program.descriptors, operation.first, operation.count);
          break;
        case 'wait': {
          const begin = performance.now();
          device.wait((base + operation.count) >>> 0);
          this.#engineMs += performance.now() - begin;
          for (const { off, bytes } of operation.reads) if (bytes > 0) device.syncForCpu(off, bytes);
          break;
        }
        case 'vector': {
          const begin = performance.now();
          device.runVector(program.steps, operation.first, operation.count);
          this.#vectorMs += performance.now() - begin;
          for (const { off, bytes } of operation.writes) if (bytes > 0) device.syncForDevice(off, bytes);
          break;
        }
      }
    }
  }
}
