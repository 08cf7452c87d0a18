/** `beta bench serve`: requests through a real broker to a real daemon, beside the broker's bare echo and the forward pass in process. */
import type { Command } from 'commander';
import { resolveDeviceUri } from '../../device/discovery.js';
import { Artifact } from '../../model/artifact/read.js';
import { modelFile } from '../model-file.js';
import { wholeNumber } from '../numbers.js';
import { note, printJson, printTable } from '../output.js';
import { seconds } from './seconds.js';
import { inProcess, payloadsOf, sentences } from './serve/in-process.js';
import { Load, type LoadResult } from './serve/load.js';
import { type Memory, watchMemory } from './serve/memory.js';
import { childOf, cpuMicroseconds, startDaemon, startMosquitto } from './serve/processes.js';
import { median, quantile, rounded } from './statistics.js';

interface Options {
  readonly device: string;
  readonly broker?: string;
  readonly seconds: number;
  readonly concurrency: number;
  readonly requests?: number;
  readonly words: number;
  readonly texts: number;
  readonly json?: true;
}

interface Row {
  /** `closed`: one request after another; `saturated`: so many under way; `open`: so many a second, come what may. */
  readonly mode: 'closed' | 'saturated' | 'open';
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
  /** Sentences a second of the same texts in process, in batches of 64, on one core. */
  readonly forward_rate: number;
  /** CPU time of each process for one request, microseconds: it does not depend on what else the machine does. */
  readonly cpu_us: Readonly<Record<string, number>>;
}

/** Before anything counts: what serves is meant to run for long, and only code that ran some thousand times is compiled to its best. */
const WARM_UP = { seconds: 10, requests: 20_000 };
/** Shares of the saturated rate that an open loop asks for. */
const OPEN = [0.25, 0.5, 0.75];

export function register(bench: Command): void {
  bench
    .command('serve')
    .summary('measure requests over MQTT')
    .description(
      'Starts mosquitto and a daemon, and measures requests: one after another, many at once, and at fixed rates, where latency counts from when a request was due. In the same run: the bare echo of the broker (a message to oneself), and the forward pass in this process, alone.',
    )
    .argument('[model]', 'artifact, or the name of a bundled model', 'intents')
    .option('--device <uri>', 'where to run', 'auto')
    .option('--broker <url>', 'use this broker instead of starting mosquitto')
    .option('--seconds <n>', 'time for each row', seconds, 3)
    .option('--concurrency <n>', 'requests under way when saturated', wholeNumber(1, 60_000), 512)
    .option('--requests <n>', 'requests when saturated, instead of a time', wholeNumber(1, 100_000_000))
    .option('--words <n>', 'words of a sentence', wholeNumber(1, 64), 8)
    .option('--texts <n>', 'sentences in a request', wholeNumber(1, 64), 1)
    .option('--json', 'print as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  $ beta bench serve\n  $ beta bench serve model.beta --seconds 5 --json\n  $ beta bench serve --requests 1000000 --json',
    )
    .action(async (model: string, options: Options) => {
      const report = await measure(modelFile(model), options);
      if (options.json) return printJson(report);
      printTable(
        [
          'mode',
          'requests/s',
          'sentences/s',
          'p50 ms',
          'p99 ms',
          'echo p50 ms',
          'forward p50 ms',
          'forward rate/s',
          'unanswered',
          'errors',
        ],
        report.rows.map((row) => [
          row.mode,
          row.rate,
          row.sentences,
          row.p50_ms,
          row.p99_ms,
          row.echo_p50_ms,
          row.forward_p50_ms,
          row.forward_rate,
          row.unanswered,
          Object.values(row.errors).reduce((a, b) => a + b, 0),
        ]),
      );
      const megabytes = ({ warm, end }: Memory) =>
        `${rounded(warm / 1e6)} MB warm, ${rounded(end / 1e6)} MB at the end`;
      const { daemon, engine } = report.resident_bytes;
      note(`resident: daemon ${megabytes(daemon)}; engine process ${megabytes(engine)}`);
      note(`event loop of the daemon: at most ${report.loop_delay_p99_ms} ms late in 99 of 100 cases`);
      note(`echo between requests: p50 ${report.echo_between_requests_p50_ms} ms`);
    });
}

