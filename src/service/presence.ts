/** How a node shows itself on the network: retained state and info, the last will, and one owner for each node id. */
import { bounded } from '../client/bounded.js';
import type { Connection } from '../client/connection.js';
import type { SendWindow } from '../client/send-window.js';
import { type NodeInfo, type NodeState, NodeStateSchema, topics } from '../client/wire.js';
import { messageOf } from './errors.js';
import type { Log } from './log.js';

/** How long a retained message may take to arrive. */
const RETAINED_MS = 500;
/** How long a living node may take to answer a probe. */
const PROBE_MS = 2000;
const PUBLISH_MS = 2000;

const statePayload = (state: NodeState) => JSON.stringify({ state });

/** The last will of a node. */
export function willOf(node: string): { topic: string; payload: string } {
  return { topic: topics.nodeState(node), payload: statePayload('offline') };
}

export class Presence {
  readonly #node: string;
  readonly #connection: Connection;
  readonly #window: SendWindow;
  readonly #log: Log;
  #info: NodeInfo | undefined;
  #state: NodeState = 'online';
  #retired = false;

  constructor(node: string, connection: Connection, window: SendWindow, log: Log) {
    this.#node = node;
    this.#connection = connection;
    this.#window = window;
    this.#log = log;
  }

  /**
   * Whether another daemon answers to this node id. A retained "online" alone does not say so (it outlives a broker
   * that was restored from disk), so whoever claims the id is asked: each well-addressed request gets an answer.
   */
  async nameInUse(): Promise<boolean> {
    const { mqtt, version } = this.#connection;
    const replyTo = topics.reply(String(mqtt.options.clientId));
    const online = this.#heard(topics.nodeState(this.#node), RETAINED_MS, (payload) =>
      ['online', 'draining'].includes(parseState(payload) ?? ''),
    );
    await mqtt.subscribeAsync([topics.nodeState(this.#node), replyTo], { qos: 1 });
    try {
      if (!(await online)) return false;
      const answered = this.#heard(replyTo, PROBE_MS, () => true);
      const properties = version === 5 ? { properties: { responseTopic: replyTo } } : {};
      const probe = topics.nodeInfer(this.#node, 'probe');
      const { nobody } = await this.#window.publish(probe, JSON.stringify({ replyTo }), properties);
      return nobody ? false : await answered;
    } finally {
      await mqtt.unsubscribeAsync([replyTo]);
    }
  }

  /** Whether a message that satisfies `wanted` comes on `topic` in time. */
  #heard(topic: string, ms: number, wanted: (payload: Uint8Array) => boolean): Promise<boolean> {
    const { mqtt } = this.#connection;
    return new Promise((resolve) => {
      const finish = (result: boolean) => {
        clearTimeout(timer);
        mqtt.off('message', listener);
        resolve(result);
      };
      const listener = (from: string, payload: Uint8Array) => {
        if (from === topic && wanted(payload)) finish(true);
      };
      const timer = setTimeout(finish, ms, false);
      mqtt.on('message', listener);
    });
  }

  /** Publishes info and "online", now and after every reconnection. */
  async announce(info: NodeInfo): Promise<void> {
    const { mqtt } = this.#connection;
    this.#info = info;
    mqtt.on('connect', () => void this.#publish().catch((error) => this.#failed(error)));
    mqtt.on('message', (topic, payload) => {
      // The will of an earlier connection of this node, published late, must not be the last word.
      if (topic !== topics.nodeState(this.#node) || this.#retired || parseState(payload) !== 'offline')
        return;
      void this.#publish().catch((error) => this.#failed(error));
    });
    await mqtt.subscribeAsync(topics.nodeState(this.#node), { qos: 1 });
    await bounded(this.#publish(), PUBLISH_MS, 'the broker does not take the state of this node');
  }

  /** The models changed. */
  async update(info: NodeInfo): Promise<void> {
    this.#info = info;
    await this.#now();
  }

  async setState(state: NodeState): Promise<void> {
    this.#state = state;
    await this.#now();
  }

  /** Publishes what is true now; a broker that is not there gets it when it is. */
  async #now(): Promise<void> {
    if (!this.#connection.mqtt.connected) return;
    await bounded(this.#publish(), PUBLISH_MS, 'no acknowledgement in time').catch((error) =>
      this.#failed(error),
    );
  }

  /** Publishes "offline" if "online" ever was; the info stays, as what the node was last. */
  async retire(): Promise<void> {
    this.#retired = true;
    if (!this.#info || !this.#connection.mqtt.connected) return;
    const published = this.#window.publish(topics.nodeState(this.#node), statePayload('offline'), {
      retain: true,
    });
    await bounded(published, PUBLISH_MS, 'no acknowledgement in time').catch((error) => this.#failed(error));
  }

  async #publish(): Promise<void> {
    if (this.#retired || !this.#info) return;
    await this.#window.publish(topics.nodeInfo(this.#node), JSON.stringify(this.#info), { retain: true });
    await this.#window.publish(topics.nodeState(this.#node), statePayload(this.#state), { retain: true });
  }

  #failed(error: unknown): void {
    this.#log.warn({ reason: messageOf(error) }, 'the state of this node could not be published');
  }
}

function parseState(payload: Uint8Array): NodeState | undefined {
  try {
    return NodeStateSchema.safeParse(JSON.parse(Buffer.from(payload).toString('utf8'))).data?.state;
  } catch {
    return undefined;
  }
}
