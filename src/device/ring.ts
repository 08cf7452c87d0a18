/** The descriptor ring: 2^log2 slots of 64 bytes in the window, indexed by a free-running u32 count. */
import { DESCRIPTOR_BYTES } from './contract.generated.js';

export class Ring {
  /** Window offset of slot 0. */
  readonly off: number;
  readonly log2: number;
  readonly entries: number;
  readonly #window: Uint8Array;
  #tail = 0;

  constructor(window: Uint8Array, off: number, log2: number) {
    this.#window = window;
    this.off = off;
    this.log2 = log2;
    this.entries = 2 ** log2;
  }

  /** Bytes of the whole ring. */
  get bytes(): number {
    return this.entries * DESCRIPTOR_BYTES;
  }

  /** Count of descriptors written, modulo 2^32: the next TAIL. */
  get tail(): number {
    return this.#tail;
  }

  /** Starts over, for a reset engine; or takes over the `tail` that a program's run has reached. */
  rewind(tail = 0): void {
    this.#tail = tail >>> 0;
  }

  /** Window offset of the slot of a sequence number. */
  slot(sequence: number): number {
    return this.off + (sequence % this.entries) * DESCRIPTOR_BYTES;
  }

  /** Slots that may be written while the engine is at `head`. */
  space(head: number): number {
    return this.entries - ((this.#tail - head) >>> 0);
  }

  /** Copies descriptors `first`... of `source` behind the tail and returns the new tail. The caller has checked space(). */
  write(source: Uint8Array, first: number, count: number): number {
    let from = first * DESCRIPTOR_BYTES;
    this.#pieces(this.#tail, count, (off, bytes) => {
      this.#window.set(source.subarray(from, from + bytes), off);
      from += bytes;
    });
    this.#tail = (this.#tail + count) >>> 0;
    return this.#tail;
  }

  /** The one or two window ranges that the last `count` descriptors lie in. */
  forEachWritten(count: number, visit: (off: number, bytes: number) => void): void {
    this.#pieces((this.#tail - count) >>> 0, count, visit);
  }

  #pieces(sequence: number, count: number, visit: (off: number, bytes: number) => void): void {
    const before = Math.min(count, this.entries - (sequence % this.entries));
    visit(this.slot(sequence), before * DESCRIPTOR_BYTES);
    if (before < count) visit(this.off, (count - before) * DESCRIPTOR_BYTES);
  }
}
