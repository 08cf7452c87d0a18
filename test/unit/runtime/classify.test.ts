import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { classify } from '../../../src/runtime/classify.js';

const labels = ['a', 'b', 'c', 'd'];

/** The definition, without the shift that keeps exp() from overflowing. */
function softmax(logits: readonly number[]): number[] {
  const sum = logits.reduce((total, logit) => total + Math.exp(logit), 0);
  return logits.map((logit) => Math.exp(logit) / sum);
}

describe('a classification', () => {
  it('is the softmax of the logits', () => {
    const logits = fc.array(fc.double({ min: -30, max: 30, noNaN: true }), { minLength: 4, maxLength: 4 });
    fc.assert(
      fc.property(logits, (values) => {
        const expected = softmax(values);
        const { label, score, top } = classify(values, labels, 4);
        expect(score).toBeCloseTo(Math.max(...expected), 12);
        expect(values[labels.indexOf(label)]).toBe(Math.max(...values));
        expect(top!.map((entry) => entry.label).sort()).toEqual(labels);
        for (const entry of top!) expect(entry.score).toBeCloseTo(expected[labels.indexOf(entry.label)]!, 12);
        expect(top!.map((entry) => entry.score)).toEqual(
          top!.map((entry) => entry.score).sort((a, b) => b - a),
        );
      }),
      { seed: 4, numRuns: 300 },
    );
  });

  it('does not overflow', () => {
    expect(classify([1000, 999, -1000, -1e9], labels).score).toBeCloseTo(1 / (1 + Math.exp(-1)), 12);
    expect(classify([-5000, -5000], ['a', 'b'])).toEqual({ label: 'a', score: 0.5 });
  });

  it('takes the first of equal logits', () => {
    expect(classify([1, 3, 3, 0], labels, 2).top!.map(({ label }) => label)).toEqual(['b', 'c']);
    expect(classify([3, 3], ['a', 'b']).label).toBe('a');
  });

  it('lists as many classes as were asked for, and none when none were', () => {
    const logits = Float32Array.of(0.5, 2, -1, 1);
    expect(classify(logits, labels)).not.toHaveProperty('top');
    expect(classify(logits, labels, 1).top).toHaveLength(1);
    expect(classify(logits, labels, 3).top!.map(({ label }) => label)).toEqual(['b', 'd', 'a']);
    expect(classify(logits, labels, 99).top).toHaveLength(4);
  });

  it('is certain where there is only one class', () => {
    expect(classify([-3], ['only'])).toEqual({ label: 'only', score: 1 });
  });
});
