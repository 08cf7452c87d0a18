/** The client: asks nodes for inference over MQTT and matches the answers to the requests. */
import { randomBytes } from 'node:crypto';
import { bounded } from './bounded.js';
import { type Connection, closeConnection, connectBroker } from './connection.js';
import { ConnectError, RequestError } from './errors.js';
import { Fleet, type NodeStatus } from './fleet.js';
import { SendWindow } from './send-window.js';
import {
  type Answer,
  AnswerSchema,
  type BatchAnswer,
  BatchAnswerSchema,
  FailureSchema,
  type LabelResult,
  NAME_PATTERN,
  parseTopic,
  type RequestPayload,
  type Result,
  topics,
} from './wire.js';

export interface ClientOptions {
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** Part of the reply topic, so letters, digits, `-` and `_` only. Default: a random one. */
  readonly clientId?: string | undefined;
  /** Forces MQTT 5 or 3.1.1 (4); by default 5 is tried first. */
  readonly protocolVersion?: 4 | 5 | undefined;
  /** Bound for connecting, milliseconds (default 10 000). */
  readonly connectTimeoutMs?: number | undefined;
}

export interface RequestOptions {
  /** Asks this node; by default whichever node serves the model. */
  readonly node?: string | undefined;
  /** Bound for the answer, milliseconds (default 30 000). */
  readonly timeoutMs?: number | undefined;
  /** Adds the logits to the results. */
  readonly logits?: boolean | undefined;
  /** Adds the n most probable labels to the results. */
  readonly top?: number | undefined;
  /** Cuts texts that are too long for the model instead of refusing them. */
  readonly truncate?: boolean | undefined;
}

/** Token ids, one list for each sequence, special tokens in place, and token types where they are not all 0. */
export interface TokenInput {
  readonly ids: readonly (readonly number[] | Uint32Array)[];
  readonly types?: readonly (readonly number[] | Uint32Array)[];
}

/** Two sentences that are one input, such as a question and the text that answers it. */
export interface TextPair {
  readonly text: string;
  readonly textPair: string;
}

type AnyAnswer = Answer<Result> | BatchAnswer<Result>;

interface Pending {
  readonly batch: boolean;
  resolve(answer: AnyAnswer): void;
  reject(error: RequestError): void;
}

const DEFAULT_REQUEST_TIMEOUT_MS = 30_000;
const CLIENT_ID_PATTERN = /^[A-Za-z0-9_-]{1,64}$/;
/** How long retained topics may take to arrive. */
const SETTLE_MS = 300;
const SILENT = 'the broker does not answer';

/**
 * A connection to the nodes of one broker. Reconnects by itself; answers that a broker sends while the connection is
 * down are lost, and their requests end with `timeout`.
 */
export class BetaClient {
  readonly #connection: Connection;
  readonly #window: SendWindow;
  readonly #replyTopic: string;
  readonly #pending = new Map<string, Pending>();
  readonly #fleet = new Fleet();
  #sequence = 0;
  #closed = false;

