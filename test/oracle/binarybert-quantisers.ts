/**
 * BinaryBERT's quantisers on float64 values, as the released code defines them. They return the dequantised numbers,
 * never codes, so they share no trick with an integer implementation. With n bits and rne rounding halves to even:
 *
 *   uniform  first z = clip(x, c0, c1); ranges are taken over the whole tensor, after the clipping
 *     signed    rne(z s) / s                                        s = (2^(n-1) - 1) / max |z|
 *     unsigned  rne((z - t) / w (2^n - 1)) / (2^n - 1) w + t        t = min z, w = max z - t + 1e-8
 *   lsq      a the learned step
 *     signed    a clip(rne(x / a), -2^(n-1), 2^(n-1) - 1)
 *     unsigned  a clip(rne((x - t) / a), 0, 2^n - 1) + t            t = min x over the whole tensor
 */
import { accurateSum } from './maths.js';
import { type BinarisedMatrix, type OracleTensor, roundHalfEven } from './quantisers.js';

/** The released code adds it to the range of an unsigned uniform quantiser, so that a constant tensor divides. */
const RANGE_GUARD = 1e-8;

export type ActivationQuantiser =
  | { method: 'none' }
  | { method: 'uniform'; bits: number; signed: boolean; clip: readonly [number, number] }
  | { method: 'lsq'; bits: number; signed: boolean; step: number };

/** Keeps account of how close the inputs of quantisers come to a threshold, which lies halfway between two codes. */
export class Decisions {
  /** smallest distance that is not 0, in code units; Infinity if there was no decision */
  smallest = Infinity;
  /** inputs exactly on a threshold */
  ties = 0;

  /** @param level  a quantiser's input in code units, before rounding; codes run from lowest to highest */
  note(level: number, lowest: number, highest: number): void {
    const threshold = Math.min(Math.max(Math.floor(level) + 0.5, lowest + 0.5), highest - 0.5);
    const distance = Math.abs(level - threshold);
    if (distance === 0) this.ties++;
    else if (distance < this.smallest) this.smallest = distance;
  }
}

/** scale * sgn(W), the sign taken without centring; the scale is the mean |W| of the matrix or of each row. */
export function binariseUncentred(matrix: OracleTensor, layerwise: boolean): BinarisedMatrix {
  const rows = matrix.shape[0]!;
  const columns = matrix.shape[1]!;
  const weights = Float64Array.from(matrix.data);
  const signs = weights.map(Math.sign);
  const magnitudes = weights.map(Math.abs);
  const whole = accurateSum(magnitudes, 0, magnitudes.length) / magnitudes.length;
  const scales = new Float64Array(rows).fill(whole);
  if (!layerwise) {
    for (let row = 0; row < rows; row++)
      scales[row] = accurateSum(magnitudes, row * columns, (row + 1) * columns) / columns;
  }
  return { signs, scales };
}

/**
 * The tensor x quantised and dequantised again; x is not changed.
 *
 * An all-zero tensor gives NaN where a signed uniform quantiser divides by its largest magnitude, as in the released
 * code.
 */
export function quantiseActivations(
  x: Float64Array,
  quantiser: ActivationQuantiser,
  decisions: Decisions,
): Float64Array {
  switch (quantiser.method) {
    case 'none':
      return Float64Array.from(x);
    case 'uniform': {
      const [low, high] = quantiser.clip;
      const clipped = x.map((value) => Math.max(Math.min(value, high), low));
      if (quantiser.signed) return symmetric(clipped, quantiser.bits, decisions);
      return asymmetric(clipped, quantiser.bits, decisions);
    }
    case 'lsq':
      return learnedStep(x, quantiser, decisions);
  }
}

function symmetric(z: Float64Array, bits: number, decisions: Decisions): Float64Array {
  const highest = 2 ** (bits - 1) - 1;
  let largest = 0;
  for (const value of z) largest = Math.max(largest, Math.abs(value));
  const s = highest / largest;
  return z.map((value) => {
    const level = value * s;
    decisions.note(level, -highest, highest);
    return roundHalfEven(level) / s;
  });
}

function asymmetric(z: Float64Array, bits: number, decisions: Decisions): Float64Array {
  const highest = 2 ** bits - 1;
  let largest = -Infinity;
  for (const value of z) largest = Math.max(largest, value);
  const smallest = minimum(z);
  const width = largest - smallest + RANGE_GUARD;
  return z.map((value) => {
    const level = ((value - smallest) / width) * highest;
    decisions.note(level, 0, highest);
    return (roundHalfEven(level) / highest) * width + smallest;
  });
}

function learnedStep(
  x: Float64Array,
  { bits, signed, step }: { bits: number; signed: boolean; step: number },
  decisions: Decisions,
): Float64Array {
  const lowest = signed ? -(2 ** (bits - 1)) : 0;
  const highest = lowest + 2 ** bits - 1;
  const offset = signed ? 0 : minimum(x);
  return x.map((value) => {
    const level = (value - offset) / step;
    decisions.note(level, lowest, highest);
    return step * Math.min(Math.max(roundHalfEven(level), lowest), highest) + offset;
  });
}

function minimum(x: Float64Array): number {
  let smallest = Infinity;
  for (const value of x) smallest = Math.min(smallest, value);
  return smallest;
}
