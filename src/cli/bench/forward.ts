/** `beta bench forward`: whole forward passes of a model, beside onnxruntime where it is installed. */
import type { Command } from 'commander';
import { Device } from '../../device/device.js';
import { resolveDeviceUri } from '../../device/discovery.js';
import { Artifact } from '../../model/artifact/read.js';
import { Session } from '../../runtime/session.js';
import { modelFile } from '../model-file.js';
import { wholeNumbers } from '../numbers.js';
import { note, printFacts, printJson, printLine, printTable } from '../output.js';
import { type Batches, randomBatches, textBatches } from './batches.js';
import { type ForwardRow, measureForward } from './forward-row.js';
import { isOrtInstalled, ORT_HINT, OrtPeer, ortShape } from './ort.js';
import { seconds } from './seconds.js';
import { rounded } from './statistics.js';

interface Options {
  readonly device: string;
  readonly batch: number[];
  readonly tokens?: number[];
  readonly texts?: string;
  readonly seconds: number;
  readonly peers: boolean;
  readonly json?: true;
}

/** A forward pass of more tokens takes onnxruntime seconds; its ratio is told by smaller batches. */
const PEER_TOKENS_MAX = 512;

const MIB = 2 ** 20;

function workloads(artifact: Artifact, options: Options): Batches[] {
  const { maxTokens, embeddings } = artifact.plan;
  if (options.texts !== undefined) {
    const { texts } = options;
    return options.batch.map((batch) => textBatches(texts, batch, artifact));
  }
  const lengths = options.tokens ?? [...new Set([Math.min(16, maxTokens), Math.min(128, maxTokens)])];
  const words = embeddings.words[0]!.planes.rows;
  return lengths.flatMap((tokens) => options.batch.map((batch) => randomBatches(batch, tokens, words)));
}

/** The peer with the models of a row, or null where the row has none. */
async function preparePeer(
  peer: OrtPeer | null,
  artifact: Artifact,
  { batch, tokens }: Batches,
): Promise<OrtPeer | null> {
  if (peer === null || tokens === null || batch * tokens > PEER_TOKENS_MAX) return null;
  const shape = ortShape(artifact.plan, batch, tokens);
  if (shape === null) return null;
  await peer.prepare(shape);
  return peer;
}

function startPeer(options: Options): OrtPeer | null {
  if (!options.peers || options.texts !== undefined) return null;
  if (isOrtInstalled()) return OrtPeer.start();
  note(`no ratio to onnxruntime, which is not installed: ${ORT_HINT}`);
  return null;
}

function printRows(
  rows: readonly ForwardRow[],
  facts: readonly (readonly [string, string | number])[],
): void {
  const percent = (share: number) => `${(share * 100).toFixed(1)} %`;
  const ratio = (value: number | null) => (value === null ? '' : `${value.toFixed(2)}x`);
  printTable(
    ['batch', 'tokens', 'ms p50', 'sentences/s', 'tokens/s', 'qmm', 'vector', 'js', 'ORT int8', 'ORT f32'],
    rows.map((row) => [
      row.batch,
      row.tokens ?? 'natural',
      row.ms_p50,
      row.sentences_per_s,
      row.tokens_per_s,
      percent(row.qmm_share),
      percent(row.vector_share),
      percent(row.js_share),
      ratio(row.vs_ort_int8),
      ratio(row.vs_ort_f32),
    ]),
  );
  printLine();
  printFacts(facts);
}

export function register(bench: Command): void {
  bench
    .command('forward')
    .summary('measure whole forward passes')
    .description(
      'Measures forward passes: median latency, sentences and tokens per second, the share of the time spent waiting for the engine (qmm), in vector steps, and in JavaScript and calls; and, where it is installed, how many times as long onnxruntime takes on a BERT of the same shape (one thread, int8 and float32, the faster of the plain and the fused model), in turns in the same run.',
    )
    .argument('<model>', 'artifact, or the name of a bundled model')
    .option('--device <uri>', 'where to run', 'auto')
    .option('--batch <list>', 'batch sizes', wholeNumbers(1, 4096), [1, 32])
    .option('--tokens <list>', 'tokens per sentence (default: 16 and the longest)', wholeNumbers(1, 32768))
    .option('--texts <file>', 'sentences of their own lengths: the lines of a file, in batches')
    .option('--seconds <n>', 'time for each row', seconds, 2)
    .option('--no-peers', 'compare with nothing')
    .option('--json', 'print as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  $ beta bench forward intents\n  $ beta bench forward model.beta --batch 1 --tokens 128 --json\n  $ beta bench forward intents --texts lines.txt --batch 32 --device "emu:?threads=2"',
    )
    .action(async (model: string, options: Options) => {
      const before = process.memoryUsage.rss();
      const artifact = Artifact.open(modelFile(model), { tokenizer: options.texts !== undefined });
      const uri = resolveDeviceUri(options.device, note);
      const device = Device.open(uri);
      const peer = startPeer(options);
      try {
        const session = new Session(device, artifact);
        const rows: ForwardRow[] = [];
        for (const batches of workloads(artifact, options)) {
          const opponent = await preparePeer(peer, artifact, batches);
          rows.push(await measureForward(session, batches, options.seconds, opponent));
        }
        // maxRSS is in KiB.
        const peak = process.resourceUsage().maxRSS * 1024;
        const memory = { before_mib: rounded(before / MIB), peak_mib: rounded(peak / MIB) };
        const ort = peer === null || peer.version === '' ? null : `onnxruntime-node ${peer.version}`;
        if (options.json) return printJson({ rows, model: artifact.id, device: uri, memory, peer: ort });
        printRows(rows, [
          ['model', artifact.id],
          ['device', uri],
          ['memory', `${memory.peak_mib} MiB at most; ${memory.before_mib} MiB before the model was loaded`],
          ['peer', ort ?? 'none'],
        ]);
      } finally {
        peer?.close();
        device.close();
      }
    });
}
