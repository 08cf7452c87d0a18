/** `beta bench serve`: what its JSON holds, and that nothing it started is left. What it measures is no test. */
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const bench = (...args: string[]) =>
  promisify(execFile)(process.execPath, [MAIN, 'bench', 'serve', 'intents', '--json', ...args]);

/** Processes of this machine whose command line has `text`. */
function running(text: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        return [readFileSync(`/proc/${pid}/cmdline`, 'utf8')];
      } catch {
        return [];
      }
    })
    .filter((line) => line.includes(text));
}

test('three rows, every request accounted for', { timeout: 60_000 }, async () => {
  const { stdout } = await bench(
    '--seconds',
    '0.4',
    '--outstanding',
    '16',
    '--requests',
    '200',
    '--rate',
    '50',
  );
  const { rows, model, device } = JSON.parse(stdout);
  expect([model.startsWith('intents@'), device]).toEqual([true, 'emu:']);
  expect(rows.map(({ mode }: { mode: string }) => mode)).toEqual(['closed', 'saturated', 'open']);
  for (const { p50_ms, p99_ms, rate, unanswered, busy } of rows) {
    expect(p99_ms).toBeGreaterThanOrEqual(p50_ms);
    expect(rate).toBeGreaterThan(0);
    expect([unanswered, busy]).toEqual([0, 0]);
  }
  const [closed, saturated, open] = rows;
  expect(closed.echo_p50_ms).toBeGreaterThan(0);
  expect(closed.forward_p50_ms).toBeGreaterThan(0);
  expect([saturated.requests, open.requests]).toEqual([200, 20]);
  expect(saturated.forward_rate).toBeGreaterThan(0);
  expect(running('beta-bench-serve-')).toEqual([]);
});

test('a broker that is not there', { timeout: 60_000 }, async () => {
  const failed = await bench('--broker', 'mqtt://127.0.0.1:1').catch((error) => error);
  expect(failed.code).toBe(1);
  expect(JSON.parse(failed.stdout).error.message).toMatch(/daemon did not start/);
});
