/** The MQTT side of the daemon: requests in, exactly one answer out. */
import { setImmediate as turn } from 'node:timers/promises';
import type { IClientPublishOptions, IPublishPacket } from 'mqtt';
import { bounded } from '../client/bounded.js';
import { redact } from '../client/broker-url.js';
import { type Connection, closeConnection } from '../client/connection.js';
import type { SendWindow } from '../client/send-window.js';
import {
  CONTENT_TYPES,
  type Codec,
  encodeBytes,
  filters,
  type NodeInfo,
  type NodeState,
  type ParsedTopic,
  replyTopicProblem,
  type Telemetry,
  topics,
} from '../client/wire.js';
import type { Commands } from './commands.js';
import { messageOf, ServiceError } from './errors.js';
import { RequestFailure } from './failure.js';
import type { Inbox } from './inbox.js';
import { type Job, Jobs } from './jobs.js';
import { CONNECT_MS, connectNode, type NodeLine, type NodeLineOptions, SILENT } from './node-line.js';
import { Outbox, type OutboxLimits } from './outbox.js';
import type { Presence } from './presence.js';
import type { Requests } from './requests.js';
import { Retries, type RetryLimits } from './retries.js';

export interface EndpointOptions extends NodeLineOptions {
  readonly outbox: OutboxLimits;
  readonly retries: RetryLimits;
}

/** Whoever does what the messages ask for. */
export interface Handlers {
  readonly requests: Requests;
  readonly commands: Commands;
}

const UNSUBSCRIBE_MS = 2000;
/** Shortest pause between two lines about requests that cannot be answered: strangers decide how many there are. */
const COMPLAINT_MS = 1000;

export class Endpoint {
  readonly #options: EndpointOptions;
  readonly #connection: Connection;
  readonly #window: SendWindow;
  readonly #presence: Presence;
  readonly #inbox: Inbox;
  readonly #outbox: Outbox;
  readonly #retries: Retries;
  readonly #open = new Set<Promise<void>>();
  #jobs: Jobs | undefined;
  #shared: string[] = [];
  #accepting = false;
  #unanswerable = 0;
  #complained = Number.NEGATIVE_INFINITY;

  private constructor(options: EndpointOptions, { connection, window, presence, inbox }: NodeLine) {
    this.#options = options;
    this.#connection = connection;
    this.#window = window;
    this.#presence = presence;
    this.#inbox = inbox;
    this.#outbox = new Outbox(window, options.outbox, options.log);
    this.#retries = new Retries(options.retries);
  }

  /** Connects, with the last will in place, and makes sure of the node id. Throws ServiceError 'broker'. */
  static async connect(options: EndpointOptions): Promise<Endpoint> {
    const line = await connectNode(options);
    const { log, url } = options;
    line.connection.mqtt.on('offline', () => log.warn({ broker: redact(url) }, 'broker lost; reconnecting'));
    line.connection.mqtt.on('connect', () => log.info({ broker: redact(url) }, 'broker connected again'));
    return new Endpoint(options, line);
  }

  /** 5, or 4 for MQTT 3.1.1. */
  get protocolVersion(): 4 | 5 {
    return this.#connection.version;
  }

  get connected(): boolean {
    return this.#connection.mqtt.connected;
  }

  /** Requests that could not be answered for want of a usable reply topic. */
  get unanswerable(): number {
    return this.#unanswerable;
  }

  get outbox(): Pick<Outbox, 'pending' | 'dropped' | 'unheard'> {
    return this.#outbox;
  }

  /** Takes requests from now on, and says so. Throws ServiceError 'broker'. */
  async open(handlers: Handlers, info: NodeInfo): Promise<void> {
    const { node } = this.#options;
    const { log } = this.#options;
    this.#jobs = new Jobs({ ...handlers, node, log, maxAnswerBytes: () => this.#window.maxPayloadBytes });
    const jobs = this.#jobs;
    this.#inbox.start((parsed, { topic, payload, packet }, acknowledge) =>
      this.#take(jobs, parsed, topic, payload, packet, acknowledge),
    );
    const own = [filters.nodeInfer(node), filters.nodeCommands(node), filters.anyModelCancel];
    this.#shared = this.#sharedFilters(info);
    this.#accepting = true;
    try {
      await this.#subscribe([...own, ...this.#shared]);
      await bounded(this.#presence.announce(info), CONNECT_MS, SILENT);
    } catch (error) {
      const reason = `${messageOf(error)}; does the broker allow this client to subscribe to ${[...own, ...this.#shared].join(', ')}?`;
      const hint =
        this.protocolVersion === 4 ? ' The embedded broker of another daemon serves that daemon only.' : '';
      throw new ServiceError('broker', `${redact(this.#options.url)}: ${reason}${hint}`, { cause: error });
    }
  }

