/** Whether the node can do what it is there for. It asks the device, not itself: a tile with a known answer goes through it. */
import { bounded } from '../client/bounded.js';
import type { InferenceHost } from './engine.js';
import { messageOf } from './errors.js';

export interface HealthReport {
  readonly ok: boolean;
  /** What was looked at, and what was found. */
  readonly checks: Readonly<Record<string, string>>;
}

export interface HealthOptions {
  readonly host: InferenceHost;
  readonly connected: () => boolean;
  readonly accepting: () => boolean;
}

/** A self-test waits behind the batches that the engine has. */
const SELF_TEST_MS = 10_000;
/** Asked more often than this, the last answer is given again. */
const FRESH_MS = 1000;

export class Health {
  readonly #options: HealthOptions;
  #last: { readonly at: number; readonly result: Promise<string> } | undefined;
  /** Self-tests whose answer was wrong. */
  mismatches = 0;

  constructor(options: HealthOptions) {
    this.#options = options;
  }

  /** The process lives and its engine is not given up. */
  live(): HealthReport {
    const { lost } = this.#options.host;
    return { ok: !lost, checks: { engine: lost ? 'lost' : 'ok' } };
  }

  /** Requests that come now will be answered. */
  async ready(): Promise<HealthReport> {
    const { host, connected, accepting } = this.#options;
    const checks = {
      engine: host.ready ? 'ok' : host.lost ? 'lost' : 'starting',
      self_test: host.ready ? await this.#selfTest() : 'not run',
      broker: connected() ? 'ok' : 'not connected',
      accepting: accepting() ? 'ok' : 'draining',
    };
    return { ok: Object.values(checks).every((each) => each === 'ok'), checks };
  }

  #selfTest(): Promise<string> {
    const now = performance.now();
    if (!this.#last || now - this.#last.at >= FRESH_MS) {
      const result = bounded(
        this.#options.host.selfTest(),
        SELF_TEST_MS,
        `no answer within ${SELF_TEST_MS / 1000} s`,
      ).then(
        () => 'ok',
        (error) => {
          if ((error as { code?: unknown }).code === 'self-test') this.mismatches++;
          return messageOf(error);
        },
      );
      this.#last = { at: now, result };
    }
    return this.#last.result;
  }
}
