// Files that are derived from others: written where they are stale, or, with --check, only named, which is a failure.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of the project. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** `outputs`: pairs of a path in the project and a function that returns what it must hold. `command` writes them. */
export function generate(outputs, command) {
  const check = process.argv.includes('--check');
  const stale = [];
  for (const [path, write] of outputs) {
    const file = join(root, path);
    const text = write();
    if (existsSync(file) && readFileSync(file, 'utf8') === text) continue;
    stale.push(path);
    if (!check) writeFileSync(file, text);
  }

  if (check && stale.length > 0) {
    console.error(`stale, run "${command}" and commit the result: ${stale.join(', ')}`);
    process.exit(1);
  }
  if (!check) console.log(stale.length > 0 ? `written: ${stale.join(', ')}` : 'everything is up to date');
}
