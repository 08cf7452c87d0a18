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
});
