/** What the retained topics say about the nodes of a broker. */
import type { MqttClient } from 'mqtt';
import {
  filters,
  type NodeInfo,
  NodeInfoSchema,
  type NodeState,
  NodeStateSchema,
  type ParsedTopic,
  parseTopic,
} from './wire.js';

/** A node as its retained topics describe it. */
export interface NodeStatus {
  readonly node: string;
  readonly state: NodeState;
  /** Undefined if the node has published none, or one that this client does not understand. */
  readonly info: NodeInfo | undefined;
}

/** Nodes remembered at most; retained topics are written by strangers. */
const MAX_NODES = 10_000;

export class Fleet {
  readonly #states = new Map<string, NodeState>();
  readonly #infos = new Map<string, NodeInfo>();
  #watching: Promise<void> | undefined;
  /** A node that was online is not any more. */
  onGone: (node: string) => void = () => undefined;
  /** A node that was away is online again. */
  onBack: (node: string) => void = () => undefined;

  /** Takes a message if it is about a node; returns whether it was. */
  accept(topic: string, payload: Uint8Array): boolean {
    const parsed = parseTopic(topic);
    if (parsed?.kind === 'node-state') {
      const state = NodeStateSchema.safeParse(json(payload)).data?.state;
      const before = this.#states.get(parsed.node);
      remember(this.#states, parsed.node, state);
      if (before === 'online' && state !== 'online' && state !== 'draining') this.onGone(parsed.node);
      if (before === 'offline' && state === 'online') this.onBack(parsed.node);
      return true;
    }
    if (parsed?.kind === 'node-info') {
      remember(this.#infos, parsed.node, NodeInfoSchema.safeParse(json(payload)).data);
      return true;
    }
    return false;
  }

  /**
   * Subscribes on the first call, and gives the broker `settleMs` to send what it retains: MQTT has no mark for "that
   * was all of it".
   */
  watch(mqtt: MqttClient, settleMs: number): Promise<void> {
    this.#watching ??= (async () => {
      await mqtt.subscribeAsync([filters.anyNodeState, filters.anyNodeInfo], { qos: 1 });
      await new Promise((resolve) => setTimeout(resolve, settleMs));
    })().catch((error) => {
      this.#watching = undefined; // The next call tries again.
      throw error;
    });
    return this.#watching;
  }

  /** Whether a request on this topic may find somebody later: a node that is known serves it, or did when it was here last. */
  expects(topic: ParsedTopic | undefined): boolean {
    switch (topic?.kind) {
      case 'node-infer':
      case 'node-cmd':
        return this.#infos.has(topic.node);
      case 'model-infer':
        return [...this.#infos.values()].some(({ models }) =>
          models.some(({ name }) => name === topic.model),
        );
      default:
        return false;
    }
  }

  /** All nodes that were heard of, by name. */
  get nodes(): NodeStatus[] {
    return [...this.#states]
      .map(([node, state]) => ({ node, state, info: this.#infos.get(node) }))
      .sort((a, b) => (a.node < b.node ? -1 : 1));
  }

  /** One line for an error message: which models are served where. */
  describe(): string {
    const online = this.nodes.filter(({ state }) => state === 'online');
    if (online.length === 0) return 'no node is online on this broker';
    const parts = online.map(({ node, info }) => {
      const models = info?.models.map(({ name }) => name) ?? [];
      return `${node} serves ${models.length > 0 ? models.join(', ') : 'nothing that it tells of'}`;
    });
    return `online now: ${parts.slice(0, 20).join('; ')}${parts.length > 20 ? `; and ${parts.length - 20} more` : ''}`;
  }
}

function json(payload: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(payload).toString('utf8'));
  } catch {
    return undefined; // A cleared or broken retained message: the same as none.
  }
}

function remember<T>(map: Map<string, T>, node: string, value: T | undefined): void {
  if (value === undefined) map.delete(node);
  else if (map.has(node) || map.size < MAX_NODES) map.set(node, value);
}
