/** What a device must offer to run a plan, whatever the batch: operand and output widths, K, planes of a row. */
import { rowBlocks, type Width } from '../device/descriptor.js';
import {
  contextIntegers,
  formatBits,
  linearIntegers,
  probabilityFormat,
  resultFormat,
  scoreIntegers,
} from '../model/integers.js';
import type { LinearPlan, Plan } from '../model/plan.js';
import { storesOffset } from './formats.js';
import { needsKeySums } from './memory.js';

class Needs {
  readonly a = new Set<number>();
  readonly b = new Set<number>();
  readonly o = new Set<number>();
  maxKp = 0;

  /** One product; `out` is the bits of its output. */
  product(aFormat: number, bFormat: number, k: number, out: number): void {
    const a = formatBits(aFormat);
    const b = formatBits(bFormat);
    this.a.add(a);
    this.b.add(b);
    this.o.add(out);
    this.maxKp = Math.max(this.maxKp, rowBlocks(k) * Math.max(a, b));
  }

  linear(linear: LinearPlan, transposed = false): void {
    const { branches, epilogue } = linear;
    const out = linearIntegers(linear) ?? formatBits(resultFormat(epilogue));
    for (const { input, weight } of branches) {
      if (transposed) this.product(weight.format, input.format, weight.cols, out);
      else this.product(input.format, weight.format, weight.cols, out);
    }
  }
}

const sorted = (set: ReadonlySet<number>) => [...set].sort((x, y) => x - y) as Width[];

export function requirements(plan: Omit<Plan, 'requirements' | 'identity'>): Plan['requirements'] {
  const { hidden, attentionSize, intermediate, maxTokens, layers, head } = plan;
  const needs = new Needs();
  for (const layer of layers) {
    const { query, key, value, attention, output, up, down } = layer;
    for (const linear of [query, key, output, up, down]) needs.linear(linear);
    needs.linear(value, true);
    const { probabilities, context } = attention;
    const p = probabilityFormat(layer);
    const v = resultFormat(value.epilogue);
    // A head may start inside a block, so a row of it can touch one block more: the whole row's blocks bound it.
    needs.product(
      resultFormat(query.epilogue),
      resultFormat(key.epilogue),
      attentionSize,
      scoreIntegers(plan, layer) ?? 1,
    );
    if (needsKeySums(layer)) needs.product(0, resultFormat(key.epilogue), attentionSize, 32);
    if (p !== null)
      needs.product(p, v, maxTokens, contextIntegers(plan, layer) ?? formatBits(resultFormat(context)));
    if (probabilities.kind === 'softmax' && storesOffset(probabilities.probability))
      needs.product(0, v, maxTokens, 32);
  }
  if (head.task === 'sequence-classification') needs.linear(head.pooler);
  return {
    aBits: sorted(needs.a),
    bBits: sorted(needs.b),
    oBits: sorted(needs.o),
    maxK: Math.max(hidden, attentionSize, intermediate, maxTokens),
    maxKp: needs.maxKp,
  };
}
