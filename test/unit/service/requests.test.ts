import { pino } from 'pino';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { Answer, BatchAnswer, Failure } from '../../../src/client/wire.js';
import { softmax } from '../../../src/service/answer.js';
import { parseConfig } from '../../../src/service/config.js';
import { type AnyAnswer, Requests } from '../../../src/service/requests.js';
import { codedError, FakeHost, fakeModel, LABELS, MAX_TOKENS, VOCABULARY } from './fake-host.js';

const limits = { ...parseConfig({ version: 1 }).limits, inputs: 4, queue: 6, textChars: 200 };
let host: FakeHost;
let requests: Requests;
let logged: string[];

beforeEach(() => {
  host = new FakeHost();
  logged = [];
  const log = pino({ level: 'trace' }, { write: (line: string) => void logged.push(line) });
  requests = new Requests({ node: 'kitchen', host, limits, log });
});

const bytes = (payload: unknown) =>
  payload instanceof Uint8Array
    ? payload
    : Buffer.from(typeof payload === 'string' ? payload : JSON.stringify(payload));
const ask = (payload: unknown, model = 'intents'): Promise<AnyAnswer> =>
  requests.answer(requests.read({ model, payload: bytes(payload) }));
const code = async (payload: unknown, model?: string) => ((await ask(payload, model)) as Failure).error?.code;
const message = async (payload: unknown) => ((await ask(payload)) as Failure).error?.message;

describe('answers', () => {
  it('answers one text flat', async () => {
    // [CLS] 12 15 [SEP]: 2 + 12 + 15 + 3 = 32, 32 mod 3 = 2.
    const answer = (await ask({ text: 'my money', id: 'x7' })) as Answer;
    expect(host.seen).toEqual([[2, 12, 15, 3]]);
    const rest = 1 + Math.exp(-0.25 - 0) + Math.exp(2);
    expect(answer).toEqual({
      id: 'x7',
      label: 'weather',
      score: expect.closeTo(Math.exp(2) / rest, 12),
      tokens: 4,
      model: { name: 'intents', id: 'intents@0123456789ab' },
      device: 'emu:',
      node: 'kitchen',
      timings: { queue_ms: expect.any(Number), compute_ms: 1.5, total_ms: expect.any(Number) },
    });
    expect(answer.timings.total_ms).toBeGreaterThanOrEqual(0);
  });

  it('answers several texts in order, with model, device and timings once', async () => {
    const answer = (await ask({ texts: ['a', 'aa', 'aaa'], id: 0 })) as BatchAnswer;
    // 2 + 11 + 3 = 16, 17, 18
    expect(answer.results.map(({ label }) => label)).toEqual([LABELS[1], LABELS[2], LABELS[0]]);
    expect(answer.id).toBe(0);
    expect(answer).not.toHaveProperty('label');
    expect(answer.timings.compute_ms).toBe(1.5);
  });

  it('takes token ids as they are', async () => {
    const answer = (await ask({ input_ids: [[2, VOCABULARY - 1, 3], [5]] })) as BatchAnswer;
    expect(host.seen).toEqual([[2, 99, 3], [5]]);
    expect(answer.results.map(({ tokens }) => tokens)).toEqual([3, 1]);
  });

  it('answers a list of one in both forms', async () => {
    const answer = (await ask({ input_ids: [[2, 10, 3]] })) as BatchAnswer & Answer;
    expect(answer.results).toEqual([{ label: 'balance', score: answer.score, tokens: 3 }]);
    expect(answer.label).toBe('balance');
  });

  it('adds logits and the best labels when asked', async () => {
    const answer = (await ask({ text: 'a', logits: true, top: 2 })) as Answer;
    expect(answer.logits).toEqual([0, 2, -0.5]);
    expect(answer.top?.map(({ label }) => label)).toEqual(['transfer', 'balance']);
    expect(answer.top?.[0]?.score).toBe(answer.score);
    expect(((await ask({ text: 'a', top: 99 })) as Answer).top).toHaveLength(3);
    expect((await ask({ text: 'a', logits: false })) as Answer).not.toHaveProperty('logits');
  });

  it('cuts a long text only when asked, and says so', async () => {
    const long = 'word '.repeat(MAX_TOKENS);
    const failure = (await ask({ text: long })) as Failure;
    expect(failure.error.code).toBe('text_too_long');
    expect(failure.error.message).toContain('14 tokens');
    expect(failure.error.message).toContain(`takes ${MAX_TOKENS}`);
    expect(host.seen).toEqual([]);
    const answer = (await ask({ text: long, truncate: true })) as Answer;
    expect(answer).toMatchObject({ truncated: true, tokens: MAX_TOKENS + 2 });
    expect(host.seen[0]).toHaveLength(MAX_TOKENS);
    expect(await ask({ text: 'word '.repeat(MAX_TOKENS - 2) })).not.toHaveProperty('truncated');
  });
});

