/**
 * Latent float weights to integer codes and scales. Sums are in double: the float32 `norm(p=1)` of the published code is
 * off by up to 5e-4, enough to move decisions (docs/quantisation.md).
 */
import type { Clip, WeightCodes } from './description.js';

type Values = Float32Array | Float64Array;

/** Mean of all values. Exact enough in double: float32 inputs leave 29 spare bits. */
export function mean(values: Values): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]!;
  return sum / values.length;
}

/** Mean |w| of the matrix (one value), or of each row. Of the weights as they are, not centred. */
export function meanMagnitude(values: Values, rows: number, perRow: boolean): Float64Array {
  const groups = perRow ? rows : 1;
  const size = values.length / groups;
  const scales = new Float64Array(groups);
  for (let group = 0, i = 0; group < groups; group++) {
    let sum = 0;
    for (const end = i + size; i < end; i++) sum += Math.abs(values[i]!);
    scales[group] = sum / size;
  }
  return scales;
}

/** Mean of each row. */
export function rowMeans(values: Values, rows: number): Float64Array {
  const size = values.length / rows;
  return Float64Array.from({ length: rows }, (_, row) => mean(values.subarray(row * size, (row + 1) * size)));
}

/** sign(w - centre) of every weight, `centre` one for all or one per row; a weight equal to it has code 0, as torch.sign. */
export function signCodes(values: Values, rows: number, centre: number | Float64Array): WeightCodes {
  const codes = new Int8Array(values.length);
  const cols = values.length / rows;
  for (let row = 0, i = 0; row < rows; row++) {
    const middle = typeof centre === 'number' ? centre : centre[row]!;
    for (const end = i + cols; i < end; i++) codes[i] = Math.sign(values[i]! - middle);
  }
  return { rows, cols, codes };
}

/** Share of mean |w| below which a ternary weight is 0 (TWN, arXiv 1605.04711). */
const TWN_THRESHOLD = 0.7;

/**
 * Ternary weight codes: w is clipped, then 0 where |w| <= 0.7 mean |w|, else its sign; the scale is the mean |w| of the others. Over
 * the matrix (one scale), or row by row.
 */
export function ternariseWeights(
  values: Values,
  rows: number,
  perRow: boolean,
  clip: Clip,
): { codes: WeightCodes; scale: Float64Array } {
  const clipped = Float64Array.from(values, (value) => Math.min(Math.max(value, clip.low), clip.high));
  const thresholds = meanMagnitude(clipped, rows, perRow).map((value) => TWN_THRESHOLD * value);
  const codes = new Int8Array(values.length);
  const size = values.length / thresholds.length;
  const scale = thresholds.map((threshold, group) => {
    let sum = 0;
    let count = 0;
    for (let i = group * size; i < (group + 1) * size; i++) {
      const magnitude = Math.abs(clipped[i]!);
      if (magnitude <= threshold) continue;
      codes[i] = Math.sign(clipped[i]!);
      sum += magnitude;
      count++;
    }
    return count === 0 ? 0 : sum / count;
  });
  return { codes: { rows, cols: values.length / rows, codes }, scale };
}

/** True where some code is 0, so that one plane is not enough. */
export function hasZero({ codes }: WeightCodes): boolean {
  return codes.includes(0);
}
