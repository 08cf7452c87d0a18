import { describe, expect, it } from 'vitest';
import { gatherStrided, isContiguous, spanOf } from '../../../src/model/checkpoint/strides.js';
import {
  DTYPE_BYTES,
  type Dtype,
  decodeElements,
  elementCount,
  isDtype,
} from '../../../src/model/checkpoint/tensor.js';
import { random } from './build.js';

const decode = (dtype: Dtype, bytes: number[]) => decodeElements(dtype, new Uint8Array(bytes), 'x');

/** 16-bit patterns as little-endian bytes. */
const words = (...patterns: number[]) => patterns.flatMap((each) => [each & 0xff, each >> 8]);

describe('decodeElements', () => {
  // Expected values from numpy.frombuffer(..., '<f2').
  it('reads float16 exactly, with subnormals, signed zeros and infinities', () => {
    const halves = decode(
      'F16',
      words(0x3c00, 0xc000, 0x7bff, 0x0001, 0x03ff, 0x0400, 0x3555, 0x8000, 0x7c00, 0xfc00, 0x7e00),
    );
    expect(halves).toBeInstanceOf(Float32Array);
    expect([...halves]).toEqual([
      1,
      -2,
      65504,
      2 ** -24,
      6.097555160522461e-5,
      6.103515625e-5,
      0.333251953125,
      -0,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      Number.NaN,
    ]);
  });

  it('reads bfloat16 as the upper half of a float32', () => {
    const values = decode('BF16', words(0x3f80, 0xc049, 0x0001, 0x7f80, 0x8000));
    expect(values).toBeInstanceOf(Float32Array);
    expect([...values]).toEqual([1, -3.140625, 9.183549615799121e-41, Number.POSITIVE_INFINITY, -0]);
  });

  it('reads float32 and float64 exactly', () => {
    expect(decode('F32', [0xdb, 0x0f, 0x49, 0x40])).toEqual(Float32Array.of(Math.PI));
    expect(decode('F64', [0x18, 0x2d, 0x44, 0x54, 0xfb, 0x21, 0x09, 0x40])).toEqual(Float64Array.of(Math.PI));
  });

  it('reads integers of every width with their sign, and booleans as 0 and 1', () => {
    expect(decode('I64', [0xfe, ...Array(7).fill(0xff), 1, 0, 0, 0, 1, 0, 0, 0])).toEqual(
      Float64Array.of(-2, 2 ** 32 + 1),
    );
    expect(decode('I32', [0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0x80])).toEqual(
      Float64Array.of(2 ** 31 - 1, -(2 ** 31)),
    );
    expect(decode('I16', [0xff, 0xff, 0, 1])).toEqual(Float64Array.of(-1, 256));
    expect(decode('I8', [0xff, 0x7f])).toEqual(Float64Array.of(-1, 127));
    expect(decode('U8', [0xff, 0x7f])).toEqual(Float64Array.of(255, 127));
    expect(decode('BOOL', [0, 1, 2])).toEqual(Float64Array.of(0, 1, 1));
  });

  it('reads bytes that lie at an odd offset of their buffer', () => {
    const bytes = new Uint8Array([9, 0xdb, 0x0f, 0x49, 0x40]).subarray(1);
    expect(decodeElements('F32', bytes, 'x')).toEqual(Float32Array.of(Math.PI));
  });
});

describe('dtypes and shapes', () => {
  it('knows its dtypes and no inherited names', () => {
    expect(Object.keys(DTYPE_BYTES).every(isDtype)).toBe(true);
    for (const text of ['F8_E4M3', 'f32', 'toString', '__proto__', '']) expect(isDtype(text)).toBe(false);
  });

  it('counts elements without overflow', () => {
    expect(elementCount([])).toBe(1);
    expect(elementCount([3, 4, 5])).toBe(60);
    expect(elementCount([Number.MAX_SAFE_INTEGER, 0])).toBe(0);
    expect(elementCount([2 ** 28])).toBe(2 ** 28);
    expect(elementCount([2 ** 27, 3])).toBe(Number.POSITIVE_INFINITY);
    // 2^64 would be 0 in 64-bit arithmetic.
    expect(elementCount([2 ** 32, 2 ** 32])).toBe(Number.POSITIVE_INFINITY);
    expect(elementCount(Array(64).fill(Number.MAX_SAFE_INTEGER))).toBe(Number.POSITIVE_INFINITY);
  });
});

describe('strided views', () => {
  /** The definition, one index at a time. */
  function naive(data: Float64Array, shape: number[], strides: number[]): number[] {
    const [size, ...rest] = shape;
    if (size === undefined) return [data[0]!];
    const [step, ...steps] = strides;
    return Array.from({ length: size }, (_, i) => naive(data.subarray(i * step!), rest, steps)).flat();
  }

  it('agrees with the definition for random shapes and strides', () => {
    const next = random(7);
    for (let round = 0; round < 400; round++) {
      const rank = Math.floor(next() * 5);
      const shape = Array.from({ length: rank }, () => 1 + Math.floor(next() * 4));
      const strides = shape.map(() => Math.floor(next() * 6));
      const span = spanOf(shape, strides);
      const data = Float64Array.from({ length: span }, (_, i) => i);
      const gathered = gatherStrided(data, shape, strides, 'x');
      expect([...gathered].slice(0, elementCount(shape))).toEqual(naive(data, shape, strides));
      expect(gathered.length).toBe(elementCount(shape));
    }
  });

  it('returns the data itself when it is in order already', () => {
    const data = new Float32Array(6);
    expect(gatherStrided(data, [2, 3], [3, 1], 'x')).toBe(data);
    expect(gatherStrided(data, [2, 1, 3], [3, 999, 1], 'x')).toBe(data);
    expect(isContiguous([2, 3], [1, 2])).toBe(false);
    expect(isContiguous([], [])).toBe(true);
  });

  it('gives an empty array for an empty view', () => {
    expect(spanOf([3, 0], [1, 1])).toBe(0);
    expect(gatherStrided(new Float32Array(0), [3, 0], [7, 1], 'x').length).toBe(0);
  });
});
