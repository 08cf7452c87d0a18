/** `beta run`: a model on texts, without a daemon. */
import { createInterface } from 'node:readline';
import type { Command } from 'commander';
import { Device } from '../device/device.js';
import { resolveDeviceUri } from '../device/discovery.js';
import { Artifact } from '../model/artifact/read.js';
import { classify } from '../runtime/classify.js';
import { InputError } from '../runtime/errors.js';
import { tokenResult } from '../runtime/results.js';
import { Session } from '../runtime/session.js';
import { append, type EncodedInput, encodeInput, joinPairs, splitPair, type TextInput } from './inputs.js';
import { modelFile } from './model-file.js';
import { wholeNumber } from './numbers.js';
import { note, printable, printJson, printLine } from './output.js';
import { tokenResultLines } from './results.js';

interface Options {
  readonly device: string;
  readonly top?: number;
  readonly truncate: boolean;
  readonly pair?: string[];
  readonly pairs?: true;
  readonly json?: true;
}

async function readLines(): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of createInterface({ input: process.stdin, crlfDelay: Number.POSITIVE_INFINITY }))
    lines.push(line);
  return lines;
}

/** What was given: arguments, or the lines of standard input. */
async function readInputs(given: readonly string[], { pair, pairs }: Options): Promise<TextInput[]> {
  const fromStdin = given.length === 0;
  if (fromStdin && process.stdin.isTTY)
    note('reading texts from standard input, one a line; end with Ctrl-D');
  const texts = fromStdin ? await readLines() : given;
  if (pair) return joinPairs(texts, pair);
  return texts.map((text, index) => (pairs ? splitPair(text, placeOf(index, fromStdin)) : { text }));
}

const placeOf = (index: number, fromStdin: boolean) => `${fromStdin ? 'line' : 'text'} ${index + 1}`;

/** The result for one input, as --json prints it. */
function toResult(
  { plan, tokenizer }: Artifact,
  { text, pair }: TextInput,
  input: EncodedInput,
  values: Float32Array,
  top: number | undefined,
) {
  const { head, labels } = plan;
  const given = { text, ...(pair !== undefined && { text_pair: pair }) };
  const truncated = input.truncated && { truncated: true as const };
  if (head.task !== 'sequence-classification')
    return { ...given, ...tokenResult(head.task, values, input, labels, tokenizer), ...truncated };
  return { ...given, ...classify(values, labels, top), ...truncated, logits: Array.from(values) };
}

function print(result: ReturnType<typeof toResult>): void {
  const name = printable(
    result.text_pair === undefined ? result.text : `${result.text} | ${result.text_pair}`,
  );
  if ('tokens' in result) {
    for (const line of tokenResultLines(result, name)) printLine(line);
    return;
  }
  const { label, score, top } = result;
  printLine(`${printable(label)}  ${(score * 100).toFixed(1)} %  ${name}`);
  for (const other of top?.slice(1) ?? [])
    printLine(`  ${printable(other.label)}  ${(other.score * 100).toFixed(1)} %`);
}

export function register(program: Command): void {
  program
    .command('run')
    .summary('run a model on texts, without a daemon')
    .description(
      'Runs a model on texts given as arguments, or on the lines of standard input. A text that is longer than the model takes is cut to its first pieces, with a warning.',
    )
    .argument('<model>', 'artifact, or the name of a bundled model')
    .argument('[text...]', 'texts; without any, lines are read from standard input')
    .option('--device <uri>', 'where to run: auto, emu:, emu:?window=64M', 'auto')
    .option('--pair <text>', 'second text of the text in its place; may be repeated', append)
    .option('--pairs', 'each text or line is a pair: text<TAB>second text')
    .option('--top <n>', 'show the n best classes', wholeNumber(1, 1000))
    .option('--no-truncate', 'refuse texts that are too long')
    .option('--json', 'print results with all logits as JSON')
    .addHelpText(
      'after',
      `
Examples:
  $ beta run intents "transfer ten dollars to my savings account"
  $ beta run ./model.beta --json < lines.txt
  $ beta run ./squad.beta "who wrote it" --pair "it was written by ada"`,
    )
    .action(async (model: string, given: string[], options: Options, command: Command) => {
      if (options.pair && (options.pairs || options.pair.length !== given.length))
        command.error('error: give as many --pair as texts, and not with --pairs');
      const artifact = Artifact.open(modelFile(model));
      const { task } = artifact.plan.head;
      if (options.top !== undefined && task !== 'sequence-classification')
        throw new InputError(`--top is for models that give one label; ${artifact.name} does ${task}`);
      const texts = await readInputs(given, options);
      const inputs = texts.map((text, index) =>
        encodeInput(artifact, text, placeOf(index, given.length === 0), options.truncate),
      );

      const uri = resolveDeviceUri(options.device, note);
      const device = Device.open(uri);
      try {
        const { logits, times } = new Session(device, artifact).run(inputs);
        const results = logits.map((values, index) =>
          toResult(artifact, texts[index]!, inputs[index]!, values, options.top),
        );
        if (options.json) return printJson({ results, device: uri, model: artifact.id });
        for (const result of results) print(result);
        note(
          `${results.length} text${results.length === 1 ? '' : 's'} in ${times.total.toFixed(1)} ms on ${uri}`,
        );
      } finally {
        device.close();
      }
    });
}
