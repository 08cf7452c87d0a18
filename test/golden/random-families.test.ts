/**
 * Random checkpoints of BiBERT, BinaryBERT and TernaryBERT through the whole stack, against float64 oracles that read the checkpoint on
 * their own. BiT has its own file.
 */
import { describe, test } from 'vitest';
import { BiBertOracle } from '../oracle/bibert.js';
import { BinaryBertOracle } from '../oracle/binarybert.js';
import {
  type RandomBiBertOptions,
  randomBiBertCheckpoint,
  writeBiBertCheckpoint,
} from '../oracle/random-bibert.js';
import {
  type RandomBinaryBertOptions,
  randomBinaryBertCheckpoint,
  writeBinaryBertCheckpoint,
} from '../oracle/random-binarybert.js';
import {
  type RandomTernaryBertOptions,
  randomTernaryBertCheckpoint,
  writeTernaryBertCheckpoint,
} from '../oracle/random-ternarybert.js';
import { TernaryBertOracle } from '../oracle/ternarybert.js';
import { expectAgreement } from './agreement.js';

const BASE = {
  seed: 1,
  layers: 2,
  hidden: 64,
  heads: 2,
  intermediate: 96,
  vocab: 150,
  positions: 40,
  labels: 5,
};

/** Shapes that are no multiples of 8, 16 or 128. */
const SHAPES = [
  ['hidden 64', {}],
  ['heads of 26 columns', { hidden: 78, heads: 3, intermediate: 130 }],
  ['hidden 15, heads of 5', { hidden: 15, heads: 3, intermediate: 33 }],
  ['hidden 192, heads of 32, three blocks of FFN', { hidden: 192, heads: 6, intermediate: 384, layers: 1 }],
] as const;

describe('BiBERT', () => {
  const cases: [string, Partial<RandomBiBertOptions>][] = [
    ...SHAPES.map(([name, shape], index): [string, Partial<RandomBiBertOptions>] => [
      name,
      { ...shape, seed: 100 + index },
    ]),
    ['no biases: exact zeros in Q, K and V', { zeroBias: true, seed: 110 }],
    ['weights equal to their row mean: ternary weights', { zeroWeights: true, seed: 111 }],
    ['values in dead parameters, another epsilon', { deadParameters: true, layerNormEps: 1e-3, seed: 112 }],
    ['longer than two blocks', { positions: 300, layers: 1, seed: 113 }],
  ];
  test.each(cases)('%s', async (_, changes) => {
    const options = { ...BASE, ...changes };
    const checkpoint = randomBiBertCheckpoint(options);
    // Zero is a level of its own here, not a tie between two.
    const oracle = new BiBertOracle(checkpoint.config, checkpoint.tensors);
    await expectAgreement(options, (folder) => writeBiBertCheckpoint(folder, checkpoint), oracle, {
      tiesAreLevels: true,
    });
  });
});

describe('BinaryBERT', () => {
  const methods = [
    ['uniform', 8],
    ['lsq', 4],
    ['uniform', 4],
    ['lsq', 2],
    ['lsq', 8],
  ] as const;
  const cases: [string, Partial<RandomBinaryBertOptions>][] = methods.flatMap(
    ([method, bits], index): [string, Partial<RandomBinaryBertOptions>][] => [
      ...SHAPES.map(([name, shape], number): [string, Partial<RandomBinaryBertOptions>] => [
        `${method} A${bits}, ${name}`,
        { ...shape, method, bits, seed: 200 + index * 10 + number },
      ]),
      [`${method} A${bits}, narrow attention`, { method, bits, attention: 32, seed: 205 + index * 10 }],
      [
        `${method} A${bits}, other switches`,
        {
          method,
          bits,
          weightLayerwise: false,
          embedLayerwise: true,
          symQuantFfnAttn: true,
          legacyNorms: true,
          doubles: true,
          seed: 206 + index * 10,
        },
      ],
      [
        `${method} A${bits}, unsigned Q, K, V and inputs`,
        { method, bits, symQuantQkvo: false, seed: 207 + index * 10 },
      ],
      [
        `${method} A${bits}, unsigned Q, K, V and inputs, signed FFN and attention, heads of 26 columns`,
        {
          method,
          bits,
          symQuantQkvo: false,
          symQuantFfnAttn: true,
          hidden: 78,
          heads: 3,
          intermediate: 130,
          seed: 208 + index * 10,
        },
      ],
    ],
  );
  test.each(cases)('%s', async (_, changes) => {
    const options = {
      ...BASE,
      attention: changes.hidden ?? BASE.hidden,
      bits: 8 as const,
      method: 'uniform' as const,
      ...changes,
    };
    const checkpoint = randomBinaryBertCheckpoint(options);
    const oracle = new BinaryBertOracle(checkpoint.config, checkpoint.tensors);
    await expectAgreement(options, (folder) => writeBinaryBertCheckpoint(folder, checkpoint), oracle, {
      comparable: 2,
    });
  });
});

describe('TernaryBERT', () => {
  const cases: [string, Partial<RandomTernaryBertOptions>][] = [
    ...SHAPES.map(([name, shape], index): [string, Partial<RandomTernaryBertOptions>] => [
      name,
      { ...shape, seed: 300 + index },
    ]),
    ['other clips, another epsilon', { clip: 1.5, layerNormEps: 1e-3, seed: 310 }],
  ];
  test.each(cases)('%s', async (_, changes) => {
    const options = { ...BASE, ...changes };
    const checkpoint = randomTernaryBertCheckpoint(options);
    const oracle = new TernaryBertOracle(checkpoint.config, checkpoint.tensors);
    await expectAgreement(options, (folder) => writeTernaryBertCheckpoint(folder, checkpoint), oracle, {
      comparable: 1,
    });
  });
});
