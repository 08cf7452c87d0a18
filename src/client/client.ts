/** The client: asks nodes for inference over MQTT and matches the answers to the requests. */
import { randomBytes } from 'node:crypto';
import type { z } from 'zod';
import { bounded } from './bounded.js';
import { checkName, readAs } from './checks.js';
import { type Connection, closeConnection, connectBroker } from './connection.js';
import { ConnectError, RequestError } from './errors.js';
import { Fleet, type NodeStatus } from './fleet.js';
import {
  type Input,
  isSingle,
  requestPayload,
  type Single,
  type TextPair,
  type TokenInput,
} from './inputs.js';
import type { ClientOptions, RequestOptions, StreamOptions } from './options.js';
import { PendingRequests } from './pending.js';
import { SendWindow } from './send-window.js';
import {
  type Answer,
  AnswerSchema,
  type BatchAnswer,
  BatchAnswerSchema,
  CONTENT_TYPES,
  type Codec,
  type Command,
  type CommandAnswer,
  CommandAnswerSchema,
  codecOf,
  encodeBytes,
  filters,
  type LabelResult,
  parseTopic,
  type Result,
  type Telemetry,
  TelemetrySchema,
  type TensorAnswer,
  TensorAnswerSchema,
  type TensorRequest,
  topics,
  type Verb,
} from './wire.js';

type AnyAnswer = Answer<Result> | BatchAnswer<Result>;

const DEFAULT_REQUEST_TIMEOUT_MS = 30_000;
const CLIENT_ID_PATTERN = /^[A-Za-z0-9_-]{1,64}$/;
/** How long retained topics may take to arrive. */
const SETTLE_MS = 300;
/** Pause before a request to which nobody listens now, but somebody did, is sent again. */
const NOBODY_MS = 300;
const SILENT = 'the broker does not answer';

/**
 * A connection to the nodes of one broker. Reconnects by itself, and sends again what may have been lost: requests under way when the
 * connection broke, or when a node went away. A node that gets one twice answers it twice and runs it once.
 */
export class BetaClient {
  readonly #connection: Connection;
  readonly #window: SendWindow;
  readonly #replyTopic: string;
  readonly #codec: Codec;
  readonly #pending = new PendingRequests();
  readonly #fleet = new Fleet();
  readonly #listeners = new Set<(telemetry: Telemetry) => void>();
  #sequence = 0;
  #closed = false;

