// The bytes of a pickle, read front to back with every length checked against what is left.
import { MAX_PICKLE_LONG_BYTES } from './limits.js';
import { PickleProblem } from './pickle-values.js';

/** Longest module or attribute name of a GLOBAL. */
const MAX_LINE = 512;

const NEWLINE = 0x0a;

/** A cursor over a pickle; every method throws PickleProblem `bad-pickle` at a premature end. */
export class PickleInput {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  /** Unlike Python, broken UTF-8 and lone surrogates are refused; a byte-order mark is a character. */
  readonly #utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Offset of the next byte. */
  get position(): number {
    return this.#at;
  }

  get ended(): boolean {
    return this.#at === this.#bytes.length;
  }

  u8(): number {
    return this.#view.getUint8(this.#advance(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#advance(2), true);
  }

  i32(): number {
    return this.#view.getInt32(this.#advance(4), true);
  }

  u32(): number {
    return this.#view.getUint32(this.#advance(4), true);
  }

  /** Big-endian, as BINFLOAT has it. */
  f64(): number {
    return this.#view.getFloat64(this.#advance(8), false);
  }

  /** A 64-bit length; it must fit into what is left. */
  length64(): number {
    const length = this.#view.getBigUint64(this.#advance(8), true);
    if (length > BigInt(this.#bytes.length - this.#at))
      throw new PickleProblem('bad-pickle', `it announces ${length} bytes, more than it has`);
    return Number(length);
  }

  /** A copy of the next bytes. */
  bytes(length: number): Uint8Array {
    const start = this.#advance(length);
    // Not slice(): a Buffer's would share the memory.
    return new Uint8Array(this.#bytes.subarray(start, start + length));
  }

  text(length: number): string {
    const start = this.#advance(length);
    return this.#decode(start, start + length);
  }

  /** Text up to a newline, which is consumed. */
  line(): string {
    const start = this.#at;
    const end = this.#bytes.subarray(start, start + MAX_LINE + 1).indexOf(NEWLINE);
    if (end < 0) throw new PickleProblem('bad-pickle', 'a name in it does not end');
    this.#advance(end + 1);
    return this.#decode(start, start + end);
  }

  /** Little-endian two's complement of any length; a bigint only where a number would be inexact. */
  long(length: number): number | bigint {
    if (length < 0 || length > MAX_PICKLE_LONG_BYTES)
      throw new PickleProblem(
        'too-large',
        `it has an integer of ${length} bytes, the limit is ${MAX_PICKLE_LONG_BYTES}`,
      );
    const start = this.#advance(length);
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.#bytes[start + i]!);
    value = BigInt.asIntN(8 * length, value);
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value;
  }

  #decode(start: number, end: number): string {
    try {
      return this.#utf8.decode(this.#bytes.subarray(start, end));
    } catch {
      throw new PickleProblem('bad-pickle', 'a string in it is not UTF-8');
    }
  }

  /** Moves past `count` bytes and returns where they begin. */
  #advance(count: number): number {
    const start = this.#at;
    if (count > this.#bytes.length - start) throw new PickleProblem('bad-pickle', 'it ends too early');
    this.#at = start + count;
    return start;
  }
}
