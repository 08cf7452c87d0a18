// PlanChecker alone: each contradiction in a plan, and between a plan and its tensors, is named with its place.
import { expect, test } from 'vitest';
import { type Change, checkEveryTensor, goodPlan, verdict } from './check-support.js';
import { checkpointWith, saved, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const good = (bits: 1 | 2) => goodPlan(saved(folder, checkpointWith(undefined, { bits })));

/** BiT by the bits of its activations. Heads have 8 columns, so the context of W1A1 may have a threshold. */
const models = { 1: await good(1), 2: await good(2) };

test.each([1, 2] as const)('good plans pass (W1A%i)', (bits) => {
  expect(verdict(models[bits], () => undefined)).toBeUndefined();
});

/** A quantiser whose minimum is found at run time, for codes of two bits. */
const MIN = { kind: 'round-from-min', format: 1, qmin: 0, qmax: 3 };
/** One whose step is found at run time. */
const RANGE = { kind: 'symmetric', format: 0x11, qmin: -1, qmax: 1, step: 1 };

/** The only quantiser that reads the result of an epilogue. */
// biome-ignore lint/suspicious/noExplicitAny: plans that break every rule
const next = (epilogue: any) => epilogue.quantisers[0];

/** K's epilogue, replaced by one of the engine; its table has its size. */
const fixedPoint = (...[plan, sizes]: Parameters<Change>) => {
  sizes.set('table', 16 * 8);
  const { key } = plan.layers[0];
  key.epilogue = { kind: 'fixed-point', format: 0x11, table: 'table', why: 'test' };
  return key;
};

test.each([
  ['heads', 1, (p) => (p.heads = 3), /attentionSize 16.*heads 3/],
  ['positions', 1, (p) => (p.maxTokens = 13), /maxTokens 13.*12 positions/],
  ['labels', 1, (p) => p.labels.push('more'), /3 rows for 4 labels/],
  ['classifier', 1, (p) => (p.head.dense.weight.rows = 2), /2 rows for 3 labels/],
  ['matrix rows', 1, (p) => (p.layers[0].up.branches[0].weight.rows = 16), /layers\.0\.up.*: 16x16, 24x16/],
  [
    'matrix columns',
    1,
    (p) => (p.layers[0].down.branches[0].weight.cols = 16),
    /layers\.0\.down.*: 16x16, 16x24/,
  ],
  ['projection rows', 1, (p) => (p.attentionSize = 8), /layers\.0\.query.*: 16x16, 8x16/],
  ['table columns', 1, (p) => (p.embeddings.words[0].planes.cols = 15), /embeddings\.words\.0: 90x15/],
  [
    'two tables of other sizes',
    1,
    (p) => {
      p.embeddings.words.push(structuredClone(p.embeddings.words[0]));
      p.embeddings.words[1].planes.rows = 89;
    },
    /embeddings\.words\.1: 89x16, 90x16/,
  ],
  ['weight format', 1, (p) => (p.layers[0].key.branches[0].weight.format = 0), /layers\.0\.key.*: format 0/],
  ['stride', 1, (p) => (p.layers[0].key.branches[0].weight.stride = 32), /layers\.0\.key.*: stride 32, 16/],
  [
    'ternary stride',
    1,
    (p) => (p.layers[0].key.branches[0].weight.format = 0x11),
    /layers\.0\.key.*: stride 16, 32/,
  ],
  ['sign as unsigned', 1, (p) => (p.head.pooler.branches[0].input.format = 0), /pooler.*kind sign.*format 0/],
  ['reserved bit', 2, (p) => (p.head.pooler.branches[0].input.format = 0x19), /pooler.*format 25/],
  ['codes too small', 2, (p) => (p.head.pooler.branches[0].input.qmin = -3), /pooler.*: codes -3/],
  ['codes too large', 2, (p) => (p.head.pooler.branches[0].input.qmax = 2), /pooler.*: codes -2 to 2/],
  ['signed codes as unsigned', 2, (p) => (p.head.pooler.branches[0].input.format = 1), /pooler.*: codes/],
  [
    'codes of one signed bit',
    2,
    (p) => Object.assign(p.head.pooler.branches[0].input, { format: 0x10, qmin: -1, qmax: 0 }),
    /pooler.*: codes/,
  ],
  ['codes of 16 bits', 2, (p) => (p.head.pooler.branches[0].input.format = 0x14), /pooler.*: codes/],
  [
    'unsigned codes too large',
    2,
    (p) => (p.layers[0].attention.probabilities.probability.qmax = 4),
    /probability: codes 0 to 4/,
  ],
  [
    'an offset for signed codes',
    2,
    (p) => (p.head.pooler.branches[0].input.kind = 'asymmetric'),
    /pooler.*: codes/,
  ],
  [
    'a range of unequal codes',
    2,
    (p) => (p.head.pooler.branches[0].input.kind = 'symmetric'),
    /pooler.*: codes/,
  ],
  [
    'a clip without values in it',
    2,
    (p) => Object.assign(p.head.pooler.branches[0].input, RANGE, { clip: { low: 1, high: 1 } }),
    /pooler.*: codes/,
  ],
  [
    'shifted probabilities',
    1,
    (p) => (p.layers[0].attention.probabilities.probability.shift = p.layers[0].up.branches[0].input.shift),
    /probability: no shift/,
  ],
  [
    'shift of V',
    2,
    (p) => (next(p.layers[0].value.epilogue).shift = p.layers[0].up.branches[0].input.shift),
    /layers\.0\.value: no shift/,
  ],
  ['threshold of two bits', 1, (p) => (p.layers[0].key.epilogue.format = 1), /key\.epilogue: a threshold/],
  [
    'threshold of one signed bit',
    1,
    (p) => (p.layers[0].key.epilogue.format = 0x10),
    /key\.epilogue: a threshold/,
  ],
  [
    'threshold with a reserved bit',
    1,
    (p) => (p.layers[0].key.epilogue.format = 0x08),
    /key\.epilogue: a threshold/,
  ],
  [
    'threshold of no encoding',
    1,
    (p) => (p.layers[0].key.epilogue.format = 0x30),
    /key\.epilogue: a threshold/,
  ],
  [
    'threshold of two branches',
    1,
    (p) => p.layers[0].key.branches.push(p.layers[0].key.branches[0]),
    /key\.epilogue: an epilogue in the engine has one branch/,
  ],
  [
    'fixed point of one bit',
    2,
    (p, sizes) => (fixedPoint(p, sizes).epilogue.format = 0x00),
    /key\.epilogue: fixed point leaves codes of 2, 4 or 8 bits/,
  ],
  [
    'fixed point of 16 bits',
    2,
    (p, sizes) => (fixedPoint(p, sizes).epilogue.format = 0x14),
    /key\.epilogue: fixed point leaves/,
  ],
  [
    'fixed point of two branches',
    2,
    (p, sizes) => {
      const key = fixedPoint(p, sizes);
      key.branches.push(key.branches[0]);
    },
    /key\.epilogue: an epilogue in the engine has one branch/,
  ],
  [
    'fixed point of an input with an offset',
    2,
    (p, sizes) => Object.assign(fixedPoint(p, sizes).branches[0].input, MIN),
    /layers\.0\.key: .*affine epilogue/,
  ],
  [
    'fixed point with too short a table',
    2,
    (p, sizes) => {
      fixedPoint(p, sizes);
      sizes.set('table', 64);
    },
    /key\.epilogue: tensor "table" has 64 bytes, 128/,
  ],
  ['int16 results without an identity table', 1, (p) => (p.identity = null), /identity: int16 results need/],
  ['no such identity table', 1, (p) => (p.identity = 'none'), /identity: there is no tensor "none"/],
  [
    'one term for two branches',
    2,
    (p) => p.layers[0].key.branches.push(p.layers[0].key.branches[0]),
    /key\.epilogue: 1 terms for 2 branches/,
  ],
  [
    'no codes of Q',
    2,
    (p) => (p.layers[0].query.epilogue.quantisers = []),
    /layers\.0\.query: it leaves 0 operands, 1/,
  ],
  [
    'two codes of K',
    2,
    (p) => p.layers[0].key.epilogue.quantisers.push(next(p.layers[0].key.epilogue)),
    /layers\.0\.key: it leaves 2 operands, 1/,
  ],
  [
    'no codes of the context',
    2,
    (p) => (p.layers[0].attention.context.quantisers = []),
    /context: quantisers are needed/,
  ],
  [
    'a bias of the context',
    2,
    (p) => (p.layers[0].attention.context.bias = p.head.pooler.epilogue.bias),
    /context: .*neither bias/,
  ],
  [
    'no codes behind FFN1',
    2,
    (p) => (p.layers[0].up.epilogue.quantisers = []),
    /layers\.0\.down: its inputs/,
  ],
  [
    'codes instead of a residual',
    1,
    (p) => p.layers[0].output.epilogue.quantisers.push(p.head.pooler.branches[0].input),
    /layers\.0\.output: it leaves 1 operands, 0/,
  ],
  [
    'bits instead of a residual',
    1,
    (p) => (p.layers[0].down.epilogue = p.layers[0].query.epilogue),
    /layers\.0\.down: it leaves 1/,
  ],
  [
    'codes of the pooler',
    1,
    (p) => p.head.pooler.epilogue.quantisers.push(p.head.pooler.branches[0].input),
    /pooler: it leaves 1/,
  ],
  [
    'other codes of the context',
    1,
    (p) => (p.layers[0].output.branches[0].input.format = 0x11),
    /layers\.0\.output: its inputs/,
  ],
  [
    'other codes behind FFN1',
    1,
    (p) => (p.layers[0].down.branches[0].input.format = 1),
    /layers\.0\.down: its inputs/,
  ],
  [
    'offset found and not used',
    2,
    (p) => (p.layers[0].down.branches[0].input.kind = 'round'),
    /layers\.0\.down: its inputs/,
  ],
  [
    'offset used and not found',
    2,
    (p) => (next(p.layers[0].up.epilogue).kind = 'round'),
    /layers\.0\.down: its inputs/,
  ],
  [
    'offset without sums',
    2,
    (p) => (p.layers[0].down.epilogue.terms[0].sums = null),
    /layers\.0\.down: .*needs sums/,
  ],
  ['offset of probabilities without ones', 2, (p) => (p.ones = null), /probability: .*row of ones/],
  [
    'offset into a threshold',
    1,
    (p) => Object.assign(p.layers[0].query.branches[0].input, { ...MIN, qmax: 1, format: 0 }),
    /layers\.0\.query: .*affine epilogue/,
  ],
  [
    'offset of Q without ones',
    2,
    (p) => {
      Object.assign(next(p.layers[0].query.epilogue), MIN);
      p.ones = null;
    },
    /layers\.0\.query: .*row of ones/,
  ],
  [
    'offset of V before boolean attention',
    2,
    (p) => {
      Object.assign(next(p.layers[0].value.epilogue), MIN);
      p.layers[0].attention.probabilities.kind = 'boolean';
    },
    /layers\.0\.value: codes with an offset/,
  ],
  [
    'a table of exponentials for a step found at run time',
    2,
    (p) => Object.assign(next(p.layers[0].query.epilogue), RANGE),
    /exponentials: a table needs fixed steps/,
  ],
] as [string, 1 | 2, Change, RegExp][])('%s (W1A%i)', (_, bits, change, says) => {
  expect(verdict(models[bits], change)).toMatch(says);
});

test('fixed point may stand where a vector step stood', () => {
  expect(verdict(models[2], (...at) => void fixedPoint(...at))).toBeUndefined();
});

test('an offset of any input needs sums of its weights', () => {
  for (const part of ['query', 'key', 'value', 'up'])
    expect(verdict(models[2], (p) => Object.assign(p.layers[0][part].branches[0].input, MIN))).toMatch(
      new RegExp(`layers\\.0\\.${part}: .*needs sums`),
    );
  expect(verdict(models[2], (p) => Object.assign(p.head.pooler.branches[0].input, MIN))).toMatch(
    /pooler: .*needs sums/,
  );
  const context = verdict(models[2], ({ layers: [layer] }) => {
    Object.assign(next(layer.attention.context), MIN);
    Object.assign(layer.output.branches[0].input, MIN);
  });
  expect(context).toMatch(/layers\.0\.output: .*needs sums/);
});

test('a threshold for heads whose columns do not start at a byte', () => {
  const says = verdict(models[1], (plan) => {
    plan.heads = 4;
  });
  expect(says).toMatch(/attention\.context: heads of 4 columns/);
});

test.each([1, 2] as const)('W1A%i: every tensor missing, a line too short, a line too long', (bits) => {
  checkEveryTensor(models[bits]);
});
