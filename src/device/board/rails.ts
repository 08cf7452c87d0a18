/** Power rails: INA226 monitors of a board, found by name in hwmon (their numbers change from boot to boot). */
import { readFile } from 'node:fs/promises';
import type { Profile, Rail } from './profile.js';
import { list, readLine, readNumber, systemPath } from './system.js';

const HWMON = '/sys/class/hwmon';

/** A rail that can be read. */
export interface RailSensor extends Rail {
  /** Its folder in hwmon. */
  readonly folder: string;
}

/** Watts of every rail at one moment; undefined where a read failed. */
export type RailWatts = readonly (number | undefined)[];

/**
 * The chip that a hwmon device is. Through iio-hwmon its name is "ina226_u79"; with the plain driver all are "ina226" and only the
 * device tree's label tells them apart.
 */
function chipOf(entry: string): string | undefined {
  const name = readLine(HWMON, entry, 'name') ?? '';
  const named = /^ina226[_-](u\d+)$/.exec(name)?.[1];
  if (named) return named;
  if (!/^ina2(26|xx)$/.test(name)) return undefined;
  return /^ina226[_-](u\d+)$/.exec(readLine(HWMON, entry, 'device/of_node/label') ?? '')?.[1];
}

/** The rails of a profile that this machine has. */
export function findRails(profile: Profile | undefined): RailSensor[] {
  if (profile === undefined || profile.rails.length === 0) return [];
  const folders = new Map(list(HWMON).map((entry) => [chipOf(entry), `${HWMON}/${entry}`]));
  return profile.rails.flatMap((rail) => {
    const folder = folders.get(rail.chip);
    return folder === undefined ? [] : [{ ...rail, folder }];
  });
}

/** power1_input is in microwatts; without it voltage (mV) times current (mA). */
function wattsFrom(
  microwatts: number | undefined,
  millivolts?: number,
  milliamps?: number,
): number | undefined {
  if (microwatts !== undefined) return microwatts / 1e6;
  return millivolts === undefined || milliamps === undefined ? undefined : (millivolts * milliamps) / 1e6;
}

function watts({ folder }: RailSensor): number | undefined {
  const read = (name: string) => readNumber(folder, name);
  return wattsFrom(read('power1_input')) ?? wattsFrom(undefined, read('in1_input'), read('curr1_input'));
}

/** Reads every rail once. Each is an I2C transfer of about a millisecond. */
export function readRails(rails: readonly RailSensor[]): RailWatts {
  return rails.map(watts);
}

/** The same without waiting on this thread: for whoever serves others meanwhile. One rail after another, for they share a bus. Never rejects. */
export async function readRailsLater(rails: readonly RailSensor[]): Promise<RailWatts> {
  const values: (number | undefined)[] = [];
  for (const { folder } of rails) {
    const read = async (name: string) => {
      const text = await readFile(systemPath(folder, name), 'latin1').catch(() => '');
      return /^-?\d+\s*$/.test(text) ? Number(text) : undefined;
    };
    values.push(
      wattsFrom(await read('power1_input')) ??
        wattsFrom(undefined, await read('in1_input'), await read('curr1_input')),
    );
  }
  return values;
}

/** Power over a time, by trapezoids between samples. */
export class EnergyMeter {
  readonly #rails: readonly RailSensor[];
  readonly #joules: number[];
  #last: { readonly at: number; readonly watts: RailWatts } | undefined;
  /** Seconds covered. */
  seconds = 0;
  samples = 0;

  constructor(rails: readonly RailSensor[]) {
    this.#rails = rails;
    this.#joules = rails.map(() => 0);
  }

  /** Takes a sample; `now` is in milliseconds. A read that fails takes the rail's last value. */
  sample(now: number = performance.now(), read: RailWatts = readRails(this.#rails)): void {
    const last = this.#last;
    const watts = read.map((value, rail) => value ?? last?.watts[rail] ?? 0);
    if (last) {
      const seconds = (now - last.at) / 1000;
      this.seconds += seconds;
      watts.forEach((value, rail) => {
        this.#joules[rail]! += (seconds * (value + last.watts[rail]!)) / 2;
      });
    }
    this.samples++;
    this.#last = { at: now, watts };
  }

  /** Joules of the rails that `count` keeps. */
  joules(count: (rail: RailSensor) => boolean = () => true): number {
    return this.#rails.reduce((sum, rail, index) => sum + (count(rail) ? this.#joules[index]! : 0), 0);
  }

  /** Mean watts of the rails that `count` keeps; 0 before the second sample. */
  watts(count: (rail: RailSensor) => boolean = () => true): number {
    return this.seconds === 0 ? 0 : this.joules(count) / this.seconds;
  }
}
