/** `beta bench serve`: the daemon behind a real broker, as its clients meet it. */
import type { Command } from 'commander';
import { BetaClient } from '../../client/client.js';
import { EchoProbe } from '../../client/echo.js';
import { Device } from '../../device/device.js';
import { resolveDeviceUri } from '../../device/discovery.js';
import { Artifact } from '../../model/artifact/read.js';
import { Session } from '../../runtime/session.js';
import { modelFile } from '../model-file.js';
import { wholeNumber } from '../numbers.js';
import { note, printFacts, printJson, printLine, printTable } from '../output.js';
import { readTexts } from './batches.js';
import { seconds } from './seconds.js';
import { closedLoop, forwardRate, type Load, type Outcome, openLoop, saturate } from './serve-modes.js';
import { Stand } from './serve-stand.js';
import { median, quantile, rounded } from './statistics.js';

interface Options {
  readonly device: string;
  readonly broker?: string;
  readonly texts?: string;
  readonly seconds: number;
  readonly requests?: number;
  readonly rate?: number;
  readonly outstanding: number;
  readonly json?: true;
}

interface Row {
  /** closed: one after another; saturated: many on the way; open: at a given rate. */
  readonly mode: 'closed' | 'saturated' | 'open';
  /** Results a second. */
  readonly rate: number;
  readonly p50_ms: number;
  readonly p99_ms: number;
  /** The broker's bare echo, and a forward pass of one sentence in this process; in turns with `closed`. */
  readonly echo_p50_ms: number | null;
  readonly forward_p50_ms: number | null;
  readonly requests: number;
  readonly unanswered: number;
  readonly busy: number;
  /** saturated: sentences a second of batched forward passes in this process, and the share of it that was served. */
  readonly forward_rate: number | null;
  readonly of_forward: number | null;
  /** Of the daemon with its engine, after a tenth of the load and at its end. */
  readonly memory_mib: readonly [number, number] | null;
}

/** The device of both: one thread of arithmetic each, and never at the same time. */
const DEVICE = 'emu:';
/** Sentences where nobody gave any. */
const TEXTS = [
  'transfer ten dollars to my savings account',
  'how warm is it in Bern',
  'play some music',
  'what is the balance on my card',
  'book a table for two at eight',
  'set an alarm for six in the morning',
  'how do you say thank you in japanese',
  'tell me when the next train to the airport leaves from here please',
];
/** Sentences of one batch of the forward passes in this process, where batching has nothing left to give. */
const FORWARD_BATCH = 64;
/** Of the saturated rate, where no other is asked for. */
const OPEN_SHARE = 0.5;

function row(mode: Row['mode'], outcome: Outcome, more: Partial<Row> = {}): Row {
  const { latencies, busy, unanswered, seconds: took } = outcome;
  if (latencies.length === 0) throw new Error(`${mode}: no request was answered with a result`);
  return {
    mode,
    rate: rounded(latencies.length / took),
    p50_ms: rounded(median(latencies)),
    p99_ms: rounded(quantile(latencies, 0.99)),
    echo_p50_ms: null,
    forward_p50_ms: null,
    requests: latencies.length + busy + unanswered,
    unanswered,
    busy,
    forward_rate: null,
    of_forward: null,
    memory_mib: null,
    ...more,
  };
}

async function measure(stand: Stand, load: Load, session: Session, options: Options): Promise<Row[]> {
  const { tokenizer, plan } = session.artifact;
  const sequences = load.texts.map((text) => tokenizer.encode(text, plan.maxTokens));
  const forward = (index: number) => session.run([sequences[index % sequences.length]!]);
  const echo = await EchoProbe.connect(stand.broker);
  try {
    await saturate(load, options.outstanding, 4 * options.outstanding); // warm-up of everything
    const closed = await closedLoop(load, echo, forward, options.seconds);
    const rate = forwardRate(session, sequences, FORWARD_BATCH, options.seconds / 2);
    const count = options.requests ?? Math.max(Math.round(rate * options.seconds), options.outstanding);
    let early = 0;
    const saturated = await saturate(load, options.outstanding, count, (sent) => {
      if (early === 0 && sent >= count / 10) early = stand.memoryMib();
      if (count > 100_000) note(`${sent} of ${count} requests`);
    });
    const late = stand.memoryMib();
    // Before and after: the machine may have become faster or slower.
    const forwards = (rate + forwardRate(session, sequences, FORWARD_BATCH, options.seconds / 2)) / 2;
    const served = saturated.latencies.length / saturated.seconds;
    const open = await openLoop(load, options.rate ?? Math.max(served * OPEN_SHARE, 1), options.seconds);
    return [
      row('closed', closed, {
        echo_p50_ms: rounded(median(closed.echoes)),
        forward_p50_ms: rounded(median(closed.forwards)),
      }),
      row('saturated', saturated, {
        forward_rate: rounded(forwards),
        of_forward: rounded(served / forwards, 3),
        memory_mib: [rounded(early === 0 ? late : early), rounded(late)],
      }),
      row('open', open),
    ];
  } finally {
    await echo.close();
  }
}

