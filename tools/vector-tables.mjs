/**
 * Writes native/vector/lanes/tables.h: the constants of exp and erf, computed here in fixed point of 256 bits. `--check` only compares.
 *
 * erf on [0, 6) is a polynomial on each of 16 equal parts: its Taylor series about the middle of the part, of degree 40, made
 * shorter by Chebyshev polynomials (each step down from degree n loses at most the coefficient over 2^(n-1)).
 */
import { generate } from './generated.mjs';

const FRACTION = 256n;
const ONE = 1n << FRACTION;
const PARTS = 16;
const END = 6n;
const DEGREE = 12;
const SERIES = 40;

const mul = (a, b) => (a * b) >> FRACTION;
const div = (a, b) => (a << FRACTION) / b;

/** A fixed-point number to the nearest double. */
function toDouble(x) {
  if (x === 0n) return 0;
  const negative = x < 0n;
  let magnitude = negative ? -x : x;
  let exponent = -Number(FRACTION);
  const excess = magnitude.toString(2).length - 53;
  if (excess > 0) {
    const half = 1n << BigInt(excess - 1);
    const rest = magnitude & ((1n << BigInt(excess)) - 1n);
    magnitude >>= BigInt(excess);
    if (rest > half || (rest === half && (magnitude & 1n) === 1n)) magnitude++;
    exponent += excess;
  }
  const value = Number(magnitude) * 2 ** exponent;
  return negative ? -value : value;
}

function root(x) {
  let guess = BigInt(Math.round(Math.sqrt(toDouble(x)) * 2 ** 40)) << (FRACTION - 40n);
  for (let i = 0; i < 10; i++) guess = (guess + div(x, guess)) / 2n;
  return guess;
}

function exp(x) {
  // exp(x) = exp(x / 2^16)^(2^16)
  const small = x >> 16n;
  let term = ONE;
  let sum = ONE;
  for (let n = 1n; n < 40n; n++) {
    term = mul(term, small) / n;
    sum += term;
  }
  for (let i = 0; i < 16; i++) sum = mul(sum, sum);
  return sum;
}

function atanInverse(n) {
  let power = ONE / n;
  let sum = power;
  for (let k = 1n; power !== 0n; k++) {
    power = -power / (n * n);
    sum += power / (2n * k + 1n);
  }
  return sum;
}

const PI = 16n * atanInverse(5n) - 4n * atanInverse(239n);
const TWO_BY_ROOT_PI = div(2n * ONE, root(PI));

/** erf(x) by its series about 0. */
function erf(x) {
  let power = x;
  let sum = x;
  for (let n = 1n; n < 400n; n++) {
    power = -mul(mul(power, x), x) / n;
    sum += power / (2n * n + 1n);
  }
  return mul(TWO_BY_ROOT_PI, sum);
}

/** Coefficients of erf(centre + u) in u/half, u in [-half, half]. f' = g, g' = -2x g. */
function series(centre, half) {
  const g = [mul(TWO_BY_ROOT_PI, exp(-mul(centre, centre)))];
  for (let k = 0; k < SERIES; k++) {
    const next = -2n * (mul(centre, g[k]) + (k > 0 ? g[k - 1] : 0n));
    g.push(next / BigInt(k + 1));
  }
  let scale = ONE;
  const coefficients = [erf(centre)];
  for (let k = 0; k < SERIES; k++) {
    scale = mul(scale, half);
    coefficients.push(mul(g[k], scale) / BigInt(k + 1));
  }
  return coefficients;
}

/** Integer coefficients of the Chebyshev polynomial T_n. */
function chebyshev(n) {
  let [before, now] = [[1n], [0n, 1n]];
  if (n === 0) return before;
  for (let k = 1; k < n; k++) {
    const next = [0n, ...now.map((c) => 2n * c)];
    before.forEach((c, i) => {
      next[i] -= c;
    });
    [before, now] = [now, next];
  }
  return now;
}

/** The polynomial of degree DEGREE that is left when the highest power is replaced by what T_n has below it, again and again. */
function shorten(coefficients) {
  const result = [...coefficients];
  while (result.length > DEGREE + 1) {
    const n = result.length - 1;
    const t = chebyshev(n);
    const top = result.pop();
    for (let i = 0; i < n; i++) result[i] -= (top * (t[i] ?? 0n)) / t[n];
  }
  return result;
}

function erfParts() {
  const width = (END << FRACTION) / BigInt(PARTS);
  const half = width / 2n;
  return Array.from({ length: PARTS }, (_, part) => {
    const centre = width * BigInt(part) + half;
    let scale = ONE;
    return shorten(series(centre, half)).map((c) => {
      const coefficient = toDouble(div(c, scale));
      scale = mul(scale, half);
      return coefficient;
    });
  });
}

function logTwo() {
  // 2 atanh(1/3)
  let power = ONE / 3n;
  let sum = power;
  for (let k = 1n; power !== 0n; k++) {
    power /= 9n;
    sum += power / (2n * k + 1n);
  }
  return 2n * sum;
}

function text() {
  const list = (values, perLine) => {
    const lines = [];
    for (let i = 0; i < values.length; i += perLine)
      lines.push(`    ${values.slice(i, i + perLine).join(', ')},`);
    return lines.join('\n');
  };
  const hex = (x) => {
    // C hexadecimal floating point, exact.
    const bytes = new DataView(new ArrayBuffer(8));
    bytes.setFloat64(0, x);
    const bits = bytes.getBigUint64(0);
    const exponent = Number((bits >> 52n) & 0x7ffn) - 1023;
    if (x === 0) return '0';
    return `${x < 0 ? '-' : ''}0x1.${(bits & ((1n << 52n) - 1n)).toString(16).padStart(13, '0')}p${exponent}`;
  };
  const ln2 = logTwo();
  const powers = Array.from({ length: 16 }, (_, j) => hex(toDouble(exp((ln2 * BigInt(j)) / 16n))));
  const parts = erfParts();
  const step = ln2 / 16n;
  // 36 bits: a product with a whole number of up to 17 bits is exact.
  const high = (step >> (FRACTION - 40n)) << (FRACTION - 40n);
  const padded = (row) => [...row, ...new Array(16 - row.length).fill(0)];
  return `/* Generated by tools/vector-tables.mjs. Do not edit. */
#ifndef BETA_VECTOR_TABLES_H
#define BETA_VECTOR_TABLES_H

/* ln(2)/16 in two parts, and its inverse. */
#define BETA_LN2_16_HIGH ${hex(toDouble(high))}
#define BETA_LN2_16_LOW ${hex(toDouble(step - high))}
#define BETA_16_LN2 ${hex(toDouble(div(ONE, step)))}

/* 2^(j/16) */
static const double beta_powers[16] __attribute__((unused, aligned(64))) = {
${list(powers, 4)}
};

/* erf(x) for x in [part, part + 1) * 6/16: coefficients of the powers of x minus the middle of the part. */
#define BETA_ERF_DEGREE ${DEGREE}
static const double beta_erf[16][16] __attribute__((unused, aligned(64))) = {
${parts.map((row) => `  {\n${list(padded(row).map(hex), 4)}\n  },`).join('\n')}
};

/* The same, a row for each power. */
static const double beta_erf_turned[${DEGREE + 1}][16] __attribute__((unused, aligned(64))) = {
${Array.from(
  { length: DEGREE + 1 },
  (_, power) =>
    `  {\n${list(
      parts.map((row) => hex(row[power])),
      4,
    )}\n  },`,
).join('\n')}
};

#endif
`;
}

generate([['native/vector/lanes/tables.h', text]], 'npm run contract');
