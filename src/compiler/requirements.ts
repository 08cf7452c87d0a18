/** What a device must offer to run a plan, whatever the batch: operand and output widths, K, planes of a row. */
import { rowBlocks, type Width } from '../device/descriptor.js';
import type { ModelDescription } from '../model/description.js';
import type { EpiloguePlan, HeadPlan, LayerPlan, LinearPlan, Plan } from '../model/plan.js';
import { formatBits, resultFormat, storesOffset } from './formats.js';
import { needsKeySums, probabilityFormat } from './memory.js';

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

  linear({ branches, epilogue }: LinearPlan, transposed = false): void {
    for (const { input, weight } of branches) {
      if (transposed) this.product(weight.format, input.format, weight.cols, outputBits(epilogue));
      else this.product(input.format, weight.format, weight.cols, outputBits(epilogue));
    }
  }
}

const outputBits = (epilogue: EpiloguePlan) =>
  epilogue.kind === 'threshold' ? formatBits(epilogue.format) : 32;

const sorted = (set: ReadonlySet<number>) => [...set].sort((x, y) => x - y) as Width[];

export function requirements(
  model: ModelDescription,
  layers: readonly LayerPlan[],
  head: HeadPlan,
  maxTokens: number,
): Plan['requirements'] {
  const needs = new Needs();
  for (const layer of layers) {
    const { query, key, value, attention, output, up, down } = layer;
    for (const plan of [query, key, output, up, down]) needs.linear(plan);
    needs.linear(value, true);
    const { probabilities, context } = attention;
    const p = probabilityFormat(layer);
    const v = resultFormat(value.epilogue);
    // A head may start inside a block, so a row of it can touch one block more: the whole row's blocks bound it.
    needs.product(
      resultFormat(query.epilogue),
      resultFormat(key.epilogue),
      model.attentionSize,
      probabilities.kind === 'boolean' ? 1 : 32,
    );
    if (needsKeySums(layer)) needs.product(0, resultFormat(key.epilogue), model.attentionSize, 32);
    if (p !== null) needs.product(p, v, maxTokens, outputBits(context));
    if (probabilities.kind === 'softmax' && storesOffset(probabilities.probability))
      needs.product(0, v, maxTokens, 32);
  }
  if (head.task === 'sequence-classification') needs.linear(head.pooler);
  return {
    aBits: sorted(needs.a),
    bBits: sorted(needs.b),
    oBits: sorted(needs.o),
    maxK: Math.max(model.hidden, model.attentionSize, model.intermediate, maxTokens),
    maxKp: needs.maxKp,
  };
}
