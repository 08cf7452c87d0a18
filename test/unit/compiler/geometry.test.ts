import { expect, it } from 'vitest';
import { packSequences } from '../../../src/compiler/geometry.js';

it('packs sequences behind one another and knows where in a block of 128 tokens each begins', () => {
  expect(packSequences([100, 28, 1, 300, 5])).toEqual({
    rows: 434,
    sequences: [
      { start: 0, length: 100, k0: 0 },
      { start: 100, length: 28, k0: 100 },
      { start: 128, length: 1, k0: 0 },
      { start: 129, length: 300, k0: 1 },
      { start: 429, length: 5, k0: 45 },
    ],
  });
  expect(packSequences([])).toEqual({ rows: 0, sequences: [] });
});
