/** A message to oneself: what a broker takes for the way there and back, and nothing else. For benchmarks. */
import { randomBytes } from 'node:crypto';
import { bounded } from './bounded.js';
import { type Connection, closeConnection, connectBroker } from './connection.js';

const TIMEOUT_MS = 10_000;

export class EchoProbe {
  readonly #connection: Connection;
  readonly #topic: string;
  #arrived: (() => void) | undefined;

  private constructor(connection: Connection, topic: string) {
    this.#connection = connection;
    this.#topic = topic;
    connection.mqtt.on('message', () => this.#arrived?.());
  }

  /** Connects and subscribes to a topic of its own. Throws ConnectError. */
  static async connect(url: string): Promise<EchoProbe> {
    const id = `beta-echo-${randomBytes(6).toString('hex')}`;
    const connection = await connectBroker({ url, clientId: id });
    const probe = new EchoProbe(connection, `beta/1/echo/${id}`);
    await connection.mqtt.subscribeAsync(probe.#topic, { qos: 1 });
    return probe;
  }

  /** Milliseconds from publishing (QoS 1) to the arrival of the same message. Throws when it does not arrive. */
  async roundTrip(payload: string): Promise<number> {
    const arrived = new Promise<void>((resolve) => {
      this.#arrived = resolve;
    });
    const begin = performance.now();
    const sent = this.#connection.mqtt.publishAsync(this.#topic, payload, { qos: 1 });
    await bounded(arrived, TIMEOUT_MS, 'the broker does not echo');
    const ms = performance.now() - begin;
    await bounded(sent, TIMEOUT_MS, 'the broker does not acknowledge');
    return ms;
  }

  async close(): Promise<void> {
    await closeConnection(this.#connection);
  }
}
