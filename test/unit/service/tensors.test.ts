/** Requests in tensors and in CBOR: the same answers as in words and JSON. */
import { decode, encode } from 'cborg';
import { pino } from 'pino';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  encodeBytes,
  type Failure,
  type TensorAnswer,
  TensorAnswerSchema,
} from '../../../src/client/wire.js';
import { parseConfig } from '../../../src/service/config.js';
import type { ServedModel } from '../../../src/service/engine.js';
import { type AnyAnswer, Requests } from '../../../src/service/requests.js';
import { FakeHost, fakeLogits, fakeModel } from './fake-host.js';

const limits = { ...parseConfig({ version: 1 }).limits, inputs: 4, answerNumbers: 40 };
let host: FakeHost;
let requests: Requests;
beforeEach(() => {
  const states = { ...fakeModel('states'), task: 'hidden-states', output: { perToken: true, width: 3 } };
  host = new FakeHost(fakeModel(), states as ServedModel);
  requests = new Requests({ node: 'kitchen', host, limits, log: pino({ level: 'silent' }) });
});

const send = (payload: Uint8Array, contentType?: string, model = 'intents'): Promise<AnyAnswer> =>
  requests.answer(requests.read({ model, payload, contentType }));
const json = (body: unknown, model?: string) => send(Buffer.from(JSON.stringify(body)), undefined, model);
const tensors = async (inputs: unknown[], more: object = {}, model?: string) =>
  (await json({ inputs, ...more }, model)) as TensorAnswer;
const problem = async (inputs: unknown[], more: object = {}, model?: string) =>
  ((await json({ inputs, ...more }, model)) as Failure).error;

const ids = (data: unknown, shape = [1, 4], name = 'input_ids') => ({ name, shape, datatype: 'INT64', data });
const words = (data: unknown, shape = [2], name = 'text') => ({ name, shape, datatype: 'BYTES', data });

describe('requests in tensors', () => {
  it('take texts, and give every output of the task', async () => {
    const answer = await tensors([words(['my money', 'a'])], { id: 'x' });
    expect(TensorAnswerSchema.parse(answer)).toEqual(answer);
    expect(host.seen).toEqual([
      [2, 12, 15, 3],
      [2, 11, 3],
    ]);
    const logits = host.seen.map((row) =>
      Array.from(fakeLogits(Uint32Array.from(row)), (value) => value + 0),
    );
    expect(answer).toMatchObject({ model_name: 'intents', model_version: 'intents@0123456789ab', id: 'x' });
    expect(answer.outputs).toEqual([
      { name: 'logits', shape: [2, 3], datatype: 'FP32', data: logits.flat() },
      { name: 'label', shape: [2], datatype: 'BYTES', data: ['weather', 'transfer'] },
      { name: 'score', shape: [2], datatype: 'FP32', data: [expect.any(Number), expect.any(Number)] },
    ]);
    expect(answer.parameters).toMatchObject({ node: 'kitchen', device: 'emu:' });
  });

  it('take pairs, types, and only the outputs that are asked for', async () => {
    await tensors([words(['a'], [1]), words(['b'], [1], 'text_pair')]);
    await tensors([ids([2, 5, 3, 3]), ids([0, 0, 1, 1], [1, 4], 'token_type_ids')]);
    expect(host.types).toEqual([
      [0, 0, 0, 1, 1],
      [0, 0, 1, 1],
    ]);
    const { outputs } = await tensors([words(['a'], [1])], { outputs: [{ name: 'label' }] });
    expect(outputs.map(({ name }) => name)).toEqual(['label']);
  });

  it('cut padding off, and put it back into what every token has', async () => {
    const values = Float32Array.from({ length: 9 }, (_, i) => i + 1);
    host.infer = async (_, sequences) => {
      host.seen.push(...sequences.map((each) => [...each.ids]));
      return {
        logits: [values.slice(0, 6), values.slice(6)],
        times: { total: 1, engine: 1, vector: 0, host: 0 },
      };
    };
    const mask = ids([1, 1, 0, 0, 1, 0, 0, 0], [2, 4], 'attention_mask');
    const answer = await tensors([ids([7, 8, 0, 0, 9, 0, 0, 0], [2, 4]), mask], {}, 'states');
    expect(host.seen).toEqual([[7, 8], [9]]);
    expect(answer.outputs).toEqual([
      {
        name: 'last_hidden_state',
        shape: [2, 4, 3],
        datatype: 'FP32',
        data: [1, 2, 3, 4, 5, 6, 0, 0, 0, 0, 0, 0, 7, 8, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0],
      },
    ]);
  });

  it.each([
    [[], 'bad_request', 'inputs'],
    [[{ ...words(['a'], [1]), datatype: 'INT64' }], 'bad_request', 'expected BYTES'],
    [[words(['a'], [2])], 'bad_request', 'list of 2'],
    [[words([7], [1])], 'bad_request', 'list of 1'],
    [[words(['a'], [1]), words(['a'], [1])], 'bad_request', 'same name'],
    [[words(['a'], [1]), ids([2, 5, 3, 3])], 'bad_request', 'not both'],
    [[words(['a'], [1], 'text_pair')], 'bad_request', 'give an input'],
    [[words(new Array(5).fill('a'), [5])], 'too_many_inputs', '5 inputs'],
    [[ids([2, 3], [1, 4])], 'bad_request', 'its shape says 4'],
    [[ids('2,3')], 'bad_request', 'its shape says 4'],
    [[ids([2, -1, 3, 3])], 'bad_ids', 'data[1]'],
    [[ids([2, 1e9, 3, 3])], 'bad_ids', 'vocabulary'],
    [[ids([], [0, 4])], 'bad_request', 'no rows'],
    [[ids([], [1, 0])], 'bad_ids', 'empty'],
    [[ids([2, 3, 3, 3]), ids([1, 1], [1, 2], 'attention_mask')], 'bad_request', 'has shape [1,2]'],
    [
      [ids([2, 3, 3, 3]), ids([1, 0, 1, 0], [1, 4], 'attention_mask')],
      'bad_request',
      'ones followed by zeros',
    ],
    [[ids([2, 3, 3, 3], [1, 2, 2])], 'bad_request', 'expected [n, tokens]'],
    [[{ name: 'pixels', shape: [1], datatype: 'INT64', data: [] }], 'bad_request', 'inputs.0.name'],
  ])('refuse %j', async (inputs, code, text) => {
    const error = await problem(inputs);
    expect(error?.code).toBe(code);
    expect(error?.message).toContain(text);
  });

  it('refuse an output that the model has not, and more numbers than the node sends', async () => {
    const output = await problem([words(['a'], [1])], { outputs: [{ name: 'constructor' }] });
    expect(output).toMatchObject({ code: 'bad_request', message: expect.stringContaining('logits, label') });
    const padded = [
      ids(new Array(16).fill(2), [1, 16]),
      ids([1, ...new Array(15).fill(0)], [1, 16], 'attention_mask'),
    ];
    expect(await problem(padded, {}, 'states')).toMatchObject({ code: 'payload_too_large' });
  });
});

