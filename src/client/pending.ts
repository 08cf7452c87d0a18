/** Requests that have no answer yet: what came of them, and how to send them again. */
import { RequestError, type RequestErrorCode } from './errors.js';
import { type Codec, decodeBytes, FailureSchema } from './wire.js';

export interface Question<T> {
  readonly topic: string;
  /** Whether any node may answer, so that another one can when the first is gone. */
  readonly anyNode: boolean;
  /** The one node that is asked for inference. */
  readonly node?: string | undefined;
  /** Reads an answer that is no failure; throws an Error that says what is wrong with it. */
  readonly read: (body: unknown) => T;
  /** Publishes it, each time as the same request. */
  readonly send: () => Promise<void>;
}

interface Entry extends Question<unknown> {
  readonly resolve: (answer: never) => void;
  readonly reject: (error: RequestError) => void;
  timers: NodeJS.Timeout[];
}

/** Pause before a request goes to another node than the one that is stopping. */
const ELSEWHERE_MS = 50;

export class PendingRequests {
  readonly #entries = new Map<string, Entry>();

  get size(): number {
    return this.#entries.size;
  }

  has(id: string): boolean {
    return this.#entries.has(id);
  }

  /** Sends a question and waits for its answer. Rejects with RequestError. */
  ask<T>(id: string, question: Question<T>, timeoutMs: number): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const entry: Entry = { ...question, resolve: resolve as Entry['resolve'], reject, timers: [] };
      this.#entries.set(id, entry);
      // One bound over everything; the answer may come before the broker has acknowledged the request.
      entry.timers.push(
        setTimeout(
          () => this.fail(id, 'timeout', `${question.topic}: no answer within ${timeoutMs} ms`),
          timeoutMs,
        ),
      );
      this.#send(id, entry);
    });
  }

  /** Sends a request again after a pause, if it is still without an answer. */
  again(id: string, pauseMs: number): void {
    const entry = this.#entries.get(id);
    if (!entry) return;
    entry.timers.push(setTimeout(() => this.#entries.has(id) && this.#send(id, entry), pauseMs));
  }

  /** Sends everything again: the connection was lost, and with it perhaps the answers. */
  allAgain(): void {
    for (const [id, entry] of this.#entries) this.#send(id, entry);
  }

  /** Sends again what any node may answer: one of them is gone. */
  elsewhere(): void {
    for (const [id, { anyNode }] of this.#entries) if (anyNode) this.again(id, ELSEWHERE_MS);
  }

  /** Sends again what a node was asked for: it was away, and what was on the way to it then is lost. */
  back(node: string): void {
    for (const [id, entry] of this.#entries) if (entry.node === node) this.#send(id, entry);
  }

  /** Takes an answer; whatever nobody waits for (any more) is ignored. */
  accept(payload: Buffer, codec: Codec, correlation: Buffer | undefined): void {
    let body: unknown;
    try {
      body = decodeBytes(payload, codec);
    } catch {
      body = undefined;
    }
    const id = correlation?.toString() ?? (body as { id?: unknown } | null | undefined)?.id;
    const entry = typeof id === 'string' ? this.#entries.get(id) : undefined;
    if (!entry || typeof id !== 'string') return;
    const failure = FailureSchema.safeParse(body);
    if (failure.success) {
      const { error, node } = failure.data;
      // The node that stops says so; there may be others.
      if (error.code === 'shutting_down' && entry.anyNode) this.again(id, ELSEWHERE_MS);
      else this.fail(id, error.code, error.message, node);
      return;
    }
    try {
      const answer = entry.read(body);
      this.#end(id);
      entry.resolve(answer as never);
    } catch (error) {
      this.fail(id, 'bad_answer', `the answer is not understood: ${(error as Error).message}`);
    }
  }

  fail(id: string, code: RequestErrorCode | (string & {}), message: string, node?: string): void {
    const entry = this.#end(id);
    entry?.reject(new RequestError(code, message, node));
  }

  failAll(code: RequestErrorCode, message: string): void {
    for (const id of [...this.#entries.keys()]) this.fail(id, code, message);
  }

  #send(id: string, entry: Entry): void {
    entry.send().catch((error: Error) => {
      this.fail(id, 'closed', `${entry.topic}: the request could not be sent: ${error.message}`);
    });
  }

  #end(id: string): Entry | undefined {
    const entry = this.#entries.get(id);
    this.#entries.delete(id);
    for (const timer of entry?.timers ?? []) clearTimeout(timer);
    return entry;
  }
}
