/**
 * Anything at all, sent to a daemon: payloads near enough to requests to get deep into it, topics, properties, correlations. BETA_FUZZ_CASES
 * says how many; every well-addressed one must get exactly one answer, and the daemon must be the same afterwards.
 */
import { encode } from 'cborg';
import type { IClientPublishOptions } from 'mqtt';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { PAYLOADS } from '../../src/client/wire.js';
import { FakeHost } from '../unit/service/fake-host.js';
import { type Running, settingsFor, sleep, startDaemon, Wire } from './harness.js';
import { Mosquitto } from './mosquitto.js';

const CASES = Number(process.env.BETA_FUZZ_CASES ?? 4000);
const AT_ONCE = 200;

let broker: Mosquitto;
let running: Running;
let wire: Wire;
beforeAll(async () => {
  broker = await Mosquitto.start('allow_anonymous true\nset_tcp_nodelay true\nmax_queued_messages 0');
  running = await startDaemon(
    { ...settingsFor('kitchen', broker.url, { inputs: 8 }), logLevel: 'silent' },
    new FakeHost(),
  );
  wire = await Wire.connect(broker.url, 5, { properties: { receiveMaximum: 65_535 } });
  await wire.subscribe('test/fuzz');
});
afterAll(async () => {
  await wire?.close();
  await running?.daemon.stop();
  await broker?.stop();
});

let state = 20261128;
const next = (limit: number) => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * limit);
};
const pick = <T>(...list: readonly T[]): T => list[next(list.length)]!;
const times = <T>(most: number, make: () => T): T[] => Array.from({ length: next(most + 1) }, make);

/** A value of any kind; mostly small, sometimes nasty. */
function value(depth = 0): unknown {
  if (depth < 3 && next(4) === 0) return times(4, () => value(depth + 1));
  if (depth < 3 && next(4) === 0)
    return Object.fromEntries(
      times(4, () => [pick('text', 'id', '__proto__', 'constructor', 'x'), value(depth + 1)]),
    );
  return pick<unknown>(
    '',
    'my money',
    'word '.repeat(20),
    '\u0000\ud800',
    'x'.repeat(300),
    '~~',
    0,
    -1,
    7,
    1e308,
    2.5,
    2 ** 53,
    true,
    false,
    null,
    [],
    {},
  );
}
const ids = () => times(6, () => pick<unknown>(2, 3, 10, 99, 100, -1, 1.5, '2', null));

/** Something like a request. */
function request(): Record<string, unknown> {
  const body: Record<string, unknown> = {};
  const fields: Record<string, () => unknown> = {
    text: () => pick<unknown>('my money', value()),
    text_pair: () => pick<unknown>('your money', value()),
    texts: () =>
      pick<unknown>(
        times(9, () => 'a'),
        value(),
      ),
    text_pairs: () => pick<unknown>(['b'], value()),
    input_ids: () => pick<unknown>(times(3, ids), [[2, 10, 3]], value()),
    token_type_ids: () => pick<unknown>(times(3, ids), [[0, 0, 1]], value()),
    logits: () => pick<unknown>(true, value()),
    top: () => pick<unknown>(2, 1e9, 0, value()),
    truncate: () => pick<unknown>(true, value()),
    priority: () => pick<unknown>('high', value()),
    id: () => value(),
    replyTo: () => pick<unknown>('elsewhere/#', 'test/other', value()),
    inputs: () => times(3, tensor),
    outputs: () => pick<unknown>([{ name: 'logits' }], [{ name: 'toString' }], value()),
    parameters: () => pick<unknown>({ truncate: true }, value()),
  };
  const names = Object.keys(fields);
  for (let count = 1 + next(3); count > 0; count--) {
    const name = next(2) === 0 ? pick('text', 'texts', 'input_ids', 'inputs') : pick(...names);
    body[name] = fields[name]!();
  }
  if (next(20) === 0) body[pick('colour', '__proto__', 'toString')] = value();
  return body;
}

function tensor(): unknown {
  const name = pick<unknown>('text', 'text_pair', 'input_ids', 'token_type_ids', 'attention_mask', value());
  const shape = pick<unknown>([1, 3], [1], [2, 2], [1e9, 1e9], [-1], [], value());
  const data = pick<unknown>([2, 10, 3], ['a'], [1, 1, 0], [true, false, true], value());
  return { name, shape, datatype: pick<unknown>('INT64', 'BYTES', 'BOOL', value()), data };
}

/** Bytes with some of them wrong, or missing. */
function broken(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  for (let count = next(4); count > 0 && copy.length > 0; count--) copy[next(copy.length)] = next(256);
  return next(3) === 0 ? copy.subarray(0, next(copy.length + 1)) : copy;
}

function payload(): { bytes: Buffer; contentType?: string } {
  const body = next(10) === 0 ? value() : request();
  const cbor = next(3) === 0;
  let bytes: Buffer = cbor ? Buffer.from(encode(body)) : Buffer.from(JSON.stringify(body));
  if (next(5) === 0) bytes = broken(bytes);
  if (next(50) === 0) bytes = Buffer.alloc(next(3000), next(256));
  const honest = cbor ? 'application/cbor' : pick('application/json', '', undefined);
  const contentType =
    next(20) === 0 ? pick('text/plain', 'application/cbor', 'application/json', 'x'.repeat(1000)) : honest;
  return { bytes, ...(contentType !== undefined && { contentType }) };
}

const topic = () =>
  next(10) > 0
    ? pick('beta/1/model/intents/infer', 'beta/1/node/kitchen/infer/intents')
    : `beta/1/node/kitchen/infer/${pick('nothing', 'ÄÖ', '$x', 'a b', 'x'.repeat(500), '')}`;

