/**
 * Acknowledges requests with their answer, not when they arrive (MQTT 5, QoS 1): a node that dies owes the broker what it had,
 * and the broker never has more under way to a node than the node allows (receive maximum). MQTT.js acknowledges after handleMessage(), one
 * message after the other; here the acknowledgement is held back and sent right behind the answer, on the connection the message came on:
 * a broker that reads it has read the answer.
 */
import { performance } from 'node:perf_hooks';
import type { IPublishPacket, MqttClient } from 'mqtt';
import { type ParsedTopic, parseTopic } from '../client/wire.js';
import { Fifo } from './queue/fifo.js';

/** Takes a message that asks for something; `acknowledge` tells the broker that it is done with. */
export type Take = (
  parsed: ParsedTopic,
  message: { readonly topic: string; readonly payload: Buffer; readonly packet: IPublishPacket },
  acknowledge: () => void,
) => void;

/** Topics that ask for something. */
const ASKING = new Set<ParsedTopic['kind']>(['model-infer', 'node-infer', 'node-cmd', 'model-cancel']);

/** Tells MQTT.js to go on without an acknowledgement. */
const HELD = new Error('acknowledged later');

/**
 * How long one turn of the event loop may be spent on taking messages, milliseconds: the socket brings hundreds at once, and answers,
 * pings and metrics must not wait for all of them.
 */
const SLICE_MS = 2;

/** What MQTT.js has for this and does not export. */
interface PacketSender {
  _sendPacket(packet: { cmd: 'puback'; messageId: number; reasonCode: number }): void;
}

export class Inbox {
  readonly #mqtt: MqttClient;
  readonly #held = new WeakSet<IPublishPacket>();
  #holding = 0;
  #take: Take | undefined;
  /** What came before anybody took it, or when this turn had taken enough. */
  readonly #waiting = new Fifo<(take: Take) => void>();
  /** Begin of this turn's slice. */
  #began: number | undefined;

  /** To be made before the client connects: a session brings what came while the node was away right behind the broker's first word. */
  constructor(mqtt: MqttClient) {
    this.#mqtt = mqtt;
    mqtt.on('message', (topic, payload, packet) => {
      const parsed = parseTopic(topic);
      if (!parsed || !ASKING.has(parsed.kind)) return;
      const acknowledge = this.hold(packet);
      const give = (take: Take) => take(parsed, { topic, payload, packet }, acknowledge);
      this.#waiting.push(give);
      this.#drain();
    });
    mqtt.handleMessage = (packet, callback) => callback(this.#held.has(packet) ? HELD : undefined);
  }

  /** Messages that are not acknowledged yet. */
  get holding(): number {
    return this.#holding;
  }

  /** Messages that nobody has taken yet. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Gives `take` what came and what comes. */
  start(take: Take): void {
    this.#take = take;
    this.#drain();
  }

  /** Gives what waits, as much as fits this turn; the next one goes on. */
  #drain(): void {
    if (!this.#take) return;
    if (this.#began === undefined) {
      this.#began = performance.now();
      setImmediate(() => {
        this.#began = undefined;
        if (this.#waiting.length > 0) this.#drain();
      });
    }
    const end = this.#began + SLICE_MS;
    while (this.#waiting.length > 0 && performance.now() < end) this.#waiting.shift()!(this.#take);
  }

  /** Holds the acknowledgement of a message back; called in the 'message' event. The returned function sends it, once. */
  hold(packet: IPublishPacket): () => void {
    const { messageId } = packet;
    if (packet.qos !== 1 || messageId === undefined || this.#mqtt.options.protocolVersion !== 5)
      return () => undefined;
    this.#held.add(packet);
    this.#holding++;
    const { stream } = this.#mqtt;
    let sent = false;
    return () => {
      if (sent) return;
      sent = true;
      this.#holding--;
      // On another connection the number may mean another message.
      if (this.#mqtt.stream !== stream || !this.#mqtt.connected) return;
      (this.#mqtt as unknown as PacketSender)._sendPacket({ cmd: 'puback', messageId, reasonCode: 0 });
    };
  }
}
