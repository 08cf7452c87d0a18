import { describe, expect, it } from 'vitest';
import { LeastRecentlyUsed } from '../../../src/runtime/lru.js';

describe('a cache of the last entries', () => {
  it('forgets what was used longest ago, and reading is using', () => {
    const cache = new LeastRecentlyUsed<number>(2);
    cache.set('a', 1);
    cache.set('b', 2);
    expect(cache.get('a')).toBe(1);
    cache.set('c', 3);
    expect(['a', 'b', 'c'].map((key) => cache.get(key))).toEqual([1, undefined, 3]);
  });

  it('replaces an entry without forgetting another', () => {
    const cache = new LeastRecentlyUsed<number>(2);
    cache.set('a', 1);
    cache.set('b', 2);
    cache.set('a', 3);
    expect(['a', 'b'].map((key) => cache.get(key))).toEqual([3, 2]);
    cache.set('b', 4);
    cache.set('c', 5);
    expect(['a', 'b', 'c'].map((key) => cache.get(key))).toEqual([undefined, 4, 5]);
  });

  it('can be emptied', () => {
    const cache = new LeastRecentlyUsed<number>(2);
    cache.set('a', 1);
    cache.clear();
    expect(cache.get('a')).toBeUndefined();
  });

  it('never holds more than it may', () => {
    const cache = new LeastRecentlyUsed<number>(3);
    for (let i = 0; i < 100; i++) cache.set(`key ${i % 7}`, i);
    expect([0, 1, 2, 3, 4, 5, 6].filter((i) => cache.get(`key ${i}`) !== undefined)).toEqual([0, 1, 6]);
  });

  it('counts entries by their size, and keeps the last one however large it is', () => {
    const forgotten: number[] = [];
    const cache = new LeastRecentlyUsed<number>(10, (value) => forgotten.push(value));
    cache.set('a', 1, 4);
    cache.set('b', 2, 4);
    cache.set('a', 3, 6);
    expect(forgotten).toEqual([1]);
    cache.set('c', 4, 1);
    expect(forgotten).toEqual([1, 2]);
    cache.set('d', 5, 11);
    expect(forgotten).toEqual([1, 2, 3, 4]);
    expect(cache.get('d')).toBe(5);
    cache.set('e', 6, 10);
    expect(cache.get('d')).toBeUndefined();
    expect(cache.get('e')).toBe(6);
  });
});
