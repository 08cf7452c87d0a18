/** `beta bench vector`: the vector steps of a BERT-base layer, one by one, on every kernel. */
import type { Command } from 'commander';
import { Device } from '../../device/device.js';
import { wholeNumber } from '../numbers.js';
import { printJson, printTable } from '../output.js';
import { seconds } from './seconds.js';
import { median, rounded } from './statistics.js';
import { type VectorCase, vectorCases } from './vector-cases.js';

interface Options {
  readonly device: string;
  readonly kernels?: string[];
  readonly tokens: number;
  readonly seconds: number;
  readonly json?: true;
}

interface Row {
  readonly kernel: string;
  readonly step: string;
  readonly work: string;
  readonly rows: number;
  readonly width: number;
  /** Median time of the step, and that of one of its elements. */
  readonly us: number;
  readonly ns_per_element: number;
}

const RUNS_MIN = 5;

function measure(device: Device, one: VectorCase, seconds: number): number {
  const end = performance.now() + seconds * 1000;
  const runs: number[] = [];
  device.runVector(one.records, 0, one.count);
  while (runs.length < RUNS_MIN || performance.now() < end) {
    const began = performance.now();
    device.runVector(one.records, 0, one.count);
    runs.push((performance.now() - began) * 1000);
  }
  return median(runs);
}

/** The device with another kernel; an emulator's alone has that choice. */
function withKernel(uri: string, kernel: string): string {
  return `${uri}${uri.includes('?') ? '&' : '?'}vector=${kernel}`;
}

function rowsOf(uri: string, kernel: string, { tokens, seconds }: Options): Row[] {
  const device = Device.open(uri);
  try {
    return vectorCases(device.window, tokens).map((one) => {
      const us = measure(device, one, seconds);
      const { step, work, rows, width, elements } = one;
      return {
        kernel,
        step,
        work,
        rows,
        width,
        us: rounded(us),
        ns_per_element: rounded((us * 1000) / elements, 3),
      };
    });
  } finally {
    device.close();
  }
}

export function register(bench: Command): void {
  bench
    .command('vector')
    .summary('measure vector steps')
    .description(
      'Measures the steps that stay on the CPU (LayerNorm, activations, quantisers, softmax, embedding) one by one, at the sizes of BERT-base: median microseconds, and nanoseconds per element.',
    )
    .option('--device <uri>', 'where to run', 'emu:')
    .option(
      '--kernels <list>',
      "the emulator's kernels to compare, such as avx512,avx2,portable (default: the fastest)",
      (text: string) => text.split(',').map((part) => part.trim()),
    )
    .option('--tokens <n>', 'tokens of the sequence', wholeNumber(1, 4096), 128)
    .option('--seconds <n>', 'time for each step', seconds, 0.2)
    .option('--json', 'print as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  $ beta bench vector\n  $ beta bench vector --kernels avx512,portable --json\n  $ beta bench vector --device "emu:?threads=2"',
    )
    .action((options: Options) => {
      const rows = options.kernels
        ? options.kernels.flatMap((kernel) => rowsOf(withKernel(options.device, kernel), kernel, options))
        : rowsOf(options.device, 'fastest', options);
      if (options.json) return printJson({ rows, tokens: options.tokens, device: options.device });
      printTable(
        ['kernel', 'step', 'work', 'rows x width', 'us', 'ns/element'],
        rows.map((row) => [
          row.kernel,
          row.step,
          row.work,
          `${row.rows}x${row.width}`,
          row.us,
          row.ns_per_element,
        ]),
      );
    });
}
