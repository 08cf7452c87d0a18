/** What stands between an answer and its loss: the outbox, the memory of retries, and acknowledgements that wait. */
import { EventEmitter } from 'node:events';
import type { IPublishPacket, MqttClient } from 'mqtt';
import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import type { Delivery, SendWindow } from '../../../src/client/send-window.js';
import { Inbox } from '../../../src/service/inbox.js';
import { Outbox } from '../../../src/service/outbox.js';
import { Retries } from '../../../src/service/retries.js';

const log = pino({ level: 'silent' });
const settle = () => new Promise((resolve) => setImmediate(resolve));

describe('outbox', () => {
  function outbox(limits: { answers?: number; bytes?: number; patienceMs?: number } = {}) {
    const sent: { topic: string; done: (delivery: Delivery) => void; fail: (error: Error) => void }[] = [];
    const window = {
      publish: (topic: string) =>
        new Promise<Delivery>((done, fail) => {
          sent.push({ topic, done, fail });
        }),
    } as unknown as SendWindow;
    const box = new Outbox(window, { answers: 2, bytes: 1000, patienceMs: 400, ...limits }, log);
    return {
      sent,
      box,
      send: (topic: string, bytes = 10, taken?: () => void) =>
        box.send(topic, Buffer.alloc(bytes), {}, taken),
    };
  }

  it('is bounded in answers and bytes, and counts what it drops', async () => {
    const { sent, box, send } = outbox();
    const first = send('a');
    void send('b');
    expect(await send('c')).toBe('dropped');
    sent[0]?.done({ nobody: false });
    expect(await first).toBe('delivered');
    expect(await send('d', 995)).toBe('dropped');
    expect(box.dropped).toBe(2);
    expect(box.pending).toBe(1);
    void send('e', 990);
    expect(sent.map(({ topic }) => topic)).toEqual(['a', 'b', 'e']);
  });

  it('offers an answer again while nobody listens, then gives it up; others need not wait for that', async () => {
    const { sent, box, send } = outbox();
    let taken = 0;
    const fate = send('a', 10, () => taken++);
    expect(taken).toBe(0);
    sent[0]?.done({ nobody: true });
    await settle();
    expect(taken).toBeGreaterThan(0);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(sent).toHaveLength(2);
    sent[1]?.done({ nobody: true });
    expect(await fate).toBe('unheard');
    expect(box.unheard).toBe(1);
  });

  it('delivers to whoever came back', async () => {
    const { sent, send } = outbox({ patienceMs: 60_000 });
    const fate = send('a');
    sent[0]?.done({ nobody: true });
    await new Promise((resolve) => setTimeout(resolve, 300));
    sent[1]?.done({ nobody: false });
    expect(await fate).toBe('delivered');
  });

  it('offers nothing again once it is closed', async () => {
    const { sent, box, send } = outbox({ patienceMs: 60_000 });
    const fate = send('a');
    sent[0]?.done({ nobody: true });
    await settle();
    box.close();
    await settle();
    sent[1]?.done({ nobody: true });
    expect(await fate).toBe('unheard');
  });

  it('says what the broker refused', async () => {
    const { sent, send } = outbox();
    const fate = send('a');
    sent[0]?.fail(new Error('Packet too large'));
    expect(await fate).toBe('refused');
  });
});

