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

const make = (targets, stdio) =>
  spawnSync('make', ['-s', '-C', native, `CC=${compiler}`, '-j4', ...targets], { stdio }).status ?? 1;

const status = make([], 'inherit');
if (status !== 0) process.exit(status);

// What "beta bench qmm" compares with. Nothing else needs it, so a library that is here but does not build must not
// keep anyone from installing this package.
if (make(['peers'], ['ignore', 'ignore', 'inherit']) !== 0)
  console.error(
    'beta: "make -C native peers" failed; without it "beta bench qmm" compares with fewer libraries',
  );
