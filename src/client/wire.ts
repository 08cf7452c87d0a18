/**
 * The wire contract, version 1: every topic, payload and error code that travels between programs and nodes. The
 * daemon and the client are both written against this file, and docs/mqtt.md explains it to people.
 *
 * Requests are read strictly (an unknown key is an error: it is nearly always a typing mistake). Answers are read
 * leniently, so that a later node may say more than an older client knows.
 */
import { z } from 'zod';

/** First segment pair of every topic. A breaking change gets a new number and can live beside the old one. */
export const WIRE_VERSION = 1;
const ROOT = `beta/${WIRE_VERSION}`;

/** Node ids and model names: one topic level, one file name, one DNS label. */
export const NAME_PATTERN = /^[a-z0-9][a-z0-9-]{0,62}$/;

/** Shared-subscription group of all nodes: the broker hands each request to one of them. */
export const SHARE_GROUP = 'beta';

/** Topic builders. `node` and `model` must match NAME_PATTERN. */
export const topics = {
  /** Retained `{"state": ...}`, also the last will. */
  nodeState: (node: string) => `${ROOT}/node/${node}/state`,
  /** Retained NodeInfo. */
  nodeInfo: (node: string) => `${ROOT}/node/${node}/info`,
  /** Requests for one node. */
  nodeInfer: (node: string, model: string) => `${ROOT}/node/${node}/infer/${model}`,
  /** Requests for whichever node serves the model. */
  modelInfer: (model: string) => `${ROOT}/model/${model}/infer`,
  /** Where a client of this project listens for its answers. */
  reply: (clientId: string) => `${ROOT}/reply/${clientId}`,
} as const;

/** Topic filters for subscriptions. */
export const filters = {
  /** All requests for one node, of models it has and of models it has not. */
  nodeInfer: (node: string) => `${ROOT}/node/${node}/infer/+`,
  /** Requests for a model, each to one node only. Needs a broker with shared subscriptions. */
  sharedModelInfer: (model: string) => `$share/${SHARE_GROUP}/${ROOT}/model/${model}/infer`,
  /** Requests for any model. Only for a node that has the broker to itself. */
  anyModelInfer: `${ROOT}/model/+/infer`,
  anyNodeState: `${ROOT}/node/+/state`,
  anyNodeInfo: `${ROOT}/node/+/info`,
} as const;

/** A topic of this contract, taken apart. `model` is what the sender wrote, which need not be a valid name. */
export type ParsedTopic =
  | { readonly kind: 'node-infer'; readonly node: string; readonly model: string }
  | { readonly kind: 'model-infer'; readonly model: string }
  | { readonly kind: 'node-state' | 'node-info'; readonly node: string };

