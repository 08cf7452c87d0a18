/** BinaryBERT's quantisers on numbers worked out by hand. */
import { describe, expect, it } from 'vitest';
import { Decisions, quantiseActivations } from './binarybert-quantisers.js';
import { largestDifference } from './support.js';

describe('quantisers by hand', () => {
  const uniform = (x: number[], clip: [number, number], bits: number, signed: boolean): number[] => [
    ...quantiseActivations(Float64Array.from(x), { method: 'uniform', bits, signed, clip }, new Decisions()),
  ];
  const lsq = (x: number[], step: number, bits: number, signed: boolean): [number[], Decisions] => {
    const decisions = new Decisions();
    const y = quantiseActivations(Float64Array.from(x), { method: 'lsq', bits, signed, step }, decisions);
    return [[...y], decisions];
  };

  it('uniform signed: clips first, then the largest magnitude left is code 127', () => {
    // Clipped: -2, 0.5, 1, -2, 1.25; 127/2 codes a unit: -127, 31.75, 63.5 (a tie), -127, 79.375
    const expected = [-2, 64 / 127, 128 / 127, -2, 158 / 127];
    expect(largestDifference(uniform([-2, 0.5, 1, -9, 3], [-2, 1.25], 8, true), expected)).toBeLessThan(
      1e-15,
    );
    // Bounds that nothing reaches do not count: M is 0.5
    expect(uniform([0.5, -0.25, 0.1], [-9, 9], 2, true)).toEqual([0.5, 0, 0]);
    expect(uniform([0.5, -0.26, 0.1], [-9, 9], 2, true)).toEqual([0.5, -0.5, 0]);
  });

  it('uniform unsigned: takes minimum and maximum of what the clipping leaves', () => {
    // Clipped: -0.5, 0, 0.3, 1, -0.5 : 3 codes over 1.5, so 0 is exactly code 1 and 0.3 is 1.6
    const y = uniform([-4, 0, 0.3, 2, -0.5], [-0.5, 1], 2, false);
    expect(largestDifference(y, [-0.5, 0, 0.5, 1, -0.5])).toBeLessThan(1e-7);
    // The guard of 1e-8 shows: code 3 is the minimum plus the width plus 1e-8.
    expect(y[3]).toBe(1.5 + 1e-8 - 0.5);
    // Nothing below the smallest value: no zero among the levels.
    const levels = [1, 1 + 2 / 3, 1 + 4 / 3, 3];
    expect(largestDifference(uniform([1, 1.6, 2.4, 3], [-9, 9], 2, false), levels)).toBeLessThan(1e-7);
    expect(uniform([0.7, 0.7], [-9, 9], 8, false)).toEqual([0.7, 0.7]);
  });

  it('uniform with crossed bounds gives the lower one', () => {
    expect(uniform([-3, 0, 3], [1, -1], 8, true)).toEqual([1, 1, 1]);
  });

  it('uniform signed on zeros alone is NaN, as in the released code, and no decision', () => {
    expect(uniform([0, 0], [-1, 1], 8, true)).toEqual([Number.NaN, Number.NaN]);
    expect(uniform([0, 0], [-1, 1], 8, false)).toEqual([0, 0]);
  });

  it("lsq signed: two's complement levels of the step, halves to even", () => {
    const [y, decisions] = lsq([-9, -4, 0.25, 0.75, 1.25, 1.3, 3.5, 9], 0.5, 4, true);
    expect(y).toEqual([-4, -4, 0, 1, 1, 1.5, 3.5, 3.5]);
    expect(decisions.ties).toBe(3);
    // 1.3 / 0.5 = 2.6
    expect(decisions.smallest).toBeCloseTo(0.1, 12);
  });

  it('lsq unsigned: levels above the minimum of the tensor', () => {
    // Levels above -0.2: 0, 0.4, 2.4, 3.9 (code 3)
    const [y, decisions] = lsq([-0.2, 0, 1, 1.75], 0.5, 2, false);
    expect(largestDifference(y, [-0.2, -0.2, 0.8, 1.3])).toBeLessThan(1e-15);
    expect(decisions.ties).toBe(0);
    expect(decisions.smallest).toBeCloseTo(0.1, 12);
  });

  it('measures codes out of range from the last threshold', () => {
    expect(lsq([9], 1.5, 4, true)[1].smallest).toBe(0.5); // 6 from 6.5
    expect(lsq([30], 1.5, 4, true)[1].smallest).toBe(13.5); // 20 from 6.5
    expect(lsq([-30], 1.5, 4, true)[1].smallest).toBe(12.5); // -20 from -7.5
  });
});
