/**
 * A session: one model loaded into one device's window. It builds a program for each batch geometry, keeps the last ones, and
 * runs them. Synchronous, on the calling thread: the daemon gives it a process of its own (engine.ts).
 */
import { buildProgram } from '../compiler/build.js';
import type { CostModel } from '../compiler/cost.js';
import type { Program } from '../compiler/program.js';
import type { Range } from '../device/allocator.js';
import { checkRequirements } from '../device/capabilities.js';
import type { Device } from '../device/device.js';
import { DeviceError } from '../device/errors.js';
import type { Artifact } from '../model/artifact/read.js';
import type { Plan } from '../model/plan.js';
import { type BatchLimits, groupSequences, splitByLength } from './batches.js';
import { costModelOf } from './cost.js';
import { checkSequence, type Sequence } from './inputs.js';
import { LeastRecentlyUsed } from './lru.js';
import { PreparedProgram } from './prepared.js';

export type { Sequence } from './inputs.js';

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
  /**
   * What the head gives for every sequence, in the order given: one logit per label; for heads that look at every token, row-major
   * [tokens][labels], [tokens][2] (start, end), or the hidden states [tokens][hidden].
   */
  readonly logits: Float32Array[];
  readonly times: RunTimes;
}

/** 1024 rows fill every QMM; more would only add latency and arena. */
const LIMITS: BatchLimits = { rows: 1024, sequences: 256 };

/** Programs kept, bytes: those of BERT-base take about 20 KB for each sequence. */
const PROGRAM_BYTES = 16 * 2 ** 20;
/**
 * Bytes of the programs of those mixtures of lengths that are remembered, so that one that comes again is known: where more of them take
 * turns than are kept, each would be built again and again.
 */
const MIXTURE_BYTES = PROGRAM_BYTES / 2;

export class Session {
  readonly artifact: Artifact;
  readonly #device: Device;
  readonly #plan: Plan;
  readonly #cost: CostModel;
  #model: Range;
  #arena: Range | undefined;
  readonly #programs = new LeastRecentlyUsed<PreparedProgram>(PROGRAM_BYTES, (program) => program.free());
  readonly #mixtures = new LeastRecentlyUsed<true>(MIXTURE_BYTES);
  /** What the last program took for each sequence. */
  #bytesOfSequence = 0;
  /** The program that ran last: the arena's bytes lie as it laid them out. */
  #last: PreparedProgram | undefined;
  #loaded = true;
  #limits = LIMITS;
  #engineMs = 0;
  #vectorMs = 0;