function print(rows: readonly Row[], facts: readonly (readonly [string, string | number])[]): void {
  const or = (value: number | null) => value ?? '';
  printTable(
    ['mode', 'requests', 'rate/s', 'p50 ms', 'p99 ms', 'echo p50', 'forward p50', 'busy', 'unanswered'],
    rows.map((r) => [
      r.mode,
      r.requests,
      r.rate,
      r.p50_ms,
      r.p99_ms,
      or(r.echo_p50_ms),
      or(r.forward_p50_ms),
      r.busy,
      r.unanswered,
    ]),
  );
  printLine();
  printFacts(facts);
}

export function register(bench: Command): void {
  bench
    .command('serve')
    .summary('measure the daemon behind a broker')
    .description(
      'Starts mosquitto and the daemon, each in a process of its own, and loads them with JSON requests at QoS 1: one after another (with the echo of the bare broker and forward passes in this process, in turns), as many as the daemon takes (beside the rate of batched forward passes in this process), and at a steady rate (latencies from when a request was due).',
    )
    .argument('<model>', 'artifact, or the name of a bundled model')
    .option('--device <uri>', 'of the daemon, and of the forward passes in this process', DEVICE)
    .option('--broker <url>', 'measure with a broker that runs already')
    .option('--texts <file>', 'sentences: the lines of a file')
    .option('--seconds <n>', 'time for each mode', seconds, 5)
    .option('--requests <n>', 'length of the saturated load, in place of its time', wholeNumber(1, 1e9))
    .option('--rate <n>', 'requests a second of the open loop (default: half the saturated rate)', Number)
    .option('--outstanding <n>', 'requests on the way in the saturated load', wholeNumber(1, 100_000), 256)
    .option('--json', 'print as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  $ beta bench serve intents\n  $ beta bench serve intents --requests 1000000 --json\n  $ beta bench serve model.beta --texts lines.txt --rate 200 --broker mqtt://127.0.0.1:1883',
    )
    .action(async (model: string, options: Options, command: Command) => {
      if (options.rate !== undefined && !(options.rate > 0)) command.error('error: --rate must be above 0');
      const file = modelFile(model);
      const artifact = Artifact.open(file);
      const uri = resolveDeviceUri(options.device, note);
      const texts = options.texts === undefined ? TEXTS : readTexts(options.texts).slice(0, 4096);
      const stand = await Stand.start({
        model: file,
        device: uri,
        broker: options.broker,
        queue: Math.max(4096, 2 * options.outstanding),
      });
      try {
        const client = await BetaClient.connect(stand.broker);
        const device = Device.open(uri);
        try {
          const session = new Session(device, artifact);
          const rows = await measure(stand, { client, model: artifact.name, texts }, session, options);
          if (options.json) return printJson({ rows, model: artifact.id, device: uri });
          const [closed, saturated] = rows as [Row, Row, Row];
          const way = closed.p50_ms - closed.forward_p50_ms!;
          print(rows, [
            ['model', artifact.id],
            [
              'on the way',
              `${rounded(way)} ms, ${(way / closed.echo_p50_ms!).toFixed(2)} times the bare echo`,
            ],
            [
              'saturated',
              `${(saturated.of_forward! * 100).toFixed(1)} % of ${saturated.forward_rate} sentences/s forward in this process`,
            ],
            [
              'memory',
              `${saturated.memory_mib![0]} MiB after a tenth of the load, ${saturated.memory_mib![1]} MiB at its end`,
            ],
          ]);
        } finally {
          device.close();
          await client.close();
        }
      } finally {
        await stand.stop();
      }
    });
}
