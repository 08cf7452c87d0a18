/** QUANTISE records: drawn at random, and checked against codes that are computed one by one. */
import { expect } from 'vitest';
import { FOUND_BYTES } from '../../../src/native/steps.generated.js';
import { nearestEven } from '../compiler/naive.js';
import type { Bench, Draw, Found } from './bench.js';

const SIGN = 0;
const ROUND = 1;
const ROUND_FROM_MIN = 2;
const SYMMETRIC = 3;
const ASYMMETRIC = 4;
const [U, S, PM1] = [0, 1, 2];

interface Consumer {
  readonly kind: number;
  readonly bits: number;
  readonly encoding: number;
  readonly qmin: number;
  readonly qmax: number;
  readonly step: number;
  readonly clip: { readonly low: number; readonly high: number };
  readonly shift: Float32Array | null;
  readonly off: number;
  readonly stride: number;
  readonly found: number;
  /** Sums of the rows in blocks of `rows`, or none. */
  readonly sums: { readonly off: number; readonly rows: number; readonly stride: number } | null;
}

/** Shape of what a producer hands to its consumers. */
export interface Rows {
  readonly rows: number;
  readonly width: number;
  readonly sequences: number;
}

export interface DrawOptions {
  /** Steps and shifts for which sums of quarters decide exactly. */
  readonly quarters: boolean;
}

/** Draws a consumer of any format and kind and writes its record. */
export function drawConsumer(
  bench: Bench,
  draw: Draw,
  { rows, width, sequences }: Rows,
  { quarters }: DrawOptions,
): Consumer {
  const kind = draw.pick([SIGN, ROUND, ROUND_FROM_MIN, SYMMETRIC, ASYMMETRIC]);
  const ranged = kind >= SYMMETRIC;
  const encoding = kind === SIGN ? draw.pick([S, PM1]) : draw.pick([U, S]);
  const atLeastTwo = kind === SIGN || (ranged && encoding === S);
  const bits = encoding === PM1 ? 1 : draw.pick(atLeastTwo ? [2, 4, 8] : [1, 2, 4, 8]);
  const lowest = encoding === U ? 0 : -(2 ** (bits - 1));
  const highest = encoding === U ? 2 ** bits - 1 : 2 ** (bits - 1) - 1;
  const whole = draw.chance(0.7);
  // A range is divided into qmax steps, so that must be one at least.
  const qmax = whole ? highest : draw.int(ranged ? 1 : lowest, highest);
  const qmin = whole ? lowest : draw.int(lowest, ranged ? Math.min(0, qmax) : qmax);
  const step = quarters ? draw.pick([0.25, 0.5, 1, 2]) : 4 / 2 ** bits + draw.fraction();
  const clip = drawClip(draw, quarters);
  const stride = Math.ceil(width / 128) * 16 * bits + 16 * draw.int(0, 2);
  const shift = draw.chance() ? draw.floats(width, () => (quarters ? draw.quarter() : draw.real())) : null;
  const off = bench.output(rows * stride);
  const found = kind >= ROUND_FROM_MIN ? bench.output(sequences * FOUND_BYTES) : 0;
  const sums = draw.chance(0.3) ? drawSums(bench, draw, rows) : null;
  bench.steps.push('QUANTISE', {
    format: Math.log2(bits) | (encoding << 4),
    kind,
    qmin,
    qmax,
    step,
    clip_low: clip.low,
    clip_high: clip.high,
    shift_off: shift ? bench.put(shift) : 0,
    out_off: off,
    out_stride: stride,
    found_off: found,
    ...(sums && { sums_off: sums.off, sums_rows: sums.rows, sums_stride: sums.stride }),
  });
  return { kind, bits, encoding, qmin, qmax, step, clip, shift, off, stride, found, sums };
}

/** Space for the sum of every row, in one block or in several of equal size. */
function drawSums(bench: Bench, draw: Draw, rows: number): NonNullable<Consumer['sums']> {
  const block = draw.pick([1, 2, 3, rows].filter((size) => rows % size === 0));
  const stride = block * 8 + 8 * draw.int(0, 2);
  return { off: bench.output((rows / block) * stride), rows: block, stride };
}

/** Bounds that cut something off, on one side or both; or none. */
function drawClip(draw: Draw, quarters: boolean): { low: number; high: number } {
  const bound = () => Math.abs(quarters ? draw.quarter() : draw.real()) + 0.25;
  return {
    low: draw.chance(0.3) ? Number.NEGATIVE_INFINITY : draw.chance(0.2) ? 0 : -bound(),
    high: draw.chance(0.3) ? Number.POSITIVE_INFINITY : bound(),
  };
}

/** Code of one element of bit-planes (contract section 4), for PM1 -1 or +1. */
export function codeAt(
  window: Uint8Array,
  rowOff: number,
  element: number,
  { bits, encoding }: Pick<Consumer, 'bits' | 'encoding'>,
): number {
  let code = 0;
  for (let plane = 0; plane < bits; plane++) {
    const byte =
      window[rowOff + (Math.floor(element / 128) * bits + plane) * 16 + Math.floor((element % 128) / 8)]!;
    const bit = (byte >> (element % 8)) & 1;
    code += encoding === S && plane === bits - 1 ? -bit * 2 ** plane : bit * 2 ** plane;
  }
  return encoding === PM1 ? 2 * code - 1 : code;
}

