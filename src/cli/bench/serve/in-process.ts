/** The texts of the benchmark, and what their forward passes take in this process, alone: what serving them is compared with. */
import { Device } from '../../../device/device.js';
import type { Artifact } from '../../../model/artifact/read.js';
import { type Sequence, Session } from '../../../runtime/session.js';
import { randomBelow } from '../random.js';
import { median } from '../statistics.js';

/** Sequences of a batch in process, as the daemon makes them. */
const BATCH = 64;

/** Texts of words that the tokenizer knows, of different lengths as people write: half to one and a half times `words`. */
export function sentences(artifact: Artifact, words: number): string[] {
  const list =
    'transfer ten dollars to my savings account please what is the weather in oslo tomorrow book a flight for two'.split(
      ' ',
    );
  const next = randomBelow(7);
  const texts = Array.from({ length: 256 }, () => {
    const count = Math.max(1, Math.round(words / 2) + next(words + 1));
    return Array.from({ length: count }, () => list[next(list.length)]).join(' ');
  });
  const longest = texts.find((text) => artifact.tokenizer.encode(text, artifact.plan.maxTokens).truncated);
  if (longest !== undefined) throw new Error(`${words} words are too many for ${artifact.name}`);
  return texts;
}

/** Payloads of requests for `count` sentences each, as many as there are texts. */
export function payloadsOf(texts: readonly string[], count: number): string[] {
  if (count === 1) return texts.map((text) => JSON.stringify({ text }));
  return texts.map((_, first) =>
    JSON.stringify({ texts: Array.from({ length: count }, (_, i) => texts[(first + i) % texts.length]) }),
  );
}

/** The same texts on the same device in this process. */
export class InProcess {
  readonly #device: Device;
  readonly #session: Session;
  readonly #sequences: readonly Sequence[];
  // Not in turn: a mixture that comes again has a program of its own, and what is served hardly ever comes again.
  readonly #next = randomBelow(11);

  constructor(artifact: Artifact, uri: string, texts: readonly string[]) {
    this.#device = Device.open(uri);
    this.#session = new Session(this.#device, artifact);
    this.#sequences = texts.map((text) => artifact.tokenizer.encode(text, artifact.plan.maxTokens));
  }

  /** Milliseconds of one sentence, the median of so many seconds. */
  single(seconds: number): number {
    return this.#measure(1, seconds).ms;
  }

  /** Sentences a second in batches, and CPU time of one in microseconds. */
  batches(seconds: number): { rate: number; cpu: number } {
    const { ms, cpu } = this.#measure(BATCH, seconds);
    return { rate: (BATCH * 1000) / ms, cpu };
  }

  close(): void {
    this.#device.close();
  }

  #measure(batch: number, seconds: number): { ms: number; cpu: number } {
    const any = () => this.#sequences[this.#next(this.#sequences.length)]!;
    const run = () => this.#session.run(Array.from({ length: batch }, any)).times.total;
    const times: number[] = [];
    // As long again before anything counts: until every length has its programs, and the code that runs them is compiled.
    for (const end = performance.now() + seconds * 500; performance.now() < end; ) run();
    const cpu = process.cpuUsage();
    for (const end = performance.now() + seconds * 500; times.length < 10 || performance.now() < end; )
      times.push(run());
    const { user, system } = process.cpuUsage(cpu);
    return { ms: median(times), cpu: (user + system) / (times.length * batch) };
  }
}
