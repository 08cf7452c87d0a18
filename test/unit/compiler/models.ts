/** What tests of programs share: compiled random models, laid out in a window that exists only as numbers. */
import { join } from 'node:path';
import { buildProgram } from '../../../src/compiler/build.js';
import { compileModel } from '../../../src/compiler/compile.js';
import type { Program } from '../../../src/compiler/program.js';
import { openCheckpoint } from '../../../src/model/checkpoint/open.js';
import { importModel } from '../../../src/model/import.js';
import type { CompiledModel } from '../../../src/model/plan.js';
import { withFolder } from '../../golden/support.js';
import { type RandomBitOptions, randomBitCheckpoint, writeCheckpoint } from '../../oracle/random.js';
import { HazardDetector, type Region } from './hazards.js';

const BASE: RandomBitOptions = {
  seed: 1,
  layers: 2,
  hidden: 32,
  heads: 2,
  intermediate: 48,
  vocab: 60,
  positions: 40,
  labels: 5,
  bits: 1,
};

/** Every way through the compiler: thresholds and affine steps, ternary codes, run-time offsets, heads that start inside bytes. */
export const CASES: readonly [string, Partial<RandomBitOptions>][] = [
  ['W1A1', {}],
  ['W1A2', { bits: 2, seed: 2 }],
  ['W1A4', { bits: 4, seed: 4 }],
  ['W1A8', { bits: 8, seed: 8 }],
  ['W1A1, exact zeros', { zeroBias: true, zeroMove: true, seed: 3 }],
  ['W1A1, scales per row', { weightLayerwise: false, seed: 5 }],
  ['W1A1, GELU and signed FFN', { hiddenAct: 'gelu', symQuantFfnAttn: true, seed: 6 }],
  ['W1A2, signed FFN and attention', { bits: 2, symQuantFfnAttn: true, seed: 7 }],
  ['W1A1, heads of 26 columns', { hidden: 78, heads: 3, intermediate: 130, seed: 9 }],
  ['W1A4, heads of 5 columns', { bits: 4, hidden: 15, heads: 3, intermediate: 33, seed: 10 }],
  [
    'W1A1, hidden of two blocks, heads of 24',
    { hidden: 192, heads: 8, intermediate: 136, layers: 1, seed: 11 },
  ],
  [
    'W1A2, sequences of several blocks',
    { bits: 2, positions: 300, layers: 1, hidden: 16, intermediate: 16, seed: 12 },
  ],
];

/** Compiles a random checkpoint. */
export function compileRandom(changes: Partial<RandomBitOptions>): Promise<CompiledModel> {
  return withFolder(async (folder) => {
    writeCheckpoint(folder, randomBitCheckpoint({ ...BASE, ...changes }));
    const checkpoint = await openCheckpoint(join(folder, 'pytorch_model.bin'));
    try {
      return compileModel(importModel(checkpoint, { warn: () => undefined, progress: () => undefined }));
    } finally {
      await checkpoint.close();
    }
  });
}

const aligned = (bytes: number) => Math.ceil(bytes / 64) * 64;

/** A compiled model in an imaginary window: tensors far enough apart that an access past the end of one meets nothing. */
export class Layout {
  readonly compiled: CompiledModel;
  readonly model: readonly Region[];
  /** Where arenas begin. */
  readonly base: number;
  readonly #offsets = new Map<string, number>();

  constructor(compiled: CompiledModel) {
    this.compiled = compiled;
    let off = 0x1_0000;
    const model: Region[] = [];
    for (const [name, { byteLength }] of compiled.tensors) {
      this.#offsets.set(name, off);
      model.push({ off, bytes: byteLength });
      off += aligned(byteLength) + 128;
    }
    this.model = model;
    this.base = off;
  }

  build(lengths: readonly number[], base = this.base): Program {
    return buildProgram(this.compiled.plan, (name) => this.#offsets.get(name)!, lengths, base);
  }

  /** The inputs that a session writes before it runs a program. */
  inputs({ inputs }: Program, lengths: readonly number[]): Region[] {
    const rows = lengths.reduce((sum, length) => sum + length, 0);
    return Object.entries(inputs).map(([name, off]) => ({
      off,
      bytes: (name === 'starts' ? lengths.length + 1 : rows) * 4,
    }));
  }

  /** Walks a program as a session does, and returns what is wrong with it. */
  hazards(program: Program, lengths: readonly number[]): string[] {
    const detector = new HazardDetector(aligned(this.base + program.arenaBytes) + 0x1000, this.model);
    detector.begin({ off: this.base, bytes: program.arenaBytes }, this.inputs(program, lengths));
    for (const operation of program.operations) {
      if (operation.kind === 'submit') detector.submit(program.descriptors, operation.first, operation.count);
      else if (operation.kind === 'wait') {
        detector.wait(operation.count);
        for (const { off, bytes } of operation.reads) detector.syncForCpu(off, bytes);
      } else {
        detector.runVector(program.steps, operation.first, operation.count);
        for (const { off, bytes } of operation.writes) detector.syncForDevice(off, bytes);
      }
    }
    const labels = this.compiled.plan.labels.length;
    detector.cpuReads([[program.logits, lengths.length * labels * 4]]);
    if (detector.waited !== detector.submitted)
      detector.violations.push('end: the engine may still be working');
    return detector.violations;
  }
}
