/** A plan of BERT-base's shape for programs that run nowhere: the demo model's layers in other dimensions. */
import { Artifact } from '../../../src/model/artifact/read.js';
import type { LayerPlan, LinearPlan, Plan } from '../../../src/model/plan.js';

const { plan } = Artifact.open(new URL('../../../models/intents.beta', import.meta.url).pathname);

const sized = (linear: LinearPlan, rows: number, cols: number): LinearPlan => ({
  ...linear,
  branches: linear.branches.map((branch) => ({
    ...branch,
    weight: { ...branch.weight, rows, cols, stride: Math.ceil(cols / 128) * 16 },
  })),
});

/** W1A1, `count` layers. */
export function basePlan(count = 12): Plan {
  const [hidden, intermediate] = [768, 3072];
  const first = plan.layers[0]!;
  const layer: LayerPlan = {
    ...first,
    query: sized(first.query, hidden, hidden),
    key: sized(first.key, hidden, hidden),
    value: sized(first.value, hidden, hidden),
    output: sized(first.output, hidden, hidden),
    up: sized(first.up, intermediate, hidden),
    down: sized(first.down, hidden, intermediate),
  };
  const { head } = plan;
  if (head.task !== 'sequence-classification') throw new Error('the demo model classifies');
  return {
    ...plan,
    hidden,
    heads: 12,
    attentionSize: hidden,
    intermediate,
    maxTokens: 512,
    layers: Array<LayerPlan>(count).fill(layer),
    head: { ...head, pooler: sized(head.pooler, hidden, hidden) },
  };
}
