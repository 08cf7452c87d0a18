import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { Supervisor } from '../../../src/service/supervisor.js';

const usec = (ms: number) => ({ WATCHDOG_USEC: String(ms * 1000), WATCHDOG_PID: String(process.pid) });

function rig(selfTest: () => Promise<void>, env: NodeJS.ProcessEnv, notify?: (state: string) => boolean) {
  const told: string[] = [];
  const warnings: string[] = [];
  const supervisor = new Supervisor({
    selfTest,
    env,
    notify: notify ?? ((state) => told.push(state) > 0),
    log: { warn: (_fields: unknown, message: unknown) => void warnings.push(String(message)) } as never,
  });
  return { supervisor, told, warnings };
}

describe('the watchdog', () => {
  it('is petted after self-tests that pass', async () => {
    let tests = 0;
    const { supervisor, told, warnings } = rig(async () => void tests++, usec(60));
    supervisor.ready('serves\nintents');
    const pets = () => told.filter((state) => state === 'WATCHDOG=1').length;
    for (let waited = 0; pets() < 3 && waited < 10_000; waited += 10) await sleep(10);
    supervisor.stopping();
    const after = tests;
    await sleep(60);
    expect(told[0]).toBe('READY=1\nSTATUS=serves intents');
    expect(told.at(-1)).toBe('STOPPING=1');
    expect(pets()).toBeGreaterThanOrEqual(3);
    expect(pets()).toBeLessThanOrEqual(tests);
    expect(tests).toBe(after);
    expect(warnings).toEqual([]);
  });

  it.each([
    ['fail', () => Promise.reject(new Error('element 0,0 is 5, should be 7'))],
    ['never end', () => new Promise<void>(() => undefined)],
  ])('is not petted after self-tests that %s', async (_what, selfTest) => {
    const { supervisor, told, warnings } = rig(selfTest, usec(60));
    supervisor.ready('x');
    for (let waited = 0; warnings.length < 2 && waited < 10_000; waited += 10) await sleep(10);
    supervisor.stopping();
    expect(warnings.length).toBeGreaterThanOrEqual(2);
    expect(told).toEqual(['READY=1\nSTATUS=x', 'STOPPING=1']);
  });

  it('is left alone where nobody watches, or watches another process', async () => {
    expect(Supervisor.watchdogMs({})).toBeUndefined();
    expect(Supervisor.watchdogMs({ WATCHDOG_USEC: '0' })).toBeUndefined();
    expect(Supervisor.watchdogMs({ WATCHDOG_USEC: 'x' })).toBeUndefined();
    expect(Supervisor.watchdogMs({ WATCHDOG_USEC: '30000000', WATCHDOG_PID: '1' })).toBeUndefined();
    expect(Supervisor.watchdogMs({ WATCHDOG_USEC: '30000000' })).toBe(30_000);
    let tests = 0;
    const { supervisor } = rig(
      async () => void tests++,
      usec(30),
      () => false,
    );
    supervisor.ready('x');
    await sleep(60);
    expect(tests).toBe(0);
  });

  it('does not take the daemon down when the manager is gone', () => {
    const { supervisor, warnings } = rig(
      async () => undefined,
      {},
      () => {
        throw new Error('gone');
      },
    );
    supervisor.ready('x');
    supervisor.stopping();
    expect(warnings.length).toBe(2);
  });
});