it('softmax is right for large and for equal logits', () => {
  expect([...softmax(Float32Array.of(1000, 1000))]).toEqual([0.5, 0.5]);
  expect([...softmax(Float32Array.of(-1000, 0, -1000))]).toEqual([0, 1, 0]);
  const [a, b, c] = softmax(Float32Array.of(1, 2, 3)) as unknown as [number, number, number];
  expect([a, b, c].map((value) => value.toFixed(6))).toEqual(['0.090031', '0.244728', '0.665241']);
});

describe('bad requests', () => {
  it.each([
    ['not JSON', '{"text": "a"', 'bad_json'],
    ['nothing', '', 'bad_json'],
    ['not UTF-8', new Uint8Array([0x22, 0xff, 0x22]), 'bad_json'],
    ['a JSON array', [], 'bad_request'],
    ['null', 'null', 'bad_request'],
    ['a number', '7', 'bad_request'],
    ['no input', {}, 'bad_request'],
    ['two inputs', { text: 'a', texts: ['a'] }, 'bad_request'],
    ['an unknown key', { text: 'a', txt: 'b' }, 'bad_request'],
    ['a text that is a number', { text: 7 }, 'bad_request'],
    ['a text that is null', { text: null }, 'bad_request'],
    ['texts that are no list', { texts: 'a' }, 'bad_request'],
    ['texts with a number', { texts: ['a', 7] }, 'bad_request'],
    ['no texts', { texts: [] }, 'bad_request'],
    ['no ids', { input_ids: [] }, 'bad_request'],
    ['flat ids', { input_ids: [2, 3] }, 'bad_request'],
    ['a wrong option', { text: 'a', logits: 'yes' }, 'bad_request'],
    ['a wrong id', { text: 'a', id: ['x'] }, 'bad_request'],
    ['a wrong replyTo', { text: 'a', replyTo: 7 }, 'bad_request'],
    ['an empty text', { text: '' }, 'empty_text'],
    ['a blank text', { text: ' \n\t ' }, 'empty_text'],
    ['a text without tokens', { text: '~~ ~' }, 'empty_text'],
    ['one empty text of several', { texts: ['a', ''] }, 'empty_text'],
    ['too many characters', { text: 'x'.repeat(201) }, 'text_too_long'],
    ['too many characters, cut or not', { text: 'x'.repeat(201), truncate: true }, 'text_too_long'],
    ['an empty list of ids', { input_ids: [[]] }, 'bad_ids'],
    ['an id outside the vocabulary', { input_ids: [[2, VOCABULARY, 3]] }, 'bad_ids'],
    ['a negative id', { input_ids: [[-1]] }, 'bad_ids'],
    ['a fraction', { input_ids: [[1.5]] }, 'bad_ids'],
    ['a huge id', '{"input_ids": [[1e300]]}', 'bad_ids'],
    ['an id that is a word', { input_ids: [[2, 'hello']] }, 'bad_ids'],
    ['too many ids', { input_ids: [new Array(MAX_TOKENS + 1).fill(5)] }, 'bad_ids'],
    ['too many texts', { texts: ['a', 'b', 'c', 'd', 'e'] }, 'too_many_inputs'],
    ['too many lists of ids', { input_ids: [[1], [1], [1], [1], [1]] }, 'too_many_inputs'],
    ['too many bytes', `{"text": "${'x'.repeat(1_048_576)}"}`, 'payload_too_large'],
  ])('%s', async (_what, payload, expected) => {
    const answer = (await ask(payload)) as Failure;
    expect(answer).toEqual({
      error: { code: expected, message: expect.stringMatching(/.{8}/) },
      node: 'kitchen',
    });
    expect(answer.error.message.length).toBeLessThanOrEqual(400);
    expect(host.seen).toEqual([]);
    expect(requests.queued).toBe(0);
  });

  it('names what is wrong', async () => {
    expect(await message({ text: 'a', txt: 'b' })).toContain('"txt"');
    expect(await message({ texts: ['a', 7] })).toContain('texts.1');
    expect(await message({ texts: ['a', ' '] })).toContain('texts[1]');
    expect(await message({ input_ids: [[1], [2, 3, 'x']] })).toContain('input_ids[1][2]');
    expect(await message({ input_ids: [[VOCABULARY]] })).toContain('ends at 99');
  });

  it('tells which models there are instead of an unknown one', async () => {
    const answer = (await ask({ text: 'a', id: 1 }, 'other')) as Failure;
    expect(answer).toMatchObject({ id: 1, error: { code: 'unknown_model' } });
    expect(answer.error.message).toContain('intents');
    expect(await code({ text: 'a' }, 'constructor')).toBe('unknown_model');
    expect(await code({ text: 'a' }, 'X'.repeat(60_000))).toBe('unknown_model');
  });

  it('survives hostile JSON in little time', async () => {
    const started = performance.now();
    const depth = 400_000;
    expect(await code('['.repeat(1_000_000))).toBe('bad_json');
    expect(await code(`{"text": ${'['.repeat(depth)}${']'.repeat(depth)}}`)).toBe('bad_json');
    expect(await code(`{"id": ${'['.repeat(depth)}${']'.repeat(depth)}, "text": "a"}`)).toBe('bad_json');
    expect(await code(`{"input_ids": [[${'"",'.repeat(300_000)}1]]}`)).toBe('bad_ids');
    expect(await code(`{"texts": [${'1,'.repeat(500_000)}1]}`)).toBe('too_many_inputs');
    const keys = Array.from({ length: 50_000 }, (_, index) => `"k${index}":0`).join(',');
    expect(await code(`{"text": "a", ${keys}}`)).toBe('bad_json');
    expect(await code('{"text": "a", "__proto__": {"x": 1}}')).toBe('bad_request');
    expect(performance.now() - started).toBeLessThan(5000);
  });
});

