/** `beta explain`: what the compiler chose for each product, why, what it saves, and what a device should make of it. */
import type { Command } from 'commander';
import { buildProgram } from '../compiler/build.js';
import type { CostModel } from '../compiler/cost.js';
import { type Count, explainLayer, type LayerCost, sum } from '../compiler/explain.js';
import { choices, type Prediction, predict } from '../compiler/predict.js';
import { Artifact } from '../model/artifact/read.js';
import { DEFAULT_GEOMETRY, geometryOption, imaginaryWindow } from './geometry-option.js';
import { modelFile } from './model-file.js';
import { wholeNumber } from './numbers.js';
import { formatBytes, printFacts, printJson, printLine, printTable } from './output.js';

interface Options {
  readonly tokens?: number;
  readonly geometry: CostModel;
  readonly schedule?: true;
  readonly json?: true;
}

const grouped = (value: number) => value.toLocaleString('en-US');
const countText = ({ multiplies, adds }: Count) =>
  `${grouped(multiplies)} multiplies and ${grouped(adds)} adds`;

function printLayer(title: string, cost: LayerCost): void {
  printLine(title);
  printTable(
    [
      'product',
      'M x N x K',
      'bits',
      'leaves',
      'requantised',
      'why',
      'multiplies before',
      'reordered',
      'with thresholds',
    ],
    cost.products.map(
      ({ name, times, m, n, k, aBits, bBits, leaves, decided, why, before, reordered, thresholds }) => [
        name,
        `${times > 1 ? `${times} x ` : ''}${m} x ${n} x ${k}`,
        `${aBits ?? 'real '}x${bBits}`,
        leaves,
        decided === 'engine' ? 'in the engine' : 'on the CPU',
        why,
        grouped(before.multiplies),
        grouped(reordered.multiplies),
        grouped(thresholds.multiplies),
      ],
    ),
  );
  printLine(
    `total: ${countText(cost.before)} before, ${countText(cost.reordered)} reordered, ` +
      `${countText(cost.thresholds)} with thresholds\n`,
  );
}

const BOTTLENECK = {
  engine: 'the engine',
  cpu: 'the CPU',
  order: 'the order: engine and CPU wait for each other',
} as const;

function printPrediction(geometry: string, prediction: Prediction, layers: number): void {
  const ms = (us: number) => `${(us / 1000).toFixed(3)} ms`;
  printLine(`predicted on an engine of ${geometry} beside four slow cores`);
  printTable(
    ['layer', 'tiles', 'steps', 'bytes moved', 'engine us', 'CPU us'],
    prediction.layers.map(({ layer, tiles, steps, bytes, engine_us, cpu_us }) => [
      layer < 0 ? 'embedding' : layer >= layers ? 'head' : `${layer}`,
      tiles,
      steps,
      bytes,
      Math.round(engine_us),
      Math.round(cpu_us),
    ]),
  );
  printFacts([
    ['tiles', prediction.tiles],
    ['vector steps', prediction.steps],
    ['bytes moved', formatBytes(prediction.bytes)],
    ['engine at work', ms(prediction.engine_us)],
    ['CPU at work', ms(prediction.cpu_us)],
    ['total', `${ms(prediction.total_us)}, ${prediction.over_bottleneck}x the longer of the two`],
    ['bottleneck', BOTTLENECK[prediction.bottleneck]],
  ]);
}

export function register(program: Command): void {
  program
    .command('explain')
    .summary('show what the compiler chose, why, what it saves, and how long it should take')
    .description(
      'Shows for every product of every layer where its result is requantised and why, and counts the floating-point multiplications and additions ' +
        'of a sequence before the reordering, after it, and where integer thresholds decide. Predicts tiles, bytes moved, time and bottleneck on an engine of a ' +
        'given size; the figures of the cores beside it are estimates.',
    )
    .argument('<file>', 'artifact, or the name of a bundled model')
    .option(
      '--tokens <n>',
      'length of the sequence (default: the longest, at most 128)',
      wholeNumber(1, 32768),
    )
    .option(
      '--geometry <array>',
      'engine of the prediction: DmxDnxDk[xLANES][@CLOCK]',
      geometryOption,
      geometryOption(DEFAULT_GEOMETRY),
    )
    .option('--schedule', 'every tile and step in its order, and why it stands there')
    .option('--json', 'print as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  $ beta explain intents\n  $ beta explain model.beta --tokens 128 --json\n  $ beta explain model.beta --geometry 16x16x128@250MHz --schedule',
    )
    .action((file: string, options: Options) => {
      const { plan, id, name, tensors, dataBytes } = Artifact.open(modelFile(file), { tokenizer: false });
      const { geometry } = options;
      const tokens = Math.min(options.tokens ?? 128, plan.maxTokens);
      const layers = plan.layers.map((layer) => explainLayer(plan, layer, tokens));
      const { address, arena } = imaginaryWindow(tensors, dataBytes);
      const built = buildProgram(plan, address, [tokens], arena, geometry);
      const prediction = predict(built, geometry.overlap);
      const total = {
        macs: layers.reduce((macs, layer) => macs + layer.macs, 0),
        before: sum(layers.map(({ before }) => before)),
        reordered: sum(layers.map(({ reordered }) => reordered)),
        thresholds: sum(layers.map(({ thresholds }) => thresholds)),
      };
      const schedule = options.schedule ? choices(built) : undefined;
      if (options.json) {
        return printJson({
          model: id,
          tokens,
          layers,
          total,
          prediction: { geometry: geometry.name, ...prediction },
          ...(schedule && { schedule }),
        });
      }
      printLine(`${name}, a sequence of ${tokens} tokens\n`);
      // Layers are usually alike: each distinct one is shown once, with the layers that are like it.
      const shapes = new Map<string, { cost: LayerCost; numbers: number[] }>();
      layers.forEach((cost, number) => {
        const shape = JSON.stringify(cost);
        const seen = shapes.get(shape);
        if (seen) seen.numbers.push(number);
        else shapes.set(shape, { cost, numbers: [number] });
      });
      for (const { cost, numbers } of shapes.values()) {
        printLayer(`layer${numbers.length > 1 ? 's' : ''} ${numbers.join(', ')}`, cost);
      }
      if (layers.length > 1) {
        printLine(
          `all layers: ${countText(total.before)} before, ${countText(total.reordered)} reordered, ` +
            `${countText(total.thresholds)} with thresholds\n`,
        );
      }
      printPrediction(geometry.name, prediction, layers.length);
      if (!schedule) return;
      printLine();
      printTable(
        ['begin us', 'end us', 'on', 'layer', 'what', 'why'],
        schedule.map(({ begin_us, end_us, on, layer, what, why }) => [
          begin_us,
          end_us,
          on,
          layer,
          what,
          why,
        ]),
      );
    });
}
