/** How rows are cut, and how people write the size of an engine. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseArrayGeometry } from '../../../src/compiler/array-geometry.js';
import { cutAfterFirsts, cutRows } from '../../../src/compiler/blocks.js';
import { packSequences } from '../../../src/compiler/geometry.js';

const lengths = fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 20 });
const targets = fc.integer({ min: 16, max: 400 });

const total = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0);

describe('blocks of rows', () => {
  it('follow one another and leave no row out', () => {
    fc.assert(
      fc.property(lengths, targets, fc.boolean(), (some, target, divisible) => {
        let next = 0;
        for (const { start, rows } of cutRows(packSequences(some), target, divisible)) {
          expect(start).toBe(next);
          expect(rows).toBeGreaterThan(0);
          next += rows;
        }
        expect(next).toBe(total(some));
      }),
    );
  });

  it('keep sequences whole, or cut them at multiples of 16 tokens', () => {
    fc.assert(
      fc.property(lengths, targets, fc.boolean(), (some, target, divisible) => {
        const geometry = packSequences(some);
        for (const { start } of cutRows(geometry, target, divisible)) {
          const inside = geometry.sequences.find((s) => s.start <= start && start < s.start + s.length)!;
          expect((start - inside.start) % (divisible ? 16 : inside.length)).toBe(0);
        }
      }),
    );
  });

  it('can have every first token apart', () => {
    const geometry = packSequences([3, 1, 4]);
    expect(cutAfterFirsts(geometry, { start: 0, rows: 8 })).toEqual([
      { start: 0, rows: 1 },
      { start: 1, rows: 2 },
      { start: 3, rows: 1 },
      { start: 4, rows: 1 },
      { start: 5, rows: 3 },
    ]);
    expect(cutAfterFirsts(geometry, { start: 1, rows: 2 })).toEqual([{ start: 1, rows: 2 }]);
  });
});

describe('an engine in words', () => {
  it('is an array, and a clock and lanes where they are given', () => {
    expect(parseArrayGeometry('8x8x128')).toMatchObject({
      name: '8x8x128@200MHz',
      engine: { dm: 8, dn: 8, dk: 128, lanes: 64, hz: 200e6 },
      overlap: true,
    });
    expect(parseArrayGeometry('16x4x256x8@312.5mhz')?.engine).toMatchObject({
      dm: 16,
      dn: 4,
      dk: 256,
      lanes: 8,
      hz: 312.5e6,
    });
  });

  it.each(['', '8x8', '0x8x128', '8x8x100', '8x8x128x0', '8x8x128@0MHz', '8x8x128@fast', '8x8x128 '])(
    '"%s" is none',
    (text) => {
      expect(parseArrayGeometry(text)).toBeNull();
    },
  );
});