describe('where the answer goes', () => {
  const address = (payload: unknown) => requests.read({ model: 'intents', payload: bytes(payload) }).address;

  it('is read from the payload', () => {
    expect(address({ text: 'a', id: 'x', replyTo: 'my/topic' })).toEqual({ id: 'x', replyTo: 'my/topic' });
    expect(address({ text: 7, id: 3, replyTo: 'my/topic', bad: true })).toEqual({
      id: 3,
      replyTo: 'my/topic',
    });
    expect(address({ text: 'a', id: {}, replyTo: 9 })).toEqual({});
    expect(address('{"id": 1e999}')).toEqual({});
  });

  it('is found in a payload that is too large or not JSON', () => {
    const big = 'x'.repeat(1_100_000);
    expect(address({ id: 'x', replyTo: 'my/topic', text: big })).toEqual({ id: 'x', replyTo: 'my/topic' });
    expect(address({ text: big, id: 12, replyTo: 'a "quoted" topic' })).toEqual({
      id: 12,
      replyTo: 'a "quoted" topic',
    });
    expect(address('{"replyTo": "my/topic", "id": "x", "text": "a}')).toEqual({
      id: 'x',
      replyTo: 'my/topic',
    });
    expect(address('replyTo: my/topic')).toEqual({});
  });

  it('is not taken from inside a text', () => {
    const text = `{"replyTo": "evil", "id": 1} ${'x'.repeat(1_100_000)}`;
    expect(address({ text })).toEqual({});
  });
});