  /** The models changed. */
  async serve(info: NodeInfo): Promise<void> {
    const before = this.#shared;
    this.#shared = this.#sharedFilters(info);
    if (this.#accepting) {
      const added = this.#shared.filter((filter) => !before.includes(filter));
      const gone = before.filter((filter) => !this.#shared.includes(filter));
      if (added.length > 0) await this.#subscribe(added);
      if (gone.length > 0) await this.#unsubscribe(gone);
    }
    await this.#presence.update(info);
  }

  /** Takes requests of the model topics, or leaves them to other nodes. */
  async setState(state: NodeState): Promise<void> {
    const accepting = state === 'online';
    if (accepting !== this.#accepting) {
      this.#accepting = accepting;
      if (accepting) await this.#subscribe(this.#shared);
      else await this.#unsubscribe(this.#shared);
    }
    await this.#presence.setState(state);
  }

  publishTelemetry(telemetry: Telemetry): void {
    const { mqtt } = this.#connection;
    // A message of QoS 0 that waits for a connection would be old news.
    if (mqtt.connected)
      mqtt.publish(topics.nodeTelemetry(telemetry.node), JSON.stringify(telemetry), { qos: 0 });
  }

  /** Takes no new requests from the broker. Resolves when those that it has delivered already are taken. */
  async stopAccepting(): Promise<void> {
    this.#accepting = false;
    if (!this.#jobs) return;
    await this.#unsubscribe([filters.nodeInfer(this.#options.node), ...this.#shared]);
    // Each turn takes one at least, and the oldest first; what comes meanwhile (cancellations) is not waited for.
    for (let left = this.#inbox.waiting; left > 0 && this.#inbox.waiting > 0; left--) await turn();
  }

  /** Waits until every request that arrived is answered and the broker has the answer; false if `ms` are not enough. */
  async settled(ms: number): Promise<boolean> {
    const deadline = Date.now() + ms;
    while (this.#open.size > 0 || this.#inbox.waiting > 0) {
      const left = deadline - Date.now();
      if (left <= 0) return false;
      await bounded(Promise.allSettled(this.#open), left, '').catch(() => undefined);
      await turn();
    }
    return true;
  }

  /** Offers answers to which nobody listens no longer. */
  hurry(): void {
    this.#outbox.close();
  }

  /** Says "offline" and goodbye. */
  async close(): Promise<void> {
    await this.#presence.retire();
    await closeConnection(this.#connection);
  }

  #sharedFilters({ models }: NodeInfo): string[] {
    const { exclusive, log } = this.#options;
    if (exclusive) return [filters.anyModelInfer];
    const { mqtt, version } = this.#connection;
    if (version === 5 && mqtt.serverProperties?.sharedSubscriptionAvailable !== false)
      return models.map(({ name }) => filters.sharedModelInfer(name));
    log.warn('this broker has no shared subscriptions: a second node with the same model would answer too');
    return models.map(({ name }) => topics.modelInfer(name));
  }

  async #subscribe(list: string[]): Promise<void> {
    const { mqtt, version } = this.#connection;
    // Retained requests are not wanted (below); MQTT 5 can tell the broker so.
    const options = version === 5 ? { qos: 1 as const, rh: 2 } : { qos: 1 as const };
    await bounded(mqtt.subscribeAsync(list, options), CONNECT_MS, SILENT);
  }

  async #unsubscribe(list: string[]): Promise<void> {
    if (list.length === 0) return;
    await bounded(this.#connection.mqtt.unsubscribeAsync(list), UNSUBSCRIBE_MS, SILENT).catch((error) =>
      this.#options.log.warn({ reason: messageOf(error) }, 'could not unsubscribe'),
    );
  }

  #take(
    jobs: Jobs,
    parsed: ParsedTopic,
    topic: string,
    payload: Buffer,
    packet: IPublishPacket,
    acknowledge: () => void,
  ): void {
    if (parsed.kind === 'model-cancel') {
      acknowledge();
      jobs.cancel(payload, packet);
      return;
    }
    const job = packet.retain ? undefined : jobs.of(parsed, payload, packet);
    if (!job) {
      acknowledge();
      // It was answered, or not, when it was sent; every start of a node would run it again.
      if (packet.retain)
        this.#complain({ topic }, 'a retained request was ignored; requests must not be retained');
      return;
    }
    const { replyTopic } = job;
    const problem = replyTopic === undefined ? 'there is none' : replyTopicProblem(replyTopic);
    if (replyTopic === undefined || problem !== undefined) {
      acknowledge();
      this.#complain(
        { topic, bytes: payload.length, reason: problem },
        'a request without a usable reply topic was dropped',
      );
      return;
    }
    const work = this.#serve({ ...job, replyTopic }, topic, payload, packet, acknowledge).finally(
      acknowledge,
    );
    this.#open.add(work);
    void work.finally(() => this.#open.delete(work));
  }

  /** Gets one delivery its answer. Never rejects. */
  async #serve(
    job: Job & { replyTopic: string },
    topic: string,
    payload: Buffer,
    packet: IPublishPacket,
    acknowledge: () => void,
  ): Promise<void> {
    const { correlation, replyTopic, codec } = job;
    const options = this.#replyOptions(codec, packet.properties?.correlationData);
    const send = (bytes: Buffer) => this.#outbox.send(replyTopic, bytes, options, acknowledge);
    // Without a correlation two equal requests are two requests, unless the broker says that it repeats itself.
    const known = correlation !== undefined || packet.dup;
    const key = Retries.key(topic, replyTopic, correlation ?? '', payload);
    const before = known ? this.#retries.find(key, performance.now()) : undefined;
    if (before) {
      const { payload: same } = await before;
      // The broker repeats a message whose connection broke before it was acknowledged: its answer is delivered, or on its way from
      // here. Anybody else repeats because no answer came.
      if (!packet.dup) await send(same);
      return;
    }
    const answer = job.run();
    this.#retries.begin(key, answer, () => performance.now());
    if ((await send((await answer).payload)) !== 'refused') return;
    const failure = new RequestFailure('payload_too_large', 'the broker refused the answer for its size');
    await send(encodeBytes(job.failure(failure), codec));
  }

  #replyOptions(codec: Codec, correlation: Buffer | undefined): Omit<IClientPublishOptions, 'qos'> {
    if (this.#connection.version !== 5) return {};
    const properties = { contentType: CONTENT_TYPES[codec], payloadFormatIndicator: codec === 'json' };
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
