/**
 * Random checkpoints through the whole stack (file, importer, compiler, artifact, device, vector steps) against the float64
 * oracle, which reads the checkpoint on its own. A decision closer to its threshold than single precision can tell is allowed
 * to fall on either side; every other sequence must agree.
 */
import { test } from 'vitest';
import { BitOracle } from '../oracle/bit.js';
import { type RandomBitOptions, randomBitCheckpoint, writeCheckpoint } from '../oracle/random.js';
import { expectAgreement } from './agreement.js';

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
    [
      `W1A${bits}, no biases and no shifts, signed FFN and attention: fixed point`,
      { bits, seed: 180 + bits, zeroBias: true, zeroMove: true, symQuantFfnAttn: true },
    ],
    [`W1A${bits}, heads of 26 columns`, { bits, seed: 60 + bits, hidden: 78, heads: 3, intermediate: 130 }],
    [
      `W1A${bits}, heads of 5 columns, hidden 15`,
      { bits, seed: 70 + bits, hidden: 15, heads: 3, intermediate: 33 },
    ],
    [`W1A${bits}, unsigned Q, K, V and inputs`, { bits, seed: 100 + bits, symQuantQkvo: false }],
    [
      `W1A${bits}, unsigned Q, K, V and inputs, signed FFN and attention, heads of 26 columns`,
      {
        bits,
        seed: 110 + bits,
        symQuantQkvo: false,
        symQuantFfnAttn: true,
        hidden: 78,
        heads: 3,
        intermediate: 130,
      },
    ],
    [
      `W1A${bits}, unsigned everywhere, heads of 32 in two blocks`,
      { bits, seed: 120 + bits, symQuantQkvo: false, hidden: 192, heads: 6, intermediate: 136, layers: 1 },
    ],
    [`W1A${bits}, real probabilities`, { bits, seed: 130 + bits, notQuantizeAttention: true }],
    [
      `W1A${bits}, real probabilities, unsigned Q, K, V and inputs, heads of 5 columns, hidden 15`,
      {
        bits,
        seed: 140 + bits,
        notQuantizeAttention: true,
        symQuantQkvo: false,
        hidden: 15,
        heads: 3,
        intermediate: 33,
      },
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
  [
    'real probabilities, no biases and no shifts: contexts of exactly zero',
    { notQuantizeAttention: true, zeroBias: true, zeroMove: true, seed: 150 },
  ],
  [
    'unsigned everywhere, sequences longer than two blocks',
    { bits: 4, symQuantQkvo: false, positions: 300, seed: 151, layers: 1 },
  ],
  [
    'real probabilities, sequences longer than two blocks',
    { bits: 2, symQuantQkvo: false, notQuantizeAttention: true, positions: 300, seed: 152, layers: 1 },
  ],
  ['sequences longer than two blocks', { positions: 300, seed: 99, layers: 1 }],
];

test.each(CASES)('%s', async (_, changes) => {
  const options = { ...BASE, ...changes };
  const checkpoint = randomBitCheckpoint(options);
  await expectAgreement(
    options,
    (folder) => writeCheckpoint(folder, checkpoint),
    new BitOracle(checkpoint.config, checkpoint.tensors),
  );
});