/** What a quantiser must find in the (shifted, not yet clipped) values of a sequence. */
function expectedFound({ kind, qmax, step, clip }: Consumer, values: readonly number[]): Found {
  if (kind < ROUND_FROM_MIN) return { step, t: 0 };
  if (kind === ROUND_FROM_MIN) return { step, t: Math.min(...values) + 0 };
  const clipped = values.map((value) => clipTo(value, clip));
  if (kind === SYMMETRIC) return { step: Math.max(...clipped.map(Math.abs)) / qmax, t: 0 };
  const t = Math.min(...clipped);
  return { step: (Math.max(...clipped) - t + 1e-8) / qmax, t: t + 0 };
}

const clipTo = (value: number, { low, high }: { low: number; high: number }) =>
  Math.max(low, Math.min(high, value));

/** The code that a value must have, and whether it is too close to a decision to tell. */
function expectedCode(
  consumer: Consumer,
  value: number,
  { step, t }: Found,
): { code: number; close: boolean } {
  const { kind, encoding, qmin, qmax, clip } = consumer;
  if (kind === SIGN) {
    const code = encoding === PM1 ? (value >= 0 ? 1 : -1) : Math.sign(value);
    return { code: code + 0, close: Math.abs(value) < 1e-12 };
  }
  if (step === 0) return { code: 0, close: false };
  const ranged = kind >= SYMMETRIC;
  const range = step * qmax;
  const scaled = ranged ? ((clipTo(value, clip) - t) / range) * qmax : (value - t) / step;
  const code = Math.max(qmin, Math.min(qmax, nearestEven(scaled)));
  // A step found at run time may be small against the rounding of the values.
  const tolerance = ranged ? 1e-12 + 1e-13 / step : 1e-12;
  return { code: code + 0, close: Math.abs(Math.abs(scaled - Math.floor(scaled)) - 0.5) < tolerance };
}

export interface Checked {
  /** values[row][column] */
  readonly values: readonly (readonly number[])[];
  /** First row of each sequence, and the end. */
  readonly starts: readonly number[];
  /**
   * True where the producer's arithmetic leaves no doubt: then what is found must be equal, and so must codes at every tie as
   * well. Not those of a found range: dividing by that rounds (quantisers.test.ts has ties where it does not).
   */
  readonly exact: boolean;
}

/** Holds what a consumer left against the values that its producer must have had. */
export function checkConsumer(bench: Bench, consumer: Consumer, { values, starts, exact }: Checked): void {
  const { kind, bits, shift, off, stride, found } = consumer;
  const moved = values.map((row) => row.map((x, column) => (shift ? x + shift[column]! : x)));
  for (let sequence = 0; sequence + 1 < starts.length; sequence++) {
    const [begin, end] = [starts[sequence]!, starts[sequence + 1]!];
    if (begin === end) continue;
    const expected = expectedFound(consumer, moved.slice(begin, end).flat());
    let range = expected;
    if (kind >= ROUND_FROM_MIN) {
      range = bench.found(found, sequence);
      if (exact) expect({ step: range.step, t: range.t + 0 }).toEqual(expected);
      else {
        expect(Math.abs(range.t - expected.t)).toBeLessThan(1e-12);
        expect(Math.abs(range.step - expected.step)).toBeLessThan(1e-12);
      }
    }
    for (let row = begin; row < end; row++) {
      const at = off + row * stride;
      const wrong = moved[row]!.findIndex((value, column) => {
        const { code, close } = expectedCode(consumer, value, range);
        return codeAt(bench.window, at, column, consumer) !== code && ((exact && kind < SYMMETRIC) || !close);
      });
      expect(wrong, `row ${row}: column of a wrong code`).toBe(-1);
      expectPadding(bench.window, at, moved[row]!.length, bits);
      if (consumer.sums) expectSum(bench, consumer, row, moved[row]!.length, range);
    }
  }
}

/** The sum of a row is that of its codes' real values. */
function expectSum(bench: Bench, consumer: Consumer, row: number, width: number, { step, t }: Found): void {
  const { sums, off, stride } = consumer;
  let expected = 0;
  for (let column = 0; column < width; column++)
    expected += step * codeAt(bench.window, off + row * stride, column, consumer) + t;
  const at = sums!.off + Math.floor(row / sums!.rows) * sums!.stride + (row % sums!.rows) * 8;
  const stored = bench.doubles(at, 1)[0]!;
  expect(Math.abs(stored - expected), `row ${row}: sum`).toBeLessThan(1e-12 * (1 + width * 256 * step));
}

/** Elements behind the row's are 0 in every plane. */
function expectPadding(window: Uint8Array, at: number, width: number, bits: number): void {
  for (let element = width; element < Math.ceil(width / 128) * 128; element++) {
    for (let plane = 0; plane < bits; plane++) {
      const byte =
        window[at + (Math.floor(element / 128) * bits + plane) * 16 + Math.floor((element % 128) / 8)]!;
      if ((byte >> (element % 8)) & 1) expect.fail(`element ${element} outside the row is set`);
    }
  }
}
