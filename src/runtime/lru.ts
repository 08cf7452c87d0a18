/** A small cache that forgets what was used longest ago; a Map keeps insertion order, which is all it needs. */
export class LeastRecentlyUsed<Value> {
  readonly #capacity: number;
  readonly #entries = new Map<string, Value>();
  readonly #forget: (value: Value) => void;

  /** `forget` is called with every value that leaves the cache. */
  constructor(capacity: number, forget: (value: Value) => void = () => undefined) {
    this.#capacity = capacity;
    this.#forget = forget;
  }

  get(key: string): Value | undefined {
    const value = this.#entries.get(key);
    if (value === undefined) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, value);
    return value;
  }

  set(key: string, value: Value): void {
    this.#remove(key);
    this.#entries.set(key, value);
    if (this.#entries.size > this.#capacity) this.#remove(this.#entries.keys().next().value!);
  }

  clear(): void {
    for (const value of this.#entries.values()) this.#forget(value);
    this.#entries.clear();
  }

  #remove(key: string): void {
    const value = this.#entries.get(key);
    if (value === undefined) return;
    this.#entries.delete(key);
    this.#forget(value);
  }
}
