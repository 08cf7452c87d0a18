/** What the node counts about itself, once for everybody who asks: Prometheus (names of docs/mqtt.md) and telemetry. */
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import { Counter, Histogram, Registry } from 'prom-client';
import type { BatchResult } from './engine.js';
import type { Batch } from './queue/policy.js';
import type { Decision } from './queue/ticket.js';

/** Upper bounds of the histograms' buckets, seconds. */
const SECONDS = [
  0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
  30,
];

/** How often the event loop's delay is looked at, milliseconds. */
const LOOP_MS = 5;

/** Everything that only ever grows, at one moment: rates are differences of two. */
export interface Totals {
  readonly at: number;
  readonly answers: number;
  readonly failures: number;
  readonly sequences: number;
  readonly batches: number;
  readonly busySeconds: number;
  /** Observations up to each bound of SECONDS, and all of them. */
  readonly latency: readonly number[];
  readonly queueing: readonly number[];
}

export class Meter {
  readonly registry = new Registry();
  readonly #loop: IntervalHistogram = monitorEventLoopDelay({ resolution: LOOP_MS });
  readonly #requests: Counter<'model' | 'outcome'>;
  readonly #latency: Histogram;
  readonly #queueing: Histogram;
  readonly #decisions: Counter<'decision' | 'reason'>;
  readonly #sequences: Counter;
  readonly #tokens: Counter;
  readonly #batches: Counter<'reason'>;
  readonly #busy: Counter<'part'>;
  #totals = { answers: 0, failures: 0, sequences: 0, batches: 0, busySeconds: 0 };

  constructor() {
    const registers = [this.registry];
    const counter = <T extends string>(name: string, help: string, labelNames: T[] = []) =>
      new Counter({ name, help, labelNames, registers });
    const histogram = (name: string, help: string) =>
      new Histogram({ name, help, buckets: SECONDS, registers });
    this.#requests = counter('beta_inference_requests_total', 'Requests answered, by model and outcome.', [
      'model',
      'outcome',
    ]);
    this.#latency = histogram('beta_request_seconds', 'From the arrival of a request to its answer.');
    this.#queueing = histogram(
      'beta_queue_seconds',
      'From the arrival of a request to the start of its batch.',
    );
    this.#decisions = counter('beta_queue_decisions_total', 'Decisions of the queue, by kind and reason.', [
      'decision',
      'reason',
    ]);
    this.#sequences = counter('beta_inference_sequences_total', 'Sequences that the engine ran.');
    this.#tokens = counter('beta_inference_tokens_total', 'Tokens that the engine ran.');
    this.#batches = counter('beta_batches_total', 'Batches that the engine ran, by why they started.', [
      'reason',
    ]);
    this.#busy = counter('beta_engine_busy_seconds_total', 'Time of batches, by what it was spent on.', [
      'part',
    ]);
    this.#loop.enable();
  }

  /** A request has its answer; `model` undefined if it is none of this node's. */
  answered(model: string | undefined, outcome: string, ms: number): void {
    this.#requests.inc({ model: model ?? '', outcome });
    this.#latency.observe(ms / 1000);
    this.#totals.answers++;
    if (outcome !== 'ok') this.#totals.failures++;
  }

  decided({ kind, reason }: Decision): void {
    this.#decisions.inc({ decision: kind, reason });
  }

  /** A batch came back; `started` and the tickets' arrivals are of one clock. */
  batch(
    { tickets, sequences, tokens, reason }: Batch,
    { times, started }: { readonly times: BatchResult['times']; readonly started: number },
  ): void {
    this.#batches.inc({ reason });
    this.#sequences.inc(sequences);
    this.#tokens.inc(tokens);
    for (const part of ['engine', 'vector', 'host'] as const)
      this.#busy.inc({ part }, Math.max(0, times[part]) / 1000);
    for (const { arrived } of tickets) this.#queueing.observe(Math.max(0, started - arrived) / 1000);
    this.#totals.batches++;
    this.#totals.sequences += sequences;
    this.#totals.busySeconds += times.total / 1000;
  }

  async totals(): Promise<Totals> {
    const [latency, queueing] = await Promise.all([this.#latency, this.#queueing].map(cumulative));
    return { at: performance.now(), ...this.#totals, latency: latency!, queueing: queueing! };
  }

  /** How late the event loop was in a share of all cases since the last reset, milliseconds. The histogram holds whole intervals, and NaN where there is none. */
  loopDelay(share: number): number {
    return this.#loop.count > 0 ? Math.max(0, this.#loop.percentile(share) / 1e6 - LOOP_MS) : 0;
  }

  resetLoopDelay(): void {
    this.#loop.reset();
  }

  close(): void {
    this.#loop.disable();
  }
}

async function cumulative(histogram: Histogram): Promise<number[]> {
  const { values } = await histogram.get();
  const counts = values.filter(({ metricName }) => metricName?.endsWith('_bucket'));
  return counts.length > 0 ? counts.map(({ value }) => value) : new Array(SECONDS.length + 1).fill(0);
}

/** The share-th quantile of the observations between two moments, milliseconds, by interpolation inside a bucket; 0 if there are none. */
export function quantile(before: readonly number[], after: readonly number[], share: number): number {
  const counts = after.map((count, bucket) => count - before[bucket]!);
  const wanted = share * counts.at(-1)!;
  if (wanted === 0) return 0;
  const bucket = counts.findIndex((count) => count >= wanted);
  const [low, high] = [SECONDS[bucket - 1] ?? 0, SECONDS[bucket] ?? SECONDS.at(-1)!];
  const below = counts[bucket - 1] ?? 0;
  return 1000 * (low + (high - low) * ((wanted - below) / (counts[bucket]! - below)));
}
