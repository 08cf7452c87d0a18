/** The search for integer thresholds. */
import { describe, expect, it } from 'vitest';
import { firstReaching, reachable } from '../../../src/compiler/thresholds.js';
import { accumulatorsOf, between } from './naive.js';

describe('the search', () => {
  it('finds the first accumulator of every staircase', () => {
    for (const bound of [0, 1, 2, 3, 7, 20]) {
      for (const stair of between(-bound, bound + 1)) {
        expect(firstReaching((d) => (d >= stair ? 1 : 0), 1, bound) + 0).toBe(stair);
      }
    }
  });

  it('finds every level of a staircase with steps of several levels', () => {
    const code = (d: number) => Math.floor(d / 3) * 2;
    for (const level of between(-20, 20)) {
      const expected = between(-15, 15).find((d) => code(d) >= level) ?? 16;
      expect(firstReaching(code, level, 15)).toBe(expected);
    }
  });

  it('asks only for accumulators that can occur', () => {
    const asked: number[] = [];
    firstReaching((d) => asked.push(d), 1e9, 1000);
    firstReaching((d) => asked.push(d), 0, 1000);
    expect(asked.every((d) => Math.abs(d) <= 1000)).toBe(true);
    expect(asked.length).toBeLessThan(30);
  });

  it('knows which intervals hold an accumulator', () => {
    for (const bound of [0, 1, 4, 5]) {
      for (const parityOf of [null, bound]) {
        const accumulators = { bound, parityOf };
        for (const from of between(-bound - 2, bound + 2)) {
          for (const to of between(from, bound + 3)) {
            const expected = accumulatorsOf(accumulators).some((d) => d >= from && d < to);
            expect(
              reachable(from, to, accumulators),
              `[${from}, ${to}) of ${bound}, parity of ${parityOf}`,
            ).toBe(expected);
          }
        }
      }
    }
  });
});
