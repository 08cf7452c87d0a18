import { expect, it } from 'vitest';
import { Leases } from '../../../src/runtime/leases.js';

it('a version is needed until the last who needs it is through, each version by itself', () => {
  const leases = new Leases();
  for (const id of ['m@1', 'm@1', 'm@2']) leases.take(id);
  expect([leases.end('m@1'), leases.end('m@2'), leases.end('m@1')]).toEqual([false, true, true]);
  leases.take('m@1');
  expect(leases.end('m@1')).toBe(true);
  expect(() => leases.end('m@1')).toThrow('m@1');
});
