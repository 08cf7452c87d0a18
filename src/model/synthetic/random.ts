/** Random numbers that are the same on every machine for the same seed. */

/** Normal values that tensors are filled from: a row begins at a random one. Prime, so that neighbouring rows do not line up. */
const POOL = 1_048_573;

export class Random {
  #state: number;
  #pool: Float32Array | undefined;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** Uniform in [0, 1): mulberry32. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /**
   * float32[rows][cols], normal around `mean` with a deviation. Rows are pieces of one pool of values, from random places on: a hundred million
   * draws would take longer than everything else.
   */
  normals(rows: number, cols: number, mean: number, deviation: number): Float32Array {
    this.#pool ??= this.#drawPool();
    const values = new Float32Array(rows * cols);
    for (let i = 0; i < values.length; ) {
      let at = Math.floor(this.next() * POOL);
      for (const end = Math.min(i + cols, values.length); i < end; i++) {
        values[i] = mean + deviation * this.#pool[at]!;
        at = at + 1 < POOL ? at + 1 : 0;
      }
    }
    return values;
  }

  /** Box-Muller, the cosine half. */
  #drawPool(): Float32Array {
    return Float32Array.from(
      { length: POOL },
      () => Math.sqrt(-2 * Math.log(1 - this.next())) * Math.cos(2 * Math.PI * this.next()),
    );
  }
}
