/** Topics and names of wire contract version 1: how they are built, taken apart, and which ones may receive an answer. */

/** First segment pair of every topic. A breaking change gets a new number and can live beside the old one. */
export const WIRE_VERSION = 1;
const ROOT = `beta/${WIRE_VERSION}`;

/** Node ids and model names: one topic level, one file name, one DNS label. */
export const NAME_PATTERN = /^[a-z0-9][a-z0-9-]{0,62}$/;

/** Shared-subscription group of all nodes: the broker hands each request to one of them. */
export const SHARE_GROUP = 'beta';

/** What a node can be told to do, as the last level of its command topics. */
export const VERBS = ['drain', 'resume', 'load-model', 'unload-model'] as const;
export type Verb = (typeof VERBS)[number];

/** Topic builders. `node` and `model` must match NAME_PATTERN. */
export const topics = {
  /** Retained `{"state": ...}`, also the last will. */
  nodeState: (node: string) => `${ROOT}/node/${node}/state`,
  /** Retained NodeInfo. */
  nodeInfo: (node: string) => `${ROOT}/node/${node}/info`,
  /** Telemetry, every few seconds. */
  nodeTelemetry: (node: string) => `${ROOT}/node/${node}/telemetry`,
  /** Requests for one node. */
  nodeInfer: (node: string, model: string) => `${ROOT}/node/${node}/infer/${model}`,
  /** Commands for one node. */
  nodeCommand: (node: string, verb: Verb) => `${ROOT}/node/${node}/cmd/${verb}`,
  /** Requests for whichever node serves the model. */
  modelInfer: (model: string) => `${ROOT}/model/${model}/infer`,
  /** Takes a request back, wherever it waits. */
  modelCancel: (model: string) => `${ROOT}/model/${model}/cancel`,
  /** Where a client of this project listens for its answers. */
  reply: (clientId: string) => `${ROOT}/reply/${clientId}`,
} as const;

/** Topic filters for subscriptions. */
export const filters = {
  /** All requests for one node, of models it has and of models it has not. */
  nodeInfer: (node: string) => `${ROOT}/node/${node}/infer/+`,
  nodeCommands: (node: string) => `${ROOT}/node/${node}/cmd/+`,
  /** Requests for a model, each to one node only. Needs a broker with shared subscriptions. */
  sharedModelInfer: (model: string) => `$share/${SHARE_GROUP}/${ROOT}/model/${model}/infer`,
  /** Requests for any model. Only for a node that has the broker to itself. */
  anyModelInfer: `${ROOT}/model/+/infer`,
  anyModelCancel: `${ROOT}/model/+/cancel`,
  anyNodeState: `${ROOT}/node/+/state`,
  anyNodeInfo: `${ROOT}/node/+/info`,
  anyNodeTelemetry: `${ROOT}/node/+/telemetry`,
} as const;

/** A topic of this contract, taken apart. `model` and `verb` are what the sender wrote, which need not be valid. */
export type ParsedTopic =
  | { readonly kind: 'node-infer'; readonly node: string; readonly model: string }
  | { readonly kind: 'node-cmd'; readonly node: string; readonly verb: string }
  | { readonly kind: 'model-infer' | 'model-cancel'; readonly model: string }
  | { readonly kind: 'node-state' | 'node-info' | 'node-telemetry'; readonly node: string };

/** Takes a topic apart; undefined if it is none of this contract's. */
export function parseTopic(topic: string): ParsedTopic | undefined {
  const [root, version, scope, name = '', verb, last, extra] = topic.split('/', 7);
  if (`${root}/${version}` !== ROOT || extra !== undefined) return undefined;
  if (scope === 'model' && last === undefined && (verb === 'infer' || verb === 'cancel'))
    return { kind: `model-${verb}`, model: name };
  if (scope !== 'node') return undefined;
  if (last !== undefined) {
    if (verb === 'infer') return { kind: 'node-infer', node: name, model: last };
    return verb === 'cmd' ? { kind: 'node-cmd', node: name, verb: last } : undefined;
  }
  if (verb === 'state' || verb === 'info' || verb === 'telemetry')
    return { kind: `node-${verb}`, node: name };
  return undefined;
}

/** Longest reply topic, UTF-8 bytes. */
export const MAX_REPLY_TOPIC_BYTES = 512;
/** Deepest reply topic. Brokers cut the connection of whoever publishes a deeper one (aedes at 100, mosquitto at 200). */
export const MAX_REPLY_TOPIC_LEVELS = 32;

// What a broker may answer with a disconnect (MQTT 5, 1.5.4): control characters, lone surrogates, non-characters.
const UNSENDABLE = /[\p{Cc}\p{Cs}\p{Noncharacter_Code_Point}]/u;

/**
 * Why an answer must not be published to `topic`, or undefined if it may. A reply topic is chosen by a stranger: it
 * must neither break the node's connection to the broker nor turn an answer into a request or a state of a node.
 */
export function replyTopicProblem(topic: string): string | undefined {
  if (topic === '') return 'it is empty';
  if (Buffer.byteLength(topic) > MAX_REPLY_TOPIC_BYTES)
    return `it is longer than ${MAX_REPLY_TOPIC_BYTES} bytes`;
  if (topic.startsWith('$')) return 'topics that begin with $ belong to the broker';
  if (/[+#]/.test(topic)) return 'it has a wildcard (+ or #)';
  if (UNSENDABLE.test(topic)) return 'it has characters that MQTT forbids';
  if (topic.split('/').length > MAX_REPLY_TOPIC_LEVELS)
    return `it has more than ${MAX_REPLY_TOPIC_LEVELS} levels`;
  if (topic === ROOT || (topic.startsWith(`${ROOT}/`) && !topic.startsWith(`${ROOT}/reply/`)))
    return `below ${ROOT}/ only ${ROOT}/reply/... may receive answers`;
  return undefined;
}
