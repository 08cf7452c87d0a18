// PlanChecker on heads: rows, labels and tensors that do not belong together are named with their place.
import { expect, test } from 'vitest';
import { planSchema } from '../../../src/model/plan.js';
import { withoutHead, withTokenHead } from '../../oracle/heads.js';
import { type Change, checkEveryTensor, goodPlan, verdict } from './check-support.js';
import { checkpointWith, saved, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const full = checkpointWith();
const models = {
  spans: await goodPlan(saved(folder, withTokenHead(full, 'qa_outputs', 2))),
  tokens: await goodPlan(saved(folder, withTokenHead(full, 'classifier', 3))),
  states: await goodPlan(saved(folder, withoutHead(full))),
  classes: await goodPlan(saved(folder, full)),
};

test.each(['spans', 'tokens', 'states', 'classes'] as const)('a good plan passes, %s', (name) => {
  expect(verdict(models[name], () => undefined)).toBeUndefined();
  checkEveryTensor(models[name]);
});

test.each<[string, keyof typeof models, Change, RegExp]>([
  [
    'three outputs of two',
    'spans',
    (p) => (p.head.dense.weight.rows = 3),
    /head\.dense has 3 rows.*start and an end/,
  ],
  ['labels of spans', 'spans', (p) => p.labels.push('a', 'b'), /question-answering has no classes/],
  ['labels of hidden states', 'states', (p) => p.labels.push('a'), /hidden-states has no classes/],
  ['too few labels', 'tokens', (p) => p.labels.pop(), /3 rows for 2 labels/],
  ['no labels', 'classes', (p) => p.labels.splice(0), /3 rows for 0 labels/],
  [
    'one output of two',
    'spans',
    (p, sizes) => {
      p.head.dense.weight.rows = 1;
      sizes.set(p.head.dense.weight.tensor, 64);
    },
    /1 rows/,
  ],
])('%s', (_, name, change, says) => {
  expect(verdict(models[name], change)).toMatch(says);
});

test('the schema knows no other tasks, and no parts of another head', () => {
  const accepts = (model: keyof typeof models, change: Change) => {
    const { plan, sizes } = structuredClone(models[model]);
    change(plan, sizes);
    return planSchema.safeParse(plan).success;
  };
  expect(accepts('spans', () => undefined)).toBe(true);
  expect(accepts('spans', (p) => (p.head.task = 'masked-lm'))).toBe(false);
  expect(accepts('spans', (p) => delete p.head.dense)).toBe(false);
  expect(accepts('spans', (p) => (p.head.task = 'sequence-classification'))).toBe(false);
  expect(accepts('states', (p) => (p.head.dense = { weight: { tensor: 'x', rows: 1 }, bias: 'x' }))).toBe(
    false,
  );
  expect(accepts('classes', (p) => (p.head.task = 'token-classification'))).toBe(false);
});
