/** `beta synth`: a random checkpoint of a given shape, to measure with. */
import { readFileSync } from 'node:fs';
import { type Command, Option } from 'commander';
import type { SyntheticBits } from '../model/synthetic/bit.js';
import { PRESETS, type SyntheticShape } from '../model/synthetic/shape.js';
import { writeSynthetic } from '../model/synthetic/write.js';
import { wholeNumber } from './numbers.js';
import { formatBytes, printFacts, printJson, printLine } from './output.js';
import { progressLine } from './progress.js';

interface Options extends Partial<SyntheticShape> {
  readonly preset: string;
  readonly bits: string;
  readonly output: string;
  readonly seed: number;
  readonly vocabFile?: string;
  readonly json?: true;
}

const SIZES: readonly (readonly [keyof SyntheticShape, number, number, string])[] = [
  ['layers', 1, 256, 'encoder layers'],
  ['hidden', 1, 16_384, 'hidden size'],
  ['heads', 1, 1024, 'attention heads'],
  ['intermediate', 1, 16_384, 'columns of the feed-forward layer'],
  ['vocab', 5, 10_000_000, 'words'],
  ['positions', 3, 32_768, 'longest input, tokens'],
  ['labels', 1, 100_000, 'classes'],
];

function shapeOf(options: Options, words: readonly string[] | undefined, command: Command): SyntheticShape {
  const preset = PRESETS[options.preset]!;
  const given = Object.fromEntries(
    SIZES.flatMap(([name]) => (options[name] === undefined ? [] : [[name, options[name]]])),
  );
  const shape = { ...preset, ...(words && { vocab: words.length }), ...given };
  if (words && shape.vocab !== words.length)
    command.error(`error: --vocab is ${shape.vocab}, but ${options.vocabFile} has ${words.length} words`);
  if (shape.hidden % shape.heads !== 0)
    command.error(`error: hidden size ${shape.hidden} is not a multiple of ${shape.heads} heads (--heads)`);
  return shape;
}

/** The lines of a vocabulary file; a last line break adds no word. */
function readWords(file: string): string[] {
  return readFileSync(file, 'utf8')
    .replace(/\r?\n$/, '')
    .split(/\r?\n/);
}

export function register(program: Command): void {
  const command = program
    .command('synth')
    .summary('make a random checkpoint of a given shape')
    .description(
      'Writes a checkpoint in the layout of BiT with random weights: it knows no language, and computes as fast as a trained one. For benchmarks and tests.',
    )
    .requiredOption('-o, --output <folder>', 'folder to write')
    .addOption(new Option('--preset <name>', 'shape').choices(Object.keys(PRESETS)).default('bert-base'))
    .addOption(new Option('--bits <n>', 'of activations').choices(['1', '2', '4', '8']).default('1'))
    .option('--seed <n>', 'another one gives other weights', wholeNumber(0, 2 ** 32 - 1), 1)
    .option('--vocab-file <file>', 'words of a vocab.txt, in place of single letters');
  for (const [name, least, most, what] of SIZES)
    command.option(`--${name} <n>`, `${what}, in place of the preset's`, wholeNumber(least, most));
  command
    .option('--json', 'print the summary as JSON')
    .addHelpText(
      'after',
      `
Examples:
  $ beta synth --preset bert-base --bits 1 -o bert-base-w1a1
  $ beta import bert-base-w1a1 -o bert-base-w1a1.beta
  $ beta bench forward bert-base-w1a1.beta --tokens 128
  $ beta synth --preset bert-mini --layers 2 --bits 4 -o small`,
    )
    .action((options: Options, self: Command) => {
      const words = options.vocabFile === undefined ? undefined : readWords(options.vocabFile);
      const shape = shapeOf(options, words, self);
      const bits = Number(options.bits) as SyntheticBits;
      const line = progressLine();
      let bytes: number;
      try {
        bytes = writeSynthetic(options.output, {
          shape,
          bits,
          seed: options.seed,
          ...(words && { vocabulary: words }),
          progress: (done, total) => line.show(`tensor ${done} of ${total}`),
        });
      } finally {
        line.clear();
      }
      if (options.json)
        return printJson({ folder: options.output, bytes, bits, seed: options.seed, ...shape });
      printFacts([
        ['written', `${options.output} (${formatBytes(bytes)} of weights)`],
        [
          'encoder',
          `${shape.layers} layers, hidden ${shape.hidden}, ${shape.heads} heads, intermediate ${shape.intermediate}`,
        ],
        ['widths', `W1A${bits}`],
        ['seed', options.seed],
      ]);
      printLine(`\nNext: npx beta import ${options.output} -o ${options.output.replace(/\/+$/, '')}.beta`);
    });
}
