/** The kinds of quantisers on values where every step is a power of two, so that each code can be told by hand. */
import { afterAll, describe, expect, it } from 'vitest';
import { STEP_QUANTISER } from '../../../src/native/steps.generated.js';
import { Bench, type Found, upTo } from './bench.js';
import { codeAt } from './consumers.js';

const bench = new Bench();
afterAll(() => bench.native.close());

const [U8, S8] = [0x03, 0x13];

interface Case {
  readonly kind: number;
  readonly format?: number;
  readonly qmin?: number;
  readonly qmax?: number;
  readonly step?: number;
  readonly clip?: readonly [number, number];
  readonly shift?: readonly number[];
}

/** Quantises rows, each sequence as many rows as it has; codes by row and what was found by sequence. */
function quantise(
  sequences: readonly (readonly (readonly number[])[])[],
  { kind, format = S8, qmin, qmax, step = 1, clip = [-Infinity, Infinity], shift }: Case,
): { codes: number[][]; found: Found[] } {
  bench.reset(1);
  const rows = sequences.flat();
  const width = rows[0]!.length;
  const starts = [0];
  for (const sequence of sequences) starts.push(starts.at(-1)! + sequence.length);
  const [bits, encoding] = [2 ** (format & 7), format >> 4];
  const stride = 16 * bits;
  const out = bench.output(rows.length * stride);
  const found = kind >= STEP_QUANTISER.ROUND_FROM_MIN ? bench.output(sequences.length * 16) : 0;
  bench.steps.push('PICK', {
    consumers: 1,
    rows: rows.length,
    width,
    starts_off: bench.put(Uint32Array.from(starts)),
    sequences: sequences.length,
    index_off: bench.put(Uint32Array.from(upTo(rows.length))),
    x_off: bench.put(Float32Array.from(rows.flat())),
    x_rows: rows.length,
  });
  bench.steps.push('QUANTISE', {
    kind,
    format,
    qmin: qmin ?? (encoding === 1 ? -(2 ** (bits - 1)) : 0),
    qmax: qmax ?? (encoding === 1 ? 2 ** (bits - 1) : 2 ** bits) - 1,
    step,
    clip_low: clip[0],
    clip_high: clip[1],
    shift_off: shift ? bench.put(Float32Array.from(shift)) : 0,
    out_off: out,
    out_stride: stride,
    found_off: found,
  });
  bench.run();
  return {
    codes: rows.map((_, row) =>
      upTo(width).map((i) => codeAt(bench.window, out + row * stride, i, { bits, encoding }) + 0),
    ),
    found: found ? sequences.map((_, index) => bench.found(found, index)) : [],
  };
}

describe('SYMMETRIC', () => {
  const kind = STEP_QUANTISER.SYMMETRIC;

  it('divides the largest magnitude of each sequence into qmax steps; ties go to the even code', () => {
    const { codes, found } = quantise(
      [
        [
          [127, 0.5, 1.5, -2.5],
          [-0.5, -1.5, 126.5, -127],
        ],
        [[1, -63.5, 0.25, 0.75]],
      ],
      { kind },
    );
    expect(found).toEqual([
      { step: 1, t: 0 },
      { step: 0.5, t: 0 },
    ]);
    expect(codes).toEqual([
      [127, 0, 2, -2],
      [0, -2, 126, -127],
      [2, -127, 0, 2],
    ]);
  });

  it('takes the magnitude of a negative value as well', () => {
    const { codes, found } = quantise([[[-254, 2, -3, 127]]], { kind });
    expect(found).toEqual([{ step: 2, t: 0 }]);
    expect(codes).toEqual([[-127, 1, -2, 64]]);
  });

  it('clips first: the range is that of what is left', () => {
    const { codes, found } = quantise([[[1000, -1000, 3, -40]]], { kind, clip: [-63.5, 31.75] });
    expect(found).toEqual([{ step: 0.5, t: 0 }]);
    expect(codes).toEqual([[64, -127, 6, -80]]);
  });

  it('clips what has been shifted', () => {
    const { codes, found } = quantise([[[0, 0, 5]]], { kind, clip: [-1000, 127], shift: [200, -3, 1] });
    expect(found).toEqual([{ step: 1, t: 0 }]);
    expect(codes).toEqual([[127, -3, 6]]);
  });

  it('gives a sequence of zeros the step 0 and the code 0, whatever its neighbours are', () => {
    const { codes, found } = quantise([[[0, 0]], [[127, 1]]], { kind });
    expect(found).toEqual([
      { step: 0, t: 0 },
      { step: 1, t: 0 },
    ]);
    expect(codes).toEqual([
      [0, 0],
      [127, 1],
    ]);
  });

  it('keeps within its format with fewer bits', () => {
    const { codes, found } = quantise([[[7, -7, 2.5, 3.5]]], { kind, format: 0x12 });
    expect(found).toEqual([{ step: 1, t: 0 }]);
    expect(codes).toEqual([[7, -7, 2, 4]]);
  });
});

