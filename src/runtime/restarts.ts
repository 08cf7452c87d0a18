/** When a process that died is started again: soon at first, later and later while it keeps dying, and at last not at all. */

export interface RestartPolicy {
  /** Pause before the first restart, milliseconds; doubles with each failure in a row. */
  readonly firstMs: number;
  readonly mostMs: number;
  /** A process that lived this long has not failed "in a row". */
  readonly stableMs: number;
  /** Failures in a row after which nothing is tried any more. */
  readonly attempts: number;
}

export const RESTARTS: RestartPolicy = { firstMs: 50, mostMs: 5_000, stableMs: 30_000, attempts: 8 };

/** Pure: times are arguments, milliseconds of any one clock. */
export class Restarts {
  readonly #policy: RestartPolicy;
  #failures = 0;
  #started = 0;
  /** Restarts in all. */
  total = 0;

  constructor(policy: RestartPolicy = RESTARTS) {
    this.#policy = policy;
  }

  /** A process is ready. */
  started(now: number): void {
    this.#started = now;
  }

  /** A process died, or did not start: the pause before the next one, or undefined to give up. */
  failed(now: number, wasReady: boolean): number | undefined {
    const { firstMs, mostMs, stableMs, attempts } = this.#policy;
    if (wasReady && now - this.#started >= stableMs) this.#failures = 0;
    this.#failures++;
    if (this.#failures > attempts) return undefined;
    this.total++;
    return Math.min(mostMs, firstMs * 2 ** (this.#failures - 1));
  }
}
