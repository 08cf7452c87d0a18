/** `beta trace`: a timeline of tiles, fences and vector steps, measured on a device or predicted for an engine. */
import { writeFileSync } from 'node:fs';
import type { Command } from 'commander';
import { buildProgram } from '../compiler/build.js';
import type { CostModel } from '../compiler/cost.js';
import { Device } from '../device/device.js';
import { resolveDeviceUri } from '../device/discovery.js';
import { Artifact } from '../model/artifact/read.js';
import { Session } from '../runtime/session.js';
import { measuredTrace, predictedTrace, type Trace } from '../runtime/trace.js';
import { geometryOption, imaginaryWindow } from './geometry-option.js';
import { modelFile } from './model-file.js';
import { wholeNumber } from './numbers.js';
import { note, printJson, printLine } from './output.js';

interface Options {
  readonly out: string;
  readonly device: string;
  readonly geometry?: CostModel;
  readonly tokens?: number;
  readonly batch: number;
  readonly json?: true;
}

/** Runs before the one that counts: code is compiled and constant operands are laid out. */
const WARM_UP_RUNS = 10;

function predicted(artifact: Artifact, lengths: readonly number[], geometry: CostModel): Trace {
  const { plan, name, tensors, dataBytes } = artifact;
  const { address, arena } = imaginaryWindow(tensors, dataBytes);
  const program = buildProgram(plan, address, lengths, arena, geometry);
  return predictedTrace(`${name}, predicted on ${geometry.name}`, program, plan.layers.length);
}

function measured(artifact: Artifact, lengths: readonly number[], uri: string): Trace {
  const device = Device.open(uri);
  try {
    const session = new Session(device, artifact);
    const words = artifact.plan.embeddings.words[0]!.planes.rows;
    const sequences = lengths.map((length, index) => ({
      ids: Uint32Array.from({ length }, (_, i) => (i * 7919 + index * 104729) % words),
    }));
    for (let i = 0; i < WARM_UP_RUNS; i++) session.run(sequences);
    const { program, timeline } = session.trace(sequences);
    return measuredTrace(`${artifact.name} on ${uri}`, program, artifact.plan.layers.length, timeline);
  } finally {
    device.close();
  }
}

export function register(program: Command): void {
  program
    .command('trace')
    .summary('write a timeline of tiles, fences and vector steps')
    .description(
      'Runs a model and writes what engine and CPU did when, as trace events that https://ui.perfetto.dev and chrome://tracing open. With --geometry it runs ' +
        'nothing and writes what the scheduler predicts for such an engine.',
    )
    .argument('<model>', 'artifact, or the name of a bundled model')
    .requiredOption('--out <file>', 'where to write the events (JSON)')
    .option('--device <uri>', 'where to run', 'auto')
    .option('--geometry <array>', 'predict for an engine of DmxDnxDk[xLANES][@CLOCK] instead', geometryOption)
    .option('--tokens <n>', 'tokens of a sequence (default: the longest, at most 128)', wholeNumber(1, 32768))
    .option('--batch <n>', 'sequences', wholeNumber(1, 256), 1)
    .option('--json', 'print a summary as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  $ beta trace intents --out trace.json\n  $ beta trace model.beta --batch 4 --tokens 32 --out trace.json\n' +
        '  $ beta trace model.beta --geometry 8x8x128@200MHz --out predicted.json',
    )
    .action((model: string, options: Options) => {
      const artifact = Artifact.open(modelFile(model), { tokenizer: false });
      const tokens = Math.min(options.tokens ?? 128, artifact.plan.maxTokens);
      const lengths = Array<number>(options.batch).fill(tokens);
      const trace = options.geometry
        ? predicted(artifact, lengths, options.geometry)
        : measured(artifact, lengths, resolveDeviceUri(options.device, note));
      writeFileSync(options.out, JSON.stringify(trace));
      const ends = trace.traceEvents.map(({ ts = 0, dur = 0 }) => ts + dur);
      const total_us = Math.round(ends.reduce((last, end) => Math.max(last, end), 0) * 10) / 10;
      const summary = {
        file: options.out,
        events: trace.traceEvents.length,
        total_us,
        tokens,
        batch: options.batch,
      };
      if (options.json) return printJson({ model: artifact.id, ...summary });
      printLine(`${options.out}: ${summary.events} events over ${(total_us / 1000).toFixed(3)} ms`);
    });
}