describe('retries', () => {
  const payload = (text: string) => Buffer.from(text);
  const key = (text: string, correlation = 'c', reply = 'r') =>
    Retries.key('t', reply, correlation, payload(text));
  const answer = (bytes: number, lasting = true) =>
    Promise.resolve({ payload: Buffer.alloc(bytes), lasting });

  it('know a request while it is under way and for a while after', async () => {
    const retries = new Retries({ windowMs: 100, bytes: 10_000 });
    const sent = answer(10);
    retries.begin(key('a'), sent, () => 50);
    expect(retries.find(key('a'), 0)).toBe(sent);
    await settle();
    expect(retries.find(key('a'), 150)).toBe(await sent);
    expect(retries.find(key('a'), 151)).toBeUndefined();
    expect(retries.size).toBe(0);
  });

  it('tell requests apart by question, requester and correlation', () => {
    const keys = [
      key('a'),
      key('b'),
      key('a', 'd'),
      key('a', 'c', 's'),
      Retries.key('u', 'r', 'c', payload('a')),
    ];
    expect(new Set([...keys, key('x'.repeat(600)), key('y'.repeat(600))]).size).toBe(7);
    expect(key('x'.repeat(600))).toBe(key('x'.repeat(600)));
  });

  it('forget what another try may change', async () => {
    const retries = new Retries({ windowMs: 100, bytes: 10_000 });
    retries.begin(key('a'), answer(10, false), () => 0);
    await settle();
    expect(retries.find(key('a'), 0)).toBeUndefined();
  });

  it('keep no more bytes than they may, oldest first', async () => {
    const retries = new Retries({ windowMs: 100, bytes: 5500 });
    for (const name of ['a', 'b', 'c', 'd']) {
      retries.begin(key(name), answer(700), () => 0);
      await settle();
    }
    expect(['a', 'b', 'c', 'd'].map((name) => retries.find(key(name), 0) !== undefined)).toEqual([
      false,
      true,
      true,
      true,
    ]);
  });
});

describe('inbox', () => {
  function inbox(version = 5) {
    const sent: object[] = [];
    const mqtt = Object.assign(new EventEmitter(), {
      options: { protocolVersion: version },
      connected: true,
      stream: {},
      handleMessage: (_packet: IPublishPacket, callback: (error?: Error) => void) => callback(),
      _sendPacket: (packet: object) => sent.push(packet),
    });
    const box = new Inbox(mqtt as unknown as MqttClient);
    /** Whether MQTT.js acknowledges by itself. */
    const handled = (packet: IPublishPacket) => {
      let own = false;
      mqtt.handleMessage(packet, (error) => {
        own = error === undefined;
      });
      return own;
    };
    return { mqtt, box, sent, handled };
  }
  const packet = (messageId: number, qos: 0 | 1 = 1) =>
    ({ cmd: 'publish', qos, messageId }) as IPublishPacket;

  it('holds an acknowledgement back until it is told', () => {
    const { box, sent, handled } = inbox();
    const [one, two] = [packet(1), packet(2)];
    const acknowledge = box.hold(one);
    expect([handled(one), handled(two)]).toEqual([false, true]);
    expect(box.holding).toBe(1);
    acknowledge();
    acknowledge();
    expect(sent).toEqual([{ cmd: 'puback', messageId: 1, reasonCode: 0 }]);
    expect(box.holding).toBe(0);
  });

  it('never acknowledges on another connection, where the number means another message', () => {
    const { mqtt, box, sent } = inbox();
    const acknowledge = box.hold(packet(1));
    mqtt.stream = {};
    acknowledge();
    expect(sent).toEqual([]);
  });

  it('leaves QoS 0 and MQTT 3.1.1 as they are', () => {
    const three = inbox(4);
    const one = packet(1);
    three.box.hold(one)();
    expect(three.handled(one)).toBe(true);
    const five = inbox();
    const zero = packet(1, 0);
    five.box.hold(zero)();
    expect(five.handled(zero)).toBe(true);
  });

  it('gives messages in their order, those before anybody took them too, and lets others have their turn between many', async () => {
    const { mqtt, box } = inbox();
    const topic = 'beta/1/model/m/infer';
    const emit = (messageId: number) =>
      mqtt.emit('message', topic, Buffer.from([messageId]), packet(messageId));
    for (let i = 0; i < 3; i++) emit(i);
    const taken: number[] = [];
    let longest = 0;
    let turns = 0;
    box.start((_parsed, { payload }) => {
      taken.push(payload[0]!);
      const end = performance.now() + 1;
      while (performance.now() < end);
    });
    for (let i = 3; i < 40; i++) emit(i);
    expect(taken.length).toBeLessThan(40);
    while (box.waiting > 0) {
      const before = taken.length;
      await new Promise((resolve) => setImmediate(resolve));
      longest = Math.max(longest, taken.length - before);
      turns++;
    }
    expect(taken).toEqual(Array.from({ length: 40 }, (_, i) => i));
    expect(turns).toBeGreaterThan(5);
    expect(longest).toBeLessThan(8);
  });
});
