/** `beta import`: checkpoint to artifact. */
import { type Command, Option } from 'commander';
import { NAME_PATTERN } from '../model/artifact/format.js';
import { FAMILY_NAMES } from '../model/import.js';
import { TASKS, type Task } from '../model/task.js';
import { type ImportSummary, importCheckpoint } from './import-model.js';
import { wholeNumber } from './numbers.js';
import { formatBytes, note, printFacts, printJson, printLine } from './output.js';
import { progressLine } from './progress.js';

interface Options {
  readonly output: string;
  readonly name?: string;
  readonly maxTokens?: number;
  readonly task?: Task;
  readonly family?: string;
  readonly json?: true;
}

function report(output: string, { plan, provenance, bytes }: ImportSummary): void {
  const requantisations = plan.layers.flatMap(({ query, key, value, attention, up }) =>
    [query.epilogue, key.epilogue, value.epilogue, attention.context, up.epilogue].map(({ kind }) => kind),
  );
  printFacts([
    ['written', `${output} (${formatBytes(bytes)})`],
    ['family', plan.family],
    [
      'encoder',
      `${plan.layers.length} layers, hidden ${plan.hidden}, ${plan.heads} heads, intermediate ${plan.intermediate}`,
    ],
    ['input', `up to ${plan.maxTokens} tokens, vocabulary of ${plan.embeddings.words[0]!.planes.rows}`],
    ['task', plan.labels.length > 0 ? `${plan.head.task}, ${plan.labels.length} classes` : plan.head.task],
    [
      'requantised',
      `${requantisations.filter((kind) => kind !== 'affine').length} of ${requantisations.length} results in the engine`,
    ],
    ['source', `${provenance.source}, SHA-256 ${provenance.sourceSha256.slice(0, 16)}...`],
  ]);
  printLine(`\nTry it: npx beta run ${output} "some text"`);
}

export function register(program: Command): void {
  program
    .command('import')
    .summary('turn a trained checkpoint into a .beta artifact')
    .description(
      'Reads a checkpoint (config.json, model.safetensors or pytorch_model.bin, vocab.txt or tokenizer.json), reorders its arithmetic into integer products and writes one .beta file.',
    )
    .argument('<source>', 'checkpoint folder, or its weights file')
    .requiredOption('-o, --output <file>', 'artifact to write')
    .option('--name <name>', "model name, if it is not to be the file's")
    .option(
      '--max-tokens <n>',
      'longest input, [CLS] and [SEP] included (default: all positions of the model)',
      wholeNumber(3, 32768),
    )
    .addOption(
      new Option('--task <task>', 'head to import (default: what the checkpoint has)').choices(TASKS),
    )
    .addOption(
      new Option('--family <family>', 'whose code it is from (default: what its tensors tell)').choices(
        FAMILY_NAMES,
      ),
    )
    .option('--json', 'print the summary as JSON')
    .addHelpText(
      'after',
      `
Examples:
  $ beta import ./bit-w1a1 -o intents.beta
  $ beta import ./bit-w1a1 -o intents.beta --max-tokens 32    trained with 32 positions
  $ beta import ./bit-w1a1 -o encoder.beta --task hidden-states`,
    )
    .action(async (source: string, options: Options, command: Command) => {
      if (options.name !== undefined && !NAME_PATTERN.test(options.name))
        command.error(`error: "${options.name}" is no model name: a to z, 0 to 9 and "-", at most 63`);
      const line = progressLine();
      let summary: ImportSummary;
      try {
        summary = await importCheckpoint(
          source,
          options.output,
          {
            ...(options.name !== undefined && { name: options.name }),
            ...(options.maxTokens !== undefined && { maxTokens: options.maxTokens }),
            ...(options.task !== undefined && { task: options.task }),
            ...(options.family !== undefined && { family: options.family }),
          },
          {
            warn: (message) => {
              line.clear();
              note(`warning: ${message}`);
            },
            progress: (what, done, total) => line.show(`importing ${what} ${done}/${total}`),
          },
        );
      } finally {
        line.clear();
      }
      if (!options.json) return report(options.output, summary);
      const { plan, provenance, bytes } = summary;
      printJson({
        file: options.output,
        bytes,
        family: plan.family,
        task: plan.head.task,
        layers: plan.layers.length,
        hidden: plan.hidden,
        heads: plan.heads,
        intermediate: plan.intermediate,
        max_tokens: plan.maxTokens,
        vocabulary: plan.embeddings.words[0]!.planes.rows,
        labels: plan.labels.length,
        requirements: plan.requirements,
        provenance,
      });
    });
}
