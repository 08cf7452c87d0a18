/**
 * Requests that come twice get one run: within a window, the same requester, correlation and payload on the same topic is the same request.
 * Two different questions under one correlation are two requests, whatever their sender thought.
 */
import { createHash } from 'node:crypto';
import { Fifo } from './queue/fifo.js';

export interface RetryLimits {
  readonly windowMs: number;
  /** Bound of the answers that are kept, bytes. */
  readonly bytes: number;
}

/** An answer as it was sent. */
export interface Sent {
  readonly payload: Buffer;
  /** Whether it would be the same if the question were asked again: a result, not `busy`. */
  readonly lasting: boolean;
}

interface Given {
  readonly key: string;
  readonly answer: Sent;
  readonly at: number;
  readonly bytes: number;
}

/** What the objects around an answer and its key take, about. */
const OVERHEAD = 1024;
/** Payloads up to this length are their own digest. */
const SHORT = 512;

export class Retries {
  readonly #limits: RetryLimits;
  readonly #underWay = new Map<string, Promise<Sent>>();
  readonly #given = new Map<string, Given>();
  /** The same in the order in which they were given: the first entry of a Map that has lost many takes a walk over all of these to find. */
  readonly #oldest = new Fifo<Given>();
  #bytes = 0;

  constructor(limits: RetryLimits) {
    this.#limits = limits;
  }

  /** Requests that are remembered. */
  get size(): number {
    return this.#underWay.size + this.#given.size;
  }

  /** What makes two requests the same. */
  static key(topic: string, replyTopic: string, correlation: string, payload: Uint8Array): string {
    const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
    const content =
      bytes.length <= SHORT ? bytes.toString('latin1') : createHash('sha256').update(bytes).digest('base64');
    return `${topic}\0${replyTopic}\0${correlation}\0${content}`;
  }

  /** The answer under this key, given or to come, if the request came before. */
  find(key: string, now: number): Sent | Promise<Sent> | undefined {
    this.#forgetOld(now);
    return this.#underWay.get(key) ?? this.#given.get(key)?.answer;
  }

  /** Notes a request, and its answer to come. */
  begin(key: string, coming: Promise<Sent>, clock: () => number): void {
    this.#underWay.set(key, coming);
    void coming.then((answer) => {
      if (this.#underWay.get(key) === coming) this.#underWay.delete(key);
      if (!answer.lasting) return;
      const bytes = answer.payload.byteLength + key.length + OVERHEAD;
      const given = { key, answer, at: clock(), bytes };
      this.#given.set(key, given);
      this.#oldest.push(given);
      this.#bytes += bytes;
      this.#forgetOld(given.at);
    });
  }

  #forgetOld(now: number): void {
    for (let first = this.#oldest.first; first; first = this.#oldest.first) {
      if (now - first.at <= this.#limits.windowMs && this.#bytes <= this.#limits.bytes) return;
      this.#oldest.shift();
      this.#bytes -= first.bytes;
      // Another answer may have been given under the key since.
      if (this.#given.get(first.key) === first) this.#given.delete(first.key);
    }
  }
}
