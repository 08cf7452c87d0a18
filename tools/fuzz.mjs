/** `npm run fuzz`: every fuzzer for FUZZ_SECONDS (default: an hour each), and the property tests many times. Stops at the first that fails. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const seconds = process.env.FUZZ_SECONDS ?? '3600';
const seed = process.env.FUZZ_SEED ?? String(Date.now());
const make = (...words) => [
  'make',
  '-s',
  '-C',
  'native',
  `FUZZ_SECONDS=${seconds}`,
  `FUZZ_SEED=${seed}`,
  ...words,
];

const commands = [
  make('fuzz-exhaustive'),
  make('fuzz'),
  make('SANITIZE=address,undefined', 'fuzz'),
  make('SANITIZE=thread', 'fuzz'),
  make('fuzz-coverage'),
  ['npx', 'vitest', 'run', 'test/contract/random.test.ts'],
];

for (const [command, ...words] of commands) {
  console.log(`$ ${[command, ...words].join(' ')}`);
  const env = { BETA_TEST_RUNS: '20', ...process.env };
  const { status, error } = spawnSync(command, words, { cwd: root, stdio: 'inherit', env });
  if (error) throw error;
  if (status !== 0) process.exit(status ?? 1);
}
