import { expect, it } from 'vitest';
import { packSequences } from '../../../src/compiler/geometry.js';

it('packs sequences behind one another, in their order, and numbers them', () => {
  expect(packSequences([100, 28, 1, 300, 5])).toEqual({
    rows: 434,
    sequences: [
      { index: 0, start: 0, length: 100 },
      { index: 1, start: 100, length: 28 },
      { index: 2, start: 128, length: 1 },
      { index: 3, start: 129, length: 300 },
      { index: 4, start: 429, length: 5 },
    ],
  });
  expect(packSequences([])).toEqual({ rows: 0, sequences: [] });
});
