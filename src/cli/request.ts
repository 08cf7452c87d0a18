/** `beta request`: asks a node over MQTT. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { BetaClient } from '../client/client.js';
import type { RequestOptions } from '../client/options.js';
import type { Answer, Priority, Result } from '../client/wire.js';
import { type BrokerFlags, brokerOptions, withClient } from './broker-options.js';
import { EXIT, type ExitCode } from './exit.js';
import { append, joinPairs } from './inputs.js';
import { isTokenResult, tokenResultLines } from './results.js';

interface RequestFlags extends BrokerFlags {
  readonly model: string;
  readonly node?: string;
  readonly top?: number;
  readonly json?: boolean;
  readonly timeout: number;
  readonly priority?: Priority;
  readonly truncate?: boolean;
  readonly pair?: string[];
  readonly ids?: number[][];
}

/** One thing to ask, and what came back. */
type Input =
  | { readonly text: string; readonly text_pair?: string }
  | { readonly input_ids: readonly number[] };
type Outcome =
  | { readonly answer: Answer<Result> }
  | { readonly error: { readonly code: string; readonly message: string } };

/** Requests under way at once; the node batches them. */
const AT_ONCE = 64;

const HELP = `
Each text is a request of its own, so one that fails does not take the others with it.

Examples:
  beta request --model intents "transfer ten dollars to my savings account"
  beta request --model intents --top 3 "what is my balance" "book me a flight to oslo"
  beta request --model squad "who wrote it" --pair "it was written by ada"
  beta request --model intents --ids 2,57,613,3 --json
  beta request --model intents --broker mqtt://192.168.1.10:1883 --node kitchen "hello"

Exit codes: 0 all answered, 1 an error answer, 2 wrong usage, 3 no broker, 4 no answer in time.`;

export function register(program: Command): void {
  brokerOptions(program.command('request'))
    .description('ask a node over MQTT')
    .argument('[text...]', 'texts to classify')
    .requiredOption('--model <name>', 'name of the model')
    .option('--node <id>', 'ask this node (default: any that serves the model)')
    .option('--top <n>', 'print the n most probable labels', parseCount)
    .option('--json', 'print one JSON document')
    .option('--timeout <s>', 'seconds to wait for an answer', parseSeconds, 30)
    .addOption(
      new Option('--priority <p>', 'share of the engine while there is more work').choices([
        'low',
        'normal',
        'high',
      ]),
    )
    .option('--truncate', 'cut texts that are too long for the model instead of refusing them')
    .option('--pair <text>', 'second text of the text in its place; may be repeated', append)
    .option(
      '--ids <list>',
      'token ids with the special tokens, such as 2,57,613,3; may be repeated',
      appendIds,
    )
    .addHelpText('after', HELP)
    .action(async (texts: string[], flags: RequestFlags, command: Command) => {
      if (texts.length === 0 && !flags.ids)
        command.error('error: give a text, or --ids', { exitCode: EXIT.USAGE, code: 'beta.usage' });
      if (flags.pair && flags.pair.length !== texts.length)
        command.error('error: give as many --pair as texts', { exitCode: EXIT.USAGE, code: 'beta.usage' });
      process.exitCode = await request(texts, flags);
    });
}

async function request(texts: readonly string[], flags: RequestFlags): Promise<ExitCode> {
  const inputs: Input[] = [
    ...joinPairs(texts, flags.pair ?? []).map(({ text, pair }) => ({
      text,
      ...(pair !== undefined && { text_pair: pair }),
    })),
    ...(flags.ids ?? []).map((ids) => ({ input_ids: ids })),
  ];
  const timeoutMs = flags.timeout * 1000;
  const { model, node, top, truncate, priority } = flags;
  return withClient(
    'request',
    flags,
    async (client) => {
      const outcomes = await askAll(client, model, inputs, { node, top, truncate, priority, timeoutMs });
      if (flags.json) process.stdout.write(`${JSON.stringify(toJson(inputs, outcomes))}\n`);
      else print(inputs, outcomes);
      return exitCode(outcomes);
    },
    { connectTimeoutMs: Math.min(timeoutMs, 10_000) },
  );
}

