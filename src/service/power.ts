/** Power of the board that the node runs on, where it has rails that can be read: mean over a time, from samples that block nobody. */
import { findProfile } from '../device/board/profile.js';
import {
  EnergyMeter,
  findRails,
  type RailSensor,
  type RailWatts,
  readRailsLater,
} from '../device/board/rails.js';

/** Every sample is an I2C transfer for each rail, on one slow bus. */
const SAMPLE_MS = 1000;

export class PowerSampler {
  readonly rails: readonly RailSensor[];
  readonly #timer: NodeJS.Timeout;
  /** Since the start, for counters. */
  readonly #total: EnergyMeter;
  /** Since the last report. */
  #interval: EnergyMeter;
  #busy = false;
  /** Watts of each rail in the last sample. */
  last: RailWatts = [];

  /** Samples until it is closed; undefined where there are no rails. */
  static start(sampleMs = SAMPLE_MS): PowerSampler | undefined {
    const rails = findRails(findProfile());
    return rails.length > 0 ? new PowerSampler(rails, sampleMs) : undefined;
  }

  private constructor(rails: readonly RailSensor[], sampleMs: number) {
    this.rails = rails;
    this.#total = new EnergyMeter(rails);
    this.#interval = new EnergyMeter(rails);
    this.#timer = setInterval(() => void this.#sample(), sampleMs);
    this.#timer.unref();
  }

  /** Mean watts of all rails since the last call; undefined where there were no two samples. */
  takeWatts(): number | undefined {
    const { seconds } = this.#interval;
    const watts = this.#interval.watts();
    this.#interval = new EnergyMeter(this.rails);
    // The next interval begins where this one ended.
    if (this.last.length > 0) this.#interval.sample(performance.now(), this.last);
    return seconds > 0 ? watts : undefined;
  }

  /** Joules since the start of the rails that `count` keeps. */
  joules(count: (rail: RailSensor) => boolean): number {
    return this.#total.joules(count);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #sample(): Promise<void> {
    // A bus that is slower than this is asked again when it has answered.
    if (this.#busy) return;
    this.#busy = true;
    this.last = await readRailsLater(this.rails);
    this.#busy = false;
    const now = performance.now();
    for (const meter of [this.#total, this.#interval]) meter.sample(now, this.last);
  }
}
