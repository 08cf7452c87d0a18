/** The daemon: puts the parts together, starts them in order and stops them in reverse. */
import { bounded } from '../client/bounded.js';
import { redact } from '../client/broker-url.js';
import { type NodeInfo, WIRE_VERSION } from '../client/wire.js';
import { EmbeddedBroker } from './broker.js';
import { Commands } from './commands.js';
import type { Settings } from './config-file.js';
import { Endpoint } from './endpoint.js';
import type { InferenceHost, StartHost } from './engine.js';
import { messageOf, ServiceError } from './errors.js';
import { Health } from './health.js';
import { HttpServer } from './http.js';
import type { Log } from './log.js';
import { Meter } from './meter.js';
import { newClientId } from './node-line.js';
import { packageVersion } from './package-info.js';
import { PowerSampler } from './power.js';
import { Requests } from './requests.js';
import { Reporter } from './telemetry.js';

export interface DaemonOptions {
  readonly settings: Settings;
  readonly log: Log;
  readonly startHost: StartHost;
}

/** Why a daemon came to its end: it was asked to, or its engine can do no more. */
export type StopReason = 'stopped' | 'engine-lost';

/** How long answers that are ready may take to reach the broker. */
const DELIVER_MS = 2000;
const HOST_CLOSE_MS = 5000;

/** Requests that the broker may have under way to this node beyond its queue, so that a full queue is told of and not waited out. */
const RECEIVE_SPARE = 1024;
/** How long an answer to which nobody listens is offered again. */
const PATIENCE_MS = 30_000;

interface Parts {
  readonly broker: EmbeddedBroker | undefined;
  readonly endpoint: Endpoint;
  readonly host: InferenceHost;
  readonly requests: Requests;
  readonly meter: Meter;
  readonly reporter: Reporter;
  readonly power: PowerSampler | undefined;
  readonly http: HttpServer | undefined;
}

export class Daemon {
  /** What the node tells the network about itself. */
  readonly info: NodeInfo;
  /** Address of the broker, without credentials. */
  readonly brokerUrl: string;
  /** Resolves when everything is closed. */
  readonly finished: Promise<StopReason>;
  /** Called once when it begins to stop, whoever asked for it. */
  onStopping: () => void = () => undefined;

  readonly #settings: Settings;
  readonly #log: Log;
  readonly #parts: Parts;
  #finish: (reason: StopReason) => void = () => undefined;
  #stopping: Promise<void> | undefined;

  private constructor({ settings, log }: DaemonOptions, parts: Parts, info: NodeInfo, brokerUrl: string) {
    this.#settings = settings;
    this.#log = log;
    this.#parts = parts;
    this.info = info;
    this.brokerUrl = brokerUrl;
    this.finished = new Promise((resolve) => {
      this.#finish = resolve;
    });
  }

  /**
   * Starts broker, connection, engine and, when all are ready, the answering of requests. Resolves when the node is
   * online. Throws ServiceError with nothing left open.
   */
  static async start(options: DaemonOptions): Promise<Daemon> {
    const { settings, log, startHost } = options;
    const { node, limits } = settings;
    // A session belongs to a client id, so a node that wants one must be called the same every time.
    const fixed =
      settings.broker?.clientId ?? (settings.broker?.sessionSeconds ? `beta-node-${node}` : undefined);
    const clientId = fixed ?? newClientId(node);
    const started: (() => Promise<void>)[] = [];
    try {
      // The broker first: a wrong address or a taken port shows in a moment, loading models takes longer.
      const broker = settings.embedded
        ? await EmbeddedBroker.start({ ...settings.embedded, owner: clientId, log })
        : undefined;
      if (broker) started.push(() => broker.close());
      const login = settings.broker ?? { ...ANONYMOUS, url: broker?.url ?? '' };
      const endpoint = await Endpoint.connect({
        ...login,
        node,
        clientId,
        exclusive: broker !== undefined,
        outbox: { answers: limits.outbox, bytes: limits.outboxBytes, patienceMs: PATIENCE_MS },
        retries: { windowMs: limits.retrySeconds * 1000, bytes: limits.retryBytes },
        receiveMaximum: Math.min(65_535, limits.queue + RECEIVE_SPARE),
        log,
      });
      started.push(() => endpoint.close());
      const host = await openHost(settings, log, startHost);
      started.push(() => host.close());

      const meter = new Meter();
      started.push(async () => meter.close());
      const requests = new Requests({ node, host, limits, log, meter });
      const commands = new Commands({
        host,
        log,
        enabled: settings.commands,
        modelFolder: settings.modelFolder,
        onState: (state) => endpoint.setState(state),
        onModels: async () => {
          requests.modelsChanged();
          await endpoint.serve(describe(settings, host));
        },
      });
      const health = new Health({
        host,
        connected: () => endpoint.connected,
        accepting: () => commands.state === 'online',
      });
      const outbox = () => endpoint.outbox;
      const power = PowerSampler.start();
      started.push(async () => power?.close());
      const shared = { host, requests, meter, health, outbox, power };
      const reporter = new Reporter({
        ...shared,
        node,
        queueLimit: limits.queue,
        publish: (telemetry) => endpoint.publishTelemetry(telemetry),
      });
      const http = settings.http
        ? await HttpServer.start({
            ...shared,
            ...settings.http,
            engine: host,
            version: packageVersion(),
            log,
          })
        : undefined;
      if (http) started.push(() => http.close());
      const info = describe(settings, host);
      const parts = { broker, endpoint, host, requests, meter, reporter, power, http };
      const daemon = new Daemon(options, parts, info, redact(login.url));
      host.onFailure = (error) => daemon.#onEngineLost(error);
      await endpoint.open({ requests, commands }, info);
      reporter.start(settings.telemetrySeconds);
      log.info(
        {
          node,
          broker: daemon.brokerUrl,
          device: host.device.uri,
          models: info.models.map(({ id }) => id),
          ...(http && { http: http.url }),
        },
        'online',
      );
      return daemon;
    } catch (error) {
      for (const close of started.reverse()) await close().catch(() => undefined);
      throw error;
    }
  }

