/** A small cache that forgets what was used longest ago; a Map keeps insertion order, which is all it needs. */
export class LeastRecentlyUsed<Value> {
  readonly #capacity: number;
  readonly #entries = new Map<string, { readonly value: Value; readonly size: number }>();
  readonly #forget: (value: Value) => void;
  #size = 0;

  /** Holds entries of at most `capacity` together, one at least. `forget` is called with every value that leaves the cache. */
  constructor(capacity: number, forget: (value: Value) => void = () => undefined) {
    this.#capacity = capacity;
    this.#forget = forget;
  }

  get(key: string): Value | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry.value;
  }

  /** `size` is in the unit of the capacity: entries, unless all sizes are given. */
  set(key: string, value: Value, size = 1): void {
    this.#remove(key);
    this.#entries.set(key, { value, size });
    this.#size += size;
    while (this.#size > this.#capacity && this.#entries.size > 1)
      this.#remove(this.#entries.keys().next().value!);
  }

  clear(): void {
    for (const { value } of this.#entries.values()) this.#forget(value);
    this.#entries.clear();
    this.#size = 0;
  }

  #remove(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    this.#size -= entry.size;
    this.#forget(entry.value);
  }
}
