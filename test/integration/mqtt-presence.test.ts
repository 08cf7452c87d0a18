/** How a node shows itself: retained state and info, the last will, reconnection, one owner for each node id. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { FakeHost } from '../unit/service/fake-host.js';
import { type Running, settingsFor, sleep, startDaemon, Wire } from './harness.js';
import { Cable, freePort, Mosquitto } from './mosquitto.js';

const STATE = 'beta/1/node/kitchen/state';
const INFO = 'beta/1/node/kitchen/info';
const ONLINE = '{"state":"online"}';
const OFFLINE = '{"state":"offline"}';

let broker: Mosquitto;
let wire: Wire;
let running: Running | undefined;

beforeAll(async () => {
  broker = await Mosquitto.start();
});
afterAll(async () => broker?.stop());
afterEach(async () => {
  await running?.daemon.stop();
  await wire?.close();
  running = undefined;
});

const states = () => wire.on(STATE).map(({ text }) => text);
const retained = async (topic: string) => {
  const late = await Wire.connect(broker.url, 4);
  await late.subscribe(topic);
  await sleep(150);
  await late.close();
  return late.on(topic).map(({ text }) => text);
};

describe('presence', () => {
  it('is retained, and says what is served', async () => {
    running = await startDaemon(settingsFor('kitchen', broker.url));
    wire = await Wire.connect(broker.url, 5);
    expect(await retained(STATE)).toEqual([ONLINE]);
    const [info] = await retained(INFO);
    expect(JSON.parse(info as string)).toEqual({
      node: 'kitchen',
      version: expect.stringMatching(/^\d+\.\d+\.\d+/),
      wire: 1,
      device: { uri: 'emu:', kind: 'emulator', version: '1.0', build: 0 },
      models: [
        {
          name: 'intents',
          id: 'intents@0123456789ab',
          task: 'sequence-classification',
          labels: 3,
          max_tokens: 12,
        },
      ],
      limits: { payload_bytes: 1_048_576, inputs: 256, queue: 4096, text_chars: 65_536 },
    });
    await running.daemon.stop();
    expect(await retained(STATE)).toEqual([OFFLINE]);
  });

  it('turns to offline by the last will, and back when the network is', async () => {
    const cable = await Cable.to(broker.port);
    running = await startDaemon(settingsFor('kitchen', cable.url));
    wire = await Wire.connect(broker.url, 5);
    await wire.subscribe(STATE);
    await wire.until(() => states().includes(ONLINE), 'online');
    cable.cut();
    await wire.until(() => states().at(-1) === OFFLINE, 'the will');
    cable.mend();
    await wire.until(() => states().at(-1) === ONLINE, 'online again');
    for (const topic of ['beta/1/model/intents/infer', 'beta/1/node/kitchen/infer/intents']) {
      expect(await wire.ask(topic, { text: 'a' })).toEqual([expect.objectContaining({ label: 'transfer' })]);
    }
    await running.daemon.stop();
    await cable.close();
  });

  it('comes back after a restart of the broker, and delivers the answer it owes', async () => {
    const own = await Mosquitto.start();
    running = await startDaemon(settingsFor('kitchen', own.url));
    const asking = await Wire.connect(own.url, 5);
    const release = running.host.hold();
    await asking.send('beta/1/model/intents/infer', { text: 'a' }, 'test/owed', 'c1');
    await asking.until(() => running?.host.seen.length === 1, 'the request to arrive');
    await own.kill();
    release();
    await sleep(100);
    await own.run();
    wire = await Wire.connect(own.url, 5);
    await wire.subscribe('test/owed');
    await wire.subscribe(STATE);
    await wire.until(() => states().at(-1) === ONLINE, 'online again');
    await wire.until(() => wire.on('test/owed').length > 0, 'the answer');
    expect(wire.on('test/owed')).toHaveLength(1);
    await running.daemon.stop();
    await own.stop();
  });

  it('is restored when a late will contradicts it', async () => {
    running = await startDaemon(settingsFor('kitchen', broker.url));
    wire = await Wire.connect(broker.url, 5);
    await wire.client.publishAsync(STATE, OFFLINE, { qos: 1, retain: true });
    await sleep(200);
    expect(await retained(STATE)).toEqual([ONLINE]);
  });
});

it('a retained request is run when it is sent, and not again by every start', async () => {
  const topic = 'beta/1/node/kitchen/infer/intents';
  running = await startDaemon(settingsFor('kitchen', broker.url));
  wire = await Wire.connect(broker.url, 5);
  await wire.subscribe('test/retained');
  const request = JSON.stringify({ text: 'a', replyTo: 'test/retained' });
  await wire.client.publishAsync(topic, request, { qos: 1, retain: true });
  await wire.until(() => wire.on('test/retained').length === 1, 'the answer');
  await running.daemon.stop();
  running = await startDaemon(settingsFor('kitchen', broker.url));
  await sleep(200);
  expect(running.host.seen).toEqual([]);
  expect(wire.on('test/retained')).toHaveLength(1);
  await wire.client.publishAsync(topic, '', { qos: 1, retain: true });
});

describe('a node id', () => {
  it.each([5, 4] as const)(
    'has one owner (a request still works afterwards, MQTT version %i)',
    async (version) => {
      running = await startDaemon(settingsFor('kitchen', broker.url));
      wire = await Wire.connect(broker.url, version);
      await wire.subscribe(STATE);
      await expect(startDaemon(settingsFor('kitchen', broker.url))).rejects.toMatchObject({
        kind: 'broker',
        message: expect.stringContaining('another daemon is online as node "kitchen"'),
      });
      expect(states()).toEqual([ONLINE]);
      expect(await wire.ask('beta/1/node/kitchen/infer/intents', { text: 'a' })).toHaveLength(1);
    },
  );

  it('can be taken over from a daemon that is dead although its state says online', async () => {
    wire = await Wire.connect(broker.url, 5);
    await wire.client.publishAsync(STATE, ONLINE, { qos: 1, retain: true });
    running = await startDaemon(settingsFor('kitchen', broker.url));
    expect(await wire.ask('beta/1/node/kitchen/infer/intents', { text: 'a' })).toHaveLength(1);
  });
});

describe('a daemon that cannot start', () => {
  it('leaves nothing open and no state behind', async () => {
    wire = await Wire.connect(broker.url, 5);
    await wire.subscribe('beta/1/node/cellar/#');
    const host = new FakeHost();
    const failing = { ...settingsFor('cellar', broker.url) };
    const { Daemon } = await import('../../src/service/daemon.js');
    const { pino } = await import('pino');
    await expect(
      Daemon.start({
        settings: failing,
        log: pino({ level: 'silent' }),
        startHost: async () => {
          throw new Error('a.beta: truncated');
        },
      }),
    ).rejects.toMatchObject({ kind: 'engine', message: 'a.beta: truncated' });
    await sleep(100);
    expect(wire.messages).toEqual([]);
    expect(host.closed).toBe(false);
  });

  it('says what to do when the port of the embedded broker is taken', async () => {
    const settings = { ...settingsFor('cellar'), embedded: { host: '127.0.0.1', port: broker.port } };
    await expect(startDaemon(settings)).rejects.toMatchObject({
      kind: 'broker',
      message: expect.stringContaining(`--broker mqtt://127.0.0.1:${broker.port}`),
    });
  });

  it('says what to do when there is no broker', async () => {
    await expect(
      startDaemon(settingsFor('cellar', `mqtt://127.0.0.1:${await freePort()}`)),
    ).rejects.toMatchObject({
      kind: 'broker',
      message: expect.stringContaining('nothing listens there'),
    });
  });
});
