/** `beta bench qmm`: the engine's matrix products, beside those of other libraries. */
import { availableParallelism, cpus, loadavg } from 'node:os';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Width } from '../../device/descriptor.js';
import { Device } from '../../device/device.js';
import { resolveDeviceUri } from '../../device/discovery.js';
import { PEER_ISAS, type Peer, type PeerIsa, type PeerName } from '../../native/peer.js';
import { wholeNumber } from '../numbers.js';
import { note, printJson } from '../output.js';
import { ACTIVATION_BITS, casesOf, parseShape, SHAPES, type Shape } from './cases.js';
import { measureOverhead, OVERHEAD_RING_LOG2 } from './overhead.js';
import { openPeers } from './peers.js';
import { measure, type QmmRow } from './qmm-row.js';
import { printQmm, type QmmReport } from './qmm-table.js';
import { seconds } from './seconds.js';
import { median, rounded } from './statistics.js';

interface Options {
  readonly device: string;
  readonly shapes: readonly Shape[];
  readonly bits: readonly Width[];
  readonly threads: number;
  readonly seconds: number;
  readonly peers: boolean;
  readonly peerIsa?: PeerIsa;
  readonly json?: true;
}

const NAMES = SHAPES.map(({ name }) => name).join(', ');

function shapes(text: string): Shape[] {
  return text.split(',').map((part) => {
    const shape = parseShape(part.trim());
    if (shape) return shape;
    throw new InvalidArgumentError(
      `"${part}" is no shape: one of ${NAMES}, or MxKxN such as 128x768x768 (M, N at most 16384).`,
    );
  });
}

function widths(text: string): Width[] {
  return text.split(',').map((part) => {
    const bits = ACTIVATION_BITS.find((width) => String(width) === part.trim());
    if (bits === undefined) throw new InvalidArgumentError(`Widths are ${ACTIVATION_BITS.join(', ')} bits.`);
    return bits;
  });
}

/** The URI of the same device with `threads` threads. Throws where it already says how many, or has none to offer. */
function withThreads(uri: string, threads: number): string {
  if (!uri.startsWith('emu:') || /[?&]threads=/.test(uri)) {
    throw new InvalidArgumentError(
      uri.startsWith('emu:')
        ? `--threads and the option threads of ${uri} say the same: leave one out`
        : `--threads is for the emulator, and ${uri} is none`,
    );
  }
  return `${uri}${uri.includes('?') ? '&' : '?'}threads=${threads}`;
}

/** Other work on the machine takes slices from the engine's thread and the host's, and no median brings them back. */
function warnOfLoad(load: number): void {
  const processors = availableParallelism();
  if (load > processors)
    note(`the machine is busy (load ${load.toFixed(1)} on ${processors} CPUs): figures will be too low`);
}

/** A line that is overwritten, for people who wait. */
function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
}

function run(
  device: Device,
  single: Device | undefined,
  peers: ReadonlyMap<PeerName, Peer>,
  options: Options,
) {
  const cases = casesOf(options.shapes, options.bits);
  const rows: QmmRow[] = [];
  const clock: number[] = [];
  try {
    progress('descriptors');
    const descriptor = measureOverhead(device, options.seconds);
    cases.forEach((work, index) => {
      progress(`${index + 1} of ${cases.length}: ${work.name}`);
      const row = measure(device, single, peers, work, options.seconds);
      rows.push(row);
      clock.push(row.clock_ghz);
    });
    return { rows, descriptor, clock_ghz: rounded(median(clock)) };
  } finally {
    progress('');
  }
}

function benchmark(options: Options): QmmReport {
  const uri = resolveDeviceUri(options.device, note);
  const [load = 0] = loadavg();
  warnOfLoad(load);
  const many = options.threads > 1;
  const open = (address: string) => Device.open(address, { ringLog2: OVERHEAD_RING_LOG2 });
  const address = many ? withThreads(uri, options.threads) : uri;
  const peers = options.peers ? openPeers(options.peerIsa, note) : new Map<PeerName, Peer>();
  const device = open(address);
  const single = many ? open(uri) : undefined;
  try {
    const version = (name: PeerName) => peers.get(name)?.version ?? null;
    return {
      ...run(device, single, peers, options),
      device: address,
      cpu: cpus()[0]?.model.trim() ?? 'unknown',
      load: rounded(load, 2),
      peers: { onednn: version('onednn'), openblas: version('openblas'), isa: options.peerIsa ?? null },
    };
  } finally {
    device.close();
    single?.close();
  }
}

export function register(bench: Command): void {
  bench
    .command('qmm')
    .summary('measure matrix products')
    .description(
      'Measures the matrix products of BERT-base in every format, through the driver: multiply-accumulates per second and per cycle, and the ratio to oneDNN (u8s8s32) and OpenBLAS (sgemm) on one thread in the same run, where they are installed. Also what a descriptor costs.',
    )
    .option('--device <uri>', 'where to run', 'auto')
    .addOption(
      new Option('--shapes <list>', `of ${NAMES}, or MxKxN (default: all six)`)
        .argParser(shapes)
        .default(SHAPES, 'all six'),
    )
    .addOption(
      new Option('--bits <list>', 'widths of activations')
        .argParser(widths)
        .default(ACTIVATION_BITS, ACTIVATION_BITS.join(',')),
    )
    .option('--threads <n>', 'threads of the emulator; also compared with one', wholeNumber(1, 64), 1)
    .option('--seconds <n>', 'time for each row', seconds, 0.5)
    .option('--no-peers', 'compare with nothing')
    .addOption(new Option('--peer-isa <isa>', 'newest instructions that peers may use').choices(PEER_ISAS))
    .option('--json', 'print as JSON')
    .addHelpText(
      'after',
      `
Examples:
  $ beta bench qmm
  $ beta bench qmm --shapes project,128x1024x4096 --bits 1,8
  $ beta bench qmm --device "emu:?kernel=avx2" --peer-isa avx2
  $ beta bench qmm --threads 2 --json`,
    )
    .action((options: Options, command: Command) => {
      let report: QmmReport;
      try {
        report = benchmark(options);
      } catch (error) {
        if (error instanceof InvalidArgumentError) command.error(`error: ${error.message}`);
        throw error;
      }
      if (options.json) printJson(report);
      else printQmm(report);
    });
}
