/** One row of `beta bench forward`: a batch timed in slices, in turns with the forms of its peer. */
import type { RunTimes, Session } from '../../runtime/session.js';
import type { Batches } from './batches.js';
import type { OrtPeer } from './ort.js';
import { median, rounded } from './statistics.js';

export interface ForwardRow {
  readonly batch: number;
  /** Tokens of each sentence; null where they have lengths of their own. */
  readonly tokens: number | null;
  readonly ms_p50: number;
  readonly sentences_per_s: number;
  readonly tokens_per_s: number;
  /** Shares of the time: waiting for the engine, vector steps, JavaScript and calls. */
  readonly qmm_share: number;
  readonly vector_share: number;
  readonly js_share: number;
  readonly runs: number;
  /** How many times as long onnxruntime takes, by the faster of its plain and its fused model; null without it. */
  readonly vs_ort_int8: number | null;
  readonly vs_ort_f32: number | null;
  /** Milliseconds of each of its forms. */
  readonly ort_ms: Readonly<Record<string, number>> | null;
}

const WARM_UP_RUNS = 5;
const RUNS_MIN = 15;
/** Turns that a row's time is divided into where there is a peer. */
const ROUNDS = 7;
/** Of the peer's turn: a forward pass of its own warms it up first. */
const PEER_SLICE_MS = 100;

interface Sample {
  readonly times: RunTimes;
  readonly sentences: number;
  readonly tokens: number;
}

/** Runs the batches in turn for about `ms`, at least `least` of them. */
function runSlice(
  session: Session,
  { batches }: Batches,
  ms: number,
  least: number,
  samples: Sample[],
): void {
  const end = performance.now() + ms;
  for (let runs = 0; runs < least || performance.now() < end; runs++) {
    const batch = batches[samples.length % batches.length]!;
    const { times } = session.run(batch);
    const tokens = batch.reduce((sum, { ids }) => sum + ids.length, 0);
    samples.push({ times, sentences: batch.length, tokens });
  }
}

/** Median milliseconds of every form of the peer, and our samples, from slices in turn. */
async function takeTurns(
  session: Session,
  batches: Batches,
  seconds: number,
  peer: OrtPeer,
  samples: Sample[],
): Promise<Record<string, number>> {
  const times = new Map(peer.variants.map((variant) => [variant, [] as number[]]));
  for (let round = 0; round < ROUNDS; round++) {
    runSlice(session, batches, 0, 1, []); // caches are the peer's by now
    runSlice(session, batches, (seconds * 1000) / ROUNDS, Math.ceil(RUNS_MIN / ROUNDS), samples);
    for (const [variant, all] of times) all.push(...(await peer.run(variant, PEER_SLICE_MS)));
  }
  return Object.fromEntries([...times].map(([variant, all]) => [variant, median(all)]));
}

/** The ratio of a width's faster form to ours. */
function ratio(ort: Readonly<Record<string, number>> | null, width: string, ms: number): number | null {
  if (ort === null) return null;
  const forms = Object.entries(ort).filter(([variant]) => variant.endsWith(` ${width}`));
  return rounded(Math.min(...forms.map(([, value]) => value)) / ms, 3);
}

/** Measures one row. Throws what the session or the peer throws. */
export async function measureForward(
  session: Session,
  batches: Batches,
  seconds: number,
  peer: OrtPeer | null,
): Promise<ForwardRow> {
  // Every geometry once: programs are built and weights laid out before the clock runs.
  runSlice(session, batches, 0, Math.max(WARM_UP_RUNS, batches.batches.length), []);
  const samples: Sample[] = [];
  let ort: Record<string, number> | null = null;
  if (peer === null) runSlice(session, batches, seconds * 1000, RUNS_MIN, samples);
  else ort = await takeTurns(session, batches, seconds, peer, samples);

  const p50 = median(samples.map(({ times }) => times.total));
  const perSecond = (count: (sample: Sample) => number) =>
    rounded(median(samples.map((sample) => (count(sample) * 1000) / sample.times.total)));
  const share = (part: (times: RunTimes) => number) =>
    rounded(median(samples.map(({ times }) => part(times) / times.total)), 3);
  return {
    batch: batches.batch,
    tokens: batches.tokens,
    ms_p50: rounded(p50),
    sentences_per_s: perSecond(({ sentences }) => sentences),
    tokens_per_s: perSecond(({ tokens }) => tokens),
    qmm_share: share(({ engine }) => engine),
    vector_share: share(({ vector }) => vector),
    js_share: share(({ host }) => host),
    runs: samples.length,
    vs_ort_int8: ratio(ort, 'int8', p50),
    vs_ort_f32: ratio(ort, 'f32', p50),
    ort_ms: ort && Object.fromEntries(Object.entries(ort).map(([variant, ms]) => [variant, rounded(ms)])),
  };
}