  private constructor(connection: Connection, replyTopic: string, codec: Codec) {
    this.#connection = connection;
    this.#window = new SendWindow(connection.mqtt);
    this.#replyTopic = replyTopic;
    this.#codec = codec;
    this.#fleet.onGone = () => this.#pending.elsewhere();
    this.#fleet.onBack = (node) => this.#pending.back(node);
    connection.mqtt.on('message', (topic, payload, { properties = {} }) => {
      if (topic === this.#replyTopic)
        this.#pending.accept(payload, codecOf(properties.contentType) ?? 'json', properties.correlationData);
      else if (parseTopic(topic)?.kind === 'node-telemetry') this.#onTelemetry(payload);
      else this.#fleet.accept(topic, payload);
    });
    connection.mqtt.on('connect', () => void this.#onReconnected());
  }

  /** Connects and subscribes to its own reply topic. Throws ConnectError. */
  static async connect(url: string, options: ClientOptions = {}): Promise<BetaClient> {
    const clientId = options.clientId ?? `beta-client-${randomBytes(8).toString('hex')}`;
    if (!CLIENT_ID_PATTERN.test(clientId))
      throw new ConnectError(`clientId "${clientId}": use 1 to 64 letters, digits, "-" or "_"`);
    const timeoutMs = options.connectTimeoutMs ?? 10_000;
    const { username, password, tls, protocolVersion, codec = 'json' } = options;
    const connection = await connectBroker({
      url,
      clientId,
      username,
      password,
      tls,
      protocolVersion,
      timeoutMs,
    });
    if (codec === 'cbor' && connection.version !== 5) {
      await closeConnection(connection);
      throw new ConnectError(
        'CBOR needs MQTT 5, and this broker speaks 3.1.1: there is no place for the content type',
      );
    }
    const client = new BetaClient(connection, topics.reply(clientId), codec);
    try {
      await bounded(connection.mqtt.subscribeAsync(client.#replyTopic, { qos: 1 }), timeoutMs, SILENT);
    } catch (error) {
      await client.close();
      const reason = error instanceof Error ? error.message : String(error);
      throw new ConnectError(`${client.#replyTopic}: cannot subscribe to the reply topic: ${reason}`, {
        cause: error,
      });
    }
    // Who goes away is worth knowing while requests are under way; a broker that does not tell is none the worse.
    void client.#watch().catch(() => undefined);
    return client;
  }

  /** 5, or 4 for MQTT 3.1.1. */
  get protocolVersion(): 4 | 5 {
    return this.#connection.version;
  }

  /** Whether the broker is connected now. */
  get state(): 'connected' | 'reconnecting' | 'closed' {
    if (this.#closed) return 'closed';
    return this.#connection.mqtt.connected ? 'connected' : 'reconnecting';
  }

  /**
   * Asks for one text or pair of texts (a flat answer), or for several of them or token sequences (an answer with `results` in the
   * same order). `R` is what the task of the model gives, by default one label for each input. Throws RequestError: an error answer's code, or `timeout`, `unknown_node`, `bad_answer`, `closed`.
   */
  request<R extends Result = LabelResult>(
    model: string,
    input: Single,
    options?: RequestOptions,
  ): Promise<Answer<R>>;
  request<R extends Result = LabelResult>(
    model: string,
    input: readonly string[] | readonly TextPair[] | TokenInput,
    options?: RequestOptions,
  ): Promise<BatchAnswer<R>>;
  async request(model: string, input: Input, options: RequestOptions = {}): Promise<AnyAnswer> {
    const schema: z.ZodType<AnyAnswer> = isSingle(input) ? AnswerSchema : BatchAnswerSchema;
    return this.#infer(model, requestPayload(input, options), schema, options);
  }

  /** The same in tensors, as the Open Inference Protocol has them. Throws RequestError. */
  requestTensors(
    model: string,
    request: Omit<TensorRequest, 'id' | 'replyTo'>,
    options: RequestOptions = {},
  ): Promise<TensorAnswer> {
    return this.#infer(model, request, TensorAnswerSchema, options);
  }

  /**
   * Asks for many, as they come, and gives the answers in their order: each a result, or the RequestError of that one. Reads ahead no
   * further than `concurrency`.
   */
  async *stream<R extends Result = LabelResult>(
    model: string,
    inputs: Iterable<Single> | AsyncIterable<Single>,
    { concurrency = 64, ...options }: StreamOptions = {},
  ): AsyncGenerator<{ readonly input: Single; readonly answer: Answer<R> | RequestError }> {
    const ahead: Promise<{ readonly input: Single; readonly answer: Answer<R> | RequestError }>[] = [];
    for await (const input of inputs) {
      const asked = this.request<R>(model, input, options).catch((error) => {
        if (error instanceof RequestError) return error;
        throw error;
      });
      ahead.push(asked.then((answer) => ({ input, answer })));
      if (ahead.length >= concurrency) yield await ahead.shift()!;
    }
    while (ahead.length > 0) yield await ahead.shift()!;
  }

  /** Tells a node to do something. Throws RequestError. */
  async command(
    node: string,
    verb: Verb,
    command: Omit<Command, 'id' | 'replyTo'> = {},
    timeoutMs = DEFAULT_REQUEST_TIMEOUT_MS,
  ): Promise<CommandAnswer> {
    checkName('node', node);
    return this.#ask(topics.nodeCommand(node, verb), command, CommandAnswerSchema, { timeoutMs });
  }

  /** The nodes of this broker, online and offline, as their retained topics describe them. */
  async nodes(): Promise<NodeStatus[]> {
    await bounded(this.#watch(), 10_000, SILENT);
    return this.#fleet.nodes;
  }

  /** Calls `listener` with the telemetry of every node, until the returned function is called. */
  async onTelemetry(listener: (telemetry: Telemetry) => void): Promise<() => void> {
    this.#listeners.add(listener);
    await bounded(this.#connection.mqtt.subscribeAsync(filters.anyNodeTelemetry, { qos: 0 }), 10_000, SILENT);
    return () => void this.#listeners.delete(listener);
  }

  /** Rejects what is pending with `closed` and says goodbye to the broker. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#pending.failAll('closed', 'the client was closed before the answer came');
    await closeConnection(this.#connection);
  }

  async #infer<T>(model: string, payload: object, schema: z.ZodType<T>, options: RequestOptions): Promise<T> {
    checkName('model', model);
    if (options.node !== undefined) checkName('node', options.node);
    const topic =
      options.node === undefined ? topics.modelInfer(model) : topics.nodeInfer(options.node, model);
    try {
      return await this.#ask(topic, payload, schema, options, topics.modelCancel(model));
    } catch (error) {
      throw await this.#explain(error, topic);
    }
  }

  async #ask<T>(
    topic: string,
    payload: object,
    schema: z.ZodType<T>,
    { timeoutMs = DEFAULT_REQUEST_TIMEOUT_MS, signal }: RequestOptions,
    cancelTopic?: string,
  ): Promise<T> {
    if (this.#closed) throw new RequestError('closed', 'the client is closed');
    if (signal?.aborted) throw new RequestError('cancelled', `${topic}: cancelled before it was sent`);
    const id = (this.#sequence++).toString(36);
    const until = performance.now() + timeoutMs;
    const bytes = encodeBytes(
      this.#connection.version === 5 ? payload : { ...payload, id, replyTo: this.#replyTopic },
      this.#codec,
    );
    const cancel = () => {
      this.#pending.fail(id, 'cancelled', `${topic}: cancelled`);
      if (cancelTopic !== undefined)
        void this.#publish(cancelTopic, id, Buffer.from(JSON.stringify(this.#address(id))), until);
    };
    signal?.addEventListener('abort', cancel, { once: true });
    try {
      const parsed = parseTopic(topic);
      const question = {
        topic,
        anyNode: parsed?.kind === 'model-infer',
        node: parsed?.kind === 'node-infer' ? parsed.node : undefined,
        read: (body: unknown) => readAs(schema, body),
        send: async () => {
          if (await this.#publish(topic, id, bytes, until)) await this.#nobody(topic, id);
        },
      };
      return await this.#pending.ask(id, question, timeoutMs);
    } finally {
      signal?.removeEventListener('abort', cancel);
    }
  }

  #address(id: string): object {
    return this.#connection.version === 5 ? {} : { id, replyTo: this.#replyTopic };
  }

  /** Whether the broker says that nobody listens. */
  async #publish(topic: string, id: string, bytes: Buffer, until: number): Promise<boolean> {
    if (this.#connection.version !== 5) return (await this.#window.publish(topic, bytes)).nobody;
    const properties = {
      responseTopic: this.#replyTopic,
      correlationData: Buffer.from(id),
      contentType: CONTENT_TYPES[this.#codec],
      // A broker that holds the request for a node need not deliver it when nobody waits for the answer any more.
      messageExpiryInterval: Math.max(1, Math.ceil((until - performance.now()) / 1000)),
    };
    return (await this.#window.publish(topic, bytes, { properties })).nobody;
  }

  /** Nobody listens: a node that was there comes back, perhaps; one that never was does not. */
  async #nobody(topic: string, id: string): Promise<void> {
    await bounded(this.#watch(), 2 * SETTLE_MS, SILENT).catch(() => undefined);
    const parsed = parseTopic(topic);
    if (this.#fleet.expects(parsed)) this.#pending.again(id, NOBODY_MS);
    else if (parsed?.kind === 'model-infer')
      this.#pending.fail(id, 'unknown_model', `${topic}: no node serves this model`);
    else this.#pending.fail(id, 'unknown_node', `${topic}: this node is not connected`);
  }

  async #onReconnected(): Promise<void> {
    try {
      // Before anything is sent again, so that no answer comes before the subscription.
      await bounded(this.#connection.mqtt.subscribeAsync(this.#replyTopic, { qos: 1 }), 10_000, SILENT);
      this.#pending.allAgain();
    } catch {
      // The connection broke again; the next one calls this again.
    }
  }

  #watch(): Promise<void> {
    return this.#fleet.watch(this.#connection.mqtt, SETTLE_MS);
  }

  #onTelemetry(payload: Buffer): void {
    if (this.#listeners.size === 0) return;
    try {
      const { success, data } = TelemetrySchema.safeParse(JSON.parse(payload.toString('utf8')));
      if (success) for (const listener of this.#listeners) listener(data);
    } catch {
      // Not of a node of this contract.
    }
  }

  /** Adds what is served to errors that mean "there is nobody". */
  async #explain(error: unknown, topic: string): Promise<unknown> {
    if (!(error instanceof RequestError) || error.node !== undefined || this.#closed) return error;
    if (error.code !== 'timeout' && error.code !== 'unknown_model' && error.code !== 'unknown_node')
      return error;
    if (!this.#connection.mqtt.connected)
      return new RequestError(error.code, `${topic}: the broker is not connected; ${error.message}`);
    try {
      await bounded(this.#watch(), 2 * SETTLE_MS, SILENT);
    } catch {
      return error;
    }
    return new RequestError(error.code, `${error.message}; ${this.#fleet.describe()}`);
  }
}