it(`${CASES} cases: no crash, no well-addressed request without its one answer, no growth`, async () => {
  const sent = new Set<string>();
  const due = () => sent.size - answered.size;
  const answered = new Map<string, number>();
  wire.client.removeAllListeners('message');
  const strange: string[] = [];
  wire.client.on('message', (_topic, bytes, { properties = {} }) => {
    const id = properties.correlationData?.toString() ?? '';
    answered.set(id, (answered.get(id) ?? 0) + 1);
    if (properties.contentType !== 'application/json') return;
    const body = JSON.parse(bytes.toString());
    if (body.error?.code === 'internal') strange.push(body.error.message);
    const fits = [PAYLOADS.Answer, PAYLOADS.BatchAnswer, PAYLOADS.TensorAnswer, PAYLOADS.Failure];
    if (!fits.some((schema) => schema.safeParse(body).success)) strange.push(bytes.toString().slice(0, 200));
  });
  const memory: number[] = [];
  for (let i = 0; i < CASES; i++) {
    const { bytes, contentType } = payload();
    // A quarter of them come under a correlation that was there before; those are answered all the same.
    const id = `${i}`;
    const options: IClientPublishOptions = {
      qos: pick(0, 1),
      properties: { ...(contentType !== undefined && { contentType }) },
    };
    if (next(20) === 0) {
      // Not addressed, or to where no answer may go.
      const responseTopic = pick(
        undefined,
        '$SYS/x',
        'beta/1/node/kitchen/state',
        'beta/1/model/intents/infer',
      );
      if (responseTopic !== undefined) options.properties!.responseTopic = responseTopic;
    } else {
      sent.add(id);
      Object.assign(options.properties!, { responseTopic: 'test/fuzz', correlationData: Buffer.from(id) });
      if (next(10) === 0)
        options.properties!.userProperties = {
          priority: pick('high', 'low', 'x'.repeat(200)),
          [`${value()}`.replaceAll(/[^\x20-\x7e]/g, '')]: 'y',
        };
      if (next(10) === 0) options.properties!.messageExpiryInterval = 60;
    }
    void wire.client.publishAsync(topic(), bytes, options);
    if (i % AT_ONCE === 0) {
      for (let wait = 0; due() > AT_ONCE && wait < 2000; wait++) await sleep(5);
      if (i % 1000 === 0) memory.push(process.memoryUsage().heapUsed);
    }
  }
  for (let wait = 0; due() > 0 && wait < 2000; wait++) await sleep(5);
  await sleep(200);
  expect(strange).toEqual([]);
  expect([...sent].filter((id) => !answered.has(id))).toEqual([]);
  expect([...answered].filter(([id, count]) => count !== 1 || !sent.has(id))).toEqual([]);
  expect(running.daemon.queued).toBe(0);
  // The daemon runs in this process; whatever it kept of each case would show.
  const growth = memory.at(-1)! - memory[Math.floor(memory.length / 2)]!;
  expect(growth / Math.max(1, CASES / 2)).toBeLessThan(20_000);
}, 600_000);

it('the same correlation for different questions gets different answers, and for the same one the same', async () => {
  const watch = await Wire.connect(broker.url, 5);
  await watch.subscribe('test/twice');
  const ask = (text: string) => watch.send('beta/1/model/intents/infer', { text }, 'test/twice', 'always');
  const seen = running.host.seen.length;
  for (const text of ['a', 'aa', 'a']) await ask(text);
  await watch.until(() => watch.on('test/twice').length === 3, 'three answers');
  const labels = watch.on('test/twice').map(({ text }) => JSON.parse(text).label);
  expect(labels.sort()).toEqual(['transfer', 'transfer', 'weather']);
  expect(running.host.seen.length - seen).toBe(2);
  await watch.close();
});

it('an expired message is not run, and is answered', async () => {
  const watch = await Wire.connect(broker.url, 5);
  await watch.subscribe('test/late');
  const release = running.host.hold();
  const seen = running.host.seen.length;
  await watch.send('beta/1/node/kitchen/infer/intents', { text: 'a' }, 'test/late', 'first');
  await watch.until(() => running.host.seen.length > seen, 'the first one to run');
  const properties = {
    responseTopic: 'test/late',
    correlationData: Buffer.from('late'),
    messageExpiryInterval: 1,
  };
  await watch.client.publishAsync('beta/1/node/kitchen/infer/intents', '{"text":"b"}', {
    qos: 1,
    properties,
  });
  await watch.until(() => watch.on('test/late').length === 1, 'the expiry');
  expect(JSON.parse(watch.on('test/late')[0]!.text)).toMatchObject({ error: { code: 'expired' } });
  release();
  await watch.until(() => watch.on('test/late').length === 2, 'the other answer');
  await watch.close();
});

it('a request that is taken back is answered so', async () => {
  const watch = await Wire.connect(broker.url, 5);
  await watch.subscribe('test/cancel');
  const release = running.host.hold();
  for (const id of ['kept', 'cancelled'])
    await watch.send('beta/1/model/intents/infer', { text: 'a' }, 'test/cancel', id);
  await watch.until(() => running.daemon.queued === 2, 'the requests to arrive');
  const properties = { responseTopic: 'test/cancel', correlationData: Buffer.from('cancelled') };
  await watch.client.publishAsync('beta/1/model/intents/cancel', '{}', { qos: 1, properties });
  await watch.until(() => watch.on('test/cancel').length === 1, 'the answer');
  expect(JSON.parse(watch.on('test/cancel')[0]!.text)).toMatchObject({ error: { code: 'cancelled' } });
  release();
  await watch.until(() => watch.on('test/cancel').length === 2, 'the other answer');
  await watch.close();
});
