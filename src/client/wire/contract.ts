/**
 * The wire contract, version 1, as one list: every channel with its topic, direction, payloads and delivery. docs/mqtt-reference.md, the JSON
 * Schema and the AsyncAPI document are written from it (tools/wire), and the daemon and the client are built on the same schemas.
 *
 * Requests are read strictly (an unknown key is an error: it is nearly always a typing mistake). Answers are read leniently, so that a
 * later node may say more than an older client knows.
 */
import type { z } from 'zod';
import { AnswerSchema, BatchAnswerSchema, FailureSchema, RequestSchema } from './infer.js';
import { topics } from './names.js';
import {
  CancelSchema,
  CommandAnswerSchema,
  CommandSchema,
  NodeInfoSchema,
  NodeStateSchema,
  TelemetrySchema,
} from './node.js';
import { TensorAnswerSchema, TensorRequestSchema } from './tensors.js';

/** Payloads by name. */
export const PAYLOADS = {
  Request: RequestSchema,
  TensorRequest: TensorRequestSchema,
  Answer: AnswerSchema,
  BatchAnswer: BatchAnswerSchema,
  TensorAnswer: TensorAnswerSchema,
  Failure: FailureSchema,
  Cancel: CancelSchema,
  Command: CommandSchema,
  CommandAnswer: CommandAnswerSchema,
  NodeState: NodeStateSchema,
  NodeInfo: NodeInfoSchema,
  Telemetry: TelemetrySchema,
} as const satisfies Record<string, z.ZodType>;
export type PayloadName = keyof typeof PAYLOADS;

export interface Channel {
  readonly topic: string;
  /** Who publishes. */
  readonly from: 'client' | 'node';
  readonly payloads: readonly PayloadName[];
  /** What comes back on the response topic. */
  readonly answers?: readonly PayloadName[];
  readonly qos: 0 | 1;
  readonly retained: boolean;
  readonly what: string;
}

const ANSWERS = ['Answer', 'BatchAnswer', 'TensorAnswer', 'Failure'] as const;

export const CHANNELS: Readonly<Record<string, Channel>> = {
  modelInfer: {
    topic: topics.modelInfer('<model>'),
    from: 'client',
    payloads: ['Request', 'TensorRequest'],
    answers: ANSWERS,
    qos: 1,
    retained: false,
    what: 'inference by any node that serves the model; each request goes to one of them',
  },
  nodeInfer: {
    topic: topics.nodeInfer('<node>', '<model>'),
    from: 'client',
    payloads: ['Request', 'TensorRequest'],
    answers: ANSWERS,
    qos: 1,
    retained: false,
    what: 'inference by this node',
  },
  modelCancel: {
    topic: topics.modelCancel('<model>'),
    from: 'client',
    payloads: ['Cancel'],
    qos: 1,
    retained: false,
    what: 'takes a request back: the node that has it answers it with `cancelled`',
  },
  drain: command('drain', 'finish what was accepted, take nothing new from model topics'),
  resume: command('resume', 'take requests again'),
  loadModel: command('load-model', 'serve a file of the configured folder, or its new version'),
  unloadModel: command('unload-model', 'serve a model no longer'),
  reply: {
    topic: topics.reply('<client>'),
    from: 'node',
    payloads: [...ANSWERS, 'CommandAnswer'],
    qos: 1,
    retained: false,
    what: 'where the clients of this project listen; any other topic will do',
  },
  nodeState: {
    topic: topics.nodeState('<node>'),
    from: 'node',
    payloads: ['NodeState'],
    qos: 1,
    retained: true,
    what: 'whether the node is there; `offline` is also its last will',
  },
  nodeInfo: {
    topic: topics.nodeInfo('<node>'),
    from: 'node',
    payloads: ['NodeInfo'],
    qos: 1,
    retained: true,
    what: 'version, device, models and limits; stays after it went offline',
  },
  nodeTelemetry: {
    topic: topics.nodeTelemetry('<node>'),
    from: 'node',
    payloads: ['Telemetry'],
    qos: 0,
    retained: false,
    what: 'load and health, every few seconds',
  },
};

function command(verb: Parameters<typeof topics.nodeCommand>[1], what: string): Channel {
  return {
    topic: topics.nodeCommand('<node>', verb),
    from: 'client',
    payloads: ['Command'],
    answers: ['CommandAnswer', 'Failure'],
    qos: 1,
    retained: false,
    what,
  };
}
