/** Requests over real brokers: mosquitto with MQTT 5 and 3.1.1, and the embedded one with 3.1.1. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BetaClient, ConnectError, RequestError } from '../../src/client/index.js';
import { FakeHost, MAX_TOKENS, VOCABULARY } from '../unit/service/fake-host.js';
import { type Running, settingsFor, sleep, startDaemon, Wire } from './harness.js';
import { freePort, Mosquitto } from './mosquitto.js';

const BIG = 'x'.repeat(1_048_576);

describe.each([
  { name: 'mosquitto, MQTT 5', external: true, version: 5 as const },
  { name: 'mosquitto, MQTT 3.1.1', external: true, version: 4 as const },
  { name: 'embedded broker, MQTT 3.1.1', external: false, version: 4 as const },
])('$name', ({ external, version }) => {
  let broker: Mosquitto | undefined;
  let running: Running;
  let wire: Wire;
  let url: string;

  beforeAll(async () => {
    if (external) broker = await Mosquitto.start();
    running = await startDaemon(settingsFor('kitchen', broker?.url, { inputs: 8 }));
    url = running.daemon.brokerUrl;
    wire = await Wire.connect(url, version);
  });
  afterAll(async () => {
    await wire?.close();
    await running?.daemon.stop();
    await broker?.stop();
  });

  it.each(['beta/1/model/intents/infer', 'beta/1/node/kitchen/infer/intents'])(
    'answers on %s',
    async (topic) => {
      const answers = await wire.ask(topic, { text: 'my money', top: 2 });
      expect(answers).toEqual([
        {
          ...(version === 4 ? { id: expect.any(String) } : {}),
          label: 'weather',
          score: expect.any(Number),
          top: [expect.objectContaining({ label: 'weather' }), expect.any(Object)],
          tokens: 4,
          model: { name: 'intents', id: 'intents@0123456789ab' },
          device: 'emu:',
          node: 'kitchen',
          timings: { queue_ms: expect.any(Number), compute_ms: 1.5, total_ms: expect.any(Number) },
        },
      ]);
    },
  );

  it('answers texts and token ids with results', async () => {
    const [texts] = await wire.ask('beta/1/model/intents/infer', { texts: ['a', 'aa'] });
    expect(texts?.results).toHaveLength(2);
    const [ids] = await wire.ask('beta/1/model/intents/infer', { input_ids: [[2, 10, 3]], logits: true });
    expect(ids?.results).toEqual([expect.objectContaining({ label: 'balance', logits: [2, -0.25, -0.5] })]);
  });

  // For 3.1.1 the reply topic has to be in the payload; REPLY is where.
  it.each([
    ['no JSON', '{"replyTo": "REPLY", "text": "a', 'bad_json'],
    [
      'no JSON object',
      version === 5 ? '"hello"' : '["replyTo", {"replyTo": "REPLY"',
      version === 5 ? 'bad_request' : 'bad_json',
    ],
    ['too large', { text: BIG }, 'payload_too_large'],
    ['an unknown key', { text: 'a', colour: 'red' }, 'bad_request'],
    ['a wrong type', { text: ['a'] }, 'bad_request'],
    ['no input', {}, 'bad_request'],
    ['empty text', { text: '' }, 'empty_text'],
    ['long text', { text: 'word '.repeat(MAX_TOKENS) }, 'text_too_long'],
    ['very long text', { text: 'x'.repeat(70_000) }, 'text_too_long'],
    ['ids out of range', { input_ids: [[2, VOCABULARY, 3]] }, 'bad_ids'],
    ['ids of a wrong type', { input_ids: [['2']] }, 'bad_ids'],
    ['too many inputs', { texts: new Array(9).fill('a') }, 'too_many_inputs'],
  ])('%s gets exactly one error answer, and the daemon goes on', async (_what, payload, code) => {
    for (const topic of ['beta/1/model/intents/infer', 'beta/1/node/kitchen/infer/intents']) {
      const answers = await wire.ask(topic, payload);
      expect(answers).toEqual([
        expect.objectContaining({ error: { code, message: expect.any(String) }, node: 'kitchen' }),
      ]);
      if (version === 4 && typeof payload !== 'string') expect(answers[0]).toHaveProperty('id');
    }
    expect(await wire.ask('beta/1/model/intents/infer', { text: 'a' }, 0)).toEqual([
      expect.objectContaining({ label: 'transfer' }),
    ]);
  });

  it('answers for an unknown model on the topic of the node', async () => {
    for (const model of ['nothing', 'UPPER case!']) {
      const answers = await wire.ask(`beta/1/node/kitchen/infer/${model}`, { text: 'a' });
      expect(answers).toEqual([
        expect.objectContaining({
          error: { code: 'unknown_model', message: expect.stringContaining('intents') },
        }),
      ]);
    }
  });

  // On a broker of its own kind nobody subscribes to such a topic; the client's tests below show what happens then.
  if (!external)
    it('answers for an unknown model on the shared topic when the broker is its own', async () => {
      const answers = await wire.ask('beta/1/model/nothing/infer', { text: 'a' });
      expect(answers).toEqual([
        expect.objectContaining({ error: { code: 'unknown_model', message: expect.any(String) } }),
      ]);
    });

  it('publishes nothing for requests without a usable reply topic', async () => {
    const watcher = await Wire.connect(url, version);
    await watcher.subscribe('#');
    await sleep(100);
    watcher.messages.length = 0;
    const { unanswerable } = running.daemon;
    const topic = 'beta/1/model/intents/infer';
    const bad = [
      '',
      'a/+',
      'a/#',
      '$SYS/x',
      'beta/1/node/kitchen/state',
      'beta/1/model/intents/infer',
      'a\u0001b',
      'a/'.repeat(50),
    ];
    for (const replyTo of bad)
      await wire.client.publishAsync(topic, JSON.stringify({ text: 'a', replyTo }), { qos: 1 });
    await wire.client.publishAsync(topic, JSON.stringify({ text: 'a' }), { qos: 1 });
    await wire.client.publishAsync(topic, 'not json', { qos: 1 });
    await wire.client.publishAsync(topic, '', { qos: 1 });
    await sleep(200);
    expect(watcher.messages.filter((message) => message.topic !== topic)).toEqual([]);
    expect(watcher.messages).toHaveLength(bad.length + 3);
    expect(running.daemon.unanswerable - unanswerable).toBe(bad.length + 3);
    expect(running.log.join('')).toContain('without a usable reply topic');
    await watcher.close();
    expect(await wire.ask(topic, { text: 'a' }, 0)).toHaveLength(1);
  });

  it('answers many requests at once, each once', async () => {
    const client = await BetaClient.connect(url, { protocolVersion: version });
    const words = Array.from({ length: 400 }, (_, index) => 'w'.repeat(1 + (index % 60)));
    const answers = await Promise.all(words.map((word) => client.request('intents', word)));
    const labels = ['balance', 'transfer', 'weather'];
    expect(answers.map(({ label }) => label)).toEqual(
      words.map((word) => labels[(2 + 10 + word.length + 3) % 3]),
    );
    await client.close();
  });

  it('serves QoS 0 requests of MQTT clients that know nothing else', async () => {
    await wire.subscribe('test/qos0');
    await wire.client.publishAsync(
      'beta/1/model/intents/infer',
      JSON.stringify({ text: 'a', id: 1, replyTo: 'test/qos0' }),
    );
    await wire.until(() => wire.on('test/qos0').length > 0, 'the answer');
    expect(JSON.parse(wire.on('test/qos0')[0]?.text as string)).toMatchObject({ id: 1, label: 'transfer' });
  });

  it('reports an engine failure and goes on', async () => {
    running.host.before = async () => {
      running.host.before = async () => undefined;
      throw Object.assign(new Error('fault'), { code: 'device-fault' });
    };
    const answers = await wire.ask('beta/1/model/intents/infer', { text: 'a' });
    expect(answers).toEqual([
      expect.objectContaining({ error: { code: 'device_error', message: expect.any(String) } }),
    ]);
    expect(await wire.ask('beta/1/model/intents/infer', { text: 'a' }, 0)).toEqual([
      expect.objectContaining({ label: 'transfer' }),
    ]);
  });
});

describe('client', () => {
  let broker: Mosquitto;
  let running: Running;
  beforeAll(async () => {
    broker = await Mosquitto.start();
    running = await startDaemon(settingsFor('kitchen', broker.url));
  });
  afterAll(async () => {
    await running?.daemon.stop();
    await broker?.stop();
  });

  it('speaks MQTT 5 where it can and 3.1.1 where it must', async () => {
    const five = await BetaClient.connect(broker.url);
    expect(five.protocolVersion).toBe(5);
    expect(await five.request('intents', 'a', { node: 'kitchen' })).toMatchObject({
      label: 'transfer',
      node: 'kitchen',
    });
    await five.close();

    const embedded = await startDaemon(settingsFor('attic'));
    const four = await BetaClient.connect(embedded.daemon.brokerUrl);
    expect(four.protocolVersion).toBe(4);
    expect(await four.request('intents', ['a', 'aa'])).toMatchObject({
      results: [{ label: 'transfer' }, { label: 'weather' }],
      node: 'attic',
    });
    expect(
      await four.request('intents', { ids: [Uint32Array.of(2, 10, 3)] }, { logits: true }),
    ).toMatchObject({ results: [{ logits: [2, -0.25, -0.5] }] });
    await four.close();
    await embedded.daemon.stop();
  });

  it('turns error answers into errors with their code', async () => {
    const client = await BetaClient.connect(broker.url);
    const error = await client.request('intents', '').catch((thrown) => thrown);
    expect(error).toBeInstanceOf(RequestError);
    expect(error).toMatchObject({ code: 'empty_text', node: 'kitchen' });
    await client.close();
  });

  it.each([5, 4] as const)(
    'does not wait in vain for an unknown model (MQTT version %i)',
    async (protocolVersion) => {
      const client = await BetaClient.connect(broker.url, { protocolVersion });
      const started = Date.now();
      const error: RequestError = await client
        .request('nothing', 'a', { timeoutMs: 1500 })
        .catch((thrown) => thrown);
      // Only MQTT 5 tells a sender that nobody listens.
      expect(error.code).toBe(protocolVersion === 5 ? 'unknown_model' : 'timeout');
      expect(error.message).toContain('kitchen serves intents');
      expect(Date.now() - started).toBeLessThan(protocolVersion === 5 ? 1400 : 3000);
      const nobody: RequestError = await client
        .request('intents', 'a', { node: 'cellar', timeoutMs: 1500 })
        .catch((thrown) => thrown);
      expect(nobody.code).toBe(protocolVersion === 5 ? 'unknown_node' : 'timeout');
      await client.close();
    },
  );

  it('lists the nodes', async () => {
    const client = await BetaClient.connect(broker.url);
    expect(await client.nodes()).toEqual([{ node: 'kitchen', state: 'online', info: running.daemon.info }]);
    await client.close();
    expect(client.state).toBe('closed');
  });

  it('ends what is pending when it is closed', async () => {
    const client = await BetaClient.connect(broker.url);
    const release = running.host.hold();
    const pending = client.request('intents', 'a').catch((error) => error);
    await sleep(50);
    await client.close();
    release();
    expect(await pending).toMatchObject({ code: 'closed' });
    expect(await client.request('intents', 'a').catch((error) => error)).toMatchObject({ code: 'closed' });
  });

  it('refuses names that would break a topic', async () => {
    const client = await BetaClient.connect(broker.url);
    for (const name of ['a/b', '#', 'UPPER', '']) {
      expect(await client.request(name, 'a').catch((error) => error)).toMatchObject({ code: 'bad_request' });
    }
    await client.close();
    await expect(BetaClient.connect(broker.url, { clientId: 'a/b' })).rejects.toThrow(ConnectError);
  });

  it('says what is wrong with a broker', async () => {
    await expect(BetaClient.connect(`mqtt://127.0.0.1:${await freePort()}`)).rejects.toThrow(
      /nothing listens there/,
    );
    await expect(BetaClient.connect('http://127.0.0.1')).rejects.toThrow(/not supported/);
    const closed = await Mosquitto.start('allow_anonymous false');
    await expect(BetaClient.connect(closed.url)).rejects.toThrow(/does not authorise/);
    await expect(startDaemon(settingsFor('kitchen', closed.url))).rejects.toMatchObject({ kind: 'broker' });
    await closed.stop();
  });

  it('gives up on a broker that does not answer', async () => {
    const { createServer } = await import('node:net');
    const silent = createServer(() => undefined);
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const { port } = silent.address() as { port: number };
    const started = Date.now();
    await expect(BetaClient.connect(`mqtt://127.0.0.1:${port}`, { connectTimeoutMs: 400 })).rejects.toThrow(
      /in time/,
    );
    expect(Date.now() - started).toBeLessThan(2000);
    silent.close();
  });
});

describe('shared subscriptions', () => {
  it('give each request to one node', async () => {
    const broker = await Mosquitto.start();
    const nodes = [];
    for (const node of ['one', 'two'])
      nodes.push(await startDaemon(settingsFor(node, broker.url), new FakeHost()));
    const wire = await Wire.connect(broker.url, 5);
    await wire.subscribe('test/shared');
    for (let index = 0; index < 40; index++)
      await wire.send('beta/1/model/intents/infer', { text: 'a' }, 'test/shared', `${index}`);
    await wire.until(() => wire.on('test/shared').length >= 40, '40 answers');
    await sleep(200);
    const answers = wire.on('test/shared');
    expect(answers.map(({ packet }) => packet.properties?.correlationData?.toString()).sort()).toEqual(
      Array.from({ length: 40 }, (_, index) => `${index}`).sort(),
    );
    for (const node of ['one', 'two'])
      expect(answers.filter(({ text }) => JSON.parse(text).node === node).length).toBeGreaterThan(0);
    await wire.close();
    for (const { daemon } of nodes) await daemon.stop();
    await broker.stop();
  });

  it('are not needed by a daemon on the broker of another, which is refused', async () => {
    const owner = await startDaemon(settingsFor('one'));
    await expect(startDaemon(settingsFor('two', owner.daemon.brokerUrl))).rejects.toMatchObject({
      kind: 'broker',
      message: expect.stringContaining('serves that daemon only'),
    });
    await owner.daemon.stop();
  });
});
