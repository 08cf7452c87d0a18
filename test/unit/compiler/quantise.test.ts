import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { quantise, roundHalfEven } from '../../../src/compiler/quantise.js';
import { codeRange, type OperandBits, type Quantiser } from '../../../src/model/description.js';
import { naiveCode } from './naive.js';

const quantiser = (
  signed: boolean,
  bits: OperandBits,
  step = 1,
  shift: number[] | null = null,
): Quantiser => ({
  signed,
  bits,
  step,
  offset: 'none',
  shift: shift && Float32Array.from(shift),
});

describe('rounding', () => {
  it.each([
    [0.5, 0],
    [1.5, 2],
    [2.5, 2],
    [3.5, 4],
    [-0.5, 0],
    [-1.5, -2],
    [-2.5, -2],
    [-3.5, -4],
    [0.49999999999999994, 0],
    [0.5000000000000001, 1],
    [2.4999999999999996, 2],
    [2.5000000000000004, 3],
    [0, 0],
    [7, 7],
    [-7, -7],
    [1e15 + 0.5, 1e15],
    [-1e300, -1e300],
  ])('takes halves to the even neighbour: %d -> %d', (x, rounded) => {
    expect(roundHalfEven(x) + 0).toBe(rounded);
  });
});

describe('codes', () => {
  it('have the ranges of their formats', () => {
    expect(([1, 2, 4, 8] as const).map((bits) => codeRange({ signed: true, bits }))).toEqual([
      { qmin: -1, qmax: 1 },
      { qmin: -2, qmax: 1 },
      { qmin: -8, qmax: 7 },
      { qmin: -128, qmax: 127 },
    ]);
    expect(([1, 2, 4, 8] as const).map((bits) => codeRange({ signed: false, bits }))).toEqual(
      [1, 3, 15, 255].map((qmax) => ({ qmin: 0, qmax })),
    );
  });

  it('of one signed bit are signs, and 0 has one of its own', () => {
    const sign = quantiser(true, 1, 3);
    expect([-1e-300, -5, 0, -0, 1e-300, 5].map((x) => quantise(sign, x, 0) + 0)).toEqual([
      -1, -1, 0, 0, 1, 1,
    ]);
  });

  it('of one unsigned bit need more than half a step', () => {
    const bit = quantiser(false, 1, 4);
    expect([-9, 0, 1.999, 2, 2.0000001, 4, 99].map((x) => quantise(bit, x, 0))).toEqual([
      0, 0, 0, 0, 1, 1, 1,
    ]);
  });

  it('are clipped, also far away and at infinity', () => {
    const s4 = quantiser(true, 4, 0.5);
    expect(
      [-1e308, -4.3, -4, -0.25, 0.25, 0.75, 3.6, 1e308, Infinity].map((x) => quantise(s4, x, 0) + 0),
    ).toEqual([-8, -8, -8, 0, 0, 2, 7, 7, 7]);
  });

  it('add the shift of their channel and take the run-time offset away before they divide', () => {
    const u2 = quantiser(false, 2, 0.5, [0, 1, -1]);
    expect([0, 1, 2].map((channel) => quantise(u2, 0.3, channel))).toEqual([1, 3, 0]);
    expect([0, 1, 2].map((channel) => quantise(u2, 0.3, channel, -1.2))).toEqual([3, 3, 1]);
  });

  it('are those of the definition for any value', () => {
    fc.assert(
      fc.property(
        fc.boolean(),
        fc.constantFrom<OperandBits>(1, 2, 4, 8),
        fc.double({ min: 1e-5, max: 1e3, noNaN: true }),
        fc.oneof(fc.double({ min: -1e6, max: 1e6, noNaN: true }), fc.integer({ min: -600, max: 600 })),
        fc.float({ min: -10, max: 10, noNaN: true }),
        (signed, bits, step, x, shift) => {
          // Whole and half multiples of the step are where rounding decides; most random values never meet one.
          for (const value of [x, (Math.round(x) * step) / 2]) {
            const expected = naiveCode({ signed, bits, step }, value + shift);
            expect(quantise(quantiser(signed, bits, step, [shift]), value, 0) + 0).toBe(expected + 0);
          }
        },
      ),
      { seed: 1, numRuns: 2000 },
    );
  });
});
