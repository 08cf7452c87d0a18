// PlanChecker on what only some families have: two branches, ranges found at run time, boolean attention, ternary weights.
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { randomBiBertCheckpoint, writeBiBertCheckpoint } from '../../oracle/random-bibert.js';
import { randomBinaryBertCheckpoint, writeBinaryBertCheckpoint } from '../../oracle/random-binarybert.js';
import { randomTernaryBertCheckpoint, writeTernaryBertCheckpoint } from '../../oracle/random-ternarybert.js';
import { type Change, checkEveryTensor, goodPlan, verdict } from './check-support.js';
import { temporaryFolder } from './support.js';

const folder = temporaryFolder();
const source = () => mkdtempSync(join(folder, 'source-'));

const SIZES = {
  seed: 8,
  layers: 1,
  hidden: 16,
  heads: 2,
  intermediate: 24,
  vocab: 90,
  positions: 12,
  labels: 3,
};

async function good(write: (to: string) => void) {
  const to = source();
  write(to);
  return goodPlan(to);
}

const split = { ...SIZES, attention: 8, bits: 8, method: 'uniform' } as const;
const models = {
  BiBERT: await good((to) => writeBiBertCheckpoint(to, randomBiBertCheckpoint(SIZES))),
  BinaryBERT: await good((to) => writeBinaryBertCheckpoint(to, randomBinaryBertCheckpoint(split))),
  TernaryBERT: await good((to) => writeTernaryBertCheckpoint(to, randomTernaryBertCheckpoint(SIZES))),
};
type Family = keyof typeof models;
const FAMILIES = Object.keys(models) as Family[];

test.each(FAMILIES)('a good plan of %s passes; every tensor of it is checked', (family) => {
  expect(verdict(models[family], () => undefined)).toBeUndefined();
  checkEveryTensor(models[family]);
});

test.each([
  [
    'boolean probabilities of two bits',
    'BiBERT',
    (p) => (p.layers[0].attention.probabilities.format = 1),
    /probabilities: boolean/,
  ],
  [
    'boolean probabilities with signs',
    'BiBERT',
    (p) => (p.layers[0].attention.probabilities.format = 0x20),
    /probabilities: boolean/,
  ],
  [
    'a table for more tokens than it has',
    'BiBERT',
    (p, sizes) => sizes.set(p.layers[0].attention.probabilities.table, 64),
    /probabilities: tensor.*64 bytes/,
  ],
  [
    'a word table for one branch of two sizes',
    'BinaryBERT',
    (p) => (p.embeddings.words[1].planes.rows = 80),
    /embeddings\.words\.1: 80x16, 90x16/,
  ],
  [
    'columns of the context',
    'BinaryBERT',
    (p) => (p.layers[0].output.branches[1].weight.cols = 16),
    /layers\.0\.output\.1: 16x16, 16x8/,
  ],
  [
    'one branch less',
    'BinaryBERT',
    (p) => p.layers[0].query.branches.pop(),
    /query\.epilogue: 2 terms for 1 branches/,
  ],
  [
    'one term less',
    'BinaryBERT',
    (p) => p.layers[0].query.epilogue.terms.pop(),
    /query\.epilogue: 1 terms for 2 branches/,
  ],
  [
    'one operand less',
    'BinaryBERT',
    (p) => p.layers[0].up.epilogue.quantisers.pop(),
    /layers\.0\.down: its inputs/,
  ],
  [
    'one operand of the context less',
    'BinaryBERT',
    (p) => p.layers[0].attention.context.quantisers.pop(),
    /layers\.0\.output: its inputs/,
  ],
  [
    'a second branch without sums',
    'BinaryBERT',
    (p) => (p.layers[0].down.epilogue.terms[1].sums = null),
    /layers\.0\.down: .*needs sums/,
  ],
  [
    'probabilities with an offset and no ones',
    'BinaryBERT',
    (p) => (p.ones = null),
    /probability: .*row of ones/,
  ],
  [
    'clips in the wrong order',
    'BinaryBERT',
    (p) => (p.pooler.branches[1].input.clip = { low: 1, high: -1 }),
    /pooler\.1\.input: codes/,
  ],
  [
    'a threshold behind a range',
    'BinaryBERT',
    (p) => {
      p.layers[0].key.branches.pop();
      p.layers[0].key.epilogue = { kind: 'threshold', format: 0x20, table: 'any', why: '' };
    },
    /layers\.0\.key: an input step found at run time/,
  ],
  [
    'a table of exponentials with ranges',
    'TernaryBERT',
    (p) =>
      (p.layers[0].attention.probabilities.exponentials = {
        tensor: p.layers[0].query.epilogue.bias,
        length: 8,
      }),
    /exponentials: a table needs fixed steps/,
  ],
  [
    'a threshold of the context with ranges',
    'TernaryBERT',
    (p, sizes) => {
      p.layers[0].attention.context = { kind: 'threshold', format: 0x20, table: 'table', why: '' };
      sizes.set('table', 128);
    },
    /context: steps that are found at run time/,
  ],
  [
    'ternary weights in one plane',
    'TernaryBERT',
    (p) => (p.layers[0].query.branches[0].weight.format = 0x20),
    /query\.0: stride 32, 16/,
  ],
  [
    'unequal bounds of a range',
    'TernaryBERT',
    (p) => (p.pooler.branches[0].input.qmin = -128),
    /pooler\.0\.input: codes -128 to 127/,
  ],
] as [string, Family, Change, RegExp][])('%s (%s)', (_, family, change, says) => {
  expect(verdict(models[family], change)).toMatch(says);
});
