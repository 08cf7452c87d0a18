/** What an engine process was asked and has not answered: every job gets an answer, an error, or the end of the process as its error. */
import { HostError } from './errors.js';
import type { Frame } from './frames.js';
import { type FromEngine, toWireError } from './protocol.js';

export type Done = Extract<FromEngine, { kind: 'done' }>;

interface Job {
  readonly done: (message: Done, body: Frame['body']) => void;
  readonly reject: (error: HostError) => void;
}

/** Bound of one job; a batch of 64 long sequences of a large model on a small CPU stays far below it. */
const JOB_MS = 300_000;

export class JobTable {
  readonly #jobs = new Map<number, Job>();
  readonly #onOverdue: (seconds: number) => void;
  #next = 0;

  /** `onOverdue` is called when a job has had no answer for too long: whoever it was given to must be ended. */
  constructor(onOverdue: (seconds: number) => void) {
    this.#onOverdue = onOverdue;
  }

  /** Gives a number to `post` and resolves with what `take` makes of the answer; rejects with HostError. */
  ask<T>(post: (job: number) => void, take: (message: Done, body: Frame['body']) => T): Promise<T> {
    const job = this.#next++;
    return new Promise<T>((resolve, reject) => {
      const timer = setTimeout(() => this.#onOverdue(JOB_MS / 1000), JOB_MS);
      this.#jobs.set(job, {
        done: (message, body) => {
          clearTimeout(timer);
          try {
            resolve(take(message, body));
          } catch (error) {
            reject(new HostError(toWireError(error)));
          }
        },
        reject: (error) => {
          clearTimeout(timer);
          reject(error);
        },
      });
      post(job);
    });
  }

  /** The answer to a job. */
  receive(message: Extract<FromEngine, { kind: 'done' | 'error' }>, body: Frame['body']): void {
    const job = this.#jobs.get(message.job);
    this.#jobs.delete(message.job);
    if (message.kind === 'done') job?.done(message, body);
    else job?.reject(new HostError(message.error));
  }

  /** Ends all jobs with an error. */
  fail(error: HostError): void {
    const jobs = [...this.#jobs.values()];
    this.#jobs.clear();
    for (const { reject } of jobs) reject(error);
  }
}
