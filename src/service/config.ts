/**
 * The daemon's configuration: one schema from which the checks, the defaults, the error messages and the JSON Schema
 * all come. docs/mqtt.md shows a file.
 */
import { hostname } from 'node:os';
import { z } from 'zod';
import { brokerUrlProblem } from '../client/broker-url.js';
import { NAME_PATTERN } from '../client/wire.js';
import { LOG_LEVELS } from './log.js';

const KiB = 2 ** 10;
const MiB = 2 ** 20;

const brokerSchema = z
  .strictObject({
    url: z
      .string()
      .superRefine((value, context) => {
        const problem = brokerUrlProblem(value);
        if (problem !== undefined) context.addIssue({ code: 'custom', message: problem });
      })
      .describe('mqtt://host:1883 or mqtts://host:8883'),
    username: z.string().optional(),
    password: z.string().optional(),
    passwordFile: z.string().optional().describe('file whose first line is the password'),
    passwordEnv: z.string().optional().describe('environment variable that holds the password'),
    ca: z
      .string()
      .optional()
      .describe('PEM file of the authorities that may sign the certificate of the broker'),
    cert: z.string().optional().describe('PEM file of the certificate of this client'),
    key: z.string().optional().describe('PEM file of its key'),
    clientId: z.string().min(1).max(64).optional(),
    sessionSeconds: z
      .int()
      .min(0)
      .max(604_800)
      .default(0)
      .describe('how long the broker keeps requests for this node while it is away (MQTT 5)'),
  })
  .refine(
    ({ password, passwordFile, passwordEnv }) =>
      [password, passwordFile, passwordEnv].filter((each) => each !== undefined).length <= 1,
    { message: 'give one of password, passwordFile and passwordEnv, not both' },
  )
  .refine(({ cert, key }) => (cert === undefined) === (key === undefined), {
    message: 'cert and key belong together',
  })
  .refine(({ url, ca, cert }) => url.startsWith('mqtts:') || (ca === undefined && cert === undefined), {
    message: 'ca, cert and key are for mqtts://',
  });

const httpSchema = z.strictObject({
  host: z.string().min(1).default('127.0.0.1'),
  port: z.int().min(0).max(65_535).describe('0 takes a free one'),
});

const embeddedSchema = z.strictObject({
  host: z.string().min(1).default('127.0.0.1'),
  port: z.int().min(0).max(65_535).default(1883).describe('0 takes a free one'),
});

const limitsSchema = z
  .strictObject({
    payloadBytes: z
      .int()
      .min(KiB)
      .max(64 * MiB)
      .default(MiB)
      .describe('largest request'),
    inputs: z.int().min(1).max(4096).default(256).describe('inputs in one request'),
    queue: z.int().min(1).max(1_000_000).default(4096).describe('sequences accepted and not yet answered'),
    batchSequences: z.int().min(1).max(1024).default(64).describe('sequences that run together'),
    batchTokens: z.int().min(1).max(65_536).default(1024).describe('tokens that run together'),
    maxDelayMs: z
      .number()
      .min(0)
      .max(1000)
      .default(0)
      .describe('how long an idle engine waits for company for a request; 0: not at all'),
    textChars: z
      .int()
      .min(1)
      .max(16 * MiB)
      .default(65_536)
      .describe('longest text, before it is cut into tokens'),
    answerNumbers: z
      .int()
      .min(1)
      .max(2 ** 26)
      .default(2 ** 19)
      .describe('most numbers in one answer of a model that gives values for every token'),
    retrySeconds: z
      .number()
      .min(0)
      .max(3600)
      .default(60)
      .describe('how long a repeated request gets the answer of the first one'),
    retryBytes: z
      .int()
      .min(0)
      .max(1024 * MiB)
      .default(16 * MiB)
      .describe('bound of the answers kept for that'),
    outbox: z
      .int()
      .min(1)
      .max(1_000_000)
      .default(16_384)
      .describe('answers that the broker has not taken yet'),
    outboxBytes: z
      .int()
      .min(MiB)
      .max(4096 * MiB)
      .default(64 * MiB)
      .describe('and their bytes'),
    drainSeconds: z
      .number()
      .min(0)
      .max(600)
      .default(10)
      .describe('how long a stop waits for what was accepted'),
  })
  .refine(({ inputs, queue }) => inputs <= queue, {
    message: 'inputs must not be larger than queue, or the largest requests would always be refused',
  });

