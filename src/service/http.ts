/** /metrics, /healthz and /readyz on a local port. Nothing here changes anything, and nothing of a request is in it. */
import { createServer, type Server, type ServerResponse } from 'node:http';
import { Counter, Gauge, type Registry } from 'prom-client';
import type { HttpConfig } from './config.js';
import type { InferenceHost } from './engine.js';
import { messageOf, ServiceError } from './errors.js';
import type { Health, HealthReport } from './health.js';
import type { Log } from './log.js';
import type { Meter } from './meter.js';
import type { PowerSampler } from './power.js';
import type { Requests } from './requests.js';

export interface HttpOptions extends HttpConfig {
  readonly meter: Meter;
  readonly health: Health;
  readonly requests: Requests;
  readonly engine: InferenceHost;
  readonly outbox: () => { readonly pending: number; readonly dropped: number };
  readonly version: string;
  readonly power?: PowerSampler | undefined;
  readonly log: Log;
}

export class HttpServer {
  /** Where it listens. */
  readonly url: string;
  readonly #server: Server;

  private constructor(url: string, server: Server) {
    this.url = url;
    this.#server = server;
  }

  /** Listens. Throws ServiceError 'config'. */
  static async start(options: HttpOptions): Promise<HttpServer> {
    const { host, port, log } = options;
    addGauges(options);
    const server = createServer({ requestTimeout: 5000, headersTimeout: 5000 }, (request, response) => {
      void answer(options, request.method ?? '', request.url ?? '', response).catch((error) => {
        log.warn({ reason: messageOf(error) }, 'http');
        if (!response.headersSent) response.writeHead(500);
        response.end();
      });
    });
    server.maxConnections = 64;
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) =>
        reject(new ServiceError('config', `http on ${host}:${port}: ${messageOf(error)}`, { cause: error })),
      );
      server.listen(port, host, resolve);
    });
    server.unref();
    const address = server.address();
    const real = typeof address === 'object' && address ? address.port : port;
    return new HttpServer(`http://${host.includes(':') ? `[${host}]` : host}:${real}`, server);
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    await closed;
  }
}

async function answer(
  { meter, health }: HttpOptions,
  method: string,
  url: string,
  response: ServerResponse,
): Promise<void> {
  const path = url.split('?', 1)[0];
  if (method !== 'GET' && method !== 'HEAD') {
    response.writeHead(405, { allow: 'GET, HEAD' }).end();
    return;
  }
  switch (path) {
    case '/metrics':
      response
        .writeHead(200, { 'content-type': meter.registry.contentType })
        .end(await meter.registry.metrics());
      return;
    case '/healthz':
      report(response, health.live());
      return;
    case '/readyz':
      report(response, await health.ready());
      return;
    default:
      response
        .writeHead(404, { 'content-type': 'text/plain' })
        .end('there are /metrics, /healthz and /readyz\n');
  }
}

function report(response: ServerResponse, body: HealthReport): void {
  response
    .writeHead(body.ok ? 200 : 503, { 'content-type': 'application/json' })
    .end(`${JSON.stringify(body)}\n`);
}

/** What is read when somebody asks. */
function addGauges({ meter, requests, engine, health, outbox, version, power }: HttpOptions): void {
  const registers = [meter.registry];
  const gauge = (name: string, help: string, read: () => number) => {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });
  };
  const counter = (name: string, help: string, read: () => number) => {
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(read());
      },
    });
  };
  gauge('beta_queue_waiting', 'Sequences that wait for the engine.', () => requests.waiting);
  gauge('beta_queue_running', 'Batches that the engine has.', () => requests.running);
  gauge('beta_requests_open', 'Requests that arrived and are not answered.', () => requests.open);
  gauge('beta_engine_ready', '1 if a batch can be run now.', () => Number(engine.ready));
  counter('beta_engine_restarts_total', 'Times the engine process was started again.', () => engine.restarts);
  counter('beta_selfcheck_mismatches_total', 'Self-tests whose answer was wrong.', () => health.mismatches);
  gauge('beta_window_free_bytes', 'Bytes of the DMA window that are free.', () => engine.window.freeBytes);
  gauge('beta_models', 'Models that are served.', () => engine.models.size);
  gauge('beta_models_resident', 'Models in the DMA window.', () => engine.window.resident.length);
  gauge('beta_outbox_pending', 'Answers that the broker has not taken yet.', () => outbox().pending);
  counter(
    'beta_outbox_dropped_total',
    'Answers that were given up for want of room.',
    () => outbox().dropped,
  );
  gauge(
    'beta_event_loop_delay_p99_seconds',
    'How late the event loop was, 99th percentile.',
    () => meter.loopDelay(99) / 1000,
  );
  gauge('process_resident_memory_bytes', 'Resident memory of the daemon.', () => process.memoryUsage.rss());
  new Gauge({
    name: 'beta_info',
    help: 'Version and device.',
    labelNames: ['version', 'device'],
    registers,
  }).set({ version, device: engine.device.uri }, 1);
  if (power) addPower(registers, power);
}

/** Power of each rail in the last sample, and energy since the start. */
function addPower(registers: Registry[], power: PowerSampler): void {
  new Gauge({
    name: 'beta_rail_power_watts',
    help: 'Power of a rail.',
    labelNames: ['rail', 'domain'],
    registers,
    collect() {
      this.reset();
      power.rails.forEach(({ rail, domain }, index) => {
        const watts = power.last[index];
        if (watts !== undefined) this.set({ rail, domain }, watts);
      });
    },
  });
  new Counter({
    name: 'beta_energy_joules_total',
    help: 'Energy since the start, by domain.',
    labelNames: ['domain'],
    registers,
    collect() {
      this.reset();
      for (const domain of new Set(power.rails.map((each) => each.domain)))
        this.inc(
          { domain },
          power.joules((rail) => rail.domain === domain),
        );
    },
  });
}
