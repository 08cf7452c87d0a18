/** QUANTISE records: drawn at random, and checked against codes that are computed one by one. */
import { expect } from 'vitest';
import { nearestEven } from '../compiler/naive.js';
import type { Bench, Draw } from './bench.js';

const SIGN = 0;
const ROUND = 1;
const ROUND_FROM_MIN = 2;
const [U, S, PM1] = [0, 1, 2];

interface Consumer {
  readonly kind: number;
  readonly bits: number;
  readonly encoding: number;
  readonly qmin: number;
  readonly qmax: number;
  readonly step: number;
  readonly shift: Float32Array | null;
  readonly k0: number;
  readonly off: number;
  readonly stride: number;
  readonly headStride: number;
  readonly found: number;
}

/** Shape of what a producer hands to its consumers. */
export interface Rows {
  readonly heads: number;
  readonly rows: number;
  readonly width: number;
  readonly sequences: number;
}

export interface DrawOptions {
  /** Whether the producer finds minima at run time. */
  readonly minima: boolean;
  /** Steps and shifts for which sums of quarters decide exactly. */
  readonly quarters: boolean;
}

/** Draws a consumer of any format and kind and writes its record. */
export function drawConsumer(
  bench: Bench,
  draw: Draw,
  { heads, rows, width, sequences }: Rows,
  options: DrawOptions,
): Consumer {
  const kind = draw.pick(options.minima ? [SIGN, ROUND, ROUND_FROM_MIN, ROUND_FROM_MIN] : [SIGN, ROUND]);
  const encoding = kind === SIGN ? draw.pick([S, PM1]) : draw.pick([U, S]);
  const bits = encoding === PM1 ? 1 : draw.pick(kind === SIGN ? [2, 4, 8] : [1, 2, 4, 8]);
  const lowest = encoding === U ? 0 : -(2 ** (bits - 1));
  const highest = encoding === U ? 2 ** bits - 1 : 2 ** (bits - 1) - 1;
  const whole = draw.chance(0.7);
  const qmin = whole ? lowest : draw.int(lowest, highest);
  const qmax = whole ? highest : draw.int(qmin, highest);
  const step = options.quarters ? draw.pick([0.25, 0.5, 1, 2]) : 4 / 2 ** bits + draw.fraction();
  const k0 = draw.chance() ? 0 : draw.int(0, 127);
  const rowBytes = Math.ceil((k0 + width) / 128) * 16 * bits;
  const stride = rowBytes + 16 * draw.int(0, 2);
  const headStride = rows * stride + 16 * draw.int(0, 2);
  const shift = draw.chance()
    ? draw.floats(width, () => (options.quarters ? draw.quarter() : draw.real()))
    : null;
  const off = bench.output(heads * headStride);
  const found = kind === ROUND_FROM_MIN ? bench.output(sequences * 8) : 0;
  bench.steps.push('QUANTISE', {
    format: Math.log2(bits) | (encoding << 4),
    kind,
    qmin,
    qmax,
    step,
    shift_off: shift ? bench.put(shift) : 0,
    out_off: off,
    out_stride: stride,
    out_head_stride: headStride,
    k0,
    found_off: found,
  });
  return { kind, bits, encoding, qmin, qmax, step, shift, k0, off, stride, headStride, found };
}

/** Code of one element of bit-planes (contract section 4), for PM1 -1 or +1. */
function codeAt(window: Uint8Array, rowOff: number, element: number, { bits, encoding }: Consumer): number {
  let code = 0;
  for (let plane = 0; plane < bits; plane++) {
    const byte =
      window[rowOff + (Math.floor(element / 128) * bits + plane) * 16 + Math.floor((element % 128) / 8)]!;
    const bit = (byte >> (element % 8)) & 1;
    code += encoding === S && plane === bits - 1 ? -bit * 2 ** plane : bit * 2 ** plane;
  }
  return encoding === PM1 ? 2 * code - 1 : code;
}

/** The code that a value must have, and whether it is too close to a decision to tell. */
function expectedCode(consumer: Consumer, value: number, t: number): { code: number; close: boolean } {
  const { kind, encoding, step, qmin, qmax } = consumer;
  if (kind === SIGN) {
    const code = encoding === PM1 ? (value >= 0 ? 1 : -1) : Math.sign(value);
    return { code: code + 0, close: Math.abs(value) < 1e-12 };
  }
  const scaled = (value - t) / step;
  const code = Math.max(qmin, Math.min(qmax, nearestEven(scaled)));
  return { code: code + 0, close: Math.abs(Math.abs(scaled - Math.floor(scaled)) - 0.5) < 1e-12 };
}

export interface Checked {
  /** values[head][row][column] */
  readonly values: readonly (readonly (readonly number[])[])[];
  /** First row of each sequence, and the end. */
  readonly starts: readonly number[];
  /** True where the producer's arithmetic leaves no doubt: then codes must be equal at every tie as well. */
  readonly exact: boolean;
}

/** Holds what a consumer left against the values that its producer must have had. */
export function checkConsumer(bench: Bench, consumer: Consumer, { values, starts, exact }: Checked): void {
  const { kind, bits, shift, k0, off, stride, headStride, found } = consumer;
  const moved = (head: number, row: number) =>
    values[head]![row]!.map((x, column) => (shift ? x + shift[column]! : x));
  for (let sequence = 0; sequence + 1 < starts.length; sequence++) {
    const rows = Array.from(
      { length: starts[sequence + 1]! - starts[sequence]! },
      (_, i) => starts[sequence]! + i,
    );
    if (rows.length === 0) continue;
    let t = 0;
    if (kind === ROUND_FROM_MIN) {
      t = Math.min(...values.flatMap((_, head) => rows.map((row) => Math.min(...moved(head, row)))));
      const stored = bench.doubles(found + sequence * 8, 1)[0]!;
      if (exact) expect(stored).toBe(t);
      else expect(Math.abs(stored - t)).toBeLessThan(1e-12);
      t = stored;
    }
    for (const [head] of values.entries()) {
      for (const row of rows) {
        const at = off + head * headStride + row * stride;
        const wrong = moved(head, row).findIndex((value, column) => {
          const { code, close } = expectedCode(consumer, value, t);
          const actual = codeAt(bench.window, at, k0 + column, consumer);
          return actual !== code && (exact || !close);
        });
        expect(wrong, `head ${head}, row ${row}: column of a wrong code`).toBe(-1);
        expectPadding(bench.window, at, k0, values[head]![row]!.length, bits);
      }
    }
  }
}

/** Elements before and behind the row's are 0 in every plane. */
function expectPadding(window: Uint8Array, at: number, k0: number, width: number, bits: number): void {
  for (let element = 0; element < Math.ceil((k0 + width) / 128) * 128; element++) {
    if (element >= k0 && element < k0 + width) continue;
    for (let plane = 0; plane < bits; plane++) {
      const byte =
        window[at + (Math.floor(element / 128) * bits + plane) * 16 + Math.floor((element % 128) / 8)]!;
      if ((byte >> (element % 8)) & 1) expect.fail(`element ${element} outside the row is set`);
    }
  }
}
