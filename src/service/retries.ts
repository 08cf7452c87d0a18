/**
 * Requests that come twice get one run: within a window, the same requester, correlation and payload on the same topic is the same request.
 * Two different questions under one correlation are two requests, whatever their sender thought.
 */
import { createHash } from 'node:crypto';

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
  readonly answer: Promise<Sent>;
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
  /** In the order in which they were given. */
  readonly #given = new Map<string, Given>();
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

  /** The request under this key, if it came before. */
  find(key: string, now: number): Promise<Sent> | undefined {
    this.#forgetOld(now);
    return this.#underWay.get(key) ?? this.#given.get(key)?.answer;
  }

  /** Notes a request, and its answer to come. */
  begin(key: string, answer: Promise<Sent>, clock: () => number): void {
    this.#underWay.set(key, answer);
    void answer.then(({ payload, lasting }) => {
      if (this.#underWay.get(key) === answer) this.#underWay.delete(key);
      if (!lasting) return;
      this.#bytes -= this.#given.get(key)?.bytes ?? 0;
      this.#given.delete(key);
      const given = { answer, at: clock(), bytes: payload.byteLength + key.length + OVERHEAD };
      this.#given.set(key, given);
      this.#bytes += given.bytes;
      this.#forgetOld(given.at);
    });
  }

  #forgetOld(now: number): void {
    for (const [key, { at, bytes }] of this.#given) {
      if (now - at <= this.#limits.windowMs && this.#bytes <= this.#limits.bytes) return;
      this.#given.delete(key);
      this.#bytes -= bytes;
    }
  }
}
