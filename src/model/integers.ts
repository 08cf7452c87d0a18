/**
 * Which products of a plan leave integers for a vector step, and how wide these are: int16 where no accumulator of the operands'
 * formats exceeds it, because that halves the bytes the engine writes and the CPU reads. It follows from formats and sizes alone, so
 * no artifact can claim a width that overflows.
 */
import type { BranchPlan, EpiloguePlan, LayerPlan, LinearPlan, Plan } from './plan.js';

/** Bits of one integer of a result row. */
export type IntegerBits = 16 | 32;

/** Bits of a format byte. */
export function formatBits(format: number): number {
  return 2 ** (format & 7);
}

/** Largest magnitude of a value in an operand format. */
function largestValue(format: number): number {
  const bits = formatBits(format);
  if (format >> 4 === 0) return 2 ** bits - 1;
  return bits === 1 ? 1 : 2 ** (bits - 1);
}

/** Width of the integers of a product of `k` terms. */
export function integerBits(aFormat: number, bFormat: number, k: number): IntegerBits {
  return largestValue(aFormat) * largestValue(bFormat) * k < 2 ** 15 ? 16 : 32;
}

/** Format byte of the only operand that an epilogue leaves. */
export function resultFormat(epilogue: EpiloguePlan): number {
  return epilogue.kind === 'affine' ? epilogue.quantisers[0]!.format : epilogue.format;
}

/** Format of a layer's probabilities; null where they stay real. */
export function probabilityFormat({ attention: { probabilities } }: LayerPlan): number | null {
  if (probabilities.kind === 'real') return null;
  return probabilities.kind === 'softmax' ? probabilities.probability.format : probabilities.format;
}

const branchBits = ({ input, weight }: BranchPlan) => integerBits(input.format, weight.format, weight.cols);

/** Width of the integers of a linear layer, one for all its branches; null where the engine's epilogue leaves codes. */
export function linearIntegers({ branches, epilogue }: LinearPlan): IntegerBits | null {
  if (epilogue.kind !== 'affine') return null;
  return branches.every((branch) => branchBits(branch) === 16) ? 16 : 32;
}

type Sizes = Pick<Plan, 'heads' | 'attentionSize' | 'maxTokens'>;

/** Width of the integer scores; null where the engine's epilogue leaves P. */
export function scoreIntegers(plan: Sizes, { query, key, attention }: LayerPlan): IntegerBits | null {
  if (attention.probabilities.kind === 'boolean') return null;
  return integerBits(
    resultFormat(query.epilogue),
    resultFormat(key.epilogue),
    plan.attentionSize / plan.heads,
  );
}

/** Width of the integers of P.V; null where the engine's epilogue leaves codes, or P is real. */
export function contextIntegers(plan: Sizes, layer: LayerPlan): IntegerBits | null {
  const p = probabilityFormat(layer);
  if (p === null || layer.attention.context.kind !== 'affine') return null;
  return integerBits(p, resultFormat(layer.value.epilogue), plan.maxTokens);
}

/** Widths of the integers of every product whose result a vector step reads. */
export function integersOf(plan: Sizes & Pick<Plan, 'layers' | 'head'>): ReadonlySet<IntegerBits> {
  const widths = plan.layers.flatMap((layer) => [
    ...[layer.query, layer.key, layer.value, layer.output, layer.up, layer.down].map(linearIntegers),
    scoreIntegers(plan, layer),
    contextIntegers(plan, layer),
  ]);
  if (plan.head.task === 'sequence-classification') widths.push(linearIntegers(plan.head.pooler));
  return new Set(widths.filter((width) => width !== null));
}

/** Entries of the identity table: columns of the widest product. */
export function identityLength({
  hidden,
  attentionSize,
  intermediate,
  maxTokens,
}: Pick<Plan, 'hidden' | 'attentionSize' | 'intermediate' | 'maxTokens'>): number {
  return Math.max(hidden, attentionSize, intermediate, maxTokens);
}
