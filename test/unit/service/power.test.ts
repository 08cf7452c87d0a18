import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { PowerSampler } from '../../../src/service/power.js';
import { FakeBoard } from '../device/board/fake-board.js';

let board: FakeBoard;
let power: PowerSampler | undefined;
beforeEach(() => {
  board = new FakeBoard();
});
afterEach(() => {
  power?.close();
  board.destroy();
});

/** Until there is a mean, or for two seconds. */
async function mean(sampler: PowerSampler): Promise<number | undefined> {
  for (let i = 0; i < 200; i++) {
    await sleep(10);
    const watts = sampler.takeWatts();
    if (watts !== undefined) return watts;
  }
  return undefined;
}

it('is that of all rails together, of the time since it was asked last', async () => {
  board.putRail(0, 'ina226_u79', 1_500_000);
  board.putRail(1, 'ina226_u93', 300_000);
  power = PowerSampler.start(5);
  expect(power!.takeWatts()).toBeUndefined();
  expect(await mean(power!)).toBeCloseTo(1.8);
  expect(power!.last).toEqual([1.5, 0.3]);
  expect(power!.joules(({ domain }) => domain === 'PL')).toBeGreaterThan(0);
  board.putRail(0, 'ina226_u79', 3_500_000);
  while (power!.last[0] !== 3.5) await sleep(5);
  power!.takeWatts();
  expect(await mean(power!)).toBeCloseTo(3.8);
});

it('is not there without rails', () => {
  expect(PowerSampler.start()).toBeUndefined();
});