/** Takes a topic apart; undefined if it is none of this contract's. */
export function parseTopic(topic: string): ParsedTopic | undefined {
  const levels = topic.split('/', 7);
  const [root, version, scope, name = '', verb, model, extra] = levels;
  if (`${root}/${version}` !== ROOT || extra !== undefined) return undefined;
  if (scope === 'model' && verb === 'infer' && model === undefined)
    return { kind: 'model-infer', model: name };
  if (scope !== 'node') return undefined;
  if (verb === 'infer' && model !== undefined) return { kind: 'node-infer', node: name, model };
  if ((verb === 'state' || verb === 'info') && model === undefined)
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

/** Error codes of an answer, with their meaning. Stable: programs may depend on them. */
export const ERROR_CODES = {
  bad_json: 'The payload is not JSON in UTF-8.',
  bad_request:
    'The payload is JSON but not a request: unknown key, wrong type, missing or empty input, or something that this model does not do.',
  payload_too_large: 'The request, or its answer, is larger than the node or the broker takes.',
  unknown_model: 'The model named in the topic is not served there.',
  empty_text: 'A text has no words.',
  text_too_long:
    'A text has more tokens than the model takes and "truncate" was not set, or too many characters at all.',
  bad_ids: 'input_ids or token_type_ids are empty, too many, not integers, or outside their table.',
  too_many_inputs: 'More inputs in one request than the node takes.',
  busy: 'The queue of the node is full. Try again later, or another node.',
  expired: 'The message expired before the engine was free for it. Nothing was computed.',
  cancelled: 'The requester took the request back.',
  shutting_down: 'The node is stopping. Try again, or another node.',
  device_error:
    'The engine failed. The request was not answered because of the node, not because of its content.',
  internal: 'A fault in the node itself. Its log has the details.',
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

/** Longest `id`, UTF-16 units. */
export const MAX_ID_LENGTH = 256;

const requestId = z.union([z.string().max(MAX_ID_LENGTH), z.number()]);

/** A request's payload. Exactly one of `text`, `texts` and `input_ids`, each with its companion for pairs where there are pairs. */
export const RequestSchema = z
  .strictObject({
    /** One sentence: a flat answer. */
    text: z.string().optional(),
    /** The second sentence of a pair. */
    text_pair: z.string().optional(),
    /** Several sentences: an answer with `results` in the same order. */
    texts: z.array(z.string()).min(1, 'must have at least one text').optional(),
    /** The second sentence of each, as many as `texts`. */
    text_pairs: z.array(z.string()).optional(),
    /** Token ids with the special tokens in place, one list for each sequence: an answer with `results`. */
    input_ids: z.array(z.array(z.number())).min(1, 'must have at least one list of ids').optional(),
    /** Token type of each id; 0 where left out. */
    token_type_ids: z.array(z.array(z.number())).optional(),
    /** Comes back in the answer: how 3.1.1 clients match answers to requests. */
    id: requestId.optional(),
    /** Topic for the answer. The MQTT 5 response topic takes precedence. */
    replyTo: z.string().optional(),
    /** Adds the logits, in the model's label order, where the result is labels. */
    logits: z.boolean().optional(),
    /** Adds the n most probable labels; for models that give one label for an input. */
    top: z.int().min(1).optional(),
    /** Cuts a text of too many tokens instead of refusing it. */
    truncate: z.boolean().optional(),
  })
  .refine(
    ({ text, texts, input_ids }) => [text, texts, input_ids].filter((v) => v !== undefined).length === 1,
    {
      message: 'give exactly one of "text", "texts" and "input_ids"',
    },
  )
  .refine(({ input_ids, truncate }) => input_ids === undefined || truncate === undefined, {
    message: '"truncate" is for texts; input_ids are taken as they are or refused',
  })
  .refine(({ text, text_pair }) => text_pair === undefined || text !== undefined, {
    message: '"text_pair" is the second text of "text"; with "texts" give "text_pairs"',
  })
  .refine(({ texts, text_pairs }) => text_pairs === undefined || text_pairs.length === texts?.length, {
    message: '"text_pairs" are the second texts of "texts": give as many',
  })
  .refine(
    ({ input_ids, token_type_ids }) =>
      token_type_ids === undefined ||
      (token_type_ids.length === input_ids?.length &&
        token_type_ids.every((types, row) => types.length === input_ids[row]?.length)),
    { message: '"token_type_ids" belong to "input_ids": one for each id' },
  );

export type RequestPayload = z.infer<typeof RequestSchema>;

const labelScore = z.object({ label: z.string(), score: z.number() });

const labelFields = {
  label: z.string(),
  /** Softmax probability of the label, 0..1. */
  score: z.number(),
  logits: z.array(z.number()).optional(),
  top: z.array(labelScore).optional(),
  /** Tokens of the input, special ones included, before any truncation. */
  tokens: z.int(),
  truncated: z.literal(true).optional(),
};

/** Heads that look at every token name the tokens, special ones included. */
const tokenFields = {
  tokens: z.array(z.string()),
  truncated: z.literal(true).optional(),
};

const commonFields = {
  id: requestId.optional(),
  model: z.object({ name: z.string(), id: z.string() }),
  /** URI of the device that computed it. */
  device: z.string(),
  node: z.string(),
  /** Milliseconds: waiting for the engine, computing, and arrival to answer within the node. */
  timings: z.object({ queue_ms: z.number(), compute_ms: z.number(), total_ms: z.number() }),
};

/** Result of sequence classification. */
const LabelResultSchema = z.object(labelFields);
/** Result of token classification: a label and its softmax probability for each token; logits [tokens][labels]. */
const TokenLabelsSchema = z.object({
  ...tokenFields,
  labels: z.array(z.string()),
  scores: z.array(z.number()),
  logits: z.array(z.array(z.number())).optional(),
});
/** Result of question answering: logits of each token, and the best span of at most 31 of them; null where there is none. */
const SpanResultSchema = z.object({
  ...tokenFields,
  start_logits: z.array(z.number()),
  end_logits: z.array(z.number()),
  answer: z
    .object({
      /** Numbers of the first and the last token. */
      start: z.int(),
      end: z.int(),
      /** The tokens as text. */
      text: z.string(),
      /** Probability of this start times that of this end. */
      score: z.number(),
    })
    .nullable(),
});
/** The last layer's output, row-major of shape [tokens, hidden]. */
const HiddenStatesSchema = z.object({
  ...tokenFields,
  shape: z.tuple([z.int(), z.int()]),
  hidden: z.array(z.number()),
});

/** What a model gives for one input; its task decides which. */
export const ResultSchema = z.union([
  LabelResultSchema,
  TokenLabelsSchema,
  SpanResultSchema,
  HiddenStatesSchema,
]);
/** Answer to `text`. */
export const AnswerSchema = z.intersection(ResultSchema, z.object(commonFields));
/** Answer to `texts` and `input_ids`. With one input it carries that result's fields at the top too. */
export const BatchAnswerSchema = z.object({ ...commonFields, results: z.array(ResultSchema) });
/** Answer to a request that failed. */
export const FailureSchema = z.object({
  id: requestId.optional(),
  error: z.object({ code: z.string(), message: z.string() }),
  node: z.string(),
});

export type LabelResult = z.infer<typeof LabelResultSchema>;
export type TokenLabelsResult = z.infer<typeof TokenLabelsSchema>;
export type SpanResult = z.infer<typeof SpanResultSchema>;
export type HiddenStatesResult = z.infer<typeof HiddenStatesSchema>;
export type Result = z.infer<typeof ResultSchema>;
type Common = z.infer<ReturnType<typeof z.object<typeof commonFields>>>;
/** `R` is what the model's task gives, by default one label. */
export type Answer<R extends Result = LabelResult> = Common & R;
export type BatchAnswer<R extends Result = LabelResult> = Common & { results: R[] };
export type Failure = z.infer<typeof FailureSchema>;

/** Retained on the state topic; `offline` is also the last will. */
export const NodeStateSchema = z.object({ state: z.enum(['online', 'offline']) });
export type NodeState = z.infer<typeof NodeStateSchema>['state'];

/** Retained on the info topic while and after the node was online. */
export const NodeInfoSchema = z.object({
  node: z.string(),
  /** Version of the node's software. */
  version: z.string(),
  wire: z.int(),
  device: z.object({ uri: z.string(), kind: z.string(), version: z.string(), build: z.number() }),
  models: z.array(
    z.object({
      name: z.string(),
      id: z.string(),
      /** sequence-classification, token-classification, question-answering or hidden-states. */
      task: z.string().optional(),
      labels: z.int(),
      max_tokens: z.int(),
    }),
  ),
  limits: z.object({ payload_bytes: z.int(), inputs: z.int(), queue: z.int(), text_chars: z.int() }),
});
export type NodeInfo = z.infer<typeof NodeInfoSchema>;