  /**
   * Loads the model into the device's window. `cost` decides the order of its programs, never their results; by default it is that of the
   * device. Throws ArtifactError, CompatibilityError, DeviceError 'window-full'.
   */
  constructor(device: Device, artifact: Artifact, cost = costModelOf(device.capabilities)) {
    checkRequirements(device.capabilities, artifact.plan.requirements, `model ${artifact.name}`);
    this.#device = device;
    this.artifact = artifact;
    this.#plan = artifact.plan;
    this.#cost = cost;
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
   * The head's values for every sequence, each computed as if it were alone and unpadded. Throws InputError before anything runs, DeviceError when
   * the engine fails (the device then needs reset(); the session stays loaded).
   */
  run(sequences: readonly Sequence[]): RunResult {
    const { name } = this.artifact;
    if (!this.#loaded) throw new Error(`model ${name} is not loaded: its session has been unloaded`);
    const { maxTokens, embeddings } = this.#plan;
    const limits = {
      name,
      maxTokens,
      vocabSize: embeddings.words[0]!.planes.rows,
      typeVocabSize: embeddings.type.rows,
    };
    sequences.forEach((sequence, index) => {
      checkSequence(sequence, index, limits);
    });
    const begin = performance.now();
    this.#engineMs = 0;
    this.#vectorMs = 0;
    const logits = new Array<Float32Array>(sequences.length);
    const groups = this.#group(
      sequences.map((_, index) => index),
      sequences,
    );
    for (let group = groups.shift(); group !== undefined; group = groups.shift()) {
      const members = group.map((index) => sequences[index]!);
      const lengths = members.map(({ ids }) => ids.length);
      if (this.#isNewMixture(lengths)) {
        groups.unshift(...splitByLength(group, lengths));
        continue;
      }
      const program = this.#programOf(lengths);
      if (program === null) {
        groups.unshift(...this.#group(group, sequences));
        continue;
      }
      const results = this.#runProgram(program, members);
      group.forEach((index, place) => {
        logits[index] = results[place]!;
      });
    }
    const total = performance.now() - begin;
    const engine = this.#engineMs;
    const vector = this.#vectorMs;
    return { logits, times: { total, engine, vector, host: total - engine - vector } };
  }

  /** Announces a mixture of lengths that will come more than once: it gets a program at its first run, as it would at its second. */
  prepare(sequences: readonly Sequence[]): void {
    const all = sequences.map((_, index) => index);
    for (const group of this.#group(all, sequences))
      this.#remember(group.map((index) => sequences[index]!.ids.length));
  }

  /**
   * Runs sequences that fit one program, and returns it with the times of its operations and descriptors (Device.run()). For tools: the
   * program is built anew. Throws as run() does.
   */
  trace(sequences: readonly Sequence[]): { program: Program; timeline: Float64Array } {
    // Once as usual: inputs are checked, the arena grows, and everything is warm.
    this.run(sequences);
    const ordered = this.#group(
      sequences.map((_, index) => index),
      sequences,
    );
    if (ordered.length !== 1) throw new RangeError(`${sequences.length} sequences do not fit one program`);
    const members = ordered[0]!.map((index) => sequences[index]!);
    const program = this.#build(members.map(({ ids }) => ids.length));
    const prepared = new PreparedProgram(this.#device, program);
    try {
      const timeline = new Float64Array(prepared.native.timelineLength);
      this.#runProgram(prepared, members, timeline);
      return { program, timeline };
    } finally {
      prepared.free();
    }
  }

  /** The window has more room than before: a session whose batches did not fit moves to its front, which leaves the room in one piece. */
  useMoreRoom(): void {
    if (this.#limits === LIMITS) return;
    this.#limits = LIMITS;
    this.#dropArena();
    const { window, allocator } = this.#device;
    const { off, bytes } = this.#model;
    allocator.free(this.#model);
    // There is the place where it was, at least.
    this.#model = allocator.allocate(bytes, `model ${this.artifact.name}`);
    window.copyWithin(this.#model.off, off, off + bytes);
    this.#device.syncForDevice(this.#model.off, bytes);
  }

  /** Gives the model's part of the window back; the session cannot run any more. Safe to call twice. */
  unload(): void {
    if (!this.#loaded) return;
    this.#loaded = false;
    this.#device.allocator.free(this.#model);
    this.#dropArena();
  }

  /** The sequences of these indices as groups within the limits. */
  #group(indices: readonly number[], sequences: readonly Sequence[]): number[][] {
    const lengths = indices.map((index) => sequences[index]!.ids.length);
    return groupSequences(lengths, this.#limits).map((group) => group.map((place) => indices[place]!));
  }

  /**
   * Whether a group of several lengths, ascending, has no program and is none that was asked for lately. Natural traffic hardly brings the
   * same mixture twice, and building a program for it takes longer than running it in parts of one length each: there are few of those.
   */
  #isNewMixture(lengths: readonly number[]): boolean {
    if (lengths[0] === lengths.at(-1)) return false;
    const key = keyOf(lengths);
    if (this.#programs.get(key) || this.#mixtures.get(key)) return false;
    this.#remember(lengths);
    return true;
  }

  #remember(lengths: readonly number[]): void {
    this.#mixtures.set(keyOf(lengths), true, lengths.length * this.#bytesOfSequence);
  }

  /**
   * The program of a group, or null where its activations do not fit the window and smaller groups may: an input must not fail for the
   * company it came in. The limits are smaller then. Throws 'window-full' for a single sequence.
   */
  #programOf(lengths: readonly number[]): PreparedProgram | null {
    try {
      return this.#program(lengths);
    } catch (error) {
      if (lengths.length === 1 || !(error instanceof DeviceError) || error.code !== 'window-full')
        throw error;
      const rows = lengths.reduce((sum, length) => sum + length, 0);
      this.#limits = { ...this.#limits, rows: Math.floor(rows / 2) };
      return null;
    }
  }

  #runProgram(
    program: PreparedProgram,
    sequences: readonly Sequence[],
    timeline: Float64Array | null = null,
  ): Float32Array[] {
    const device = this.#device;
    if (program !== this.#last) {
      // Another layout of the same arena: what the CPU wrote for the last one may still be dirty in its cache, and must not be
      // written back onto what the engine leaves there now.
      device.syncForDevice(this.#arena!.off, this.#arena!.bytes);
      this.#last = program;
    }
    program.writeInputs(sequences);
    device.run(program.native, timeline);
    this.#engineMs += device.times.waitNs / 1e6;
    this.#vectorMs += device.times.vectorNs / 1e6;
    return program.readOutputs(sequences);
  }

  #program(lengths: readonly number[]): PreparedProgram {
    const key = keyOf(lengths);
    const cached = this.#programs.get(key);
    if (cached) return cached;
    let program = this.#build(lengths);
    if (program.arenaBytes > (this.#arena?.bytes ?? 0)) {
      this.#growArena(program.arenaBytes);
      program = this.#build(lengths);
    }
    const prepared = new PreparedProgram(this.#device, program);
    const { descriptors, steps, operations } = program;
    const bytes = descriptors.byteLength + steps.byteLength + operations.byteLength;
    this.#programs.set(key, prepared, bytes);
    this.#bytesOfSequence = bytes / lengths.length;
    return prepared;
  }

  #build(lengths: readonly number[]): Program {
    const address = (name: string) => this.#model.off + this.artifact.tensors.get(name)!.off;
    return buildProgram(this.#plan, address, lengths, this.#arena?.off ?? 0, this.#cost);
  }

  /** Programs hold the offsets of weights and activations, so they go with the arena. */
  #dropArena(): void {
    this.#programs.clear();
    if (this.#arena) this.#device.allocator.free(this.#arena);
    this.#arena = undefined;
  }

  #growArena(bytes: number): void {
    this.#dropArena();
    this.#arena = this.#device.allocator.allocate(bytes, `activations of model ${this.artifact.name}`);
  }
}

/** What a program is kept under. */
function keyOf(lengths: readonly number[]): string {
  return lengths.join(' ');
}