async function measure(file: string, options: Options) {
  const artifact = Artifact.open(file);
  const device = resolveDeviceUri(options.device, note);
  const texts = sentences(artifact, options.words);
  const payloads = payloadsOf(texts, options.texts);
  const alone = inProcess(artifact, device, texts, options.seconds);
  const stops: (() => Promise<void>)[] = [];
  try {
    const broker = options.broker === undefined ? await startMosquitto() : undefined;
    if (broker) stops.push(broker.stop);
    const url = options.broker ?? broker!.url;
    const daemon = await startDaemon(url, file, device);
    stops.push(daemon.stop);
    const load = await Load.connect(url);
    stops.push(() => load.close());
    const topic = `beta/1/node/${daemon.info.node}/infer/${artifact.name}`;
    await load.closed(topic, payloads, options.concurrency, WARM_UP);
    await load.echo(payloads[0]!, 0.5);
    const betweenRequests = median(await load.echoBetween(topic, payloads, Math.min(1, options.seconds)));
    const pids = {
      client: process.pid,
      daemon: daemon.pid,
      engine: childOf(daemon.pid),
      ...(broker && { broker: broker.pid }),
    };
    const cpu = (): Record<string, number> =>
      Object.fromEntries(Object.entries(pids).map(([name, pid]) => [name, cpuMicroseconds(pid)]));
    const rows: Row[] = [];
    const row = async (mode: Row['mode'], run: () => Promise<LoadResult>, asked?: number) => {
      const echo = median(await load.echo(payloads[0]!, Math.min(1, options.seconds)));
      const cpuBefore = cpu();
      const { latencies, seconds: took, unanswered, sent, errors } = await run();
      const cpuAfter = cpu();
      rows.push({
        mode,
        rate: rounded(asked ?? latencies.length / took),
        p50_ms: rounded(median(latencies)),
        p99_ms: rounded(quantile(latencies, 0.99)),
        echo_p50_ms: rounded(echo),
        forward_p50_ms: rounded(alone.p50),
        unanswered,
        requests: sent,
        errors,
        sentences: rounded((latencies.length / took) * options.texts),
        forward_rate: rounded(alone.rate),
        cpu_us: Object.fromEntries(
          Object.entries(cpuAfter).map(([name, us]) => [name, Math.round((us - cpuBefore[name]!) / sent)]),
        ),
      });
    };
    await row('closed', () => load.closed(topic, payloads, 1, { seconds: options.seconds }));
    const { seconds: time, requests, concurrency } = options;
    const began = performance.now();
    const memory = watchMemory({ daemon: pids.daemon, engine: pids.engine }, () =>
      requests === undefined ? (performance.now() - began) / (time * 1000) : load.progress(requests),
    );
    await row('saturated', () =>
      load.closed(topic, payloads, concurrency, requests === undefined ? { seconds: time } : { requests }),
    );
    const resident = memory();
    const loop = await loopDelay(daemon.info.http);
    const full = rows.at(-1)!.rate;
    for (const share of OPEN) {
      const rate = rounded(full * share, 2);
      await row('open', () => load.open(topic, payloads, rate, options.seconds), rate);
    }
    return {
      rows,
      forward_cpu_us: Math.round(alone.cpu),
      echo_between_requests_p50_ms: rounded(betweenRequests),
      loop_delay_p99_ms: loop,
      resident_bytes: resident,
      model: artifact.id,
      device,
      broker: broker ? 'mosquitto' : url,
      words: options.words,
      texts: options.texts,
      concurrency: options.concurrency,
    };
  } finally {
    for (const stop of stops.reverse()) await stop().catch((error: Error) => note(error.message));
  }
}

async function loopDelay(http: string): Promise<number | null> {
  const text = await (await fetch(`${http}/metrics`)).text();
  const found = /^beta_event_loop_delay_p99_seconds (\S+)/m.exec(text)?.[1];
  return found === undefined ? null : rounded(Number(found) * 1000);
}
