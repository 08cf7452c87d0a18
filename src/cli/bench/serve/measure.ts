/** The measurement itself: broker, daemon and relay in processes of their own, the load from this one, and the forward pass in this one, alone. */
import { basename, resolve } from 'node:path';
import { BetaClient } from '../../../client/index.js';
import { resolveDeviceUri } from '../../../device/discovery.js';
import { Artifact } from '../../../model/artifact/read.js';
import { note } from '../../output.js';
import { median, quantile, rounded } from '../statistics.js';
import { InProcess, payloadsOf, sentences } from './in-process.js';
import { Load, type LoadResult } from './load.js';
import { watchMemory } from './memory.js';
import { childOf, cpuMicroseconds, startDaemon, startMosquitto, startRelay } from './processes.js';
import { type Observed, TelemetryWatch } from './telemetry.js';

export interface Options {
  readonly device: string;
  readonly broker?: string;
  readonly seconds: number;
  readonly concurrency: number;
  readonly requests?: number;
  readonly words: number;
  readonly texts: number;
  readonly json?: true;
}

export interface Row {
  /** `closed`: one request after another; `saturated`: so many under way; `loading`: the same while models are loaded; `open`: so many a second, come what may. */
  readonly mode: 'closed' | 'saturated' | 'loading' | 'open';
  /** Sentences in a request. */
  readonly texts: number;
  /** Answers a second; in an open loop the rate that was asked for. */
  readonly rate: number;
  readonly p50_ms: number;
  readonly p99_ms: number;
  /** A message to oneself, one after another as fast as they go. */
  readonly echo_p50_ms: number;
  readonly forward_p50_ms: number;
  readonly unanswered: number;
  readonly requests: number;
  readonly errors: Readonly<Record<string, number>>;
  /** Sentences answered a second. */
  readonly sentences: number;
  /** Sentences a second of the same texts in process, in batches of 64, on one core: the mean of what it was before and after the saturated row. */
  readonly forward_rate: number;
  /** CPU time of each process for one request, microseconds: it does not depend on what else the machine does. */
  readonly cpu_us: Readonly<Record<string, number>>;
  /** What the daemon says of these seconds; absent where there was no whole one. */
  readonly daemon?: Observed;
}

/** Before anything counts: what serves is meant to run for long, and only code that ran some thousand times is compiled to its best. */
const WARM_UP = { seconds: 6, requests: 20_000 };
/** Shares of the saturated rate that an open loop asks for. */
const OPEN = [0.25, 0.5, 0.75];
/** Sentences in a request of the row with several, and how many of those are under way: half of what the daemon's queue holds. */
const MANY = { texts: 16, concurrency: 128 };
const RELAY_TOPIC = 'beta-bench/relay';
/** Pause between two loads of a model. */
const LOAD_PAUSE_MS = 200;