describe('ASYMMETRIC', () => {
  const kind = STEP_QUANTISER.ASYMMETRIC;
  const format = U8;
  const guarded = (range: number) => (range + 1e-8) / 255;

  it('counts from the smallest value of each sequence to the largest', () => {
    const { codes, found } = quantise(
      [
        [
          [-5, 0, 250],
          [-4, 100, -5],
        ],
        [[1, 3, 511]],
      ],
      { kind, format },
    );
    expect(found).toEqual([
      { step: guarded(255), t: -5 },
      { step: guarded(510), t: 1 },
    ]);
    expect(codes).toEqual([
      [0, 5, 255],
      [1, 105, 0],
      [0, 1, 255],
    ]);
  });

  it('clips first: the range is that of what is left, and its ends need not be the bounds', () => {
    const { codes, found } = quantise([[[-1000, 20, 200]]], { kind, format, clip: [10, 265] });
    expect(found).toEqual([{ step: guarded(190), t: 10 }]);
    expect(codes).toEqual([[0, 13, 255]]);
    const other = quantise([[[1000, 0, 10]]], { kind, format, clip: [-10, 255] });
    expect(other.found).toEqual([{ step: guarded(255), t: 0 }]);
    expect(other.codes).toEqual([[255, 0, 10]]);
  });

  it('gives equal values the code 0, kept from a step of 0 by the guard', () => {
    const { codes, found } = quantise([[[3, 3, 3]]], { kind, format });
    expect(found).toEqual([{ step: 1e-8 / 255, t: 3 }]);
    expect(codes).toEqual([[0, 0, 0]]);
  });
});

describe('the others', () => {
  it('ROUND_FROM_MIN subtracts the minimum of the sequence, keeps its step and does not clip values', () => {
    const { codes, found } = quantise(
      [
        [
          [-3, 0, -2.75],
          [1, 100, -2.5],
        ],
        [[7, 9.25, 8]],
      ],
      {
        kind: STEP_QUANTISER.ROUND_FROM_MIN,
        format: 0x02,
        step: 0.5,
        clip: [0, 1],
      },
    );
    expect(found).toEqual([
      { step: 0.5, t: -3 },
      { step: 0.5, t: 7 },
    ]);
    expect(codes).toEqual([
      [0, 6, 0],
      [8, 15, 1],
      [0, 4, 2],
    ]);
  });

  it('ROUND and SIGN find nothing and do not clip values', () => {
    const rows = [[[-3, 0, 2.5, -200, 3.5]]];
    const clip = [-1, 1] as const;
    expect(quantise(rows, { kind: STEP_QUANTISER.ROUND, clip }).codes).toEqual([[-3, 0, 2, -128, 4]]);
    expect(quantise(rows, { kind: STEP_QUANTISER.SIGN, format: 0x11, clip: [5, 6] }).codes).toEqual([
      [-1, 0, 1, -1, 1],
    ]);
    expect(quantise(rows, { kind: STEP_QUANTISER.SIGN, format: 0x20 }).codes).toEqual([[-1, 1, 1, -1, 1]]);
  });

  it('a narrower range of codes cuts off at its ends, with every kind that rounds', () => {
    const rows = [[[0, 4, -4, 1]]];
    const cut = { qmin: -2, qmax: 3 };
    expect(quantise(rows, { kind: STEP_QUANTISER.ROUND, ...cut }).codes).toEqual([[0, 3, -2, 1]]);
    expect(quantise(rows, { kind: STEP_QUANTISER.ROUND_FROM_MIN, ...cut }).codes).toEqual([[3, 3, 0, 3]]);
    expect(quantise(rows, { kind: STEP_QUANTISER.SYMMETRIC, ...cut }).codes).toEqual([[0, 3, -2, 1]]);
    expect(quantise(rows, { kind: STEP_QUANTISER.ASYMMETRIC, ...cut, qmin: 1 }).codes).toEqual([
      [1, 3, 1, 2],
    ]);
  });
});