describe('limits and failures', () => {
  it('refuses what does not fit into the queue, and goes on when there is room', async () => {
    const release = host.hold();
    const first = ask({ texts: ['a', 'b', 'c', 'd'] });
    const second = ask({ texts: ['a', 'b'] });
    expect(requests.queued).toBe(6);
    expect(await code({ text: 'a' })).toBe('busy');
    release();
    expect(await first).toHaveProperty('results');
    expect(await second).toHaveProperty('results');
    expect(requests.queued).toBe(0);
    expect(await ask({ text: 'a' })).toHaveProperty('label');
  });

  it.each(['device-fault', 'device-timeout', 'closed', 'worker-lost'])(
    'reports %s as device_error',
    async (engineCode) => {
      host.before = async () => {
        throw codedError(engineCode, 'fault K in field k0');
      };
      const answer = (await ask({ text: 'a', id: 5 })) as Failure;
      expect(answer).toMatchObject({ id: 5, error: { code: 'device_error' } });
      expect(answer.error.message).toContain('fault K');
      expect(requests.queued).toBe(0);
    },
  );

  it('reports a fault of its own as internal, without details', async () => {
    host.before = async () => {
      throw new TypeError('secret detail');
    };
    const answer = (await ask({ text: 'a' })) as Failure;
    expect(answer.error.code).toBe('internal');
    expect(answer.error.message).not.toContain('secret');
    expect(logged.join('')).toContain('secret detail');
  });

  it('does not pass on logits that are not numbers', async () => {
    host.infer = async () => ({
      logits: [Float32Array.of(1, Number.NaN, 2)],
      times: { total: 0, engine: 0, vector: 0, host: 0 },
    });
    expect(await code({ text: 'a' })).toBe('internal');
    host.infer = async () => ({ logits: [], times: { total: 0, engine: 0, vector: 0, host: 0 } });
    expect(await code({ text: 'a' })).toBe('internal');
  });

  it('runs a request on the version that it was tokenised for, whatever takes the name meanwhile', async () => {
    const used: string[] = [];
    const infer = host.infer.bind(host);
    host.infer = (model, sequences) => {
      used.push(model.id);
      return infer(model, sequences);
    };
    const release = host.hold();
    const old = ask({ text: 'a' });
    const labels = ['un', 'deux', 'trois'];
    host.models.set('intents', { ...fakeModel('intents', 'ffffffffffff'), labels });
    requests.modelsChanged();
    const young = ask({ text: 'a' });
    release();
    expect(await old).toMatchObject({ label: LABELS[1], model: { id: 'intents@0123456789ab' } });
    expect(await young).toMatchObject({ label: 'deux', model: { id: 'intents@ffffffffffff' } });
    expect(used.sort()).toEqual(['intents@0123456789ab', 'intents@ffffffffffff']);
    expect(requests.queued).toBe(0);
  });

  it.each(['unknown-model', 'model-changed'])(
    'tokenises a request anew whose version is gone (%s), if there is another',
    async (gone) => {
      const next = fakeModel('intents', 'ffffffffffff');
      const infer = host.infer.bind(host);
      const using = vi.spyOn(host, 'using');
      host.infer = async (model, sequences) => {
        if (model.id === next.id) return infer(model, sequences);
        throw codedError(gone, `${model.id} is not here`);
      };
      const first = ask({ texts: ['a', 'bb'] });
      host.models.set('intents', next);
      expect(await first).toMatchObject({ model: { id: next.id }, results: [{ tokens: 3 }, { tokens: 3 }] });
      expect(using.mock.calls.map(([{ id }]) => id)).toEqual(['intents@0123456789ab', next.id]);
      // Under its own name again it is this version that is missing: nothing is tried again.
      host.models.set('intents', fakeModel());
      expect(await code({ text: 'a' })).toBe(gone === 'unknown-model' ? 'unknown_model' : 'device_error');
      expect(using).toHaveBeenCalledTimes(3);
      const last = ask({ text: 'a' });
      host.models.clear();
      expect(((await last) as Failure).error.code).toBe(
        gone === 'unknown-model' ? 'unknown_model' : 'device_error',
      );
    },
  );

  it('refuses new requests while old ones go on', async () => {
    const release = host.hold();
    const old = ask({ text: 'a' });
    requests.refuse('shutting_down', 'stopping');
    expect(await code({ text: 'a' })).toBe('shutting_down');
    release();
    expect(await old).toHaveProperty('label');
  });

  it('answers what it gives up exactly once', async () => {
    const release = host.hold();
    const answers: AnyAnswer[] = [];
    const all = [ask({ text: 'a', id: 1 }), ask({ text: 'b', id: 2 })].map((answer) =>
      answer.then((value) => answers.push(value)),
    );
    requests.abandon('shutting_down', 'stopping');
    await Promise.all(all);
    release();
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(answers).toEqual(
      [1, 2].map((id) => ({ id, error: { code: 'shutting_down', message: 'stopping' }, node: 'kitchen' })),
    );
    expect(requests.queued).toBe(0);
  });

  it('writes no text of a request into the log', async () => {
    await ask({ text: 'my secret money' });
    await ask('my secret money');
    host.before = async () => {
      throw codedError('device-fault', 'fault');
    };
    await ask({ text: 'my secret money' });
    expect(logged.join('')).not.toContain('secret');
  });
});
