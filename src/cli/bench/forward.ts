/** `beta bench forward`: whole forward passes of a model. */
import type { Command } from 'commander';
import { Device } from '../../device/device.js';
import { resolveDeviceUri } from '../../device/discovery.js';
import { Artifact } from '../../model/artifact/read.js';
import { type RunTimes, type Sequence, Session } from '../../runtime/session.js';
import { modelFile } from '../model-file.js';
import { wholeNumbers } from '../numbers.js';
import { note, printJson, printTable } from '../output.js';
import { seconds } from './seconds.js';
import { median, rounded } from './statistics.js';

interface Options {
  readonly device: string;
  readonly batch: number[];
  readonly tokens?: number[];
  readonly seconds: number;
  readonly json?: true;
}

interface Row {
  readonly batch: number;
  /** Tokens of each sentence. */
  readonly tokens: number;
  readonly ms_p50: number;
  readonly sentences_per_s: number;
  /** Shares of the time: waiting for the engine, vector steps, JavaScript and calls. */
  readonly qmm_share: number;
  readonly vector_share: number;
  readonly js_share: number;
  readonly runs: number;
}

const WARM_UP_RUNS = 5;
const RUNS_MIN = 15;

/** Sequences of random words, the same for the same shape: times must not depend on luck. */
function randomBatch(batch: number, tokens: number, words: number): Sequence[] {
  let state = 12345;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state % words;
  };
  return Array.from({ length: batch }, () => ({ ids: Uint32Array.from({ length: tokens }, next) }));
}

function measure(session: Session, batch: number, tokens: number, seconds: number): Row {
  const sequences = randomBatch(batch, tokens, session.artifact.plan.embeddings.words[0]!.planes.rows);
  for (let i = 0; i < WARM_UP_RUNS; i++) session.run(sequences);
  const runs: RunTimes[] = [];
  const end = performance.now() + seconds * 1000;
  while (runs.length < RUNS_MIN || performance.now() < end) runs.push(session.run(sequences).times);
  const p50 = median(runs.map(({ total }) => total));
  const share = (part: (times: RunTimes) => number) =>
    rounded(median(runs.map((times) => part(times) / times.total)), 3);
  return {
    batch,
    tokens,
    ms_p50: rounded(p50),
    sentences_per_s: rounded((batch * 1000) / p50),
    qmm_share: share(({ engine }) => engine),
    vector_share: share(({ vector }) => vector),
    js_share: share(({ host }) => host),
    runs: runs.length,
  };
}

export function register(bench: Command): void {
  bench
    .command('forward')
    .summary('measure whole forward passes')
    .description(
      'Measures forward passes of random sentences: median latency, sentences per second, and the share of the time spent waiting for the engine (qmm), in vector steps, and in JavaScript and calls.',
    )
    .argument('<model>', 'artifact, or the name of a bundled model')
    .option('--device <uri>', 'where to run', 'auto')
    .option('--batch <list>', 'batch sizes', wholeNumbers(1, 4096), [1, 32])
    .option('--tokens <list>', 'tokens per sentence (default: 16 and the longest)', wholeNumbers(1, 32768))
    .option('--seconds <n>', 'time for each row', seconds, 2)
    .option('--json', 'print as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  $ beta bench forward intents\n  $ beta bench forward model.beta --batch 1,8,32 --tokens 16,128 --json',
    )
    .action((model: string, options: Options) => {
      const artifact = Artifact.open(modelFile(model));
      const uri = resolveDeviceUri(options.device, note);
      const device = Device.open(uri);
      try {
        const session = new Session(device, artifact);
        const longest = artifact.plan.maxTokens;
        const lengths = options.tokens ?? [...new Set([Math.min(16, longest), Math.min(128, longest)])];
        const rows = lengths.flatMap((tokens) =>
          options.batch.map((batch) => measure(session, batch, tokens, options.seconds)),
        );
        if (options.json) return printJson({ rows, model: artifact.id, device: uri });
        const percent = (share: number) => `${(share * 100).toFixed(1)} %`;
        printTable(
          ['batch', 'tokens', 'ms p50', 'sentences/s', 'qmm', 'vector', 'js', 'runs'],
          rows.map((row) => [
            row.batch,
            row.tokens,
            row.ms_p50,
            row.sentences_per_s,
            percent(row.qmm_share),
            percent(row.vector_share),
            percent(row.js_share),
            row.runs,
          ]),
        );
      } finally {
        device.close();
      }
    });
}
