/**
 * What the reordering saves, counted: floating-point multiplications and additions of one encoder layer before it, after it, and after
 * the thresholds. Definitions (docs/quantisation.md): `before` multiplies dequantised floats; `reordered` does the integers first, then one
 * multiplication and addition per linear output and branch, one multiplication per score and context value; `thresholds` counts only what
 * is left where no integer threshold or table of exponentials decides. Softmax, LayerNorm and quantisers are the same in all three and not counted.
 */
import { formatName, parseFormat } from '../device/descriptor.js';
import {
  contextIntegers,
  formatBits,
  type IntegerBits,
  linearIntegers,
  probabilityFormat,
  resultFormat,
  scoreIntegers,
} from '../model/integers.js';
import type { EpiloguePlan, LayerPlan, LinearPlan, Plan } from '../model/plan.js';

export interface Count {
  readonly multiplies: number;
  readonly adds: number;
}

/** One product of a layer for a sequence of some tokens. */
export interface ProductCost {
  readonly name: string;
  /** Products of M x K by K x N: heads, or branches. */
  readonly times: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** null: real numbers. */
  readonly aBits: number | null;
  readonly bBits: number;
  /** What the product leaves: codes in a format ("pm1", "s4"), integers ("int16", "int32"), or "real" values. */
  readonly leaves: string;
  /** Where its result is requantised, and why. */
  readonly decided: 'engine' | 'cpu';
  readonly why: string;
  readonly before: Count;
  readonly reordered: Count;
  readonly thresholds: Count;
}

export interface LayerCost {
  readonly products: readonly ProductCost[];
  readonly macs: number;
  readonly before: Count;
  readonly reordered: Count;
  readonly thresholds: Count;
}

const NONE: Count = { multiplies: 0, adds: 0 };
/** Counts added up. */
export const sum = (counts: readonly Count[]): Count =>
  counts.reduce(
    (total, { multiplies, adds }) => ({ multiplies: total.multiplies + multiplies, adds: total.adds + adds }),
    NONE,
  );

const nameOf = (format: number): string => {
  const parsed = parseFormat(format);
  return parsed ? formatName(parsed) : `format ${format}`;
};

type Decision = Pick<ProductCost, 'decided' | 'why' | 'leaves'>;

/** Who makes the next operand of a product; `integers` is what it leaves where that is not the engine. */
const decisionOf = (epilogue: EpiloguePlan, integers: IntegerBits | null): Decision => ({
  decided: epilogue.kind === 'affine' ? 'cpu' : 'engine',
  leaves:
    epilogue.kind === 'affine' ? (integers === null ? 'real' : `int${integers}`) : nameOf(epilogue.format),
  why: epilogue.why,
});

function linearCost(name: string, linear: LinearPlan, tokens: number): ProductCost {
  const { branches, epilogue } = linear;
  const { weight } = branches[0]!;
  const outputs = tokens * weight.rows * branches.length;
  const reordered = { multiplies: outputs, adds: outputs };
  return {
    name,
    times: branches.length,
    m: tokens,
    n: weight.rows,
    k: weight.cols,
    aBits: Math.max(...branches.map(({ input }) => formatBits(input.format))),
    bBits: Math.max(...branches.map((branch) => formatBits(branch.weight.format))),
    ...decisionOf(epilogue, linearIntegers(linear)),
    before: { multiplies: outputs * weight.cols, adds: outputs * weight.cols },
    reordered,
    thresholds: epilogue.kind === 'affine' ? reordered : NONE,
  };
}

/** Scores and context: no bias, so no addition is left; the sum of K products needs K - 1. */
function headCost(
  name: string,
  shape: { times: number; m: number; n: number; k: number },
  bits: [number | null, number],
  decision: Decision,
  scaled: boolean,
): ProductCost {
  const outputs = shape.times * shape.m * shape.n;
  const reordered = { multiplies: outputs, adds: 0 };
  return {
    name,
    ...shape,
    aBits: bits[0],
    bBits: bits[1],
    ...decision,
    before: { multiplies: outputs * shape.k, adds: outputs * (shape.k - 1) },
    reordered,
    thresholds: scaled ? reordered : NONE,
  };
}

/** Counts one layer for a sequence of `tokens`. */
export function explainLayer(plan: Plan, layer: LayerPlan, tokens: number): LayerCost {
  const { heads, attentionSize } = plan;
  const headSize = attentionSize / heads;
  const { attention } = layer;
  const { probabilities, context } = attention;
  const q = formatBits(resultFormat(layer.query.epilogue));
  const k = formatBits(resultFormat(layer.key.epilogue));
  const v = formatBits(resultFormat(layer.value.epilogue));
  const table = probabilities.kind !== 'boolean' && probabilities.exponentials !== null;
  const scores: Decision =
    probabilities.kind === 'boolean'
      ? {
          decided: 'engine',
          leaves: nameOf(probabilities.format),
          why: 'P = 1 where the score is above 0',
        }
      : {
          decided: 'cpu',
          leaves: `int${scoreIntegers(plan, layer)}`,
          why: table ? 'softmax from a table of exponentials' : 'softmax with exp per score',
        };
  const p = probabilityFormat(layer);
  const contextCost = headCost(
    'context',
    { times: heads, m: tokens, n: headSize, k: tokens },
    [p === null ? null : formatBits(p), v],
    decisionOf(context, contextIntegers(plan, layer)),
    context.kind === 'affine',
  );
  const products = [
    linearCost('query', layer.query, tokens),
    linearCost('key', layer.key, tokens),
    linearCost('value', layer.value, tokens),
    headCost(
      'scores',
      { times: heads, m: tokens, n: tokens, k: headSize },
      [q, k],
      scores,
      probabilities.kind !== 'boolean' && !table,
    ),
    p === null
      ? { ...contextCost, reordered: contextCost.before, thresholds: contextCost.before }
      : contextCost,
    linearCost('output', layer.output, tokens),
    linearCost('up', layer.up, tokens),
    linearCost('down', layer.down, tokens),
  ];
  return {
    products,
    macs: products.reduce((total, { times, m, n, k: depth }) => total + times * m * n * depth, 0),
    before: sum(products.map(({ before }) => before)),
    reordered: sum(products.map(({ reordered }) => reordered)),
    thresholds: sum(products.map(({ thresholds }) => thresholds)),
  };
}
