/** Counts of the paper's shape, BERT-base at 128 tokens, held against figures worked out by hand (docs/quantisation.md). */
import { expect, test } from 'vitest';
import { explainLayer } from '../../../src/compiler/explain.js';
import { Artifact } from '../../../src/model/artifact/read.js';
import {
  type AffinePlan,
  type EpiloguePlan,
  type LayerPlan,
  type LinearPlan,
  planSchema,
} from '../../../src/model/plan.js';

const { plan } = Artifact.open(new URL('../../../models/intents.beta', import.meta.url).pathname);

/** The demo model's first layer, in BERT-base's dimensions. Nothing but shapes and choices is counted. */
function base(change: (layer: LayerPlan) => LayerPlan = (layer) => layer): LayerPlan {
  const first = plan.layers[0]!;
  const sized = (linear: LinearPlan, rows: number, cols: number): LinearPlan => ({
    ...linear,
    branches: linear.branches.map((branch) => ({ ...branch, weight: { ...branch.weight, rows, cols } })),
  });
  return change({
    ...first,
    query: sized(first.query, 768, 768),
    key: sized(first.key, 768, 768),
    value: sized(first.value, 768, 768),
    output: sized(first.output, 768, 768),
    up: sized(first.up, 3072, 768),
    down: sized(first.down, 768, 3072),
  });
}

const shape = { ...plan, hidden: 768, heads: 12, attentionSize: 768, intermediate: 3072 };

test('BERT-base, 128 tokens, one bit: 931,135,488 multiplies become 1,179,648, and 196,608 with thresholds', () => {
  expect(planSchema.safeParse(plan).success).toBe(true);
  const cost = explainLayer(shape, base(), 128);
  expect(cost.macs).toBe(931_135_488);
  expect(cost.before).toEqual({ multiplies: 931_135_488, adds: 930_840_576 });
  expect(cost.reordered).toEqual({ multiplies: 1_179_648, adds: 884_736 });
  expect(cost.thresholds).toEqual({ multiplies: 196_608, adds: 196_608 });
});

test('where nothing is a threshold, and scores call exp, the reordered count is what is left', () => {
  const affine: AffinePlan = {
    kind: 'affine',
    terms: [{ scale: 1, sums: null }],
    bias: null,
    quantisers: [],
    why: 'test',
  };
  const plain = (linear: LinearPlan): LinearPlan => ({ ...linear, epilogue: affine satisfies EpiloguePlan });
  const layer = base((of) => ({
    ...of,
    up: plain(of.up),
    attention: {
      ...of.attention,
      context: affine,
      probabilities: {
        ...(of.attention.probabilities as { kind: 'softmax' } & typeof of.attention.probabilities),
        exponentials: null,
      } as typeof of.attention.probabilities,
    },
  }));
  const { reordered, thresholds } = explainLayer(shape, layer, 128);
  // Q, K and V still have their thresholds: 3 x 128 x 768 are saved.
  expect(thresholds.multiplies).toBe(reordered.multiplies - 294_912);
});

test('two branches count twice', () => {
  const layer = base((of) => ({
    ...of,
    down: { ...of.down, branches: [of.down.branches[0]!, of.down.branches[0]!] },
  }));
  const one = explainLayer(shape, base(), 128);
  const two = explainLayer(shape, layer, 128);
  expect(two.macs - one.macs).toBe(128 * 768 * 3072);
  expect(two.reordered.multiplies - one.reordered.multiplies).toBe(128 * 768);
});
