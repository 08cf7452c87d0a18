/** `beta bench`: how long things take. Figures, never verdicts: a machine's noise is no test. One file a benchmark. */
import type { Command } from 'commander';
import { register as registerForward } from './bench/forward.js';
import { register as registerQmm } from './bench/qmm.js';
import { register as registerServe } from './bench/serve.js';
import { register as registerVector } from './bench/vector.js';

export function register(program: Command): void {
  const bench = program
    .command('bench')
    .summary('measure speed')
    .description('Measures the speed of the engine, or of a whole model, on a device.')
    .addHelpText(
      'after',
      '\nExamples:\n  $ beta bench qmm\n  $ beta bench forward intents\n  $ beta bench serve\nEach has examples of its own: beta bench qmm --help',
    );
  registerQmm(bench);
  registerForward(bench);
  registerServe(bench);
  registerVector(bench);
}
