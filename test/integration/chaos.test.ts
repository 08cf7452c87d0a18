/** What a year brings, in a minute: nodes that die, brokers that restart, networks that break, readers that sleep. No request is left without its answer. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BetaClient } from '../../src/client/index.js';
import { NodeProcess } from './fleet.js';
import { sleep, Wire } from './harness.js';
import { Cable, Mosquitto } from './mosquitto.js';

const MODEL = new URL('../../models/intents.beta', import.meta.url).pathname;
const TEXTS = Array.from({ length: 16 }, (_, i) => `transfer ${i} dollars to my savings account`);
const MINUTE = 60_000;
/** How long a network stays away; BETA_CUT_SECONDS=30 and more for the patient: keep-alive then notices before it is back. */
const CUT_MS = 1000 * Number(process.env.BETA_CUT_SECONDS ?? 2);
const CUT_TIMEOUT = MINUTE + 3 * CUT_MS;

let broker: Mosquitto;
const nodes: NodeProcess[] = [];
beforeAll(async () => {
  broker = await Mosquitto.start();
  for (const name of ['one', 'two', 'three'])
    nodes.push(
      new NodeProcess(name, { broker: { url: broker.url }, models: [MODEL], telemetrySeconds: 0.5 }),
    );
  await Promise.all(nodes.map((node) => node.start()));
}, 2 * MINUTE);
afterAll(async () => {
  for (const node of nodes) await node.close();
  await broker?.stop();
});

/** Keeps `concurrency` requests under way until `work` is done; the answers by node, and what failed. */
async function underLoad(client: BetaClient, work: () => Promise<void>, concurrency = 24) {
  const answers = new Map<string, number>();
  const failures: string[] = [];
  let going = true;
  let sent = 0;
  const worker = async () => {
    while (going) {
      const text = TEXTS[sent++ % TEXTS.length]!;
      try {
        const { label, node } = await client.request('intents', text, { timeoutMs: CUT_TIMEOUT });
        if (label !== 'transfer') failures.push(`wrong: ${label}`);
        answers.set(node, (answers.get(node) ?? 0) + 1);
      } catch (error) {
        failures.push(String(error));
      }
    }
  };
  const workers = Array.from({ length: concurrency }, worker);
  await work();
  going = false;
  await Promise.all(workers);
  const answered = [...answers.values()].reduce((a, b) => a + b, 0);
  return { answers, failures, sent, answered };
}

