/**
 * What a year brings, in a minute: nodes that die, brokers that restart, networks that break, readers that sleep. No request is left without
 * its answer, none is run twice by one node, and none more often than it was sent.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { BetaClient } from '../../src/client/index.js';
import { moreRunsThanSends, runsOf, Sends, twiceOnOneNode } from './executions.js';
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
  // The listener that counts must get everything: beyond a thousand messages for one client the broker would drop some.
  broker = await Mosquitto.start('allow_anonymous true\nset_tcp_nodelay true\nmax_queued_messages 0');
  for (const name of ['one', 'two', 'three'])
    nodes.push(
      new NodeProcess(name, {
        broker: { url: broker.url },
        models: [MODEL],
        telemetrySeconds: 0.5,
        log: { level: 'debug' },
      }),
    );
  await Promise.all(nodes.map((node) => node.start()));
}, 2 * MINUTE);
let sends: Sends;
beforeEach(async () => {
  for (const node of nodes) node.log = '';
  sends = await Sends.of(broker.url);
});
afterEach(() => sends.close());
afterAll(async () => {
  for (const node of nodes) await node.close();
  await broker?.stop();
});

/**
 * Keeps `concurrency` requests under way until `work` is done; the answers by node, what failed, and the requests that were run by more than
 * one node. `sends` may miss some where the broker restarts.
 */
async function underLoad(client: BetaClient, work: () => Promise<void>, { seesAll = true } = {}) {
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
  const workers = Array.from({ length: 24 }, worker);
  await work();
  going = false;
  await Promise.all(workers);
  // What was sent again may be run when it has its answer already.
  await sleep(300);
  const answered = [...answers.values()].reduce((a, b) => a + b, 0);
  const runs = runsOf(nodes);
  expect(failures).toEqual([]);
  expect(answered).toBe(sent);
  expect(runs.size).toBeGreaterThan(24);
  expect(twiceOnOneNode(runs)).toEqual([]);
  if (seesAll) expect(moreRunsThanSends(runs, sends)).toEqual([]);
  const twice = [...runs.values()].filter(({ length }) => length > 1).length;
  const resent = [...sends.counts.values()].filter((count) => count > 1).length;
  return { answers, sent, twice, resent };
}

describe('three nodes under load', () => {
  it(
    'one is killed: its requests go to the others',
    async () => {
      const client = await BetaClient.connect(broker.url);
      const { answers } = await underLoad(client, async () => {
        await sleep(500);
        await nodes[0]!.end('SIGKILL');
        await sleep(1000);
      });
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
      await underLoad(client, async () => {
        expect(await client.command('one', 'drain')).toMatchObject({ state: 'draining', node: 'one' });
        expect((await client.nodes()).find(({ node }) => node === 'one')?.state).toBe('draining');
        await sleep(200);
        const before = await client.request('intents', TEXTS[0]!, { node: 'one' });
        expect(before.node).toBe('one');
        expect(await nodes[1]!.end('SIGTERM')).toBe(0);
        expect(await client.command('one', 'resume')).toMatchObject({ state: 'online' });
      });
      await client.close();
      await nodes[1]!.start();
    },
    MINUTE,
  );

  it(
    'the broker restarts: everything that was under way is answered',
    async () => {
      const client = await BetaClient.connect(broker.url);
      await underLoad(
        client,
        async () => {
          await sleep(300);
          await broker.kill();
          await sleep(300);
          await broker.run();
          while (client.state !== 'connected') await sleep(50);
          await sleep(1500);
        },
        { seesAll: false },
      );
      await client.close();
    },
    MINUTE,
  );

  it(
    'the network of the client breaks: the answers come when it is back',
    async () => {
      const cable = await Cable.to(broker.port);
      const client = await BetaClient.connect(cable.url);
      await underLoad(client, async () => {
        await sleep(300);
        // Commands change a node, so none may be carried out twice.
        const commands = Array.from({ length: 20 }, () => client.command('two', 'resume', {}, CUT_TIMEOUT));
        await sleep(2);
        cable.cut();
        await sleep(CUT_MS);
        cable.mend();
        await Promise.all(commands);
        await sleep(1500);
      });
      expect(nodes[1]!.log.match(/"msg":"command"/g)).toHaveLength(20);
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
      const { sent, twice, resent } = await underLoad(client, () => sleep(CUT_MS));
      expect(sent).toBeGreaterThan(24);
      expect({ twice, resent }).toEqual({ twice: 0, resent: 0 });
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
      const { twice, resent } = await underLoad(client, async () => {
        await sleep(200);
        nodes[2]!.signal('SIGSTOP');
        await sleep(1500);
        nodes[2]!.signal('SIGCONT');
        await sleep(200);
      });
      expect({ twice, resent }).toEqual({ twice: 0, resent: 0 });
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
