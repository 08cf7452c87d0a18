/** What tests of programs share: compiled random models of every family, laid out in a window that exists only as numbers. */
import { join } from 'node:path';
import { buildProgram } from '../../../src/compiler/build.js';
import { compileModel } from '../../../src/compiler/compile.js';
import type { CostModel } from '../../../src/compiler/cost.js';
import { readOperations } from '../../../src/compiler/operations.js';
import type { Program } from '../../../src/compiler/program.js';
import { openCheckpoint } from '../../../src/model/checkpoint/open.js';
import { importModel } from '../../../src/model/import.js';
import type { CompiledModel } from '../../../src/model/plan.js';
import { withFolder } from '../../golden/support.js';
import { type RandomBitOptions, randomBitCheckpoint, writeCheckpoint } from '../../oracle/random.js';
import {
  type RandomBiBertOptions,
  randomBiBertCheckpoint,
  writeBiBertCheckpoint,
} from '../../oracle/random-bibert.js';
import {
  type RandomBinaryBertOptions,
  randomBinaryBertCheckpoint,
  writeBinaryBertCheckpoint,
} from '../../oracle/random-binarybert.js';
import {
  type RandomTernaryBertOptions,
  randomTernaryBertCheckpoint,
  writeTernaryBertCheckpoint,
} from '../../oracle/random-ternarybert.js';
import { HazardDetector, type Region } from './hazards.js';

/** Sizes of the models here that do not say otherwise. */
export const SIZES = {
  seed: 1,
  layers: 2,
  hidden: 32,
  heads: 2,
  intermediate: 48,
  vocab: 100,
  positions: 40,
  labels: 5,
};

/** Writes a random checkpoint into a folder. */
export type Writer = (folder: string) => void;

export const bit =
  (changes: Partial<RandomBitOptions> = {}): Writer =>
  (folder) =>
    writeCheckpoint(folder, randomBitCheckpoint({ ...SIZES, bits: 1, ...changes }));

export const biBert =
  (changes: Partial<RandomBiBertOptions> = {}): Writer =>
  (folder) =>
    writeBiBertCheckpoint(folder, randomBiBertCheckpoint({ ...SIZES, ...changes }));

export const binaryBert =
  (changes: Partial<RandomBinaryBertOptions> = {}): Writer =>
  (folder) =>
    writeBinaryBertCheckpoint(
      folder,
      randomBinaryBertCheckpoint({
        ...SIZES,
        attention: changes.hidden ?? SIZES.hidden,
        bits: 8,
        method: 'uniform',
        ...changes,
      }),
    );

export const ternaryBert =
  (changes: Partial<RandomTernaryBertOptions> = {}): Writer =>
  (folder) =>
    writeTernaryBertCheckpoint(folder, randomTernaryBertCheckpoint({ ...SIZES, ...changes }));

/**
 * Every way through the compiler: thresholds and affine steps, ternary codes, steps and offsets found at run time, two branches, boolean
 * attention, attention narrower than the hidden state, heads that start inside bytes.
 */
