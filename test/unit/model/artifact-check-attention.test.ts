// PlanChecker on attention whose operands have offsets, or whose probabilities stay real.
import { expect, test } from 'vitest';
import { PlanChecker } from '../../../src/model/artifact/check.js';
import { Artifact } from '../../../src/model/artifact/read.js';
import type { RandomBitOptions } from '../../oracle/random.js';
import { checkpointWith, imported, saved, temporaryFolder } from './support.js';

const folder = temporaryFolder();

async function good(options: Partial<RandomBitOptions>) {
  const { file } = await imported(saved(folder, checkpointWith(undefined, options)));
  const { plan, tensors } = Artifact.open(file);
  return { plan, sizes: new Map([...tensors].map(([name, { bytes }]) => [name, bytes])) };
}

const models = {
  unsigned: await good({ bits: 2, symQuantQkvo: false }),
  real: await good({ bits: 1, notQuantizeAttention: true }),
  'real and unsigned': await good({ bits: 2, notQuantizeAttention: true, symQuantQkvo: false }),
};

// biome-ignore lint/suspicious/noExplicitAny: plans that break every rule
type Change = (plan: any, sizes: Map<string, number>) => void;

/** What the checker says of a changed copy; undefined where it finds nothing. */
function verdict(model: keyof typeof models, change: Change): string | undefined {
  const { plan, sizes } = structuredClone(models[model]);
  change(plan, sizes);
  try {
    new PlanChecker(sizes).check(plan);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

test.each(Object.keys(models) as (keyof typeof models)[])('%s: a good plan passes', (model) => {
  expect(verdict(model, () => undefined)).toBeUndefined();
});

/** An epilogue of the engine in place of the context's; its table is one that has its size. */
const threshold: Change = (p, sizes) => {
  sizes.set('table', 16 * 8);
  p.layers[0].attention.context = { kind: 'threshold', format: 0x20, table: 'table', why: 'test' };
};

test.each([
  ['unsigned', 'Q without ones', (p) => (p.ones = null), /layers\.0\.query: .*row of ones/],
  ['real and unsigned', 'Q without ones', (p) => (p.ones = null), /layers\.0\.query: .*row of ones/],
  ['unsigned', 'ones too short', (_, sizes) => sizes.set('ones', 0), /ones: tensor "ones" has 0 bytes/],
  ['unsigned', 'a threshold for offsets', threshold, /attention\.context: .*affine epilogue/],
  ['real', 'a threshold', threshold, /attention\.context: real probabilities need an affine epilogue/],
  [
    'real',
    'a scale for each column',
    (p, sizes) => {
      sizes.set('scales', 16 * 8);
      p.layers[0].attention.context.terms[0].scale = { tensor: 'scales' };
    },
    /attention\.context: real probabilities .*one positive scale/,
  ],
  [
    'real',
    'a scale of 0',
    (p) => (p.layers[0].attention.context.terms[0].scale = 0),
    /attention\.context: real probabilities .*one positive scale/,
  ],
  [
    'real',
    'no codes of the context',
    (p) => (p.layers[0].attention.context.quantisers = []),
    /context: quantisers are needed/,
  ],
  [
    'real',
    'a table of exponentials of another length',
    (p) => (p.layers[0].attention.probabilities.exponentials.length += 8),
    /exponentials: tensor/,
  ],
  [
    'real and unsigned',
    'a table of exponentials for an offset of Q',
    (p, sizes) => {
      sizes.set('table', 64);
      p.layers[0].attention.probabilities.exponentials = { tensor: 'table', length: 8 };
    },
    /exponentials: a table needs fixed steps/,
  ],
] as [keyof typeof models, string, Change, RegExp][])('%s: %s', (model, _, change, says) => {
  expect(verdict(model, change)).toMatch(says);
});
