/** `beta power`: what the rails of a board say, and what an inference costs. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { findProfile } from '../device/board/profile.js';
import { EnergyMeter, findRails, type RailSensor } from '../device/board/rails.js';
import { Device } from '../device/device.js';
import { resolveDeviceUri } from '../device/discovery.js';
import { DeviceError } from '../device/errors.js';
import { Artifact } from '../model/artifact/read.js';
import { Session } from '../runtime/session.js';
import { modelFile } from './model-file.js';
import { wholeNumber } from './numbers.js';
import { note, printJson, printLine, printTable } from './output.js';

interface Options {
  readonly seconds: number;
  readonly device: string;
  readonly batch: number;
  readonly tokens: number;
  readonly json?: true;
}

/** Monitors average for some milliseconds and sit behind one slow bus: reading them more often tells nothing new. */
const SAMPLE_MS = 50;

const domains = {
  PL: ({ domain }: RailSensor) => domain === 'PL',
  PS: ({ domain }: RailSensor) => domain === 'PS',
  DDR: ({ domain }: RailSensor) => domain === 'DDR',
  accelerator: ({ accelerator }: RailSensor) => accelerator,
  all: () => true,
} as const;

type Domain = keyof typeof domains;
const DOMAINS = Object.keys(domains) as Domain[];

const perDomain = (value: (count: (rail: RailSensor) => boolean) => number) =>
  Object.fromEntries(DOMAINS.map((name) => [name, value(domains[name])])) as Record<Domain, number>;

const rounded = (value: number) => Number(value.toPrecision(5));

/** Watts of every rail and domain over a time in which this command does nothing. */
async function idle(rails: readonly RailSensor[], seconds: number): Promise<EnergyMeter> {
  const meter = new EnergyMeter(rails);
  const end = performance.now() + seconds * 1000;
  meter.sample();
  while (performance.now() < end) {
    await sleep(SAMPLE_MS);
    meter.sample();
  }
  return meter;
}

/** The same while batches run, and how many sequences that were. */
function busy(
  rails: readonly RailSensor[],
  model: string,
  options: Options,
): { meter: EnergyMeter; sequences: number; uri: string } {
  const artifact = Artifact.open(modelFile(model));
  const uri = resolveDeviceUri(options.device, note);
  const device = Device.open(uri);
  try {
    const session = new Session(device, artifact);
    const words = artifact.plan.embeddings.words[0]!.planes.rows;
    const length = Math.min(options.tokens, artifact.plan.maxTokens);
    const batch = Array.from({ length: options.batch }, (_, sequence) => ({
      ids: Uint32Array.from({ length }, (_, token) => (sequence * 7919 + token * 104_729) % words),
    }));
    session.run(batch); // Programs are built, pages are touched.
    const meter = new EnergyMeter(rails);
    const end = performance.now() + options.seconds * 1000;
    let sequences = 0;
    let due = 0;
    meter.sample();
    while (performance.now() < end) {
      session.run(batch);
      sequences += batch.length;
      if (performance.now() < due) continue;
      meter.sample();
      due = performance.now() + SAMPLE_MS;
    }
    meter.sample();
    return { meter, sequences, uri };
  } finally {
    device.close();
  }
}

async function power(model: string | undefined, options: Options): Promise<void> {
  const profile = findProfile();
  const rails = findRails(profile);
  if (rails.length === 0)
    throw new DeviceError(
      'no-rails',
      profile === undefined
        ? 'this machine has no power rails that can be read: it is no board that there is a profile for'
        : `${profile.title}: none of the ${profile.rails.length} rails of its profile is in /sys/class/hwmon`,
    );
  const baseline = await idle(rails, model === undefined ? options.seconds : Math.min(options.seconds, 5));
  const watts = perDomain((count) => rounded(baseline.watts(count)));
  const table = rails.map(({ chip, rail, domain }) => ({
    chip,
    rail,
    domain,
    watts: rounded(baseline.watts((other) => other.chip === chip)),
  }));
  const measured = model === undefined ? undefined : busy(rails, model, options);
  const inference = measured && {
    device: measured.uri,
    sequences: measured.sequences,
    seconds: rounded(measured.meter.seconds),
    samples: measured.meter.samples,
    watts: perDomain((count) => rounded(measured.meter.watts(count))),
    joules_per_inference: perDomain((count) => rounded(measured.meter.joules(count) / measured.sequences)),
    /** What the work adds to a board that is on anyway. */
    joules_per_inference_above_idle: perDomain((count) =>
      rounded(
        (measured.meter.joules(count) - baseline.watts(count) * measured.meter.seconds) / measured.sequences,
      ),
    ),
  };
  if (options.json)
    return printJson({
      board: profile?.board,
      idle: { seconds: rounded(baseline.seconds), watts },
      rails: table,
      inference: inference ?? null,
    });
  printTable(
    ['chip', 'rail', 'domain', 'idle W'],
    table.map(({ chip, rail, domain, watts }) => [chip, rail, domain, watts]),
  );
  printLine();
  printTable(
    ['domain', 'idle W', ...(inference ? ['busy W', 'J/inference', 'J above idle'] : [])],
    DOMAINS.map((name) => [
      name,
      watts[name],
      ...(inference
        ? [
            inference.watts[name],
            inference.joules_per_inference[name],
            inference.joules_per_inference_above_idle[name],
          ]
        : []),
    ]),
  );
  if (inference)
    note(
      `${inference.sequences} sequences in ${inference.seconds} s on ${inference.device}, ${inference.samples} samples`,
    );
}

export function register(program: Command): void {
  program
    .command('power')
    .summary('power of the rails of a board, and energy per inference')
    .description(
      'Reads the INA226 monitors of the board: programmable logic (PL), processing system (PS) and memory (DDR). With a model it runs batches of it, and gives joules for each sequence, with and without the idle baseline. A single inference is too short to be measured.',
    )
    .argument('[model]', 'artifact, or the name of a bundled model')
    .option('--seconds <n>', 'how long to measure', wholeNumber(1, 3600), 10)
    .option('--device <uri>', 'where to run the model', 'auto')
    .option('--batch <n>', 'sequences in a batch', wholeNumber(1, 64), 16)
    .option('--tokens <n>', 'tokens of a sequence', wholeNumber(2, 512), 32)
    .option('--json', 'print as JSON')
    .addHelpText('after', '\nExamples:\n  $ beta power\n  $ beta power intents --seconds 30 --json')
    .action(power);
}
