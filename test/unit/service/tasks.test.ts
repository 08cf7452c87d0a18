/** Requests for pairs of texts, and for models whose head looks at every token. */
import { pino } from 'pino';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Answer, BatchAnswer, Failure } from '../../../src/client/wire.js';
import { AnswerSchema, BatchAnswerSchema } from '../../../src/client/wire.js';
import { parseConfig } from '../../../src/service/config.js';
import type { BatchResult, ServedModel, TokenSequence } from '../../../src/service/engine.js';
import { type AnyAnswer, Requests } from '../../../src/service/requests.js';
import { FakeHost, fakeModel, MAX_TOKENS } from './fake-host.js';

const limits = {
  ...parseConfig({ version: 1 }).limits,
  inputs: 4,
  queue: 6,
  textChars: 200,
  answerNumbers: 40,
};

/** A head that gives the token's id and its number; results say what they were made of. */
const tagger = (): ServedModel => ({
  ...fakeModel('tagger'),
  task: 'token-classification',
  output: { perToken: true, width: 2 },
  tokenResult: (task, values, { ids }) => ({
    tokens: [...ids].map((id) => `${task[0]}${id}`),
    labels: [...ids].map(() => 'O'),
    scores: [...ids].map(() => 0.5),
    logits: Array.from(ids, (_, row) => [...values.slice(2 * row, 2 * row + 2)]),
  }),
});

class TokenHost extends FakeHost {
  override async infer(model: ServedModel, sequences: readonly TokenSequence[]): Promise<BatchResult> {
    const answer = await super.infer(model, sequences);
    if (model.task === 'sequence-classification') return answer;
    const logits = sequences.map(({ ids }) => Float32Array.from([...ids].flatMap((id, at) => [id, at])));
    return { ...answer, logits };
  }
}

let host: FakeHost;
let requests: Requests;
beforeEach(() => {
  host = new TokenHost(fakeModel(), { ...fakeModel('untyped'), typeVocabSize: 1 }, tagger());
  requests = new Requests({ node: 'kitchen', host, limits, log: pino({ level: 'silent' }) });
});

const ask = (payload: unknown, model = 'intents'): Promise<AnyAnswer> =>
  requests.answer(requests.read({ model, payload: Buffer.from(JSON.stringify(payload)) }));
const failure = async (payload: unknown, model?: string) => ((await ask(payload, model)) as Failure).error;

describe('pairs', () => {
  it('become one sequence with types', async () => {
    const answer = (await ask({ text: 'a bb', text_pair: 'ccc' })) as Answer;
    expect(host.seen).toEqual([[2, 11, 12, 3, 13, 3]]);
    expect(host.types).toEqual([[0, 0, 0, 0, 1, 1]]);
    expect(answer).toMatchObject({ label: expect.any(String), tokens: 6 });
  });

  it('are as many as texts, in their order', async () => {
    const { results } = (await ask({ texts: ['a', 'bb'], text_pairs: ['ccc', 'a a'] })) as BatchAnswer;
    expect(host.seen).toEqual([
      [2, 11, 3, 13, 3],
      [2, 12, 3, 11, 11, 3],
    ]);
    expect(results.map(({ tokens }) => tokens)).toEqual([5, 6]);
  });

  it('leave single texts without types', async () => {
    await ask({ text: 'a' });
    expect(host.types).toEqual([null]);
  });

  it('are cut only when asked', async () => {
    const long = { text: 'a', text_pair: 'word '.repeat(MAX_TOKENS) };
    const { code, message } = await failure(long);
    expect(code).toBe('text_too_long');
    expect(message).toMatch(/text with text_pair has 16 tokens.*takes 12/);
    expect(await ask({ ...long, truncate: true })).toMatchObject({ truncated: true, tokens: 16 });
  });

  it.each([
    ['a pair of nothing', { text_pair: 'b' }],
    ['a pair of texts in one', { texts: ['a'], text_pair: 'b' }],
    ['pairs of a text', { text: 'a', text_pairs: ['b'] }],
    ['fewer pairs than texts', { texts: ['a', 'b'], text_pairs: ['c'] }],
    ['more pairs than texts', { texts: ['a'], text_pairs: ['c', 'd'] }],
    ['a pair that is a number', { text: 'a', text_pair: 7 }],
    ['pairs with a number', { texts: ['a'], text_pairs: [7] }],
    ['a pair of ids', { input_ids: [[2]], text_pair: 'b' }],
  ])('%s is a bad request', async (_, payload) => {
    expect((await failure(payload)).code).toBe('bad_request');
    expect(host.seen).toEqual([]);
  });

  it.each([
    ['empty', { text: 'a', text_pair: ' ' }, 'empty_text', /^text_pair is empty/],
    ['dropped', { text: 'a', text_pair: '~' }, 'empty_text', /^text_pair has only/],
    ['the first dropped', { text: '~', text_pair: 'a' }, 'empty_text', /^text has only/],
    ['of many, by its place', { texts: ['a', 'b'], text_pairs: ['c', ''] }, 'empty_text', /^text_pairs\[1\]/],
    ['too many characters', { text: 'a', text_pair: 'b'.repeat(201) }, 'text_too_long', /^text_pair has 201/],
    ['too many', { texts: ['a'], text_pairs: Array(5).fill('b') }, 'too_many_inputs', /text_pairs has 5/],
  ])('%s', async (_, payload, code, message) => {
    expect(await failure(payload)).toEqual({ code, message: expect.stringMatching(message) });
  });

  it('are refused by a model with one token type', async () => {
    const { code, message } = await failure({ text: 'a', text_pair: 'b' }, 'untyped');
    expect(code).toBe('bad_request');
    expect(message).toContain('untyped has one token type');
    expect(await ask({ text: 'a' }, 'untyped')).toHaveProperty('label');
  });
});

