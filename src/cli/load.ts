/** `beta load`, `beta unload`: the bitstream of a board, and the proof that it is the one that was meant. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { checkLiveness } from '../device/board/liveness.js';
import { askLoader } from '../device/board/loader.js';
import { type BitstreamPackage, readPackage } from '../device/board/package.js';
import { findProfile, type Profile } from '../device/board/profile.js';
import { Device } from '../device/device.js';
import { DeviceError } from '../device/errors.js';
import { selfTest } from '../device/self-test.js';
import { note, printJson, printLine } from './output.js';

/** udev gives the new files their group a moment after they appear. */
const APPEAR_MS = 10_000;
const LOOK_MS = 100;

function profileOrThrow(): Profile {
  const profile = findProfile();
  if (profile === undefined)
    throw new DeviceError(
      'no-board',
      'this machine is no board that there is a profile for; "beta doctor" says what it is',
    );
  if (profile.logic === null)
    throw new DeviceError(
      'no-board',
      `${profile.title}: the profile says that there is no programmable logic to load`,
    );
  return profile;
}

/** Waits until nothing stands between us and the engine. */
async function appear(uri: string, profile: Profile): Promise<void> {
  const deadline = performance.now() + APPEAR_MS;
  for (;;) {
    const failed = checkLiveness(uri, profile).find(({ state }) => state === 'fail');
    if (failed === undefined) return;
    if (performance.now() > deadline)
      throw new DeviceError('not-alive', `${uri}: ${failed.text}${failed.fix ? `; ${failed.fix}` : ''}`);
    await sleep(LOOK_MS);
  }
}

/** ID, the hash into IMAGE0-3 and back, and the self-test. */
function verify(uri: string, { sha256 }: BitstreamPackage): { tiles: number } {
  const device = Device.open(uri);
  try {
    const image = sha256.slice(0, 32);
    device.markImage(image);
    if (device.image !== image)
      throw new DeviceError(
        'load-failed',
        `${uri}: IMAGE0-3 read ${device.image} after ${image} was written`,
      );
    const { tiles, wrong } = selfTest(device);
    if (wrong.length > 0)
      throw new DeviceError('load-failed', `${uri}: the self-test has wrong results: ${wrong.join(', ')}`);
    return { tiles };
  } finally {
    device.close();
  }
}

async function load(name: string, options: { verify: boolean; json?: true }): Promise<void> {
  const profile = profileOrThrow();
  const bitstream = readPackage(name);
  const uri = `uio:${profile.engine.uio}`;
  await askLoader(profile.logic?.axiTimeout ? ['load', name, 'axi-timeout'] : ['load', name]);
  let tiles: number | null = null;
  if (options.verify) {
    try {
      await appear(uri, profile);
      ({ tiles } = verify(uri, bitstream));
    } catch (error) {
      // What cannot be proven right does not stay.
      await askLoader(['unload', name]).catch((second: Error) => note(second.message));
      throw error;
    }
  }
  const { sha256, bytes } = bitstream;
  if (options.json)
    return printJson({ loaded: name, device: uri, sha256, bytes, verified: options.verify, tiles });
  printLine(`${name} is loaded: ${uri}, ${bytes} bytes, SHA-256 ${sha256}`);
  printLine(
    options.verify ? `verified: ID, image hash, ${tiles} tiles equal to the emulator's` : 'not verified',
  );
}

async function unload(name: string, options: { force?: true; json?: true }): Promise<void> {
  const profile = profileOrThrow();
  const uri = `uio:${profile.engine.uio}`;
  // Opening stops the engine: its DMA must be quiet before it disappears. Who has it open must let it go first.
  if (!options.force && !checkLiveness(uri, profile).some(({ state }) => state === 'fail'))
    Device.open(uri).close();
  await askLoader(['unload', name]);
  if (options.json) return printJson({ unloaded: name });
  printLine(`${name} is unloaded`);
}

export function register(program: Command): void {
  program
    .command('load')
    .summary('load a bitstream package and verify it')
    .description(
      'Loads /lib/firmware/xilinx/PACKAGE (shell.json, one .bit.bin, one .dtbo) through the FPGA manager, then proves that it lives: identity, its hash written to IMAGE0-3, a self-test against the emulator. What cannot be proven is unloaded again.',
    )
    .argument('<package>', 'name of the package')
    .option('--no-verify', 'do not touch the engine afterwards')
    .option('--json', 'print as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  $ sudo beta load beta-qmm\n  $ beta load beta-qmm --json    # as a member of the group beta',
    )
    .action(load);
  program
    .command('unload')
    .summary('unload a bitstream package')
    .description(
      'Stops the engine and removes the overlay of a package. Refuses while another process has the engine.',
    )
    .argument('<package>', 'name of the package')
    .option('--force', 'do not stop the engine first: for one that does not answer')
    .option('--json', 'print as JSON')
    .addHelpText('after', '\nExamples:\n  $ sudo beta unload beta-qmm')
    .action(unload);
}
