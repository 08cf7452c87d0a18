/** `beta run`: a model on texts, without a daemon. */
import { createInterface } from 'node:readline';
import type { Command } from 'commander';
import { Device } from '../device/device.js';
import { resolveDeviceUri } from '../device/discovery.js';
import { Artifact } from '../model/artifact/read.js';
import { classify } from '../runtime/classify.js';
import { InputError } from '../runtime/errors.js';
import { Session } from '../runtime/session.js';
import { modelFile } from './model-file.js';
import { wholeNumber } from './numbers.js';
import { note, printable, printJson, printLine } from './output.js';

interface Options {
  readonly device: string;
  readonly top?: number;
  readonly truncate: boolean;
  readonly json?: true;
}

async function readLines(): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of createInterface({ input: process.stdin, crlfDelay: Number.POSITIVE_INFINITY }))
    lines.push(line);
  return lines;
}

/** Token ids of a text; `place` names it in messages. */
function encode(
  artifact: Artifact,
  text: string,
  place: string,
  truncate: boolean,
): { ids: Uint32Array; truncated: boolean } {
  if (text.trim() === '') throw new InputError(`${place} is empty; remove it or give it some text`);
  const { maxTokens } = artifact.plan;
  const { ids, tokens, truncated } = artifact.tokenizer.encode(text, maxTokens);
  if (truncated && !truncate)
    throw new InputError(
      `${place} has ${tokens} tokens, ${artifact.name} takes ${maxTokens}; shorten it or leave out --no-truncate`,
    );
  if (truncated)
    note(`warning: ${place} has ${tokens} tokens; only the first ${maxTokens - 2} pieces were used`);
  return { ids, truncated };
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
    .option('--top <n>', 'show the n best classes', wholeNumber(1, 1000))
    .option('--no-truncate', 'refuse texts that are too long')
    .option('--json', 'print results with all logits as JSON')
    .addHelpText(
      'after',
      `
Examples:
  $ beta run intents "transfer ten dollars to my savings account"
  $ beta run ./model.beta --json < lines.txt`,
    )
    .action(async (model: string, given: string[], options: Options) => {
      const artifact = Artifact.open(modelFile(model));
      const fromStdin = given.length === 0;
      if (fromStdin && process.stdin.isTTY)
        note('reading texts from standard input, one a line; end with Ctrl-D');
      const texts = fromStdin ? await readLines() : given;
      const inputs = texts.map((text, index) =>
        encode(artifact, text, `${fromStdin ? 'line' : 'text'} ${index + 1}`, options.truncate),
      );

      const uri = resolveDeviceUri(options.device, note);
      const device = Device.open(uri);
      try {
        const session = new Session(device, artifact);
        const { logits, times } = session.run(inputs);
        const results = logits.map((row, index) => ({
          text: texts[index]!,
          ...classify(row, artifact.plan.labels, options.top),
          ...(inputs[index]!.truncated && { truncated: true }),
          logits: Array.from(row),
        }));
        if (options.json) return printJson({ results, device: uri, model: artifact.id });
        for (const { text, label, score, top } of results) {
          printLine(`${printable(label)}  ${(score * 100).toFixed(1)} %  ${printable(text)}`);
          for (const other of top?.slice(1) ?? [])
            printLine(`  ${printable(other.label)}  ${(other.score * 100).toFixed(1)} %`);
        }
        note(
          `${results.length} text${results.length === 1 ? '' : 's'} in ${times.total.toFixed(1)} ms on ${uri}`,
        );
      } finally {
        device.close();
      }
    });
}
