import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { alignUp, RANGE_ALIGN, type Range, WindowAllocator } from '../../../src/device/allocator.js';

describe('the window allocator', () => {
  it('gives aligned ranges, first fit', () => {
    const allocator = new WindowAllocator(4096, 8192);
    expect(allocator.allocate(1, 'a')).toEqual({ off: 4096, bytes: 64 });
    const b = allocator.allocate(65, 'b');
    expect(b).toEqual({ off: 4160, bytes: 128 });
    expect(allocator.allocate(64, 'c')).toEqual({ off: 4288, bytes: 64 });
    allocator.free(b);
    expect(allocator.allocate(129, 'too large for the hole')).toEqual({ off: 4352, bytes: 192 });
    expect(allocator.allocate(100, 'fits the hole')).toEqual({ off: 4160, bytes: 128 });
  });

  it('begins at an aligned offset and ends where the window does', () => {
    const allocator = new WindowAllocator(100, 1024);
    const all = allocator.allocate(allocator.largestFree, 'all');
    expect(all).toEqual({ off: 128, bytes: 896 });
    expect([allocator.freeBytes, allocator.largestFree]).toEqual([0, 0]);
  });

  it('joins neighbours, whatever the order they come back in', () => {
    for (const order of ['012', '021', '102', '120', '201', '210']) {
      const allocator = new WindowAllocator(0, 64 * 3);
      const ranges = [0, 1, 2].map((i) => allocator.allocate(64, `range ${i}`));
      for (const i of order) allocator.free(ranges[Number(i)]!);
      expect(allocator.allocate(64 * 3, 'all again'), order).toEqual({ off: 0, bytes: 192 });
    }
  });

  it('says who wanted how much when it is full, and what to do', () => {
    const allocator = new WindowAllocator(0, 1024);
    allocator.allocate(512, 'first');
    expect(() => allocator.allocate(513, 'model intents')).toThrow(
      expect.objectContaining({
        code: 'window-full',
        message: expect.stringMatching(/^model intents needs 576 bytes.*; 512 of its 1024.*window=/),
      }),
    );
    expect(allocator.freeBytes).toBe(512);
  });

  it('refuses what is no size and what it never gave', () => {
    const allocator = new WindowAllocator(0, 1024);
    for (const bytes of [0, -64, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => allocator.allocate(bytes, 'nothing'), String(bytes)).toThrow(RangeError);
    }
    const range = allocator.allocate(64, 'once');
    allocator.free(range);
    expect(() => allocator.free(range)).toThrow(RangeError);
    expect(() => allocator.free({ off: 128, bytes: 64 })).toThrow(RangeError);
  });

  it('never gives a byte twice and gets all of them back', () => {
    const action = fc.oneof(
      fc.record({ bytes: fc.integer({ min: 1, max: 3000 }) }),
      fc.record({ free: fc.nat() }),
    );
    fc.assert(
      fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
        const [begin, end] = [640, 16384];
        const allocator = new WindowAllocator(begin, end);
        const live: Range[] = [];
        for (const step of actions) {
          if ('free' in step) {
            if (live.length > 0) allocator.free(live.splice(step.free % live.length, 1)[0]!);
          } else if (alignUp(step.bytes, RANGE_ALIGN) <= allocator.largestFree) {
            live.push(allocator.allocate(step.bytes, 'range'));
          } else {
            expect(() => allocator.allocate(step.bytes, 'range')).toThrow(/needs/);
          }
          const sorted = live.toSorted((x, y) => x.off - y.off);
          for (const [i, range] of sorted.entries()) {
            expect(range.off % RANGE_ALIGN).toBe(0);
            expect(range.off).toBeGreaterThanOrEqual(begin);
            expect(range.off + range.bytes).toBeLessThanOrEqual(sorted[i + 1]?.off ?? end);
          }
          expect(allocator.freeBytes + live.reduce((sum, range) => sum + range.bytes, 0)).toBe(end - begin);
        }
        for (const range of live) allocator.free(range);
        expect(allocator.largestFree).toBe(end - begin);
      }),
    );
  });
});
