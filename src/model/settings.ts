/** Reading of config.json for importers: every setting that changes the computation is checked, none is guessed silently. */
import { ImportError } from './import-error.js';
import { MODEL_LIMITS } from './plan.js';

export class Settings {
  readonly #config: Record<string, unknown>;
  readonly #warn: (message: string) => void;

  constructor(config: Record<string, unknown>, warn: (message: string) => void) {
    this.#config = config;
    this.#warn = warn;
  }

  #shown(name: string): string {
    const text = JSON.stringify(this.#config[name]) ?? 'absent';
    return text.length > 60 ? `${text.slice(0, 57)}...` : text;
  }

  #fail(name: string, wanted: string, why = ''): never {
    throw new ImportError(
      'bad-config',
      `config.json: ${name} is ${this.#shown(name)}, it must be ${wanted}${why ? `: ${why}` : ''}`,
    );
  }

  /** A setting that must be present with one value. */
  require(name: string, value: unknown, why: string): void {
    if (this.#config[name] !== value) this.#fail(name, JSON.stringify(value), why);
  }

  /** A setting with one supported value, which is also the released scripts' default when it is absent. */
  expect(name: string, value: string | boolean): void {
    const found = this.#config[name];
    if (found === undefined) return;
    if (found !== value) {
      throw new ImportError(
        'unsupported',
        `config.json: ${name} is ${this.#shown(name)}; only ${JSON.stringify(value)} is supported`,
      );
    }
  }

  /** One of a list; must be present. */
  oneOf<T extends string | number>(name: string, values: readonly T[], why: string): T {
    const found = values.find((value) => value === this.#config[name]);
    if (found === undefined) this.#fail(name, values.map((value) => JSON.stringify(value)).join(' or '), why);
    return found;
  }

  /** A boolean; absent means the released scripts' default, with a warning. */
  flag(name: string, absent: boolean): boolean {
    const found = this.#config[name];
    if (found === undefined) {
      this.#warn(`config.json has no ${name}; taking ${absent}, the default of the released scripts`);
      return absent;
    }
    if (typeof found !== 'boolean') this.#fail(name, 'true or false');
    return found;
  }

  /** A size from 1 to `most`. */
  size(name: string, most: number = MODEL_LIMITS.width): number {
    const found = this.#config[name];
    if (typeof found !== 'number' || !Number.isInteger(found) || found < 1 || found > most) {
      this.#fail(name, `a whole number from 1 to ${most}`);
    }
    return found;
  }

  /** True where the setting is there and not null. */
  has(name: string): boolean {
    return this.#config[name] !== undefined && this.#config[name] !== null;
  }

  /** A positive number; `absent` where it is not there. */
  positive(name: string, absent: number): number {
    const found = this.#config[name] ?? absent;
    if (typeof found !== 'number' || !(found > 0) || !(found < 1))
      this.#fail(name, 'a number between 0 and 1');
    return found;
  }
}
