// Compiles src/ to dist/ and makes the command executable. TypeScript's own incremental state keeps a
// second build short.
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const tsc = join(root, 'node_modules', '.bin', 'tsc');
const entry = join(root, 'dist', 'cli', 'main.js');

if (existsSync(tsc)) {
  const { status } = spawnSync(tsc, ['-p', join(root, 'tsconfig.build.json')], {
    stdio: 'inherit',
    cwd: root,
  });
  if (status !== 0) process.exit(status ?? 1);
  chmodSync(entry, 0o755);
} else if (!existsSync(entry)) {
  console.error(
    'beta: TypeScript is not installed and dist/ is empty. Run "npm ci" without --omit=dev first.',
  );
  process.exit(1);
}
