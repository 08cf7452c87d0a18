/** Quantisers and accumulators by their definition (docs/quantisation.md), written without the compiler's. */

/** The integer nearest to x, the even one of two that are equally near: torch.round. */
export function nearestEven(x: number): number {
  const below = Math.floor(x);
  const candidates = [below, below + 1].sort(
    (a, b) => Math.abs(x - a) - Math.abs(x - b) || Math.abs(a % 2) - Math.abs(b % 2),
  );
  return candidates[0]!;
}

export interface NaiveQuantiser {
  readonly signed: boolean;
  readonly bits: number;
  readonly step: number;
}

/** Code of a value to which the shift has been added and from which t has been taken. */
export function naiveCode({ signed, bits, step }: NaiveQuantiser, value: number): number {
  if (signed && bits === 1) return value > 0 ? 1 : value < 0 ? -1 : 0;
  const lowest = signed ? -(2 ** (bits - 1)) : 0;
  const highest = signed ? 2 ** (bits - 1) - 1 : 2 ** bits - 1;
  const code = nearestEven(value / step);
  if (code < lowest) return lowest;
  return code > highest ? highest : code + 0; // A zero without a sign.
}

/** Code that the engine's epilogue gives an accumulator: contract section 5, in integers without bounds. */
export function engineCode(format: number, table: Int32Array, channel: number, d: number): number {
  const s = BigInt.asIntN(32, BigInt(d) + BigInt(table[channel * 2]!));
  const r = (s * BigInt(table[channel * 2 + 1]!) + (1n << 23n)) >> 24n; // BigInt shifts are floors.
  if (format === 0x20) return r >= 0n ? 1 : -1;
  const bits = 2 ** (format & 7);
  const [lowest, highest] = format >> 4 ? [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] : [0, 2 ** bits - 1];
  return Number(r < BigInt(lowest) ? BigInt(lowest) : r > BigInt(highest) ? BigInt(highest) : r);
}

/** Whole numbers from one to another, both included. */
export const between = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, i) => from + i);

/** Every accumulator that can occur: up to the bound, and of the parity of K where operands have no zeros. */
export function accumulatorsOf({ bound, parityOf }: { bound: number; parityOf: number | null }): number[] {
  return between(-bound, bound).filter((d) => parityOf === null || Math.abs(d - parityOf) % 2 === 0);
}
