/** The C harness of the engine (native/test): its TAP lines as one vitest test for each program. */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const native = fileURLToPath(new URL('../../native/', import.meta.url));
const programs = readdirSync(`${native}test`)
  .filter((name) => name.endsWith('.c'))
  .map((name) => name.slice(0, -2));

/** Generous: a machine with one slow core still finishes. */
const TIMEOUT_MS = 300_000;

const make = (target: string) =>
  spawnSync('make', ['-s', '-C', native, target], { encoding: 'utf8', timeout: TIMEOUT_MS });

describe('C harness', () => {
  it('has programs', () => expect(programs).toContain('harness'));

  it.each(programs)('%s', { timeout: TIMEOUT_MS }, (program) => {
    const { status, stdout, stderr, error } = make(`test-${program}`);
    if (error) throw error;
    const lines = stdout.split('\n');
    // What failed comes first in the message, then whatever the compiler or a sanitizer had to say.
    expect([
      ...lines.filter((line) => /^(not ok|Bail out)/.test(line)),
      ...(status === 0 ? [] : [stderr]),
    ]).toEqual([]);
    expect(status).toBe(0);
    // The plan is the last line, so a program that died early is noticed.
    const passed = lines.filter((line) => line.startsWith('ok ')).length;
    expect(passed).toBeGreaterThan(0);
    expect(lines).toContain(`1..${passed}`);
  });
});