/** Checks that hold for the whole file. */
export const ConfigSchema = z
  .strictObject({
    version: z.literal(1).describe('version of this file format'),
    node: z
      .string()
      .regex(NAME_PATTERN, 'lower-case letters, digits and "-", at most 63, not "-" first')
      .optional()
      .describe('id of this node on the network; default: the host name'),
    device: z.string().min(1).default('auto').describe('auto, emu: or uio:NAME'),
    broker: brokerSchema.optional().describe('an external broker; without it the embedded one is used'),
    embedded: embeddedSchema.optional().describe('the embedded broker'),
    models: z.array(z.string().min(1)).max(256).optional().describe('.beta files, or folders of them'),
    modelFolder: z.string().min(1).optional().describe('folder that models may be loaded from over MQTT'),
    commands: z.boolean().default(true).describe('whether commands are taken over MQTT'),
    telemetrySeconds: z.number().min(0).max(3600).default(5).describe('0: no telemetry'),
    http: httpSchema.optional().describe('where /metrics, /healthz and /readyz are; nowhere where left out'),
    limits: limitsSchema.prefault({}),
    log: z.strictObject({ level: z.enum(LOG_LEVELS).default('info') }).prefault({}),
  })
  .refine(({ broker, embedded }) => broker === undefined || embedded === undefined, {
    message: 'give "broker" (an external one) or "embedded" (--port on the command line), not both',
  });

/** A configuration file as it is after the defaults. */
export type Config = z.output<typeof ConfigSchema>;
export type ConfigInput = z.input<typeof ConfigSchema>;
export type Limits = z.output<typeof limitsSchema>;
export type EmbeddedConfig = z.output<typeof embeddedSchema>;
export type HttpConfig = z.output<typeof httpSchema>;
export type BrokerConfig = z.output<typeof brokerSchema>;

/** The schema in the form that editors and other programs read. */
export function configJsonSchema(): object {
  return z.toJSONSchema(ConfigSchema, { io: 'input' });
}

/** Checks a parsed file; throws an Error with one line for each problem: where, what, and what is allowed. */
export function parseConfig(value: unknown): Config {
  const result = ConfigSchema.safeParse(value ?? {});
  if (result.success) return result.data;
  throw new Error(result.error.issues.slice(0, 20).map(describeIssue).join('\n'));
}

function describeIssue(issue: z.core.$ZodIssue): string {
  const where = issue.path.map(String).join('.');
  const prefix = where === '' ? '' : `${where}: `;
  if (issue.code === 'unrecognized_keys')
    return `${prefix}unknown key ${issue.keys.map((key) => `"${key}"`).join(', ')}; known keys: ${knownKeys(issue.path).join(', ')}`;
  return prefix + issue.message;
}

function knownKeys(path: readonly PropertyKey[]): string[] {
  let schema = unwrap(ConfigSchema);
  for (const key of path) if (schema instanceof z.ZodObject) schema = unwrap(schema.shape[String(key)]);
  return schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
}

/** The schema inside optional and default wrappers. */
function unwrap(schema: unknown): unknown {
  let inner = schema;
  while (inner instanceof z.ZodOptional || inner instanceof z.ZodDefault || inner instanceof z.ZodPrefault)
    inner = inner.unwrap();
  return inner;
}

/** The host name as a node id. */
export function defaultNode(name: string = hostname()): string {
  const id = name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+/, '')
    .slice(0, 63);
  return id === '' ? 'node' : id;
}
