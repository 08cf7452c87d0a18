import { EventEmitter } from 'node:events';
import type { MqttClient } from 'mqtt';
import { beforeEach, describe, expect, it } from 'vitest';
import { SendWindow } from '../../../src/client/send-window.js';

type Callback = (error?: Error, packet?: { messageId: number }) => void;

/** As much of MQTT.js as the window uses; acknowledgements are given by hand. */
class FakeMqtt extends EventEmitter {
  connected = true;
  serverProperties: { receiveMaximum?: number; maximumPacketSize?: number } | undefined;
  readonly sent: { topic: string; acknowledge: (reasonCode?: number) => void; refuse: () => void }[] = [];

  publish(topic: string, _payload: string, options: { qos: number }, callback: Callback): void {
    expect(options.qos).toBe(1);
    const messageId = this.sent.length + 1;
    if (this.connected) this.emit('packetsend', { cmd: 'publish' });
    this.sent.push({
      topic,
      acknowledge: (reasonCode = 0) => {
        this.emit('packetreceive', { cmd: 'puback', messageId, reasonCode });
        callback(undefined, { messageId });
      },
      refuse: () => callback(new Error('Packet too large'), { messageId }),
    });
  }
}

let mqtt: FakeMqtt;
let window: SendWindow;
const settle = () => new Promise((resolve) => setImmediate(resolve));

beforeEach(() => {
  mqtt = new FakeMqtt();
  window = new SendWindow(mqtt as unknown as MqttClient);
});

describe('send window', () => {
  it('never has more under way than the broker allows, and sends in order', async () => {
    mqtt.serverProperties = { receiveMaximum: 3 };
    const all = ['a', 'b', 'c', 'd', 'e'].map((topic) => window.publish(topic, ''));
    await settle();
    expect(mqtt.sent.map(({ topic }) => topic)).toEqual(['a', 'b', 'c']);
    mqtt.sent[1]?.acknowledge();
    await settle();
    expect(mqtt.sent.map(({ topic }) => topic)).toEqual(['a', 'b', 'c', 'd']);
    for (const index of [0, 2, 3]) mqtt.sent[index]?.acknowledge();
    await settle();
    mqtt.sent[4]?.acknowledge();
    await Promise.all(all);
    expect(mqtt.sent).toHaveLength(5);
    void window.publish('f', '');
    await settle();
    expect(mqtt.sent).toHaveLength(6);
  });

  it('keeps a smaller allowance after a reconnection', async () => {
    mqtt.serverProperties = { receiveMaximum: 3 };
    for (const topic of ['a', 'b', 'c', 'd', 'e']) void window.publish(topic, '');
    await settle();
    mqtt.serverProperties = { receiveMaximum: 1 };
    mqtt.sent[0]?.acknowledge();
    mqtt.sent[1]?.acknowledge();
    await settle();
    expect(mqtt.sent).toHaveLength(3);
    mqtt.sent[2]?.acknowledge();
    await settle();
    expect(mqtt.sent).toHaveLength(4);
    mqtt.sent[3]?.acknowledge();
    await settle();
    expect(mqtt.sent).toHaveLength(5);
  });

  it('gives the place of a refused message to the next', async () => {
    mqtt.serverProperties = { receiveMaximum: 1 };
    const refused = window.publish('a', '');
    void window.publish('b', '');
    mqtt.sent[0]?.refuse();
    await expect(refused).rejects.toThrow('too large');
    await settle();
    expect(mqtt.sent).toHaveLength(2);
  });

  it('tells a message that nobody gets from one that somebody does', async () => {
    const nobody = window.publish('a', '');
    const somebody = window.publish('b', '');
    mqtt.sent[1]?.acknowledge(0);
    mqtt.sent[0]?.acknowledge(16);
    expect(await nobody).toEqual({ nobody: true });
    expect(await somebody).toEqual({ nobody: false });
  });

  it('knows the largest payload', () => {
    expect(window.maxPayloadBytes).toBeGreaterThan(2 ** 27);
    mqtt.serverProperties = { maximumPacketSize: 100_000 };
    expect(window.maxPayloadBytes).toBeLessThan(100_000);
    expect(window.maxPayloadBytes).toBeGreaterThan(90_000);
  });

  it('says when a message is on the connection, and nothing where it waits for one', async () => {
    mqtt.serverProperties = { receiveMaximum: 1 };
    const written: string[] = [];
    const publish = (topic: string) => window.publish(topic, '', {}, () => written.push(topic));
    void publish('a');
    void publish('b');
    expect(written).toEqual(['a']);
    mqtt.sent[0]?.acknowledge();
    expect(written).toEqual(['a', 'b']);
    mqtt.sent[1]?.acknowledge();
    mqtt.connected = false;
    const later = publish('c');
    expect(mqtt.sent).toHaveLength(3);
    mqtt.sent[2]?.acknowledge();
    await later;
    expect(written).toEqual(['a', 'b']);
  });

  it('gives the place of a message back that MQTT.js throws at', async () => {
    mqtt.serverProperties = { receiveMaximum: 1 };
    const { publish } = mqtt;
    mqtt.publish = () => {
      throw new Error('no topic');
    };
    await expect(window.publish('a', '')).rejects.toThrow('no topic');
    mqtt.publish = publish;
    void window.publish('b', '');
    expect(mqtt.sent).toHaveLength(1);
  });
});
