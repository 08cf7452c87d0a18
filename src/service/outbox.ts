/**
 * Answers on their way to the broker. Each is kept until the broker has it: over a reconnection, over a restart of the broker, and for a
 * while when the broker says that nobody listens, because a client that lost its connection comes back to listen. Bounded; what has to be
 * dropped is counted and said.
 */
import type { IClientPublishOptions } from 'mqtt';
import type { SendWindow } from '../client/send-window.js';
import { messageOf } from './errors.js';
import type { Log } from './log.js';

export interface OutboxLimits {
  /** Answers, and their bytes, that the broker has not taken. */
  readonly answers: number;
  readonly bytes: number;
  /** How long an answer to which nobody listens is offered again, milliseconds. */
  readonly patienceMs: number;
}

export type Fate = 'delivered' | 'unheard' | 'dropped' | 'refused';

/** Answers to which nobody listens that are kept: anyone can ask for such answers, so they must not fill the outbox. */
const MOST_UNHEARD = 1024;
const FIRST_PAUSE_MS = 250;
/** Shortest pause between two lines about dropped answers. */
const COMPLAINT_MS = 1000;

export class Outbox {
  readonly #window: SendWindow;
  readonly #limits: OutboxLimits;
  readonly #log: Log;
  readonly #naps = new Set<() => void>();
  #bytes = 0;
  #closing = false;
  #complained = Number.NEGATIVE_INFINITY;
  /** Answers that the broker has not taken yet. */
  pending = 0;
  /** Answers that were given up for want of room. */
  dropped = 0;
  /** Answers to which nobody listened for as long as they were offered. */
  unheard = 0;

  constructor(window: SendWindow, limits: OutboxLimits, log: Log) {
    this.#window = window;
    this.#limits = limits;
    this.#log = log;
  }

  /**
   * Sends one answer; resolves with what became of it. `onSent` is called as soon as it is on the connection, so that whatever is written
   * then reaches the broker behind it; or when it is given up. What comes after that (offering it again) is courtesy, and must not hold up
   * others. Never rejects.
   */
  async send(
    topic: string,
    payload: Buffer,
    options: Omit<IClientPublishOptions, 'qos'>,
    onSent: () => void = () => undefined,
  ): Promise<Fate> {
    const { answers, bytes } = this.#limits;
    if (this.pending >= answers || this.#bytes + payload.byteLength > bytes) {
      this.dropped++;
      onSent();
      this.#complain();
      return 'dropped';
    }
    this.pending++;
    this.#bytes += payload.byteLength;
    try {
      return await this.#deliver(topic, payload, options, onSent);
    } catch (error) {
      this.#log.warn({ reason: messageOf(error), bytes: payload.byteLength }, 'the broker refused an answer');
      return 'refused';
    } finally {
      onSent();
      this.pending--;
      this.#bytes -= payload.byteLength;
    }
  }

  /** Offers nothing again any more: the node stops. */
  close(): void {
    this.#closing = true;
    for (const wake of this.#naps) wake();
  }

  async #deliver(
    topic: string,
    payload: Buffer,
    options: Omit<IClientPublishOptions, 'qos'>,
    onSent: () => void,
  ): Promise<Fate> {
    const giveUp = performance.now() + this.#limits.patienceMs;
    for (let pause = FIRST_PAUSE_MS; ; pause *= 2) {
      const { nobody } = await this.#window.publish(topic, payload, options, onSent);
      if (!nobody) return 'delivered';
      onSent();
      if (this.#closing || this.#naps.size >= MOST_UNHEARD || performance.now() + pause > giveUp) {
        this.unheard++;
        return 'unheard';
      }
      await this.#nap(pause);
    }
  }

  #nap(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.#naps.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, ms);
      timer.unref();
      this.#naps.add(wake);
    });
  }

  #complain(): void {
    const now = performance.now();
    if (now - this.#complained < COMPLAINT_MS) return;
    this.#complained = now;
    const { pending, dropped } = this;
    this.#log.error({ pending, bytes: this.#bytes, dropped }, 'the outbox is full: answers were dropped');
  }
}