export async function measure(given: string, options: Options) {
  const file = resolve(given);
  const artifact = Artifact.open(file);
  const device = resolveDeviceUri(options.device, note);
  const texts = sentences(artifact, options.words);
  const payloads = payloadsOf(texts, options.texts);
  const { seconds: time, requests, concurrency } = options;
  const stops: (() => void | Promise<void>)[] = [];
  try {
    const alone = new InProcess(artifact, device, texts);
    stops.push(() => alone.close());
    const forward = alone.single(time);
    const before = alone.batches(time);
    const broker = options.broker === undefined ? await startMosquitto() : undefined;
    if (broker) stops.push(broker.stop);
    const url = options.broker ?? broker!.url;
    const daemon = await startDaemon(url, file, device);
    stops.push(daemon.stop);
    const relay = await startRelay(url, RELAY_TOPIC);
    stops.push(relay.stop);
    const load = await Load.connect(url);
    stops.push(() => load.close());
    const telemetry = await TelemetryWatch.of(url, daemon.info.node);
    stops.push(() => telemetry.close());
    const topic = `beta/1/node/${daemon.info.node}/infer/${artifact.name}`;
    const warm = await load.closed(topic, payloads, concurrency, WARM_UP);
    // The code is the same for short texts, which a slow model has through sooner.
    const left = { seconds: WARM_UP.seconds, requests: WARM_UP.requests - warm.sent };
    if (left.requests > 0)
      await load.closed(topic, payloadsOf([texts[0]!.split(' ')[0]!], 1), concurrency, left);
    await load.closed(RELAY_TOPIC, payloads, 16, { seconds: 1 });
    await load.echo(payloads[0]!, 0.5);
    const [request, relayed, echoed] = (await load.between([topic, RELAY_TOPIC], payloads, time)).map(median);
    const pids = {
      client: process.pid,
      daemon: daemon.pid,
      engine: childOf(daemon.pid),
      ...(broker && { broker: broker.pid }),
    };
    const cpu = (): Record<string, number> =>
      Object.fromEntries(Object.entries(pids).map(([name, pid]) => [name, cpuMicroseconds(pid)]));
    const rows: Omit<Row, 'forward_rate'>[] = [];
    const row = async (
      mode: Row['mode'],
      run: () => Promise<LoadResult>,
      { asked, many = options.texts }: { asked?: number; many?: number } = {},
    ) => {
      const echo = median(await load.echo(payloads[0]!, Math.min(0.5, time)));
      const cpuBefore = cpu();
      telemetry.begin();
      const { latencies, seconds: took, unanswered, sent, errors } = await run();
      const observed = telemetry.end();
      const cpuAfter = cpu();
      rows.push({
        mode,
        texts: many,
        rate: rounded(asked ?? latencies.length / took),
        p50_ms: rounded(median(latencies)),
        p99_ms: rounded(quantile(latencies, 0.99)),
        echo_p50_ms: rounded(echo),
        forward_p50_ms: rounded(forward),
        unanswered,
        requests: sent,
        errors,
        sentences: rounded((latencies.length / took) * many),
        cpu_us: Object.fromEntries(
          Object.entries(cpuAfter).map(([name, us]) => [name, Math.round((us - cpuBefore[name]!) / sent)]),
        ),
        ...(observed && { daemon: observed }),
      });
    };
    await row('closed', () => load.closed(topic, payloads, 1, { seconds: time }));
    const began = performance.now();
    const memory = watchMemory({ daemon: pids.daemon, engine: pids.engine }, () =>
      requests === undefined ? (performance.now() - began) / (time * 1000) : load.progress(requests),
    );
    const saturate = () =>
      load.closed(topic, payloads, concurrency, requests === undefined ? { seconds: time } : { requests });
    await row('saturated', saturate);
    const resident = memory();
    const after = alone.batches(time);
    const full = rows.at(-1)!.rate;
    if (options.texts === 1) {
      const lists = payloadsOf(texts, MANY.texts);
      const run = () => load.closed(topic, lists, MANY.concurrency, { seconds: time });
      await row('saturated', run, { many: MANY.texts });
    }
    await row('loading', () =>
      whileLoading(url, daemon.info.node, file, () =>
        load.closed(topic, payloads, concurrency, { seconds: time }),
      ),
    );
    for (const share of OPEN) {
      const asked = rounded(full * share, 2);
      await row('open', () => load.open(topic, payloads, asked, time), { asked });
    }
    const rate = rounded((before.rate + after.rate) / 2);
    return {
      rows: rows.map((each): Row => ({ ...each, forward_rate: rate })),
      forward_rates: [rounded(before.rate), rounded(after.rate)],
      forward_cpu_us: Math.round(after.cpu),
      between: {
        request_p50_ms: rounded(request!),
        relay_p50_ms: rounded(relayed!),
        echo_p50_ms: rounded(echoed!),
      },
      relay_p50_ms: rounded(median((await load.closed(RELAY_TOPIC, payloads, 1, { seconds: 1 })).latencies)),
      resident_bytes: resident,
      model: artifact.id,
      device,
      broker: broker ? 'mosquitto' : url,
      words: options.words,
      texts: options.texts,
      concurrency,
    };
  } finally {
    for (const stop of stops.reverse())
      await Promise.resolve(stop()).catch((error: Error) => note(error.message));
  }
}

/** Load, while the model is loaded anew again and again. */
async function whileLoading(
  url: string,
  node: string,
  file: string,
  run: () => Promise<LoadResult>,
): Promise<LoadResult> {
  const client = await BetaClient.connect(url);
  let going = true;
  const loads = (async () => {
    while (going) {
      await client.command(node, 'load-model', { file: basename(file) });
      await new Promise((done) => setTimeout(done, LOAD_PAUSE_MS));
    }
  })();
  try {
    return await run();
  } finally {
    going = false;
    await loads;
    await client.close();
  }
}
