/** How a daemon ends: everything it accepted is answered, once. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stopOnSignals } from '../../src/service/signals.js';
import { codedError } from '../unit/service/fake-host.js';
import { settingsFor, sleep, startDaemon, Wire } from './harness.js';
import { Mosquitto } from './mosquitto.js';

const TOPIC = 'beta/1/model/intents/infer';
const REPLY = 'test/stop';
let broker: Mosquitto;

beforeAll(async () => {
  broker = await Mosquitto.start();
});
afterAll(async () => broker?.stop());

describe.each([
  { name: 'mosquitto', external: true, version: 5 as const },
  { name: 'embedded broker', external: false, version: 4 as const },
])('$name', ({ external, version }) => {
  /** A daemon with five requests accepted and held up, and what it has answered. */
  async function withFive(drainSeconds: number) {
    const running = await startDaemon(
      settingsFor('kitchen', external ? broker.url : undefined, { drainSeconds }),
    );
    const release = running.host.hold();
    const wire = await Wire.connect(running.daemon.brokerUrl, version);
    await wire.subscribe(REPLY);
    await wire.subscribe('beta/1/node/kitchen/state');
    for (let index = 0; index < 5; index++) await wire.send(TOPIC, { text: 'a' }, REPLY, `${index}`);
    await wire.until(() => running.daemon.queued === 5, 'the requests to arrive');
    const answers = () => wire.on(REPLY).map(({ text }) => JSON.parse(text));
    return { ...running, wire, release, answers };
  }

  it('answers what was accepted before it says offline and closes', async () => {
    const { daemon, host, wire, release, answers } = await withFive(10);
    const stopping = daemon.stop();
    await sleep(200);
    expect(host.closed).toBe(false);
    release();
    await stopping;
    expect(await daemon.finished).toBe('stopped');
    expect(host.closed).toBe(true);
    await sleep(100);
    expect(answers().map(({ label }) => label)).toEqual(new Array(5).fill('transfer'));
    const order = wire.messages.map(({ text }) =>
      text.includes('offline') ? 'offline' : text.includes('label') ? 'answer' : 'online',
    );
    expect(order).toEqual(['online', ...new Array(5).fill('answer'), 'offline']);
    await wire.close();
  });

  it('answers shutting_down for what takes too long, once', async () => {
    const { daemon, wire, release, answers } = await withFive(0.3);
    const started = Date.now();
    await daemon.stop();
    expect(Date.now() - started).toBeLessThan(3000);
    release();
    await sleep(200);
    expect(answers().map(({ error }) => error?.code)).toEqual(new Array(5).fill('shutting_down'));
    await wire.close();
  });

  it('answers device_error and ends when the engine is lost', async () => {
    const { daemon, host, wire, answers } = await withFive(10);
    host.onFailure?.(codedError('worker-lost', 'the engine worker ended with code 1'));
    expect(await daemon.finished).toBe('engine-lost');
    await sleep(100);
    expect(answers().map(({ error }) => error?.code)).toEqual(new Array(5).fill('device_error'));
    expect(wire.on('beta/1/node/kitchen/state').at(-1)?.text).toBe('{"state":"offline"}');
    await wire.close();
  });
});

it('answers requests that come while it drains, and none is left without', async () => {
  const { daemon, host } = await startDaemon(settingsFor('kitchen', broker.url));
  const wire = await Wire.connect(broker.url, 5);
  await wire.subscribe(REPLY);
  host.before = () => sleep(20);
  let sent = 0;
  const refused: number[] = [];
  const sending = (async () => {
    for (; sent < 300; sent++) {
      // The broker knows when nobody is left to take it; those requests were never accepted.
      const taken = await new Promise<boolean>((resolve) => {
        wire.client.once('packetreceive', (packet) =>
          resolve(packet.cmd === 'puback' && packet.reasonCode !== 16),
        );
        void wire.send('beta/1/node/kitchen/infer/intents', { text: 'a' }, REPLY, `${sent}`);
      });
      if (!taken) refused.push(sent);
    }
  })();
  await sleep(60);
  await daemon.stop();
  await sending;
  await sleep(200);
  const ids = wire.on(REPLY).map(({ packet }) => packet.properties?.correlationData?.toString());
  expect(new Set(ids).size).toBe(ids.length);
  expect(refused.length).toBeGreaterThan(0);
  expect(ids.length).toBeGreaterThan(0);
  await wire.close();
});

it('leaves new requests to the other nodes while it drains', async () => {
  const leaving = await startDaemon(settingsFor('leaving', broker.url));
  const staying = await startDaemon(settingsFor('staying', broker.url));
  const wire = await Wire.connect(broker.url, 5);
  await wire.subscribe(REPLY);
  const release = leaving.host.hold();
  await wire.send('beta/1/node/leaving/infer/intents', { text: 'a' }, REPLY, 'held');
  await wire.until(() => leaving.host.seen.length === 1, 'the request to arrive');
  const stopping = leaving.daemon.stop();
  await sleep(100);
  for (let index = 0; index < 20; index++) await wire.send(TOPIC, { text: 'a' }, REPLY, `${index}`);
  await wire.until(() => wire.on(REPLY).length >= 20, '20 answers');
  release();
  await stopping;
  await sleep(100);
  const nodes = wire.on(REPLY).map(({ text }) => [JSON.parse(text).node, JSON.parse(text).label]);
  expect(nodes).toEqual([...new Array(20).fill(['staying', 'transfer']), ['leaving', 'transfer']]);
  await staying.daemon.stop();
  await wire.close();
});

it('stops on the first signal and ends at once on the second', async () => {
  const { daemon, host, log } = await startDaemon(settingsFor('kitchen', broker.url));
  const release = host.hold();
  const wire = await Wire.connect(broker.url, 5);
  await wire.subscribe(REPLY);
  await wire.send(TOPIC, { text: 'a' }, REPLY, '1');
  await wire.until(() => host.seen.length === 1, 'the request to arrive');
  const exits: number[] = [];
  const before = process.listeners('SIGTERM');
  const remove = stopOnSignals(
    daemon,
    { info: () => undefined, warn: () => undefined },
    (code) => void exits.push(code),
  );
  // Called directly: a real signal would also reach the test runner.
  const handler = process.listeners('SIGTERM').find((listener) => !before.includes(listener)) as (
    signal: string,
  ) => void;
  handler('SIGTERM');
  await sleep(50);
  expect(log.join('')).toContain('stopping');
  expect(exits).toEqual([]);
  handler('SIGTERM');
  expect(exits).toEqual([143]);
  release();
  await daemon.finished;
  remove();
  expect(process.listeners('SIGTERM')).toEqual(before);
  expect(wire.on(REPLY)).toHaveLength(1);
  await wire.close();
});
