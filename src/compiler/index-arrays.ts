/** The index arrays of a program: row starts of sequences, chosen rows. They are the same for every run, and lie behind the arena. */

/** Every array starts on a cache line of its own. */
const ALIGN_WORDS = 16;

export class IndexArrays {
  /** Window offset of the first array, 64-byte aligned. */
  readonly off: number;
  readonly #values: number[] = [];
  readonly #known = new Map<string, number>();

  constructor(off: number) {
    this.off = off;
  }

  /** Window offset of an array of these values; equal arrays are one. */
  add(values: readonly number[]): number {
    const key = values.join();
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const off = this.end;
    this.#values.push(...values);
    while (this.#values.length % ALIGN_WORDS !== 0) this.#values.push(0);
    this.#known.set(key, off);
    return off;
  }

  /** Window offset behind the last array. */
  get end(): number {
    return this.off + this.#values.length * 4;
  }

  /** What the window must hold from `off` on. */
  values(): Uint32Array {
    return Uint32Array.from(this.#values);
  }
}
