/** What a node says about itself every few seconds. */
import type { Telemetry } from '../client/wire.js';
import type { InferenceHost } from './engine.js';
import type { Health } from './health.js';
import { type Meter, quantile, type Totals } from './meter.js';
import type { PowerSampler } from './power.js';
import type { Requests } from './requests.js';

export interface TelemetryOptions {
  readonly node: string;
  readonly host: InferenceHost;
  readonly requests: Requests;
  readonly meter: Meter;
  readonly health: Health;
  readonly outbox: () => { readonly pending: number; readonly dropped: number };
  readonly queueLimit: number;
  readonly power?: PowerSampler | undefined;
  readonly publish: (telemetry: Telemetry) => void;
}

const round = (value: number, digits = 3) => Number(value.toFixed(digits));

export class Reporter {
  readonly #options: TelemetryOptions;
  #before: Totals | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: TelemetryOptions) {
    this.#options = options;
  }

  /** Reports every so many seconds; never where that is 0. */
  start(seconds: number): void {
    if (seconds === 0) return;
    this.#timer = setInterval(() => void this.report().then(this.#options.publish), seconds * 1000);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Everything since the last report. */
  async report(): Promise<Telemetry> {
    const { node, host, requests, meter, health, outbox, queueLimit } = this.#options;
    const after = await meter.totals();
    const before = this.#before ?? emptyTotals(after);
    this.#before = after;
    const { ok } = await health.ready();
    const seconds = Math.max(1e-3, (after.at - before.at) / 1000);
    const rate = (key: 'answers' | 'failures' | 'sequences') =>
      round((after[key] - before[key]) / seconds, 2);
    const percentiles = (key: 'latency' | 'queueing') => ({
      p50: round(quantile(before[key], after[key], 0.5)),
      p99: round(quantile(before[key], after[key], 0.99)),
    });
    const batches = after.batches - before.batches;
    const loopDelay = (share: number) => round(meter.loopDelay(share));
    const { pending, dropped } = outbox();
    const watts = this.#options.power?.takeWatts();
    const telemetry: Telemetry = {
      node,
      uptime_s: round(process.uptime(), 1),
      ready: ok,
      interval_s: round(seconds, 1),
      requests_per_s: rate('answers'),
      sequences_per_s: rate('sequences'),
      failures_per_s: rate('failures'),
      queue: { waiting: requests.waiting, running: requests.running, limit: queueLimit },
      batch: batches > 0 ? round((after.sequences - before.sequences) / batches, 1) : 0,
      latency_ms: percentiles('latency'),
      queue_ms: percentiles('queueing'),
      engine_busy: round(Math.min(1, (after.busySeconds - before.busySeconds) / seconds)),
      engine_restarts: host.restarts,
      window: { resident: [...host.window.resident], free_bytes: host.window.freeBytes },
      outbox: { pending, dropped },
      rss_bytes: process.memoryUsage.rss(),
      loop_delay_ms: { p50: loopDelay(50), p99: loopDelay(99) },
      ...(watts !== undefined && { power_watts: round(watts) }),
    };
    meter.resetLoopDelay();
    return telemetry;
  }
}

function emptyTotals({ latency, queueing }: Totals): Totals {
  const zeros = (list: readonly number[]) => list.map(() => 0);
  return {
    at: performance.now() - process.uptime() * 1000,
    answers: 0,
    failures: 0,
    sequences: 0,
    batches: 0,
    busySeconds: 0,
    latency: zeros(latency),
    queueing: zeros(queueing),
  };
}
