/**
 * Streamlining to integer thresholds: where a one-bit quantiser follows a monotone function of an integer accumulator, the
 * smallest accumulator that reaches the upper code decides alone, and the engine's epilogue can compare with it. The search
 * runs over the float expression itself, so the result is that expression's, bit for bit (docs/quantisation.md).
 */

/** The accumulators an output can take: from -bound to bound, only every second one where `even` steps are the rule. */
export interface Accumulators {
  readonly bound: number;
  /** Two-valued operands without zeros: D has the parity of K. */
  readonly parityOf: number | null;
}

/** Smallest D in [-bound, bound+1] with code(D) >= level; `code` must not decrease. bound + 1 means never. */
export function firstReaching(code: (d: number) => number, level: number, bound: number): number {
  let low = -bound;
  let high = bound + 1;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (code(middle) >= level) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** True where some reachable accumulator lies in [from, to). */
export function reachable(from: number, to: number, { bound, parityOf }: Accumulators): boolean {
  let first = Math.max(from, -bound);
  if (parityOf !== null && Math.abs(first - parityOf) % 2 === 1) first++;
  return first < to && first <= bound;
}
