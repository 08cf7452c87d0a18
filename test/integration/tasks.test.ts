/**
 * Every task and sentence pairs as users meet them: `beta import --task`, `inspect`, `run`, `bench`, and a daemon with the real engine asked by
 * the client library and by `beta request`. Expected values come from the float64 oracle, read from the checkpoint on its own.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { importCheckpoint } from '../../src/cli/import-model.js';
import {
  BetaClient,
  type HiddenStatesResult,
  type SpanResult,
  type TokenLabelsResult,
} from '../../src/client/index.js';
import { EngineHost } from '../../src/runtime/host.js';
import { Daemon } from '../../src/service/daemon.js';
import { BitOracle } from '../oracle/bit.js';
import { type Checkpoint, hiddenStates, tokenHead, withoutHead, withTokenHead } from '../oracle/heads.js';
import { randomBitCheckpoint, vocabulary } from '../oracle/random.js';
import { torchSave } from '../oracle/torch-file.js';
import { settingsFor } from './harness.js';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const WORKER = new URL('../../dist/runtime/engine.js', import.meta.url);

function beta(
  args: readonly string[],
  input = '',
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [MAIN, ...args], { stdio: 'pipe' });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (text) => {
      stdout += text;
    });
    child.stderr.on('data', (text) => {
      stderr += text;
    });
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, stdout, stderr }));
    child.stdin.end(input);
  });
}

const full = randomBitCheckpoint({
  seed: 8,
  layers: 1,
  hidden: 32,
  heads: 2,
  intermediate: 48,
  vocab: 200,
  positions: 24,
  labels: 3,
  bits: 1,
});
const MODELS: Record<string, Checkpoint> = {
  classes: full,
  spans: withTokenHead(full, 'qa_outputs', 2),
  tags: withTokenHead(full, 'classifier', 4),
  states: withoutHead(full),
};
const oracle = new BitOracle(full.config, full.tensors);

const QUESTION = 'what time is my flight';
const TEXT = 'the flight to you can book';
/** Every word of the two is one piece of this vocabulary. */
const words = vocabulary(200);
const idsOf = (text: string) => text.split(' ').map((word) => words.indexOf(word));
const PAIR_IDS = [2, ...idsOf(QUESTION), 3, ...idsOf(TEXT), 3];
const PAIR_TYPES = PAIR_IDS.map((_, at) => (at > QUESTION.split(' ').length + 1 ? 1 : 0));
const PAIR_TOKENS = ['[CLS]', ...QUESTION.split(' '), '[SEP]', ...TEXT.split(' '), '[SEP]'];
const pair = hiddenStates(oracle, 1, PAIR_IDS, PAIR_TYPES).x;
const near = (values: ArrayLike<number>) => Array.from(values, (value) => expect.closeTo(value, 3));
const every = (values: Float64Array, width: number, at: number) => values.filter((_, i) => i % width === at);

const spanLogits = tokenHead(pair, MODELS.spans!, 'qa_outputs');
const tagLogits = tokenHead(pair, MODELS.tags!, 'classifier');

/** The best span of the second text, from the float64 logits. */
function expectedSpan() {
  const first = PAIR_TYPES.indexOf(1);
  let best = { start: 0, end: 0, sum: Number.NEGATIVE_INFINITY };
  for (let start = first; start < PAIR_IDS.length - 1; start++)
    for (let end = start; end < PAIR_IDS.length - 1; end++) {
      const sum = spanLogits[2 * start]! + spanLogits[2 * end + 1]!;
      if (sum > best.sum) best = { start, end, sum };
    }
  return { start: best.start, end: best.end, text: PAIR_TOKENS.slice(best.start, best.end + 1).join(' ') };
}

const EXPECTED = {
  spans: {
    tokens: PAIR_TOKENS,
    start_logits: near(every(spanLogits, 2, 0)),
    end_logits: near(every(spanLogits, 2, 1)),
    answer: { ...expectedSpan(), score: expect.any(Number) },
  },
  tags: {
    tokens: PAIR_TOKENS,
    labels: PAIR_IDS.map((_, token) => {
      const row = [...tagLogits.subarray(4 * token, 4 * token + 4)];
      return `LABEL_${row.indexOf(Math.max(...row))}`;
    }),
    scores: PAIR_IDS.map(() => expect.any(Number)),
    logits: PAIR_IDS.map((_, token) => near(tagLogits.subarray(4 * token, 4 * token + 4))),
  },
  states: { tokens: PAIR_TOKENS, shape: [PAIR_IDS.length, 32], hidden: near(pair) },
};

let folder: string;
const file = (name: string) => join(folder, `${name}.beta`);
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'beta-tasks-'));
  for (const [name, { config, tensors }] of Object.entries(MODELS)) {
    const source = join(folder, name);
    mkdirSync(source);
    writeFileSync(join(source, 'config.json'), JSON.stringify(config));
    writeFileSync(join(source, 'pytorch_model.bin'), torchSave(tensors, ['']));
    writeFileSync(join(source, 'vocab.txt'), words.join('\n'));
    await importCheckpoint(source, file(name), {}, { warn: () => undefined, progress: () => undefined });
  }
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('the oracle is sure of this pair', () => {
  expect(oracle.forward(PAIR_IDS, PAIR_TYPES).minDecisionMargin).toBeGreaterThan(1e-5);
  expect(PAIR_IDS).not.toContain(-1);
});

