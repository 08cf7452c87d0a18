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
  /** What the answers say of the same in the engine process (the batch that the request was in). */
  readonly compute_p50_ms: number;
  readonly unanswered: number;
  readonly requests: number;
  readonly errors: Readonly<Record<string, number>>;
  /** Sentences answered a second. */
  readonly sentences: number;
  /** Sentences a second of the same texts in process, in batches of 64, on one core: measured in turns with the saturated load. */
  readonly forward_rate: number;
  /** CPU time of each process for one request, microseconds: it does not depend on what else the machine does. */
  readonly cpu_us: Readonly<Record<string, number>>;
  /** What the daemon says of these seconds; absent where there was no whole one. */
  readonly daemon?: Observed;
}

/** Before anything counts: what serves is meant to run for long, and only code that ran some thousand times is compiled to its best. */
const WARM_UP = { seconds: 4, requests: 20_000 };
/** Shares of the saturated rate that an open loop asks for. */
const OPEN = [0.5, 0.75];
/** Sentences in a request of the row with several. */
const MANY_TEXTS = 16;
/** Turns of the saturated load and the forward pass alone: other work on the machine comes and goes, and their ratio must not. */
const TURNS = 3;
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
    alone.batches(time / 2);
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
      runs: readonly (() => Promise<LoadResult>)[],
      { asked, many = options.texts, before }: { asked?: number; many?: number; before?: () => void } = {},
    ) => {
      const echo = median(await load.echo(payloads[0]!, Math.min(0.5, time)));
      const parts: LoadResult[] = [];
      const used: Record<string, number> = {};
      for (const run of runs) {
        if (before) {
          before();
          // What came while this thread computed tells of idle seconds.
          await new Promise((done) => setTimeout(done, 50));
        }
        const cpuBefore = cpu();
        telemetry.start();
        parts.push(await run());
        telemetry.stop();
        for (const [name, us] of Object.entries(cpu()))
          used[name] = (used[name] ?? 0) + us - cpuBefore[name]!;
      }
      const { latencies, computed, seconds: took, unanswered, sent, errors } = together(parts);
      const observed = telemetry.take();
      rows.push({
        mode,
        texts: many,
        rate: rounded(asked ?? latencies.length / took),
        p50_ms: rounded(median(latencies)),
        p99_ms: rounded(quantile(latencies, 0.99)),
        echo_p50_ms: rounded(echo),
        forward_p50_ms: rounded(forward),
        compute_p50_ms: rounded(median(computed)),
        unanswered,
        requests: sent,
        errors,
        sentences: rounded((latencies.length / took) * many),
        cpu_us: Object.fromEntries(Object.entries(used).map(([name, us]) => [name, Math.round(us / sent)])),
        ...(observed && { daemon: observed }),
      });
    };
    await row('closed', [() => load.closed(topic, payloads, 1, { seconds: time })]);
    const began = performance.now();
    const memory = watchMemory({ daemon: pids.daemon, engine: pids.engine }, () =>
      requests === undefined ? (performance.now() - began) / (time * 1000) : load.progress(requests),
    );
    const forwards: { rate: number; cpu: number }[] = [];
    const forwardTurn = () => forwards.push(alone.batches(time / 2));
    if (requests === undefined) {
      const turn = () => load.closed(topic, payloads, concurrency, { seconds: time / 2 });
      await row('saturated', new Array(TURNS).fill(turn), { before: forwardTurn });
    } else
      await row('saturated', [() => load.closed(topic, payloads, concurrency, { requests })], {
        before: forwardTurn,
      });
    forwardTurn();
    const resident = memory();
    const full = rows.at(-1)!.rate;
    if (options.texts === 1) {
      const lists = payloadsOf(texts, MANY_TEXTS);
      const under = Math.max(1, Math.round(concurrency / MANY_TEXTS));
      const run = () => load.closed(topic, lists, under, { seconds: time });
      await row('saturated', [run], { many: MANY_TEXTS });
    }
    const run = () => load.closed(topic, payloads, concurrency, { seconds: time });
    await row('loading', [() => whileLoading(url, daemon.info.node, file, run)]);
    for (const share of OPEN) {
      const asked = rounded(full * share, 2);
      await row('open', [() => load.open(topic, payloads, asked, time)], { asked });
    }
    const mean = (key: 'rate' | 'cpu') =>
      forwards.reduce((sum, each) => sum + each[key], 0) / forwards.length;
    return {
      rows: rows.map((each): Row => ({ ...each, forward_rate: rounded(mean('rate')) })),
      forward_rates: forwards.map(({ rate }) => rounded(rate)),
      forward_cpu_us: Math.round(mean('cpu')),
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

/** Several runs of one kind as one. */
function together(parts: readonly LoadResult[]): LoadResult {
  const sum = (of: (part: LoadResult) => number) => parts.reduce((total, part) => total + of(part), 0);
  const errors: Record<string, number> = {};
  for (const part of parts)
    for (const [code, count] of Object.entries(part.errors)) errors[code] = (errors[code] ?? 0) + count;
  return {
    latencies: parts.flatMap(({ latencies }) => latencies),
    computed: parts.flatMap(({ computed }) => computed),
    seconds: sum(({ seconds }) => seconds),
    sent: sum(({ sent }) => sent),
    unanswered: sum(({ unanswered }) => unanswered),
    errors,
  };
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
