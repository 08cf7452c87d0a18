#!/usr/bin/env node
/** The `beta` command. One file a command; this one joins them and turns errors into messages and exit codes. */
import { Command, CommanderError } from 'commander';
import { register as registerBench } from './bench.js';
import { register as registerDevices } from './devices.js';
import { register as registerDoctor } from './doctor.js';
import { EXIT } from './exit.js';
import { register as registerExplain } from './explain.js';
import { register as registerFleet } from './fleet.js';
import { register as registerImport } from './import.js';
import { register as registerInspect } from './inspect.js';
import { register as registerLoad } from './load.js';
import { register as registerMonitor } from './monitor.js';
import { note, printJson } from './output.js';
import { register as registerPower } from './power.js';
import { register as registerRequest } from './request.js';
import { register as registerRun } from './run.js';
import { register as registerServe } from './serve.js';
import { register as registerSynth } from './synth.js';
import { VERSION } from './version.js';

const program = new Command('beta')
  .description('Runs binary Transformers as what they are: integers, on the BETA engine or its emulator.')
  .version(VERSION, '-V, --version')
  .showHelpAfterError('(add --help for usage and examples)')
  .exitOverride()
  .addHelpText(
    'after',
    `
Examples:
  $ beta run intents "transfer ten dollars to my savings account"
  $ beta import ./checkpoint -o model.beta
  $ beta serve --model model.beta
  $ beta request --model intents "what is the weather in Bern"

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 no connection, 4 no answer in time,
            5 the engine was lost while serving. See docs/cli.md.`,
  );

for (const register of [
  registerRun,
  registerServe,
  registerRequest,
  registerFleet,
  registerMonitor,
  registerImport,
  registerInspect,
  registerExplain,
  registerSynth,
  registerBench,
  registerDevices,
  registerDoctor,
  registerLoad,
  registerPower,
]) {
  register(program);
}
// Commands made before exitOverride() inherit nothing from it, so each is told.
const everyCommand = (command: Command): Command[] => [command, ...command.commands.flatMap(everyCommand)];
for (const command of everyCommand(program)) command.exitOverride();

/** A closed pipe (`beta run ... | head`) is the reader's choice, not an error. */
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(EXIT.OK);
});

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    // Help and version end with 0; commander has printed what there is to say.
    process.exitCode = error.exitCode === 0 ? EXIT.OK : EXIT.USAGE;
  } else {
    const { code, message } = error as { code?: unknown; message?: unknown };
    const text = typeof message === 'string' ? message : String(error);
    note(text);
    if (process.argv.includes('--json'))
      printJson({ error: { code: typeof code === 'string' ? code : 'failed', message: text } });
    process.exitCode = EXIT.FAILED;
    if (process.env.BETA_DEBUG && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  }
}