async function askAll(
  client: BetaClient,
  model: string,
  inputs: readonly Input[],
  options: RequestOptions,
): Promise<Outcome[]> {
  const outcomes: Outcome[] = new Array(inputs.length);
  const queue = inputs.entries();
  const worker = async () => {
    for (const [index, input] of queue) outcomes[index] = await ask(client, model, input, options);
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, inputs.length) }, worker));
  return outcomes;
}

async function ask(
  client: BetaClient,
  model: string,
  input: Input,
  options: RequestOptions,
): Promise<Outcome> {
  const { RequestError } = await import('../client/errors.js');
  try {
    if ('text' in input) {
      const { text, text_pair } = input;
      const asked = text_pair === undefined ? text : { text, textPair: text_pair };
      return { answer: await client.request<Result>(model, asked, options) };
    }
    const { results, ...common } = await client.request<Result>(model, { ids: [input.input_ids] }, options);
    const [result] = results;
    if (!result) throw new RequestError('bad_answer', 'the answer has no result', common.node);
    return { answer: { ...common, ...result } };
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    return { error: { code: error.code, message: error.message } };
  }
}

function print(inputs: readonly Input[], outcomes: readonly Outcome[]): void {
  for (const [index, outcome] of outcomes.entries()) {
    const name = inputName(inputs[index] as Input);
    if ('error' in outcome)
      process.stderr.write(`beta request: ${name}: ${outcome.error.code}: ${outcome.error.message}\n`);
    else process.stdout.write(answerLines(outcome.answer, name));
  }
}

/** One line for a person, and one more for each of `top`. */
export function answerLines(answer: Answer<Result>, name: string): string {
  const { timings, truncated } = answer;
  if (isTokenResult(answer)) {
    const took = `compute ${timings.compute_ms.toFixed(1)} ms, total ${timings.total_ms.toFixed(1)} ms`;
    return tokenResultLines(answer, `${took}  ${name}${truncated ? '  (cut)' : ''}`)
      .map((line) => `${line}\n`)
      .join('');
  }
  const { label, score, top = [] } = answer;
  const cut = truncated ? `  (cut: ${answer.tokens} tokens)` : '';
  const first = `${label}  ${score.toFixed(4)}  compute ${timings.compute_ms.toFixed(1)} ms, total ${timings.total_ms.toFixed(1)} ms  ${name}${cut}`;
  return [first, ...top.map((entry) => `    ${entry.score.toFixed(4)}  ${entry.label}`)]
    .map((line) => `${line}\n`)
    .join('');
}

function inputName(input: Input): string {
  if (!('text' in input)) return `[${input.input_ids.join(',')}]`;
  const { text, text_pair } = input;
  return text_pair === undefined
    ? JSON.stringify(text)
    : `${JSON.stringify(text)}, ${JSON.stringify(text_pair)}`;
}

function toJson(inputs: readonly Input[], outcomes: readonly Outcome[]): object {
  const first = outcomes.find((outcome) => 'answer' in outcome)?.answer;
  return {
    results: outcomes.map((outcome, index) => {
      if ('error' in outcome) return { ...inputs[index], ...outcome };
      const { model: _model, device: _device, ...result } = outcome.answer;
      return { ...inputs[index], ...result };
    }),
    ...(first ? { model: first.model, device: first.device } : {}),
  };
}

function exitCode(outcomes: readonly Outcome[]): ExitCode {
  const failed = outcomes.find((outcome) => 'error' in outcome);
  if (!failed) return EXIT.OK;
  return failed.error.code === 'timeout' ? EXIT.TIMEOUT : EXIT.FAILED;
}

function parseCount(text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new InvalidArgumentError('expected a number from 1 on');
  return Number(text);
}

function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (text.trim() === '' || !(seconds > 0 && seconds <= 86_400))
    throw new InvalidArgumentError('expected seconds, such as 5 or 0.5');
  return seconds;
}

function appendIds(text: string, lists: number[][] = []): number[][] {
  if (!/^\d{1,10}(,\d{1,10})*$/.test(text))
    throw new InvalidArgumentError('expected numbers with commas between, such as 2,57,3');
  return [...lists, text.split(',').map(Number)];
}