describe('beta run --json', () => {
  test.each(['spans', 'tags', 'states'] as const)('%s', async (name) => {
    const { code, stdout, stderr } = await beta(['run', file(name), QUESTION, '--pair', TEXT, '--json']);
    expect(code, stderr).toBe(0);
    expect(JSON.parse(stdout).results).toEqual([{ text: QUESTION, text_pair: TEXT, ...EXPECTED[name] }]);
  });

  test('classes of pairs, from lines', async () => {
    const lines = `${QUESTION}\t${TEXT}\n${TEXT}\t${QUESTION}\n`;
    const { code, stdout, stderr } = await beta(['run', file('classes'), '--pairs', '--json'], lines);
    expect(code, stderr).toBe(0);
    const { results } = JSON.parse(stdout);
    expect(results).toHaveLength(2);
    expect(results[0]).toMatchObject({
      text: QUESTION,
      text_pair: TEXT,
      logits: near(oracle.forward(PAIR_IDS, PAIR_TYPES).logits),
    });
    expect(results[1]).toMatchObject({ text: TEXT, text_pair: QUESTION });
  });
});

test('beta run for people', async () => {
  const { text, start, end } = EXPECTED.spans.answer;
  const spans = await beta(['run', file('spans'), QUESTION, '--pair', TEXT]);
  expect(spans.stdout).toMatch(
    new RegExp(`^${text} {2}0\\.\\d{4} {2}tokens ${start} to ${end} {2}${QUESTION} \\| ${TEXT}\\n$`),
  );
  const tags = await beta(['run', file('tags'), 'book time']);
  expect(tags.stdout.split('\n')).toEqual([
    'book time',
    expect.stringMatching(/^ {2}\[CLS\] {2}0\.\d{4} {2}LABEL_\d$/),
    expect.stringMatching(/^ {2}book {3}0\.\d{4} {2}LABEL_\d$/),
    expect.stringMatching(/^ {2}time {3}0\.\d{4} {2}LABEL_\d$/),
    expect.stringMatching(/^ {2}\[SEP\] {2}0\.\d{4} {2}LABEL_\d$/),
    '',
  ]);
  const states = await beta(['run', file('states'), 'book']);
  expect(states.stdout).toMatch(/^3 x 32 {2}book\n {2}(-?\d\.\d{4} ){8}\.\.\.\n$/);
});

test('a pair that is too long is cut from its longer text, with a warning, or refused', async () => {
  const long = Array(30).fill('the').join(' ');
  const args = ['run', file('spans'), 'book', '--pair', long];
  const cut = await beta([...args, '--json']);
  expect(cut.stderr).toMatch(/text 1 has 34 tokens.*longer text.*24/);
  const [result] = JSON.parse(cut.stdout).results;
  expect(result.truncated).toBe(true);
  expect(result.tokens).toEqual(['[CLS]', 'book', '[SEP]', ...Array(20).fill('the'), '[SEP]']);
  const refused = await beta([...args, '--no-truncate']);
  expect(refused.code).toBe(1);
  expect(refused.stderr).toContain('34 tokens');
});

test('wrong use says what is wrong', async () => {
  const noTab = await beta(['run', file('spans'), '--pairs', 'no tab']);
  expect([noTab.code, noTab.stderr]).toEqual([1, expect.stringContaining('text 1 has no TAB')]);
  const fewer = await beta(['run', file('spans'), 'a', 'b', '--pair', 'c']);
  expect([fewer.code, fewer.stderr]).toEqual([2, expect.stringContaining('as many --pair')]);
  const empty = await beta(['run', file('spans'), 'a', '--pair', ' ']);
  expect([empty.code, empty.stderr]).toEqual([1, expect.stringContaining('second text of text 1 is empty')]);
  const top = await beta(['run', file('tags'), 'a', '--top', '2']);
  expect([top.code, top.stderr]).toEqual([1, expect.stringContaining('token-classification')]);
});

