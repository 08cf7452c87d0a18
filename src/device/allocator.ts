/** Allocation inside the DMA window: few, long-lived ranges (models, arenas), so first fit over a sorted free list. */
import { DeviceError } from './errors.js';

/** A range of the window, bytes. */
export interface Range {
  readonly off: number;
  readonly bytes: number;
}

/** Alignment of every range: a cache line of every CPU we run on, four beats. */
export const RANGE_ALIGN = 64;

/** Rounds up to a multiple of `align`. */
export function alignUp(value: number, align: number): number {
  return Math.ceil(value / align) * align;
}

export class WindowAllocator {
  readonly #size: number;
  #free: Range[];
  readonly #used = new Map<number, number>();

  /** Manages [begin, end) of the window. */
  constructor(begin: number, end: number) {
    const off = alignUp(begin, RANGE_ALIGN);
    this.#size = end - off;
    this.#free = [{ off, bytes: this.#size }];
  }

  /** Bytes not allocated, not necessarily in one piece. */
  get freeBytes(): number {
    return this.#free.reduce((sum, range) => sum + range.bytes, 0);
  }

  /** Largest range that allocate() can give now. */
  get largestFree(): number {
    return this.#free.reduce((most, range) => Math.max(most, range.bytes), 0);
  }

  /** A range of at least `bytes`, 64-byte aligned. Throws 'window-full' with both numbers. */
  allocate(bytes: number, what: string): Range {
    if (!Number.isSafeInteger(bytes) || bytes <= 0) throw new RangeError(`${what}: ${bytes} is no size`);
    const need = alignUp(bytes, RANGE_ALIGN);
    const index = this.#free.findIndex((range) => range.bytes >= need);
    const hole = this.#free[index];
    if (hole === undefined) {
      throw new DeviceError(
        'window-full',
        `${what} needs ${need} bytes of the DMA window; ${this.largestFree} of its ${this.#size} are free in one piece. ` +
          'Use a larger window (?window=SIZE in the device URI, or the DMA pool of the board), or unload a model',
      );
    }
    if (hole.bytes === need) this.#free.splice(index, 1);
    else this.#free[index] = { off: hole.off + need, bytes: hole.bytes - need };
    this.#used.set(hole.off, need);
    return { off: hole.off, bytes: need };
  }

  /** Gives a range back. Throws when it is not one that allocate() returned. */
  free(range: Range): void {
    const bytes = this.#used.get(range.off);
    if (bytes === undefined) throw new RangeError(`no allocation at window offset ${range.off}`);
    this.#used.delete(range.off);
    const sorted = [...this.#free, { off: range.off, bytes }].sort((a, b) => a.off - b.off);
    this.#free = [];
    for (const hole of sorted) {
      const last = this.#free.at(-1);
      if (last && last.off + last.bytes === hole.off)
        this.#free[this.#free.length - 1] = { off: last.off, bytes: last.bytes + hole.bytes };
      else this.#free.push(hole);
    }
  }
}