describe('CBOR', () => {
  const cbor = (body: unknown) => send(encode(body), 'application/cbor; v=1');

  it('says what JSON says', async () => {
    const [a, b] = [
      await cbor({ text: 'my money', logits: true }),
      await json({ text: 'my money', logits: true }),
    ];
    expect({ ...a, timings: 0 }).toEqual({ ...b, timings: 0 });
    expect(decode(encodeBytes(a, 'cbor'))).toEqual(a);
  });

  it('takes and gives typed arrays', async () => {
    const data = BigInt64Array.of(2n, 5n, 3n);
    const input = ids(data, [1, 3]);
    const answer = (await send(
      encodeBytes({ inputs: [{ ...input, data: [2, 5, 3] }] }, 'cbor'),
      'application/cbor',
    )) as TensorAnswer;
    expect(answer.outputs[0]?.data).toEqual(fakeLogits(Uint32Array.of(2, 5, 3)));
    // RFC 8746: tag 79, little-endian int64; tag 85, float32.
    const wire = Buffer.concat([
      Buffer.from(
        'a166696e7075747381a4646e616d6569696e7075745f69647365736861706582010368646174617479706565494e54363464646174',
        'hex',
      ),
      Buffer.from('61', 'hex'),
      Buffer.from('d84f5818', 'hex'),
      Buffer.from(data.buffer),
    ]);
    const typed = (await send(wire, 'application/cbor')) as TensorAnswer;
    expect(typed.outputs[0]?.data).toEqual(fakeLogits(Uint32Array.of(2, 5, 3)));
    expect(encodeBytes(Float32Array.of(1), 'cbor').toString('hex')).toBe('d855440000803f');
  });

  it.each([
    ['an array of four billion elements', '9affffffff'],
    ['a string that ends early', '7affffffff61'],
    ['an array that never ends', '9f01'],
    ['a map with a key twice', 'a2616101616102'],
    ['nothing', ''],
    ['an unknown tag', 'c000'],
    ['nested a hundred thousand deep', `${'81'.repeat(100_000)}01`],
  ])('that is %s is refused', async (_, hex) => {
    const answer = (await send(Buffer.from(hex, 'hex'), 'application/cbor')) as Failure;
    expect(answer.error.code).toBe('bad_cbor');
  });

  it('does not change objects of the node', async () => {
    await cbor({ text: 'a', __proto__x: 1 });
    await send(Buffer.from('a1695f5f70726f746f5f5fa16874657374', 'hex'), 'application/cbor');
    expect(({} as { test?: unknown }).test).toBeUndefined();
  });

  it('another content type is refused, in JSON', async () => {
    const answer = (await send(Buffer.from('{"text":"a","id":7}'), 'text/plain')) as Failure;
    expect(answer).toMatchObject({ id: 7, error: { code: 'bad_content_type' } });
  });
});
