/** `beta explain`: what the compiler chose for each product, why, and what it saves. */
import type { Command } from 'commander';
import { explainLayer, type LayerCost } from '../compiler/explain.js';
import { Artifact } from '../model/artifact/read.js';
import { modelFile } from './model-file.js';
import { wholeNumber } from './numbers.js';
import { printJson, printLine, printTable } from './output.js';

interface Options {
  readonly tokens?: number;
  readonly json?: true;
}

const grouped = (value: number) => value.toLocaleString('en-US');

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
    `total: ${grouped(cost.before.multiplies)} multiplies and ${grouped(cost.before.adds)} adds before, ` +
      `${grouped(cost.reordered.multiplies)} and ${grouped(cost.reordered.adds)} reordered, ` +
      `${grouped(cost.thresholds.multiplies)} and ${grouped(cost.thresholds.adds)} with thresholds\n`,
  );
}

export function register(program: Command): void {
  program
    .command('explain')
    .summary('show what the compiler chose, why, and what it saves')
    .description(
      'Shows for every product of every layer where its result is requantised and why, and counts the floating-point multiplications and additions ' +
        'of a sequence before the reordering, after it, and where integer thresholds decide.',
    )
    .argument('<file>', 'artifact, or the name of a bundled model')
    .option(
      '--tokens <n>',
      'length of the sequence (default: the longest, at most 128)',
      wholeNumber(1, 32768),
    )
    .option('--json', 'print as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  $ beta explain intents\n  $ beta explain model.beta --tokens 128 --json',
    )
    .action((file: string, options: Options) => {
      const { plan, id, name } = Artifact.open(modelFile(file));
      const tokens = Math.min(options.tokens ?? 128, plan.maxTokens);
      const layers = plan.layers.map((layer) => explainLayer(plan, layer, tokens));
      if (options.json) return printJson({ model: id, tokens, layers });
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
    });
}
