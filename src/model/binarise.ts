/**
 * Latent float weights to integer codes and scales. Sums are in double: the float32 `norm(p=1)` of the published code is
 * off by up to 5e-4, enough to move decisions (docs/quantisation.md).
 */
import type { WeightCodes } from './description.js';

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

/** sign(w - centre) of every weight; a weight equal to the centre has code 0, as torch.sign. */
export function signCodes(values: Values, rows: number, centre: number): WeightCodes {
  const codes = new Int8Array(values.length);
  for (let i = 0; i < values.length; i++) codes[i] = Math.sign(values[i]! - centre);
  return { rows, cols: values.length / rows, codes };
}

/** True where some code is 0, so that one plane is not enough. */
export function hasZero({ codes }: WeightCodes): boolean {
  return codes.includes(0);
}
