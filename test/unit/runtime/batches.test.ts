import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { groupSequences } from '../../../src/runtime/batches.js';

describe('grouping', () => {
  it('fills a program up to its rows, shortest first', () => {
    expect(groupSequences([30, 10, 20, 40], { rows: 60, sequences: 10 })).toEqual([[1, 2, 0], [3]]);
  });

  it('fills a program up to its number of sequences', () => {
    expect(groupSequences([1, 1, 1, 1, 1], { rows: 100, sequences: 2 })).toEqual([[0, 1], [2, 3], [4]]);
  });

  it('gives a sequence that is longer than the rows a program of its own', () => {
    expect(groupSequences([5, 500, 6], { rows: 100, sequences: 9 })).toEqual([[0, 2], [1]]);
  });

  it('of nothing is nothing', () => {
    expect(groupSequences([], { rows: 100, sequences: 9 })).toEqual([]);
  });

  it('holds every sequence once, within its limits, and takes no program more than it must', () => {
    const lengths = fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 40 });
    const limits = fc.record({
      rows: fc.integer({ min: 1, max: 100 }),
      sequences: fc.integer({ min: 1, max: 8 }),
    });
    fc.assert(
      fc.property(lengths, limits, (all, { rows, sequences }) => {
        const groups = groupSequences(all, { rows, sequences });
        expect(groups.flat().sort((a, b) => a - b)).toEqual(all.map((_, index) => index));
        const sum = (group: number[]) => group.reduce((total, index) => total + all[index]!, 0);
        groups.forEach((group, index) => {
          expect(group.length).toBeLessThanOrEqual(sequences);
          if (group.length > 1) expect(sum(group)).toBeLessThanOrEqual(rows);
          const next = groups[index + 1];
          // The next program's first sequence did not fit any more.
          if (next) expect(group.length === sequences || sum(group) + all[next[0]!]! > rows).toBe(true);
        });
      }),
      { seed: 3, numRuns: 500 },
    );
  });

  it('is the same geometry for the same lengths in any order', () => {
    const lengths = [7, 3, 9, 3, 12, 1];
    const shapes = (order: number[]) =>
      groupSequences(order, { rows: 15, sequences: 4 }).map((group) => group.map((i) => order[i]));
    for (const order of [lengths.toReversed(), lengths.toSorted(), [3, 12, 7, 1, 9, 3]])
      expect(shapes(order)).toEqual(shapes(lengths));
  });
});
