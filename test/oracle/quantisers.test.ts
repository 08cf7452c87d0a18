/** The quantisers and functions of the oracle on numbers worked out by hand. */
import { describe, expect, it } from 'vitest';
import { accurateSum, erf, gelu, layerNorm } from './maths.js';
import { binarise, DecisionMargin, quantiseActivations, roundHalfEven } from './quantisers.js';
import { largestDifference } from './support.js';

describe('quantisers', () => {
  const quantise = (
    x: number[],
    offset: number[] | null,
    bits: number,
    signed: boolean,
    scale: number,
  ): number[] => [
    ...quantiseActivations(
      Float64Array.from(x),
      offset && Float64Array.from(offset),
      { bits, signed, scale },
      new DecisionMargin(),
    ),
  ];

  it('keeps the sign of zero at zero', () => {
    expect(quantise([3, 0, -0.001, 1], [0, 0, 0, -1], 1, true, 0.5)).toEqual([0.5, 0, -0.5, 0]);
  });

  it('rounds halves to even, as torch.round', () => {
    expect([0.5, 1.5, 2.5, -0.5, -1.5, 2.4999, -2.5001].map((x) => roundHalfEven(x) + 0)).toEqual([
      0, 2, 2, 0, -2, 2, -3,
    ]);
    expect(quantise([0.25, 0.75, 1.25, 0.26], null, 4, true, 0.5)).toEqual([0, 1, 1, 0.5]);
    // U of one bit: exactly half the scale is still 0
    expect(quantise([0.25, 0.2500001, -1, 9], null, 1, false, 0.5)).toEqual([0, 0.5, 0, 0.5]);
  });

  it("clips the signed levels to two's complement", () => {
    expect(quantise([-1.3, -0.9, 0.75, 7], null, 2, true, 0.5)).toEqual([-1, -1, 0.5, 0.5]);
  });

  it('takes the offset of an unsigned quantiser from the whole tensor, after the move', () => {
    // moved: 0.1, 0.8, 2.7, -0.6; t = -0.6; levels 1.4, 2.8, 6.6, 0
    const margin = new DecisionMargin();
    const y = quantiseActivations(
      Float64Array.of(0, 1, 2.6, -0.4),
      Float64Array.of(0.1, -0.2),
      { bits: 2, signed: false, scale: 0.5 },
      margin,
    );
    expect(largestDifference(y, [-0.1, 0.9, 0.9, -0.6])).toBeLessThan(1e-15);
    // 1.4 is closer to its threshold, but comes from an exact 0
    expect(margin.smallest).toBeCloseTo(0.3, 12);
  });

  it('never divides by a scale below 1e-5', () => {
    for (const scale of [0, -3, 1e-9]) {
      expect(quantise([-2, 0.1], null, 1, true, scale)).toEqual([-1e-5, 1e-5]);
      expect(quantise([-2, 0.1], null, 4, true, scale)).toEqual([-8 * 1e-5, 7 * 1e-5]);
    }
  });

  it('binarises around the mean of the whole matrix, with the mean magnitude before centring', () => {
    const matrix = { shape: [2, 3], data: Float32Array.of(4, 1, -2, 1, 3, -1) }; // mean 1
    expect([...binarise(matrix, true).signs]).toEqual([1, 0, -1, 0, 1, -1]);
    expect([...binarise(matrix, true).scales]).toEqual([2, 2]);
    expect(largestDifference(binarise(matrix, false).scales, [7 / 3, 5 / 3])).toBeLessThan(1e-15);
  });

  it('sees that a weight equals the mean although a plain sum would lose it', () => {
    expect(accurateSum(Float64Array.of(1e16, 1, -1e16, 1), 0, 4)).toBe(2);
    expect(
      binarise({ shape: [1, 1000], data: new Float32Array(1000).fill(0.1) }, true).signs.every(
        (s) => s === 0,
      ),
    ).toBe(true);
  });
});

describe('functions', () => {
  it('has erf to 1e-15 (reference values from another library)', () => {
    const reference: [number, number][] = [
      [1e-9, 1.128379167095513e-9],
      [0.1, 0.1124629160182849],
      [0.5, 0.5204998778130465],
      [1, 0.8427007929497149],
      [1.9999, 0.9953201979070294],
      [2, 0.9953222650189527],
      [3, 0.9999779095030014],
      [4, 0.9999999845827421],
      [7, 1],
    ];
    for (const [x, value] of reference) {
      expect(Math.abs(erf(x) - value), `erf(${x})`).toBeLessThan(1e-15);
      expect(erf(-x)).toBe(-erf(x));
    }
    expect(gelu(1)).toBeCloseTo(0.8413447460685429, 14);
  });

  it('uses the biased variance and an epsilon that only matters for equal values', () => {
    const y = layerNorm(
      Float64Array.of(1, 2, 6, 5, 5, 5),
      Float64Array.of(1, 1, 2),
      Float64Array.of(0, 1, 0),
    );
    const deviation = Math.sqrt(14 / 3);
    expect(largestDifference(y, [-2 / deviation, 1 - 1 / deviation, 6 / deviation, 0, 1, 0])).toBeLessThan(
      1e-12,
    );
  });
});
