/** What nodes say about themselves, and what they can be told. */
import { z } from 'zod';
import { replyTo, requestId } from './infer.js';

export const NodeStateSchema = z.object({
  state: z
    .enum(['online', 'draining', 'offline'])
    .describe('`draining`: it answers what it has and takes nothing new from model topics'),
});
export type NodeState = z.infer<typeof NodeStateSchema>['state'];

export const NodeInfoSchema = z.object({
  node: z.string(),
  version: z.string().describe("version of the node's software"),
  wire: z.int().describe('version of this contract'),
  device: z.object({ uri: z.string(), kind: z.string(), version: z.string(), build: z.number() }),
  models: z.array(
    z.object({
      name: z.string(),
      id: z.string(),
      task: z
        .string()
        .describe('sequence-classification, token-classification, question-answering or hidden-states')
        .optional(),
      labels: z.int(),
      max_tokens: z.int(),
    }),
  ),
  limits: z.object({
    payload_bytes: z.int(),
    inputs: z.int().describe('inputs in one request'),
    queue: z.int().describe('sequences accepted and not yet answered'),
    text_chars: z.int(),
  }),
});
export type NodeInfo = z.infer<typeof NodeInfoSchema>;

const milliseconds = z.object({ p50: z.number(), p99: z.number() });

export const TelemetrySchema = z.object({
  node: z.string(),
  uptime_s: z.number(),
  ready: z.boolean().describe('the engine can run, and computed its last self-test correctly'),
  interval_s: z.number().describe('what rates and percentiles below are taken over'),
  requests_per_s: z.number(),
  sequences_per_s: z.number(),
  failures_per_s: z.number(),
  queue: z.object({
    waiting: z.int().describe('sequences that wait'),
    running: z.int().describe('batches that the engine has'),
    limit: z.int(),
  }),
  batch: z.number().describe('sequences in a batch, on average'),
  latency_ms: milliseconds.describe('arrival to answer within the node'),
  queue_ms: milliseconds.describe('of it, waiting for the engine'),
  engine_busy: z.number().describe('share of the time that the engine ran, 0 to 1'),
  engine_restarts: z.int(),
  window: z.object({
    resident: z.array(z.string()).describe('models in the window, the one used longest ago first'),
    free_bytes: z.int(),
  }),
  outbox: z.object({
    pending: z.int().describe('answers that the broker has not taken yet'),
    dropped: z.int().describe('answers that were given up, since the start'),
  }),
  rss_bytes: z.int(),
  loop_delay_ms: milliseconds.describe('how late the event loop was'),
  power_watts: z.number().describe('where the device measures it').optional(),
});
export type Telemetry = z.infer<typeof TelemetrySchema>;

/** Payload of a command. */
export const CommandSchema = z.strictObject({
  model: z.string().max(64).describe('`unload-model`: its name').optional(),
  file: z
    .string()
    .max(255)
    .describe('`load-model`: name of a file in the folder that the node is configured to load from')
    .optional(),
  id: requestId.optional(),
  replyTo: replyTo.optional(),
});
export type Command = z.infer<typeof CommandSchema>;

/** Answer to a command that was carried out. */
export const CommandAnswerSchema = z.object({
  id: requestId.optional(),
  node: z.string(),
  done: z.string().describe('the verb'),
  models: z.array(z.string()).describe('ids of the models that are served now'),
  state: NodeStateSchema.shape.state,
});
export type CommandAnswer = z.infer<typeof CommandAnswerSchema>;

/** Takes a request back. With MQTT 5 its response topic and correlation data say which; otherwise these do. */
export const CancelSchema = z.strictObject({ id: requestId.optional(), replyTo: replyTo.optional() });
