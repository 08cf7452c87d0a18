/**
 * BiT's quantisers on float64 values, as the released code defines them. They return the dequantised numbers, never
 * codes, so they share no trick with an integer implementation. With a' = max(a, 1e-5) and n bits:
 *
 *   signed    S(x; a) = a' sgn(x)                                             n = 1
 *                       a' clip(rne(x / a'), -2^(n-1), 2^(n-1) - 1)           n > 1
 *   unsigned  U(x; a) = a' clip(rne(x / a'), 0, 1)                            n = 1
 *                       a' clip(rne((x - t) / a'), 0, 2^n - 1) + t            n > 1, t the minimum of all of x
 */
import { accurateSum } from './maths.js';

export interface OracleTensor {
  shape: number[];
  data: Float32Array | Float64Array;
}

export interface BinarisedMatrix {
  /** rows x columns, each -1, 0 or +1 (0 where a weight equals the mean: torch.sign keeps zero) */
  signs: Float64Array;
  /** one scale per row (all equal when layerwise) */
  scales: Float64Array;
}

/** Wq = scale * sgn(W - e): e is the mean of the whole matrix, the scale the mean |W| of the matrix or of the row. */
export function binarise(matrix: OracleTensor, layerwise: boolean): BinarisedMatrix {
  const rows = matrix.shape[0]!;
  const columns = matrix.shape[1]!;
  const { data } = matrix;
  const mean = accurateSum(data, 0, data.length) / data.length;
  const signs = new Float64Array(data.length);
  const magnitudes = new Float64Array(data.length);
  for (let i = 0; i < data.length; i++) {
    const centred = data[i]! - mean;
    signs[i] = centred > 0 ? 1 : centred < 0 ? -1 : 0;
    magnitudes[i] = Math.abs(data[i]!);
  }
  const scales = new Float64Array(rows);
  const whole = accurateSum(magnitudes, 0, magnitudes.length) / magnitudes.length;
  for (let row = 0; row < rows; row++) {
    scales[row] = layerwise ? whole : accurateSum(magnitudes, row * columns, (row + 1) * columns) / columns;
  }
  return { signs, scales };
}

/** Round to nearest, halves to even: torch.round. */
export function roundHalfEven(x: number): number {
  const below = Math.floor(x);
  const fraction = x - below;
  if (fraction < 0.5) return below;
  if (fraction > 0.5) return below + 1;
  return below % 2 === 0 ? below : below + 1;
}

/** Smallest scale the released code uses; a smaller or negative stored one counts as this. */
export const SMALLEST_SCALE = 1e-5;

export interface ActivationQuantiser {
  /** 1, 2, 4 or 8; 32 leaves the values as they are */
  bits: number;
  /** S if true, U if false */
  signed: boolean;
  /** the stored clip value a, not yet clamped */
  scale: number;
}

/** Collects the smallest distance of a quantiser input from a threshold, in units of the quantiser's scale. */
export class DecisionMargin {
  smallest = Infinity;
}

/**
 * S(x + offset; a) or U(x + offset; a).
 *
 * @param x       rows x width, row-major; not changed
 * @param offset  one number per column (`move.bias`), or null where the network has none (q, k, v, probabilities)
 * @param margin  lowered to the closest decision. Where x is exactly 0 the decision is left out: what is quantised
 *                is then a stored constant, and no order of operations can move it
 */
export function quantiseActivations(
  x: Float64Array,
  offset: Float64Array | null,
  quantiser: ActivationQuantiser,
  margin: DecisionMargin,
): Float64Array {
  const moved = Float64Array.from(x);
  if (offset !== null) {
    for (let i = 0; i < x.length; i++) moved[i] = x[i]! + offset[i % offset.length]!;
  }
  const { bits, signed } = quantiser;
  if (bits === 32) return moved;
  const scale = Math.max(quantiser.scale, SMALLEST_SCALE);
  if (signed && bits === 1) return signActivations(x, moved, scale, margin);

  // t: over the whole tensor, only for unsigned quantisers of more than one bit.
  let minimum = 0;
  if (!signed && bits > 1) {
    minimum = Infinity;
    for (let i = 0; i < moved.length; i++) minimum = Math.min(minimum, moved[i]!);
  }
  const lowest = signed ? -(2 ** (bits - 1)) : 0;
  const highest = signed ? 2 ** (bits - 1) - 1 : 2 ** bits - 1;
  const y = new Float64Array(x.length);
  for (let i = 0; i < x.length; i++) {
    const level = (moved[i]! - minimum) / scale;
    y[i] = scale * Math.min(Math.max(roundHalfEven(level), lowest), highest) + minimum;
    if (x[i] !== 0) {
      const threshold = Math.min(Math.max(Math.floor(level) + 0.5, lowest + 0.5), highest - 0.5);
      margin.smallest = Math.min(margin.smallest, Math.abs(level - threshold));
    }
  }
  return y;
}

function signActivations(
  x: Float64Array,
  moved: Float64Array,
  scale: number,
  margin: DecisionMargin,
): Float64Array {
  const y = new Float64Array(x.length);
  for (let i = 0; i < x.length; i++) {
    const value = moved[i]!;
    y[i] = value > 0 ? scale : value < 0 ? -scale : 0;
    if (x[i] !== 0) margin.smallest = Math.min(margin.smallest, Math.abs(value) / scale);
  }
  return y;
}
