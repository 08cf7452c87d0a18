/** `beta doctor`: every precondition of running here, what is the case, and what to do. */
import { arch, cpus } from 'node:os';
import type { Command } from 'commander';
import { checkKernel } from '../device/board/kernel.js';
import { type Check, checkLiveness } from '../device/board/liveness.js';
import { findProfile, machineCompatible } from '../device/board/profile.js';
import { findRails } from '../device/board/rails.js';
import { listCandidates } from '../device/discovery.js';
import { examine } from './board/examine.js';
import { EXIT } from './exit.js';
import { printable, printJson, printLine } from './output.js';

interface Section {
  readonly name: string;
  readonly checks: readonly Check[];
}

const MARK = { ok: 'ok  ', warn: 'warn', fail: 'FAIL', skip: '-   ' } as const;

function machineSection(): Section {
  const [cpu] = cpus();
  const { node } = process.versions;
  return {
    name: 'machine',
    checks: [
      {
        id: 'cpu',
        state: 'ok',
        text: `${arch()}, ${cpus().length} x ${cpu?.model?.trim() || 'unknown CPU'}`,
      },
      { id: 'node', state: 'ok', text: `Node ${node}` },
    ],
  };
}

/** Without a board there is nothing to repair: one line, and the emulator serves. */
function boardSection(uri: string): Section {
  const name = 'board';
  const compatible = machineCompatible();
  if (compatible.length === 0 && !uri.startsWith('uio:')) return { name, checks: [noBoard()] };
  const profile = findProfile();
  const checks = checkLiveness(
    uri.startsWith('uio:') ? uri : `uio:${profile?.engine.uio ?? 'beta-qmm0'}`,
    profile,
  );
  return { name, checks: profile ? [...checks, ...checkKernel(profile), checkRails(profile)] : checks };
}

const noBoard = (): Check => ({
  id: 'board',
  state: 'skip',
  text: 'this machine is no board: it has no device tree, so no programmable logic, no UIO engine and no power rails to look for',
});

function checkRails(profile: NonNullable<ReturnType<typeof findProfile>>): Check {
  const id = 'power rails';
  const found = findRails(profile).length;
  if (profile.rails.length === 0) return { id, state: 'skip', text: 'the profile names none' };
  if (found === profile.rails.length) return { id, state: 'ok', text: `${found} in hwmon` };
  return {
    id,
    state: 'warn',
    text: `${found} of ${profile.rails.length} are in hwmon`,
    fix: 'use a kernel with CONFIG_SENSORS_INA2XX, and the iio-hwmon nodes of the board in its device tree',
  };
}

/** Devices to try: the one that is asked for, else whatever is usable. */
function deviceSections(asked: string | undefined): Section[] {
  const uris = asked ? [asked] : listCandidates().flatMap(({ uri, usable }) => (usable ? [uri] : []));
  return uris.map((uri) => ({ name: uri, checks: examine(uri).checks }));
}

const worst = (checks: readonly Check[]) =>
  (['fail', 'warn', 'ok'] as const).find((state) => checks.some((check) => check.state === state)) ?? 'skip';

/** Which device `auto` takes, in plain words. */
function verdict(devices: readonly Section[]): { serves: string | null; text: string } {
  const serves = devices.find(({ checks }) => worst(checks) !== 'fail')?.name ?? null;
  if (serves === null) return { serves, text: 'Nothing here can run a model.' };
  if (serves.startsWith('uio:')) return { serves, text: `The engine ${serves} works; "auto" takes it.` };
  return {
    serves,
    text: "The emulator serves: every command works here, with results equal to an engine's in every bit. What it lacks is the engine's speed and power.",
  };
}

function print(sections: readonly Section[], text: string): void {
  for (const { name, checks } of sections) {
    printLine(name);
    const width = Math.max(...checks.map(({ id }) => id.length));
    for (const { id, state, text: what, fix } of checks) {
      printLine(`  ${MARK[state]}  ${id.padEnd(width)}  ${printable(what)}`);
      if (fix && state !== 'ok') printLine(`        ${' '.repeat(width)}  -> ${printable(fix)}`);
    }
  }
  printLine();
  printLine(text);
}

export function register(program: Command): void {
  program
    .command('doctor')
    .summary('check everything that running here needs')
    .description(
      'Checks the machine, the board and its kernel, and every device: identity, a self-test against the emulator, copies. Each finding that is not well says what to do. Stops and resets an idle engine; one in use by a daemon is left alone.',
    )
    .option('--device <uri>', 'examine this device only')
    .option('--json', 'print as JSON')
    .addHelpText(
      'after',
      `
Examples:
  $ beta doctor
  $ beta doctor --json
  $ beta doctor --device uio:beta-qmm0

Exit codes: 0 nothing failed (a machine without a board is no failure), 1 something has.`,
    )
    .action((options: { device?: string; json?: true }) => {
      const devices = deviceSections(options.device);
      const sections = [machineSection(), boardSection(options.device ?? ''), ...devices];
      const { serves, text } = verdict(devices);
      const failed = sections.some(({ checks }) => worst(checks) === 'fail');
      if (options.json) printJson({ ok: !failed, serves, verdict: text, sections });
      else print(sections, text);
      process.exitCode = failed ? EXIT.FAILED : EXIT.OK;
    });
}
