import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { quantise, roundHalfEven } from '../../../src/compiler/quantise.js';
import { codeRange, isFound, type OperandBits, type Quantiser } from '../../../src/model/description.js';
import { naiveCode } from './naive.js';

const quantiser = (
  signed: boolean,
  bits: OperandBits,
  step = 1,
  shift: number[] | null = null,
): Quantiser & { readonly kind: 'fixed' } => ({
  kind: 'fixed',
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
  const ranges = (kind: Quantiser['kind'], signed: boolean) =>
    ([1, 2, 4, 8] as const).map((bits) => codeRange({ kind, signed, bits }));

  it('have the ranges of their formats', () => {
    expect(ranges('fixed', true)).toEqual([
      { qmin: -1, qmax: 1 },
      { qmin: -2, qmax: 1 },
      { qmin: -8, qmax: 7 },
      { qmin: -128, qmax: 127 },
    ]);
    for (const kind of ['fixed', 'range'] as const)
      expect(ranges(kind, false)).toEqual([1, 3, 15, 255].map((qmax) => ({ qmin: 0, qmax })));
  });

  it('of a signed range are symmetric: the lowest code of the format does not occur', () => {
    expect(ranges('range', true)).toEqual([1, 1, 7, 127].map((qmax) => ({ qmin: -qmax, qmax })));
  });

  it('need something found at run time where the step or the offset is not known', () => {
    const fixed = quantiser(false, 4);
    const range: Quantiser = { kind: 'range', signed: true, bits: 8, clip: null, shift: null };
    expect(isFound(fixed)).toBe(false);
    expect(isFound({ ...fixed, offset: 'minimum' })).toBe(true);
    expect(isFound(range)).toBe(true);
    expect(isFound({ ...range, signed: false, clip: { low: -1, high: 1 } })).toBe(true);
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

  it('add the shift of their channel before they divide', () => {
    const u2 = quantiser(false, 2, 0.5, [0, 1, -1]);
    expect([0, 1, 2].map((channel) => quantise(u2, 0.3, channel))).toEqual([1, 3, 0]);
    // Of value and shift together: neither alone is above half a step.
    const bit = quantiser(false, 1, 1, [0.3]);
    expect([quantise(bit, 0.3, 0), quantise(quantiser(false, 1), 0.3, 0)]).toEqual([1, 0]);
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
