/**
 * Loads of `beta bench serve`. Latencies of an open loop are counted from when a request was due, not from when it was sent: a service that
 * stalls delays what should have been sent meanwhile, and hiding that is called coordinated omission.
 */
import type { BetaClient } from '../../client/client.js';
import type { EchoProbe } from '../../client/echo.js';
import { RequestError } from '../../client/errors.js';
import type { Sequence, Session } from '../../runtime/session.js';

export interface Load {
  readonly client: BetaClient;
  readonly model: string;
  readonly texts: readonly string[];
}

/** What came of a load. */
export interface Outcome {
  /** Milliseconds of every answer. */
  readonly latencies: number[];
  /** Requests the daemon said `busy` to: an answer, but no result. */
  readonly busy: number;
  /** Requests that nobody answered in time. */
  readonly unanswered: number;
  readonly seconds: number;
}

const REQUEST_TIMEOUT_MS = 60_000;

class Tally {
  readonly latencies: number[] = [];
  busy = 0;
  unanswered = 0;

  /** Sends one text and counts what comes of it, from `due` on. */
  async send({ client, model, texts }: Load, index: number, due: number): Promise<void> {
    try {
      await client.request(model, texts[index % texts.length]!, {
        timeoutMs: REQUEST_TIMEOUT_MS,
        truncate: true,
      });
      this.latencies.push(performance.now() - due);
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      if (error.code === 'busy') this.busy++;
      else if (error.code === 'timeout') this.unanswered++;
      else throw error;
    }
  }

  since(begin: number): Outcome {
    const { latencies, busy, unanswered } = this;
    return { latencies, busy, unanswered, seconds: (performance.now() - begin) / 1000 };
  }
}

/** One request after another, in turns with the broker's echo and with forward passes in this process. */
export async function closedLoop(
  load: Load,
  echo: EchoProbe,
  forward: (index: number) => void,
  seconds: number,
): Promise<Outcome & { readonly echoes: number[]; readonly forwards: number[] }> {
  const tally = new Tally();
  const echoes: number[] = [];
  const forwards: number[] = [];
  const begin = performance.now();
  for (let index = 0; performance.now() - begin < seconds * 1000; index++) {
    await tally.send(load, index, performance.now());
    echoes.push(await echo.roundTrip(JSON.stringify({ text: load.texts[index % load.texts.length] })));
    const start = performance.now();
    forward(index);
    forwards.push(performance.now() - start);
  }
  return { ...tally.since(begin), echoes, forwards };
}

/** As many requests on the way as `width`, until `count` have been sent. `watch` is called with their number, about every second. */
export async function saturate(
  load: Load,
  width: number,
  count: number,
  watch: (sent: number) => void = () => undefined,
): Promise<Outcome> {
  const tally = new Tally();
  const begin = performance.now();
  let next = 0;
  let watched = begin;
  const lane = async () => {
    while (next < count) {
      const now = performance.now();
      if (now - watched > 1000) {
        watched = now;
        watch(next);
      }
      await tally.send(load, next++, now);
    }
  };
  await Promise.all(Array.from({ length: Math.min(width, count) }, lane));
  return tally.since(begin);
}

/** `rate` requests a second, evenly, whatever becomes of them. */
export async function openLoop(load: Load, rate: number, seconds: number): Promise<Outcome> {
  const tally = new Tally();
  const count = Math.max(Math.round(rate * seconds), 1);
  const sent: Promise<void>[] = [];
  const begin = performance.now();
  for (let index = 0; index < count; ) {
    const due = begin + (index * 1000) / rate;
    const ahead = due - performance.now();
    // Timers are coarse: sleep while there is more than their grain, and send everything that is due by then.
    if (ahead > 1) await new Promise((resolve) => setTimeout(resolve, ahead - 1));
    else if (ahead > 0) await new Promise((resolve) => setImmediate(resolve));
    else sent.push(tally.send(load, index++, due));
  }
  await Promise.all(sent);
  return tally.since(begin);
}

/** Sentences a second of the batched forward pass in this process: batches of `width` in turn, for `seconds`. */
export function forwardRate(
  session: Session,
  sequences: readonly Sequence[],
  width: number,
  seconds: number,
): number {
  const batches: Sequence[][] = [];
  for (let at = 0; at < sequences.length; at += width) batches.push(sequences.slice(at, at + width));
  for (const batch of batches) session.run(batch);
  let done = 0;
  const begin = performance.now();
  for (let index = 0; performance.now() - begin < seconds * 1000; index++) {
    const batch = batches[index % batches.length]!;
    session.run(batch);
    done += batch.length;
  }
  return (done * 1000) / (performance.now() - begin);
}
