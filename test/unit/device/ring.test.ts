import { describe, expect, it } from 'vitest';
import { Ring } from '../../../src/device/ring.js';

/** Descriptors that are all one byte: number i is 64 times i + 1. */
const numbered = (count: number) => Uint8Array.from({ length: count * 64 }, (_, i) => Math.floor(i / 64) + 1);
const slots = (window: Uint8Array, off: number, count: number) =>
  Array.from({ length: count }, (_, i) => window.slice(off + i * 64, off + (i + 1) * 64)).map((slot) => {
    expect(new Set(slot).size).toBe(1);
    return slot[0];
  });

describe('the ring', () => {
  it('writes behind the tail and wraps at its end', () => {
    const window = new Uint8Array(1024);
    const ring = new Ring(window, 128, 2);
    expect([ring.entries, ring.bytes, ring.space(0)]).toEqual([4, 256, 4]);
    expect(ring.write(numbered(9), 0, 3)).toBe(3);
    expect(ring.space(0)).toBe(1);
    expect(ring.write(numbered(9), 3, 3)).toBe(6);
    expect(slots(window, 128, 4)).toEqual([5, 6, 3, 4]);
    expect(slots(window, 0, 2)).toEqual([0, 0]);
    expect(slots(window, 384, 2)).toEqual([0, 0]);
    expect([ring.tail, ring.slot(5), ring.space(2), ring.space(6)]).toEqual([6, 128 + 64, 0, 4]);
  });

  it('names the ranges to sync, two of them across the end', () => {
    const ring = new Ring(new Uint8Array(1024), 128, 2);
    const written = (count: number) => {
      const ranges: number[][] = [];
      ring.forEachWritten(count, (off, bytes) => ranges.push([off, bytes]));
      return ranges;
    };
    ring.write(numbered(3), 0, 3);
    expect(written(3)).toEqual([[128, 192]]);
    ring.write(numbered(2), 0, 2);
    expect(written(2)).toEqual([
      [128 + 192, 64],
      [128, 64],
    ]);
    ring.write(numbered(3), 0, 3);
    expect(written(4)).toEqual([[128, 256]]);
  });

  it('counts through 2^32', () => {
    const window = new Uint8Array(1024);
    const ring = new Ring(window, 0, 2);
    ring.rewind(2 ** 32 - 2);
    expect([ring.tail, ring.space(2 ** 32 - 2), ring.space(2 ** 32 - 5)]).toEqual([0xffff_fffe, 4, 1]);
    expect(ring.write(numbered(4), 0, 4)).toBe(2);
    expect(slots(window, 0, 4)).toEqual([3, 4, 1, 2]);
    expect([ring.space(0xffff_fffe), ring.space(0xffff_ffff), ring.space(0), ring.space(2)]).toEqual([
      0, 1, 2, 4,
    ]);
    expect([ring.slot(0xffff_ffff), ring.slot(0)]).toEqual([192, 0]);
    ring.rewind();
    expect(ring.tail).toBe(0);
  });

  it('has less than no room for a HEAD that it cannot have caused', () => {
    const ring = new Ring(new Uint8Array(1024), 0, 2);
    ring.write(numbered(4), 0, 4);
    ring.write(numbered(4), 0, 2);
    expect([ring.space(1), ring.space(7)]).toEqual([-1, expect.any(Number)]);
    expect(ring.space(7)).toBeLessThan(0);
  });
});