describe('three nodes under load', () => {
  it(
    'one is killed: its requests go to the others',
    async () => {
      const client = await BetaClient.connect(broker.url);
      const { failures, sent, answered, answers } = await underLoad(client, async () => {
        await sleep(500);
        await nodes[0]!.end('SIGKILL');
        await sleep(1000);
      });
      expect(failures).toEqual([]);
      expect(answered).toBe(sent);
      expect(answers.size).toBeGreaterThanOrEqual(2);
      expect((await client.nodes()).find(({ node }) => node === 'one')?.state).toBe('offline');
      await client.close();
      await nodes[0]!.start();
    },
    MINUTE,
  );

  it(
    'one is drained and resumed, another stops in order: nobody notices',
    async () => {
      const client = await BetaClient.connect(broker.url);
      const { failures, sent, answered } = await underLoad(client, async () => {
        expect(await client.command('one', 'drain')).toMatchObject({ state: 'draining', node: 'one' });
        expect((await client.nodes()).find(({ node }) => node === 'one')?.state).toBe('draining');
        await sleep(200);
        const before = await client.request('intents', TEXTS[0]!, { node: 'one' });
        expect(before.node).toBe('one');
        expect(await nodes[1]!.end('SIGTERM')).toBe(0);
        expect(await client.command('one', 'resume')).toMatchObject({ state: 'online' });
      });
      expect(failures).toEqual([]);
      expect(answered).toBe(sent);
      await client.close();
      await nodes[1]!.start();
    },
    MINUTE,
  );

  it(
    'the broker restarts: everything that was under way is answered',
    async () => {
      const client = await BetaClient.connect(broker.url);
      const { failures, sent, answered } = await underLoad(client, async () => {
        await sleep(300);
        await broker.kill();
        await sleep(300);
        await broker.run();
        while (client.state !== 'connected') await sleep(50);
        await sleep(1500);
      });
      expect(failures).toEqual([]);
      expect(answered).toBe(sent);
      await client.close();
    },
    MINUTE,
  );

  it(
    'the network of the client breaks: the answers come when it is back',
    async () => {
      const cable = await Cable.to(broker.port);
      const client = await BetaClient.connect(cable.url);
      const { failures, sent, answered } = await underLoad(client, async () => {
        await sleep(300);
        cable.cut();
        await sleep(CUT_MS);
        cable.mend();
        await sleep(1500);
      });
      expect(failures).toEqual([]);
      expect(answered).toBe(sent);
      await client.close();
      await cable.close();
    },
    CUT_TIMEOUT,
  );

  it(
    'one reader sleeps: the others are served meanwhile, and its answers wait for it, each once',
    async () => {
      const cable = await Cable.to(broker.port);
      const slow = await Wire.connect(cable.url, 5, {
        properties: { receiveMaximum: 65_535 },
        keepalive: 600,
      });
      await slow.subscribe('test/slow');
      const count = 600;
      for (let i = 0; i < count; i++)
        slow.client.publish('beta/1/model/intents/infer', JSON.stringify({ text: TEXTS[i % 16] }), {
          qos: 1,
          properties: { responseTopic: 'test/slow', correlationData: Buffer.from(String(i)) },
        });
      // They are away; from here on it reads nothing.
      await sleep(50);
      cable.fallSilent();
      const client = await BetaClient.connect(broker.url);
      const { failures, sent, answered } = await underLoad(client, () => sleep(CUT_MS));
      expect(failures).toEqual([]);
      expect(answered).toBe(sent);
      expect(sent).toBeGreaterThan(24);
      cable.speakAgain();
      await slow.until(
        () => slow.on('test/slow').length >= count,
        'the answers of the slow reader',
        MINUTE / 2,
      );
      await sleep(300);
      const ids = slow.on('test/slow').map(({ packet }) => packet.properties?.correlationData?.toString());
      expect(ids.length).toBe(count);
      expect(new Set(ids).size).toBe(count);
      expect(slow.on('test/slow').every(({ text }) => JSON.parse(text).label === 'transfer')).toBe(true);
      await client.close();
      await slow.close();
      await cable.close();
    },
    CUT_TIMEOUT,
  );

  it(
    'a node hangs and comes back: no answer is missing',
    async () => {
      const client = await BetaClient.connect(broker.url);
      const { failures, sent, answered } = await underLoad(client, async () => {
        await sleep(200);
        nodes[2]!.signal('SIGSTOP');
        await sleep(1500);
        nodes[2]!.signal('SIGCONT');
        await sleep(200);
      });
      expect(failures).toEqual([]);
      expect(answered).toBe(sent);
      await client.close();
    },
    MINUTE,
  );
});

it.each(['breaks', 'swallows everything'] as const)(
  'a node whose network %s answers what it had, once it is back',
  async (how) => {
    const cable = await Cable.to(broker.port);
    const node = new NodeProcess('four', {
      broker: { url: cable.url },
      models: [MODEL],
      telemetrySeconds: 0,
    });
    nodes.push(node);
    await node.start();
    const client = await BetaClient.connect(broker.url);
    const asked = Array.from({ length: 100 }, (_, i) =>
      client.request('intents', TEXTS[i % 16]!, { node: 'four', timeoutMs: CUT_TIMEOUT }),
    );
    await sleep(30);
    if (how === 'breaks') cable.cut();
    else cable.fallSilent();
    await sleep(CUT_MS);
    if (how === 'breaks') cable.mend();
    else cable.speakAgain();
    const answers = await Promise.all(asked);
    expect(answers.every(({ label, node: from }) => label === 'transfer' && from === 'four')).toBe(true);
    await client.close();
    await node.close();
    await cable.close();
  },
  CUT_TIMEOUT,
);
