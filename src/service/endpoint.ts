/** The MQTT side of the daemon: requests in, exactly one answer out. */
import { randomBytes } from 'node:crypto';
import type { IClientPublishOptions, IPublishPacket } from 'mqtt';
import { bounded } from '../client/bounded.js';
import { redact } from '../client/broker-url.js';
import { type Connection, closeConnection, connectBroker } from '../client/connection.js';
import { SendWindow } from '../client/send-window.js';
import { filters, type NodeInfo, parseTopic, replyTopicProblem, topics } from '../client/wire.js';
import type { BrokerLogin } from './config-file.js';
import { messageOf, ServiceError } from './errors.js';
import type { Log } from './log.js';
import { Presence, willOf } from './presence.js';
import type { AnyAnswer, IncomingRequest, Requests } from './requests.js';

export interface EndpointOptions extends BrokerLogin {
  readonly node: string;
  readonly clientId: string;
  /** This node has the broker to itself (the embedded one), so it answers for models that nobody serves too. */
  readonly exclusive: boolean;
  readonly log: Log;
}

const CONNECT_MS = 10_000;
const UNSUBSCRIBE_MS = 2000;
/** Shortest pause between two lines about requests that cannot be answered: strangers decide how many there are. */
const COMPLAINT_MS = 1000;

/** An MQTT client id that no second daemon has. */
export function newClientId(node: string): string {
  return `beta-node-${node}-${randomBytes(4).toString('hex')}`;
}

export class Endpoint {
  readonly #options: EndpointOptions;
  readonly #connection: Connection;
  readonly #window: SendWindow;
  readonly #presence: Presence;
  readonly #open = new Set<Promise<void>>();
  #filters: string[] = [];
  #unanswerable = 0;
  #complained = Number.NEGATIVE_INFINITY;

  private constructor(options: EndpointOptions, connection: Connection) {
    this.#options = options;
    this.#connection = connection;
    this.#window = new SendWindow(connection.mqtt);
    this.#presence = new Presence(options.node, connection, this.#window, options.log);
  }

