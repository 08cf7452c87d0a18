/** A binary heap of node numbers: the smallest key first, the smallest number among equal keys. */
export class Heap {
  readonly #keys: Float64Array;
  readonly #items: number[] = [];

  /** `keys` by number; the key of a number must not change while it is in the heap. */
  constructor(keys: Float64Array) {
    this.#keys = keys;
  }

  get size(): number {
    return this.#items.length;
  }

  /** The first number, or -1. */
  get first(): number {
    return this.#items.length === 0 ? -1 : this.#items[0]!;
  }

  push(item: number): void {
    const items = this.#items;
    let at = items.length;
    items.push(item);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#less(item, items[parent]!)) break;
      items[at] = items[parent]!;
      at = parent;
    }
    items[at] = item;
  }

  /** Takes the first number out; -1 where there is none. */
  pop(): number {
    const items = this.#items;
    const first = this.first;
    const last = items.pop();
    if (last === undefined || items.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && this.#less(items[child + 1]!, items[child]!)) child++;
      if (!this.#less(items[child]!, last)) break;
      items[at] = items[child]!;
      at = child;
    }
    items[at] = last;
    return first;
  }

  #less(a: number, b: number): boolean {
    const left = this.#keys[a]!;
    const right = this.#keys[b]!;
    return left < right || (left === right && a < b);
  }
}