  private constructor(connection: Connection, replyTopic: string) {
    this.#connection = connection;
    this.#window = new SendWindow(connection.mqtt);
    this.#replyTopic = replyTopic;
    connection.mqtt.on('message', (topic, payload, packet) => {
      if (topic === this.#replyTopic) this.#onAnswer(payload, packet.properties?.correlationData);
      else this.#fleet.accept(topic, payload);
    });
  }

  /** Connects and subscribes to its own reply topic. Throws ConnectError. */
  static async connect(url: string, options: ClientOptions = {}): Promise<BetaClient> {
    const clientId = options.clientId ?? `beta-client-${randomBytes(8).toString('hex')}`;
    if (!CLIENT_ID_PATTERN.test(clientId))
      throw new ConnectError(`clientId "${clientId}": use 1 to 64 letters, digits, "-" or "_"`);
    const timeoutMs = options.connectTimeoutMs ?? 10_000;
    const connection = await connectBroker({
      url,
      clientId,
      username: options.username,
      password: options.password,
      protocolVersion: options.protocolVersion,
      timeoutMs,
    });
    const client = new BetaClient(connection, topics.reply(clientId));
    try {
      await bounded(connection.mqtt.subscribeAsync(client.#replyTopic, { qos: 1 }), timeoutMs, SILENT);
    } catch (error) {
      await client.close();
      const reason = error instanceof Error ? error.message : String(error);
      throw new ConnectError(`${client.#replyTopic}: cannot subscribe to the reply topic: ${reason}`, {
        cause: error,
      });
    }
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
    input: string | TextPair,
    options?: RequestOptions,
  ): Promise<Answer<R>>;
  request<R extends Result = LabelResult>(
    model: string,
    input: readonly string[] | readonly TextPair[] | TokenInput,
    options?: RequestOptions,
  ): Promise<BatchAnswer<R>>;
  async request(model: string, input: Input, options: RequestOptions = {}): Promise<AnyAnswer> {
    checkName('model', model);
    if (options.node !== undefined) checkName('node', options.node);
    const topic =
      options.node === undefined ? topics.modelInfer(model) : topics.nodeInfer(options.node, model);
    const id = (this.#sequence++).toString(36);
    const timeoutMs = options.timeoutMs ?? DEFAULT_REQUEST_TIMEOUT_MS;
    const payload: RequestPayload = { ...inputFields(input), ...askFields(options) };

    const answer = new Promise<AnyAnswer>((resolve, reject) => {
      if (this.#closed) reject(new RequestError('closed', 'the client is closed'));
      else this.#pending.set(id, { batch: !isSingle(input), resolve, reject });
    });
    // One bound over everything; the answer may come before the broker has acknowledged the request.
    const timer = setTimeout(
      () => this.#fail(id, 'timeout', `${topic}: no answer within ${timeoutMs} ms`),
      timeoutMs,
    );
    this.#send(topic, id, payload, timeoutMs).catch((error: Error) =>
      this.#fail(id, 'closed', `${topic}: the request could not be sent: ${error.message}`),
    );
    try {
      return await answer;
    } catch (error) {
      throw await this.#explain(error, topic);
    } finally {
      clearTimeout(timer);
      this.#pending.delete(id);
    }
  }

  /** The nodes of this broker, online and offline, as their retained topics describe them. */
  async nodes(): Promise<NodeStatus[]> {
    await bounded(this.#fleet.watch(this.#connection.mqtt, SETTLE_MS), 10_000, SILENT);
    return this.#fleet.nodes;
  }

  /** Rejects what is pending with `closed` and says goodbye to the broker. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const id of [...this.#pending.keys()])
      this.#fail(id, 'closed', 'the client was closed before the answer came');
    await closeConnection(this.#connection);
  }

  async #send(topic: string, id: string, request: RequestPayload, timeoutMs: number): Promise<void> {
    let nobody: boolean;
    if (this.#connection.version === 5) {
      const properties = {
        responseTopic: this.#replyTopic,
        correlationData: Buffer.from(id),
        contentType: 'application/json',
        // A broker that holds the request for a node need not deliver it when nobody waits for the answer any more.
        messageExpiryInterval: Math.max(1, Math.ceil(timeoutMs / 1000)),
      };
      ({ nobody } = await this.#window.publish(topic, JSON.stringify(request), { properties }));
    } else {
      const payload = JSON.stringify({ ...request, id, replyTo: this.#replyTopic });
      ({ nobody } = await this.#window.publish(topic, payload));
    }
    if (!nobody) return;
    if (parseTopic(topic)?.kind === 'model-infer')
      this.#fail(id, 'unknown_model', `${topic}: no node serves this model`);
    else this.#fail(id, 'unknown_node', `${topic}: this node is not connected`);
  }

  #fail(
    id: string,
    code: ConstructorParameters<typeof RequestError>[0],
    message: string,
    node?: string,
  ): void {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    pending?.reject(new RequestError(code, message, node));
  }

  #onAnswer(payload: Buffer, correlation: Buffer | undefined): void {
    let body: unknown;
    try {
      body = JSON.parse(payload.toString('utf8'));
    } catch {
      body = undefined;
    }
    const id = correlation?.toString() ?? (body as { id?: unknown } | null | undefined)?.id;
    if (typeof id !== 'string') return; // Not one of ours: nobody waits for it.
    const pending = this.#pending.get(id);
    if (!pending) return; // Came after its timeout.

    const failure = FailureSchema.safeParse(body);
    if (failure.success) {
      this.#fail(id, failure.data.error.code, failure.data.error.message, failure.data.node);
      return;
    }
    const answer = (pending.batch ? BatchAnswerSchema : AnswerSchema).safeParse(body);
    if (answer.success) {
      this.#pending.delete(id);
      pending.resolve(answer.data);
    } else {
      const [issue] = answer.error.issues;
      this.#fail(
        id,
        'bad_answer',
        `the answer is not understood: ${issue?.path.join('.')}: ${issue?.message}`,
      );
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
      await bounded(this.#fleet.watch(this.#connection.mqtt, SETTLE_MS), 2 * SETTLE_MS, SILENT);
    } catch {
      return error;
    }
    return new RequestError(error.code, `${error.message}; ${this.#fleet.describe()}`);
  }
}

function checkName(what: string, name: string): void {
  if (!NAME_PATTERN.test(name))
    throw new RequestError(
      'bad_request',
      `${what} "${name.slice(0, 64)}": names have lower-case letters, digits and "-", at most 63, not "-" first`,
    );
}

type Input = string | TextPair | readonly string[] | readonly TextPair[] | TokenInput;

const isSingle = (input: Input): input is string | TextPair =>
  typeof input === 'string' || 'textPair' in input;

const lists = (rows: TokenInput['ids']) => rows.map((row) => Array.from(row));

function inputFields(input: Input): RequestPayload {
  if (isSingle(input))
    return typeof input === 'string' ? { text: input } : { text: input.text, text_pair: input.textPair };
  if ('ids' in input)
    return { input_ids: lists(input.ids), ...(input.types ? { token_type_ids: lists(input.types) } : {}) };
  const texts = input.map((one) => (typeof one === 'string' ? one : one.text));
  const pairs = input.flatMap((one) => (typeof one === 'string' ? [] : [one.textPair]));
  return pairs.length > 0 ? { texts, text_pairs: pairs } : { texts };
}

function askFields({ logits, top, truncate }: RequestOptions): RequestPayload {
  return {
    ...(logits ? { logits } : {}),
    ...(top === undefined ? {} : { top }),
    ...(truncate ? { truncate } : {}),
  };
}