  /** Connects, with the last will in place, and makes sure of the node id. Throws ServiceError 'broker'. */
  static async connect(options: EndpointOptions): Promise<Endpoint> {
    const { node, log } = options;
    const connection = await connectBroker({ ...options, will: willOf(node), timeoutMs: CONNECT_MS }).catch(
      (error) => {
        throw new ServiceError('broker', messageOf(error), { cause: error });
      },
    );
    const endpoint = new Endpoint(options, connection);
    connection.mqtt.on('offline', () =>
      log.warn({ broker: redact(options.url) }, 'broker lost; reconnecting'),
    );
    connection.mqtt.on('connect', () => log.info({ broker: redact(options.url) }, 'broker connected again'));
    try {
      if (!options.exclusive && (await bounded(endpoint.#presence.nameInUse(), CONNECT_MS, SILENT)))
        throw new Error(`another daemon is online as node "${node}"; give this one another id with --node`);
    } catch (error) {
      await closeConnection(connection);
      throw new ServiceError('broker', `${redact(options.url)}: ${messageOf(error)}`, { cause: error });
    }
    return endpoint;
  }

  /** 5, or 4 for MQTT 3.1.1. */
  get protocolVersion(): 4 | 5 {
    return this.#connection.version;
  }

  /** Requests that could not be answered for want of a usable reply topic. */
  get unanswerable(): number {
    return this.#unanswerable;
  }

  /** Takes requests from now on, and says so. Throws ServiceError 'broker'. */
  async open(requests: Requests, info: NodeInfo): Promise<void> {
    const { mqtt, version } = this.#connection;
    this.#filters = this.#requestFilters(info.models.map(({ name }) => name));
    mqtt.on('message', (topic, payload, packet) => this.#onMessage(requests, topic, payload, packet));
    try {
      // Retained requests are not wanted (below); MQTT 5 can tell the broker so.
      const options = version === 5 ? { qos: 1 as const, rh: 2 } : { qos: 1 as const };
      await bounded(mqtt.subscribeAsync(this.#filters, options), CONNECT_MS, SILENT);
      await bounded(this.#presence.announce(info), CONNECT_MS, SILENT);
    } catch (error) {
      const reason = `${messageOf(error)}; does the broker allow this client to subscribe to ${this.#filters.join(', ')}?`;
      const hint = version === 4 ? ' The embedded broker of another daemon serves that daemon only.' : '';
      throw new ServiceError('broker', `${redact(this.#options.url)}: ${reason}${hint}`, { cause: error });
    }
  }

  #requestFilters(models: readonly string[]): string[] {
    const { node, exclusive, log } = this.#options;
    const own = filters.nodeInfer(node);
    if (exclusive) return [own, filters.anyModelInfer];
    const { mqtt, version } = this.#connection;
    if (version === 5 && mqtt.serverProperties?.sharedSubscriptionAvailable !== false)
      return [own, ...models.map(filters.sharedModelInfer)];
    log.warn('this broker has no shared subscriptions: a second node with the same model would answer too');
    return [own, ...models.map(topics.modelInfer)];
  }

  /** Takes no new requests from the broker; those it has delivered already still arrive. */
  async stopAccepting(): Promise<void> {
    const { mqtt } = this.#connection;
    if (this.#filters.length === 0) return;
    await bounded(mqtt.unsubscribeAsync(this.#filters), UNSUBSCRIBE_MS, SILENT).catch((error) =>
      this.#options.log.warn({ reason: messageOf(error) }, 'could not unsubscribe'),
    );
  }

  /** Waits until every request that arrived is answered and the broker has the answer; false if `ms` are not enough. */
  async settled(ms: number): Promise<boolean> {
    const deadline = Date.now() + ms;
    while (this.#open.size > 0) {
      const left = deadline - Date.now();
      if (left <= 0) return false;
      await bounded(Promise.allSettled(this.#open), left, '').catch(() => undefined);
    }
    return true;
  }

  /** Says "offline" and goodbye. */
  async close(): Promise<void> {
    await this.#presence.retire();
    await closeConnection(this.#connection);
  }

  #onMessage(requests: Requests, topic: string, payload: Buffer, packet: IPublishPacket): void {
    const parsed = parseTopic(topic);
    if (parsed?.kind !== 'node-infer' && parsed?.kind !== 'model-infer') return;
    if (packet.retain) {
      // It was answered, or not, when it was sent; every start of a node would run it again.
      this.#complain({ topic }, 'a retained request was ignored; requests must not be retained');
      return;
    }
    const request = requests.read(parsed.model, payload, packet.properties?.responseTopic);
    const replyTopic = packet.properties?.responseTopic ?? request.address.replyTo;
    const problem = replyTopic === undefined ? 'there is none' : replyTopicProblem(replyTopic);
    if (replyTopic === undefined || problem !== undefined) {
      this.#complain(
        { topic, bytes: payload.length, reason: problem },
        'a request without a usable reply topic was dropped',
      );
      return;
    }
    const work = this.#answer(requests, request, replyTopic, packet.properties?.correlationData);
    this.#open.add(work);
    void work.finally(() => this.#open.delete(work));
  }

  /** Never rejects. */
  async #answer(
    requests: Requests,
    request: IncomingRequest,
    replyTopic: string,
    correlation: Buffer | undefined,
  ): Promise<void> {
    const { log } = this.#options;
    const answer = await requests.answer(request);
    const options = this.#replyOptions(correlation);
    const fields = { model: request.model, ms: Math.round(performance.now() - request.arrived) };
    try {
      const { nobody } = await this.#window.publish(
        replyTopic,
        this.#fit(requests, request, answer),
        options,
      );
      log.debug({ ...fields, nobody, code: 'error' in answer ? answer.error.code : 'ok' }, 'answered');
    } catch (error) {
      log.warn({ ...fields, reason: messageOf(error) }, 'the broker refused an answer');
      const failure = {
        code: 'payload_too_large' as const,
        message: `the broker refused the answer: ${messageOf(error)}`,
      };
      const payload = JSON.stringify(requests.failure(request.address, failure));
      await this.#window.publish(replyTopic, payload, options).catch(() => undefined);
    }
  }

  /** The answer as JSON, or an error in its place if the broker would refuse it for its size. */
  #fit(requests: Requests, request: IncomingRequest, answer: AnyAnswer): string {
    const payload = JSON.stringify(answer);
    const bytes = Buffer.byteLength(payload);
    const limit = this.#window.maxPayloadBytes;
    if (bytes <= limit) return payload;
    const message = `the answer has ${bytes} bytes, the broker takes ${limit}; ask for fewer inputs or without logits`;
    return JSON.stringify(requests.failure(request.address, { code: 'payload_too_large', message }));
  }

  #replyOptions(correlation: Buffer | undefined): Omit<IClientPublishOptions, 'qos'> {
    if (this.#connection.version !== 5) return {};
    const properties = { contentType: 'application/json', payloadFormatIndicator: true };
    return { properties: correlation ? { ...properties, correlationData: correlation } : properties };
  }

  #complain(fields: object, message: string): void {
    this.#unanswerable++;
    const now = performance.now();
    if (now - this.#complained < COMPLAINT_MS) return;
    this.#complained = now;
    this.#options.log.warn({ ...fields, total: this.#unanswerable }, message);
  }
}

const SILENT = 'the broker does not answer';