test('import --task, inspect and bench', async () => {
  const chosen = await beta([
    'import',
    join(folder, 'classes'),
    '-o',
    file('chosen'),
    '--task',
    'hidden-states',
    '--json',
  ]);
  expect(JSON.parse(chosen.stdout)).toMatchObject({ task: 'hidden-states', labels: 0 });
  expect((await beta(['inspect', file('chosen')])).stdout).toMatch(/^task +hidden-states$/m);
  expect((await beta(['inspect', file('tags')])).stdout).toMatch(/^task +token-classification, 4 classes$/m);
  // The same encoder, so the same hidden states, to the last bit.
  const states = async (name: string) =>
    JSON.parse((await beta(['run', file(name), QUESTION, '--json'])).stdout).results;
  expect(await states('chosen')).toEqual(await states('states'));
  const missing = await beta([
    'import',
    join(folder, 'classes'),
    '-o',
    file('no'),
    '--task',
    'question-answering',
    '--json',
  ]);
  expect(missing.code).toBe(1);
  expect(JSON.parse(missing.stdout).error).toMatchObject({
    code: 'missing-tensor',
    message: expect.stringContaining('qa_outputs.weight'),
  });
  const bench = await beta([
    'bench',
    'forward',
    file('spans'),
    '--batch',
    '2',
    '--tokens',
    '7',
    '--seconds',
    '0.01',
    '--json',
  ]);
  expect(JSON.parse(bench.stdout).rows).toMatchObject([{ batch: 2, tokens: 7 }]);
});

describe('over MQTT', () => {
  let daemon: Daemon;
  let client: BetaClient;
  beforeAll(async () => {
    const settings = { ...settingsFor('kitchen'), models: Object.keys(MODELS).map(file) };
    const limits = { ...settings.limits, answerNumbers: 2000 };
    daemon = await Daemon.start({
      settings: { ...settings, limits },
      log: pino({ level: 'silent' }),
      startHost: ({ device, models }) => EngineHost.start({ device, models, module: WORKER }),
    });
    client = await BetaClient.connect(daemon.brokerUrl);
  });
  afterAll(async () => {
    await client?.close();
    await daemon?.stop();
  });

  const asked = { text: QUESTION, textPair: TEXT };
  const { logits, ...tags } = EXPECTED.tags;

  test('a pair gets what the model gives', async () => {
    expect(await client.request<SpanResult>('spans', asked)).toMatchObject(EXPECTED.spans);
    expect(await client.request<HiddenStatesResult>('states', asked)).toMatchObject(EXPECTED.states);
    const plain = await client.request<TokenLabelsResult>('tags', asked);
    expect(plain).toMatchObject(tags);
    expect(plain).not.toHaveProperty('logits');
    expect(await client.request<TokenLabelsResult>('tags', asked, { logits: true })).toMatchObject({
      logits,
    });
    expect((await client.request('classes', asked, { logits: true })).logits).toEqual(
      near(oracle.forward(PAIR_IDS, PAIR_TYPES).logits),
    );
  });

  test('lists of texts, of pairs, and of ids with types', async () => {
    // Of different length, so that every result must be cut out of the batch at its own place.
    const pairs = await client.request<SpanResult>('spans', [
      { text: 'time', textPair: 'you book' },
      asked,
      { text: TEXT, textPair: 'time' },
    ]);
    expect(pairs.results.map(({ tokens }) => tokens.length)).toEqual([6, PAIR_IDS.length, 10]);
    expect(pairs.results[1]).toMatchObject(EXPECTED.spans);
    const ids = await client.request<HiddenStatesResult>('states', {
      ids: [[2, 3], PAIR_IDS],
      types: [[0, 0], PAIR_TYPES],
    });
    expect(ids.results[1]).toMatchObject(EXPECTED.states);
    expect(ids.results[0]!.shape).toEqual([2, 32]);
    const alone = await client.request<HiddenStatesResult>('states', 'book');
    const texts = await client.request<HiddenStatesResult>('states', [TEXT, 'book']);
    expect(texts.results[1]!.hidden).toEqual(alone.hidden);
  });

  test('an answer that is too large is refused with its code', async () => {
    await expect(client.request('states', Array(9).fill(TEXT))).rejects.toMatchObject({
      code: 'payload_too_large',
      message: expect.stringContaining('32 numbers for each of'),
    });
  });

  test('the node says what its models are for', async () => {
    const [node] = await client.nodes();
    expect(node!.info!.models.map(({ name, task, labels }) => [name, task, labels])).toEqual([
      ['classes', 'sequence-classification', 3],
      ['spans', 'question-answering', 0],
      ['tags', 'token-classification', 4],
      ['states', 'hidden-states', 0],
    ]);
  });

  test('beta request --pair', async () => {
    const ask = (...words: string[]) => beta(['request', '--broker', daemon.brokerUrl, ...words]);
    const { code, stdout, stderr } = await ask('--model', 'spans', QUESTION, '--pair', TEXT, '--json');
    expect(code, stderr).toBe(0);
    expect(JSON.parse(stdout).results).toMatchObject([
      { text: QUESTION, text_pair: TEXT, ...EXPECTED.spans },
    ]);
    const person = await ask('--model', 'spans', QUESTION, '--pair', TEXT);
    const { text, start, end } = EXPECTED.spans.answer;
    expect(person.stdout).toMatch(
      new RegExp(`^${text} {2}0\\.\\d{4} {2}tokens ${start} to ${end} {2}compute .*"${TEXT}"\\n$`),
    );
    expect((await ask('--model', 'spans', 'a', 'b', '--pair', 'c')).code).toBe(2);
  });
});