it('NaN takes the smallest code and leaves its neighbours alone', () => {
  const rows = [[[Number.NaN, 3, 127]]];
  expect(quantise(rows, { kind: STEP_QUANTISER.ROUND }).codes).toEqual([[-128, 3, 127]]);
  expect(quantise(rows, { kind: STEP_QUANTISER.SYMMETRIC, clip: [-127, 127] }).codes).toEqual([
    [-127, 3, 127],
  ]);
  const low = quantise(rows, { kind: STEP_QUANTISER.ASYMMETRIC, format: U8, clip: [-128, 127] });
  expect(low.codes).toEqual([[0, 131, 255]]);
});

it('an empty sequence is passed over: its entry stays as it was', () => {
  bench.reset(1);
  const [out, found] = [bench.output(2 * 128), bench.output(3 * 16)];
  const before = bench.window.slice(found + 16, found + 32);
  bench.steps.push('PICK', {
    consumers: 1,
    rows: 2,
    width: 1,
    starts_off: bench.put(Uint32Array.of(0, 1, 1, 2)),
    sequences: 3,
    index_off: bench.put(Uint32Array.of(1, 0)),
    x_off: bench.put(Float32Array.of(127, 254)),
    x_rows: 2,
  });
  bench.steps.push('QUANTISE', {
    kind: STEP_QUANTISER.SYMMETRIC,
    format: S8,
    qmin: -128,
    qmax: 127,
    step: 1,
    clip_low: -Infinity,
    clip_high: Infinity,
    out_off: out,
    out_stride: 128,
    found_off: found,
  });
  bench.run();
  expect(bench.found(found, 0)).toEqual({ step: 2, t: 0 });
  expect(bench.found(found, 2)).toEqual({ step: 1, t: 0 });
  expect(Buffer.compare(bench.window.slice(found + 16, found + 32), before)).toBe(0);
});

it('PICK also leaves the chosen rows as they are', () => {
  const bench = new Bench();
  const rows = [
    [1.5, -2, 3.25],
    [Math.fround(0.1), -0, 7],
    [9, 8, Math.fround(1e-40)],
  ];
  const out = bench.output(2 * 3 * 4);
  bench.steps.push('PICK', {
    rows: 2,
    width: 3,
    starts_off: bench.put(Uint32Array.of(0, 1, 2)),
    sequences: 2,
    index_off: bench.put(Uint32Array.of(2, 1)),
    x_off: bench.put(Float32Array.from(rows.flat())),
    x_rows: 3,
    out_off: out,
  });
  bench.run();
  const bytes = bench.window.slice(out, out + 24);
  expect(Buffer.compare(bytes, new Uint8Array(Float32Array.from([...rows[2]!, ...rows[1]!]).buffer))).toBe(0);
});
