/**
 * Random checkpoints through the whole stack (file, importer, compiler, artifact, device, vector steps) against the float64
 * oracle, which reads the checkpoint on its own. A decision closer to its threshold than single precision can tell is allowed
 * to fall on either side; every other sequence must agree.
 */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { BitOracle } from '../oracle/bit.js';
import { type RandomBitOptions, randomBitCheckpoint, writeCheckpoint } from '../oracle/random.js';
import { bytesOf, largestDifference, withFolder, withModel } from './support.js';

/** Below this margin (in quantiser steps) a float32 residual stream may decide differently. */
const MARGIN = 1e-5;
const TOLERANCE = 1e-3;

const BASE: RandomBitOptions = {
  seed: 1,
  layers: 2,
  hidden: 64,
  heads: 2,
  intermediate: 96,
  vocab: 150,
  positions: 40,
  labels: 5,
  bits: 1,
};

const CASES: [string, Partial<RandomBitOptions>][] = [
  ...([1, 2, 4, 8] as const).flatMap((bits): [string, Partial<RandomBitOptions>][] => [
    [`W1A${bits}`, { bits, seed: 10 + bits }],
    [
      `W1A${bits}, scales per row, embedding scale for the whole table`,
      { bits, seed: 20 + bits, weightLayerwise: false, embedLayerwise: true },
    ],
    [`W1A${bits}, signed FFN and attention`, { bits, seed: 30 + bits, symQuantFfnAttn: true }],
    [`W1A${bits}, GELU`, { bits, seed: 40 + bits, hiddenAct: 'gelu' }],
    [
      `W1A${bits}, no biases and no shifts: exact zeros`,
      { bits, seed: 50 + bits, zeroBias: true, zeroMove: true },
    ],
    [`W1A${bits}, heads of 26 columns`, { bits, seed: 60 + bits, hidden: 78, heads: 3, intermediate: 130 }],
    [
      `W1A${bits}, heads of 5 columns, hidden 15`,
      { bits, seed: 70 + bits, hidden: 15, heads: 3, intermediate: 33 },
    ],
    [
      `W1A${bits}, hidden 192, heads of 32`,
      { bits, seed: 80 + bits, hidden: 192, heads: 6, intermediate: 384, layers: 1 },
    ],
  ]),
  ['one label, one layer, one head', { labels: 1, layers: 1, heads: 1, hidden: 16, intermediate: 16 }],
  [
    'legacy LayerNorm names, clips of shape [1], values in dead parameters',
    { legacyNorms: true, clipShape: [1], deadMoves: true },
  ],
  ['sequences longer than two blocks', { positions: 300, seed: 99, layers: 1 }],
];

/** Lengths that cross byte and block borders when packed. */
function sequences(seed: number, positions: number, vocab: number): number[][] {
  let state = seed;
  const next = (limit: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
  const lengths = [1, 2, 3, 7, 8, 9, 31, Math.min(33, positions), positions];
  return lengths.map((length) => Array.from({ length }, () => next(vocab)));
}

test.each(CASES)('%s', async (_, changes) => {
  const options = { ...BASE, ...changes };
  const checkpoint = randomBitCheckpoint(options);
  await withFolder(async (folder) => {
    writeCheckpoint(join(folder, 'source'), checkpoint);
    await withModel(join(folder, 'source'), ({ session }) => {
      const oracle = new BitOracle(checkpoint.config, checkpoint.tensors);
      const inputs = sequences(options.seed, options.positions, options.vocab);
      const packed = session.run(inputs.map((ids) => ({ ids }))).logits;
      let compared = 0;
      inputs.forEach((ids, index) => {
        const expected = oracle.forward(ids);
        const alone = session.run([{ ids }]).logits[0]!;
        expect(bytesOf(packed[index]!), `length ${ids.length}: batch composition changed the answer`).toBe(
          bytesOf(alone),
        );
        if (expected.minDecisionMargin < MARGIN) return;
        compared++;
        expect(
          largestDifference(alone, expected.logits),
          `length ${ids.length}, margin ${expected.minDecisionMargin}`,
        ).toBeLessThan(TOLERANCE);
      });
      expect(compared, 'sequences with a comfortable margin').toBeGreaterThanOrEqual(4);
    });
  });
});