describe('token_type_ids', () => {
  it('go to the engine with their ids', async () => {
    await ask({ input_ids: [[2, 10, 3], [5]], token_type_ids: [[0, 1, 1], [0]] });
    expect(host.types).toEqual([[0, 1, 1], [0]]);
  });

  it.each([
    ['without ids', { text: 'a', token_type_ids: [[0]] }, 'bad_request'],
    ['fewer lists', { input_ids: [[2], [3]], token_type_ids: [[0]] }, 'bad_request'],
    ['shorter', { input_ids: [[2, 3]], token_type_ids: [[0]] }, 'bad_request'],
    ['flat', { input_ids: [[2, 3]], token_type_ids: [0, 0] }, 'bad_request'],
    ['a fraction', { input_ids: [[2]], token_type_ids: [[0.5]] }, 'bad_ids'],
    ['negative', { input_ids: [[2]], token_type_ids: [[-1]] }, 'bad_ids'],
    ['a type the model has not', { input_ids: [[2]], token_type_ids: [[2]] }, 'bad_ids'],
    ['too many', { input_ids: [[2]], token_type_ids: Array(5).fill([0]) }, 'too_many_inputs'],
  ])('%s: %s', async (_, payload, code) => {
    expect((await failure(payload)).code).toBe(code);
    expect(host.seen).toEqual([]);
  });
});

describe('a head that looks at every token', () => {
  it('gives what it gives, and logits where they are asked for', async () => {
    const answer = await ask({ text: 'a bb', id: 'x' }, 'tagger');
    expect(answer).toMatchObject({
      id: 'x',
      tokens: ['t2', 't11', 't12', 't3'],
      labels: ['O', 'O', 'O', 'O'],
      scores: [0.5, 0.5, 0.5, 0.5],
      model: { name: 'tagger' },
    });
    expect(answer).not.toHaveProperty('logits');
    expect(AnswerSchema.parse(answer)).toEqual(answer);
    const all = await ask({ texts: ['a', 'bb'], logits: true }, 'tagger');
    expect(all).toMatchObject({
      results: [
        {
          logits: [
            [2, 0],
            [11, 1],
            [3, 2],
          ],
        },
        { tokens: ['t2', 't12', 't3'] },
      ],
    });
    expect(BatchAnswerSchema.parse(all)).toEqual(all);
  });

  it('says that a text was cut', async () => {
    expect(await ask({ text: 'word '.repeat(MAX_TOKENS), truncate: true }, 'tagger')).toMatchObject({
      truncated: true,
      tokens: expect.any(Array),
    });
  });

  it('has no best labels', async () => {
    const { code, message } = await failure({ text: 'a', top: 2 }, 'tagger');
    expect(code).toBe('bad_request');
    expect(message).toContain('token-classification');
  });

  it('sends no more numbers than the node allows, and computes none in vain', async () => {
    // 40 numbers: 20 tokens of 2.
    expect(await ask({ input_ids: [Array(12).fill(5), Array(8).fill(5)] }, 'tagger')).toHaveProperty(
      'results',
    );
    host.seen.splice(0);
    const { code, message } = await failure({ input_ids: [Array(12).fill(5), Array(9).fill(5)] }, 'tagger');
    expect(code).toBe('payload_too_large');
    expect(message).toMatch(/2 numbers for each of 21 tokens, 42 in all; this node sends 40/);
    expect(host.seen).toEqual([]);
    expect(requests.queued).toBe(0);
    // One label an input is no such thing.
    expect(await ask({ input_ids: [Array(12).fill(5), Array(12).fill(5)] })).toHaveProperty('results');
  });
});

it.each([
  { label: 'a', score: 0.5, tokens: 3 },
  { tokens: ['[CLS]'], start_logits: [1], end_logits: [2], answer: null },
  {
    tokens: ['a'],
    start_logits: [1],
    end_logits: [2],
    answer: { start: 0, end: 0, text: 'a', score: 0.25 },
    truncated: true as const,
  },
  { tokens: ['a'], labels: ['O'], scores: [0.5], logits: [[1, 2]] },
  { tokens: ['a'], shape: [1, 2], hidden: [0.1, 0.2] },
])('the wire reads a result: %j', (result) => {
  const common = {
    model: { name: 'm', id: 'm@1' },
    device: 'emu:',
    node: 'n',
    timings: { queue_ms: 0, compute_ms: 0, total_ms: 0 },
  };
  expect(AnswerSchema.parse({ ...result, ...common })).toEqual({ ...result, ...common });
  expect(BatchAnswerSchema.parse({ ...common, results: [result] })).toEqual({ ...common, results: [result] });
  // A newer node may say more; a result of none of these kinds is not understood.
  expect(AnswerSchema.parse({ ...result, ...common, more: 1 })).toEqual({ ...result, ...common });
  expect(AnswerSchema.safeParse({ ...common, tokens: 3 }).success).toBe(false);
});
