/**
 * The float64 functions the oracle needs and JavaScript lacks. Plain loops, no shared code with src/.
 */

/** 2 / sqrt(pi) */
const TWO_OVER_SQRT_PI = 1.1283791670955126;

/**
 * The error function in float64, within about 1e-15 (absolute).
 *
 * Below 2 the series  erf(x) = 2/sqrt(pi) e^(-x^2) sum_n 2^n x^(2n+1) / (1*3*...*(2n+1)),  whose terms are all
 * positive, so nothing cancels; above it the continued fraction of erfc (Abramowitz & Stegun 7.1.6 and 7.1.14).
 */
export function erf(x: number): number {
  if (Number.isNaN(x)) return Number.NaN;
  const z = Math.abs(x);
  const value = z < 2 ? erfSeries(z) : 1 - erfcFraction(z);
  return x < 0 ? -value : value;
}

function erfSeries(z: number): number {
  let term = z;
  let sum = z;
  for (let n = 1; term > sum * 1e-18; n++) {
    term *= (2 * z * z) / (2 * n + 1);
    sum += term;
  }
  return TWO_OVER_SQRT_PI * Math.exp(-z * z) * sum;
}

function erfcFraction(z: number): number {
  // Above 6 erfc is under 2.2e-17: erf rounds to 1.
  if (z > 6) return 0;
  // sqrt(pi) e^(z^2) erfc(z) = 1/(z + (1/2)/(z + (2/2)/(z + (3/2)/(z + ...)))): from the inside out.
  let tail = z;
  for (let n = 120; n >= 1; n--) tail = z + n / 2 / tail;
  return (TWO_OVER_SQRT_PI / 2) * (Math.exp(-z * z) / tail);
}

/** BERT's exact GELU: x/2 (1 + erf(x / sqrt 2)). */
export function gelu(x: number): number {
  return x * 0.5 * (1 + erf(x / Math.SQRT2));
}

/** x sigmoid(x), which BERT's configuration calls `swish`. */
export function swish(x: number): number {
  return x / (1 + Math.exp(-x));
}

/**
 * Sum with Neumaier's compensation: as if added in twice the precision and rounded once. The mean of a weight
 * matrix decides signs, so a weight that equals the mean must be seen to equal it.
 */
export function accurateSum(values: Float32Array | Float64Array, from: number, to: number): number {
  let sum = 0;
  let lost = 0;
  for (let i = from; i < to; i++) {
    const value = values[i]!;
    const next = sum + value;
    lost += Math.abs(sum) >= Math.abs(value) ? sum - next + value : value - next + sum;
    sum = next;
  }
  return sum + lost;
}

/**
 * Row-wise LayerNorm, weight * (z - mean) / sqrt(var + 1e-12) + bias, with the biased variance. The epsilon is
 * fixed whatever the configuration says.
 */
export function layerNorm(z: Float64Array, weight: Float64Array, bias: Float64Array): Float64Array {
  const width = weight.length;
  const y = new Float64Array(z.length);
  for (let at = 0; at < z.length; at += width) {
    let mean = 0;
    for (let j = 0; j < width; j++) mean += z[at + j]!;
    mean /= width;
    let variance = 0;
    for (let j = 0; j < width; j++) variance += (z[at + j]! - mean) ** 2;
    variance /= width;
    const deviation = Math.sqrt(variance + 1e-12);
    for (let j = 0; j < width; j++) y[at + j] = (weight[j]! * (z[at + j]! - mean)) / deviation + bias[j]!;
  }
  return y;
}

/** Softmax over every row of `width` numbers. */
export function softmaxRows(scores: Float64Array, width: number): Float64Array {
  const p = new Float64Array(scores.length);
  for (let at = 0; at < scores.length; at += width) {
    let largest = -Infinity;
    for (let j = 0; j < width; j++) largest = Math.max(largest, scores[at + j]!);
    let sum = 0;
    for (let j = 0; j < width; j++) {
      const e = Math.exp(scores[at + j]! - largest);
      p[at + j] = e;
      sum += e;
    }
    for (let j = 0; j < width; j++) p[at + j] = p[at + j]! / sum;
  }
  return p;
}