export const CASES: readonly [string, Writer][] = [
  ['BiT A1', bit()],
  ['BiT A2', bit({ bits: 2, seed: 2 })],
  ['BiT A4', bit({ bits: 4, seed: 4 })],
  ['BiT A8', bit({ bits: 8, seed: 8 })],
  ['BiT A1, exact zeros', bit({ zeroBias: true, zeroMove: true, seed: 3 })],
  ['BiT A1, scales per row', bit({ weightLayerwise: false, seed: 5 })],
  ['BiT A1, GELU and signed FFN', bit({ hiddenAct: 'gelu', symQuantFfnAttn: true, seed: 6 })],
  ['BiT A2, signed FFN and attention', bit({ bits: 2, symQuantFfnAttn: true, seed: 7 })],
  ['BiT A1, heads of 26 columns', bit({ hidden: 78, heads: 3, intermediate: 130, seed: 9 })],
  ['BiT A4, heads of 5 columns', bit({ bits: 4, hidden: 15, heads: 3, intermediate: 33, seed: 10 })],
  [
    'BiT A1, hidden of two blocks, heads of 24',
    bit({ hidden: 192, heads: 8, intermediate: 136, layers: 1, seed: 11 }),
  ],
  [
    'BiT A2, sequences of several blocks',
    bit({ bits: 2, positions: 300, layers: 1, hidden: 16, intermediate: 16, seed: 12 }),
  ],
  ['BiT A1, unsigned everywhere', bit({ symQuantQkvo: false, seed: 13 })],
  ['BiT A4, unsigned everywhere', bit({ bits: 4, symQuantQkvo: false, seed: 14 })],
  [
    'BiT A2, unsigned Q, K and V, signed FFN and attention, heads of 26 columns',
    bit({ bits: 2, symQuantQkvo: false, symQuantFfnAttn: true, hidden: 78, heads: 3, seed: 15 }),
  ],
  ['BiT A1, real probabilities', bit({ notQuantizeAttention: true, seed: 16 })],
  [
    'BiT A4, real probabilities, unsigned Q, K and V',
    bit({ bits: 4, notQuantizeAttention: true, symQuantQkvo: false, seed: 17 }),
  ],
  [
    'BiT A4, no biases, signed FFN and attention: fixed point',
    bit({ bits: 4, zeroBias: true, zeroMove: true, symQuantFfnAttn: true, seed: 18 }),
  ],
  ['BiBERT', biBert({ seed: 20 })],
  ['BiBERT, exact zeros and ternary weights', biBert({ zeroBias: true, zeroWeights: true, seed: 21 })],
  ['BiBERT, heads of 26 columns', biBert({ hidden: 78, heads: 3, intermediate: 130, seed: 22 })],
  [
    'BiBERT, sequences of several blocks',
    biBert({ positions: 300, layers: 1, hidden: 16, intermediate: 16, seed: 23 }),
  ],
  ['BinaryBERT A8', binaryBert({ seed: 30 })],
  ['BinaryBERT A4', binaryBert({ bits: 4, method: 'lsq', seed: 31 })],
  ['BinaryBERT A8, narrow attention', binaryBert({ attention: 16, seed: 32 })],
  [
    'BinaryBERT A4, scales per row, signed FFN and attention',
    binaryBert({ bits: 4, method: 'lsq', weightLayerwise: false, symQuantFfnAttn: true, seed: 33 }),
  ],
  ['BinaryBERT A8, unsigned everywhere', binaryBert({ symQuantQkvo: false, seed: 36 })],
  ['BinaryBERT A8, heads of 5 columns', binaryBert({ hidden: 15, heads: 3, intermediate: 33, seed: 34 })],
  [
    'BinaryBERT A2, sequences of several blocks',
    binaryBert({
      bits: 2,
      method: 'lsq',
      positions: 300,
      layers: 1,
      hidden: 16,
      intermediate: 16,
      seed: 35,
    }),
  ],
  ['TernaryBERT', ternaryBert({ seed: 40 })],
  ['TernaryBERT, heads of 26 columns', ternaryBert({ hidden: 78, heads: 3, intermediate: 130, seed: 41 })],
];

/** Imports and compiles a random checkpoint. */
export function compileRandom(write: Writer): Promise<CompiledModel> {
  return withFolder(async (folder) => {
    write(folder);
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

  /** Window offset of a tensor. */
  address(name: string): number {
    const off = this.#offsets.get(name);
    if (off === undefined) throw new Error(`the model has no tensor ${name}`);
    return off;
  }

  build(lengths: readonly number[], base = this.base, cost?: CostModel): Program {
    return buildProgram(this.compiled.plan, (name) => this.address(name), lengths, base, cost);
  }

  /** Walks a program as libbeta does, and returns what is wrong with it. */
  hazards(program: Program): string[] {
    const detector = new HazardDetector(aligned(this.base + program.arenaBytes) + 0x1000, this.model);
    detector.begin({ off: this.base, bytes: program.arenaBytes }, inputsOf(program));
    walk(program, detector);
    const { off, rows, width } = program.outputs;
    detector.cpuReads([[off, rows * width * 4]]);
    detector.end();
    return detector.violations;
  }
}

/** The inputs that a session writes before it runs a program. */
export function inputsOf({ inputs }: Program): Region[] {
  const { rows, indices, indexValues } = inputs;
  return [
    ...[inputs.ids, inputs.positions, inputs.types].map((off) => ({ off, bytes: rows * 4 })),
    { off: indices, bytes: indexValues.byteLength },
  ];
}

/** Shows a detector what a program does; `before` descriptors were submitted by the runs before it. */
export function walk(
  { operations, descriptors, steps, inputs: { indices, indexValues } }: Program,
  detector: HazardDetector,
  before = 0,
): void {
  detector.indices = (off, count) => [
    ...indexValues.subarray((off - indices) / 4, (off - indices) / 4 + count),
  ];
  for (const operation of readOperations(operations)) {
    switch (operation.kind) {
      case 'submit':
        detector.submit(descriptors, operation.first, operation.count);
        break;
      case 'wait':
        detector.wait(before + operation.count);
        break;
      case 'vector':
        detector.runVector(steps, operation.first, operation.count);
        break;
      case 'sync-for-device':
        detector.syncForDevice(operation.off, operation.bytes);
        break;
      case 'sync-for-cpu':
        detector.syncForCpu(operation.off, operation.bytes);
        break;
    }
  }
}