  get embedded(): boolean {
    return this.#parts.broker !== undefined;
  }

  /** A tile with a known answer through the engine. Rejects where it fails, or gives another one. */
  selfTest(): Promise<void> {
    return this.#parts.host.selfTest();
  }

  /** Where /metrics, /healthz and /readyz are. */
  get httpUrl(): string | undefined {
    return this.#parts.http?.url;
  }

  /** 5, or 4 for MQTT 3.1.1. */
  get protocolVersion(): 4 | 5 {
    return this.#parts.endpoint.protocolVersion;
  }

  /** Sequences accepted and not yet answered. */
  get queued(): number {
    return this.#parts.requests.queued;
  }

  /** Requests that could not be answered for want of a usable reply topic. */
  get unanswerable(): number {
    return this.#parts.endpoint.unanswerable;
  }

  /** Answers what was accepted, says "offline" and closes. Every step has a bound. Never rejects. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop('stopped');
    return this.#stopping;
  }

  #onEngineLost(error: Error): void {
    this.#log.fatal({ reason: error.message }, 'the engine is lost; this node stops');
    const message = `the engine of this node stopped: ${error.message}`;
    this.#parts.requests.refuse('device_error', message);
    this.#parts.requests.abandon('device_error', message);
    this.#stopping ??= this.#stop('engine-lost');
  }

  async #stop(reason: StopReason): Promise<void> {
    const { endpoint, requests, host, broker, meter, reporter, power, http } = this.#parts;
    const { drainSeconds } = this.#settings.limits;
    this.onStopping();
    this.#log.info({ open: requests.queued }, 'stopping: answering what was accepted');
    reporter.stop();
    power?.close();
    endpoint.hurry();
    // What the broker had already handed over when it was asked to stop is still accepted.
    await endpoint.stopAccepting();
    requests.refuse('shutting_down', 'this node is stopping; try again, or another node');
    if (!(await endpoint.settled(drainSeconds * 1000))) {
      this.#log.warn({ open: requests.queued, drainSeconds }, 'not everything was answered in time');
      requests.abandon(
        'shutting_down',
        `this node is stopping and could not answer within ${drainSeconds} s; try another node`,
      );
      if (!(await endpoint.settled(DELIVER_MS))) this.#log.error('some answers could not be delivered');
    }
    await endpoint.close();
    await bounded(host.close(), HOST_CLOSE_MS, 'the engine does not close').catch((error) =>
      this.#log.warn({ reason: messageOf(error) }, 'closing the engine failed'),
    );
    await broker?.close();
    await http?.close();
    meter.close();
    this.#log.info({ reason }, 'stopped');
    this.#finish(reason);
  }
}

/** The embedded broker asks for nothing. */
const ANONYMOUS = {
  username: undefined,
  password: undefined,
  clientId: undefined,
  tls: undefined,
  sessionSeconds: 0,
} as const;

async function openHost(
  { device, models }: Settings,
  log: Log,
  startHost: StartHost,
): Promise<InferenceHost> {
  try {
    return await startHost({
      device,
      models: models.map((file) => ({ file })),
      log: (level, message, fields) => log[level](fields ?? {}, message),
    });
  } catch (error) {
    throw new ServiceError('engine', messageOf(error), { cause: error });
  }
}

function describe({ node, limits }: Settings, { device, models }: InferenceHost): NodeInfo {
  const { uri, kind, version, build } = device;
  return {
    node,
    version: packageVersion(),
    wire: WIRE_VERSION,
    device: { uri, kind, version, build },
    models: [...models.values()].map(({ name, id, task, labels, maxTokens }) => ({
      name,
      id,
      task,
      labels: labels.length,
      max_tokens: maxTokens,
    })),
    limits: {
      payload_bytes: limits.payloadBytes,
      inputs: limits.inputs,
      queue: limits.queue,
      text_chars: limits.textChars,
    },
  };
}
