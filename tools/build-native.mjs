// Builds native/build/libbeta.so with the plain Makefile. Its own file only to answer a missing tool
// with the package that brings it, which neither npm nor make would say.
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const native = join(dirname(dirname(fileURLToPath(import.meta.url))), 'native');
const compiler = process.env.CC ?? 'cc';

const present = (tool) => spawnSync(tool, ['--version'], { stdio: 'ignore' }).error === undefined;

for (const tool of ['make', compiler]) {
  if (present(tool)) continue;
  console.error(`beta: "${tool}" was not found, and libbeta is built from C when the package is installed.`);
  console.error('      On Debian or Ubuntu: sudo apt-get install build-essential');
  process.exit(1);
}

const { status } = spawnSync('make', ['-s', '-C', native, `CC=${compiler}`, '-j4'], { stdio: 'inherit' });
process.exit(status ?? 1);
