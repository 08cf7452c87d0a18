/**
 * What the service manager hears from a daemon: ready, alive, stopping. "Alive" is not that a timer still runs, but that a tile has just
 * gone through the engine and come back right; without that the watchdog is not petted, and the service is started again.
 */
import { bounded } from '../client/bounded.js';
import { messageOf } from './errors.js';
import type { Log } from './log.js';

export interface SupervisorOptions {
  /** Tells the service manager; false where there is none. */
  readonly notify: (state: string) => boolean;
  /** A tile with a known answer through the engine. Rejects where it fails. */
  readonly selfTest: () => Promise<void>;
  readonly log: Pick<Log, 'warn'>;
  /** The manager's variables: WATCHDOG_USEC and WATCHDOG_PID. */
  readonly env?: NodeJS.ProcessEnv;
}

/** Petted this many times in the time that the manager allows: one late self-test is no reason to end a service. */
const PETS = 3;

export class Supervisor {
  readonly #options: SupervisorOptions;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: SupervisorOptions) {
    this.#options = options;
  }

  /** Milliseconds that the manager allows between two signs of life, or undefined where it watches no one. */
  static watchdogMs(env: NodeJS.ProcessEnv): number | undefined {
    const microseconds = Number(env.WATCHDOG_USEC);
    if (!Number.isSafeInteger(microseconds) || microseconds <= 0) return undefined;
    // The variables are inherited by everything that the service starts.
    if (env.WATCHDOG_PID !== undefined && env.WATCHDOG_PID !== String(process.pid)) return undefined;
    return microseconds / 1000;
  }

  /** The service answers from now on. `status` is what `systemctl status` shows. */
  ready(status: string): void {
    if (!this.#tell(`READY=1\nSTATUS=${status.replaceAll('\n', ' ')}`)) return;
    const allowed = Supervisor.watchdogMs(this.#options.env ?? process.env);
    if (allowed !== undefined) void this.#watch(allowed / PETS);
  }

  stopping(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#tell('STOPPING=1');
  }

  async #watch(period: number): Promise<void> {
    const began = performance.now();
    try {
      await bounded(this.#options.selfTest(), period, `no answer within ${Math.round(period)} ms`);
      if (!this.#stopped) this.#tell('WATCHDOG=1');
    } catch (error) {
      if (!this.#stopped)
        this.#options.log.warn(
          { reason: messageOf(error) },
          'self-test failed: the watchdog is not told that all is well',
        );
    }
    if (this.#stopped) return;
    this.#timer = setTimeout(
      () => void this.#watch(period),
      Math.max(0, period - (performance.now() - began)),
    );
  }

  /** A manager that cannot be reached is no reason to stop answering. */
  #tell(state: string): boolean {
    try {
      return this.#options.notify(state);
    } catch (error) {
      this.#options.log.warn({ reason: messageOf(error) }, 'the service manager cannot be told');
      return false;
    }
  }
}
