/** Places many QMMs side by side in the window of a rig and runs them together. */
import { DESCRIPTOR_BYTES, FLAG } from '../../../src/device/contract.generated.js';
import { encodeQmm, type Format, formatByte } from '../../../src/device/descriptor.js';
import { random32 } from './random.js';
import type { Rig } from './rig.js';

/** One QMM by its meaning; the batch chooses the places. */
export interface Case {
  readonly a: Format;
  readonly b: Format;
  readonly o: Format;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly k0?: number;
  readonly n0?: number;
  readonly byRow?: boolean;
  /** Bytes that the strides of A, B and the output are longer than their rows; multiples of 16. */
  readonly pad?: readonly [number, number, number];
  /** Raw bits of an element of A or B; without them the operand is whatever the poison holds. */
  readonly rawA?: (row: number, k: number) => number;
  readonly rawB?: (row: number, k: number) => number;
  /** Bias and mul of a table entry. */
  readonly table?: (index: number) => readonly [number, number];
}

/** U and S at 1, 2, 4, 8 bits, and plus/minus one: everything that A and B can be. */
export const OPERANDS: readonly Format[] = [
  ...([1, 2, 4, 8] as const).flatMap((bits) => [
    { bits, encoding: 'U' as const },
    { bits, encoding: 'S' as const },
  ]),
  { bits: 1, encoding: 'PM1' },
];

/** Everything that an output can be. */
export const OUTPUTS: readonly Format[] = [
  ...OPERANDS,
  { bits: 16, encoding: 'S' },
  { bits: 32, encoding: 'S' },
];

const up16 = (bytes: number) => Math.ceil(bytes / 16) * 16;
const planeRow = (first: number, count: number, bits: number) => Math.ceil((first + count) / 128) * 16 * bits;

export class Batch {
  readonly #rig: Rig;
  readonly #next: () => number;
  #descriptors: Uint8Array[] = [];
  #at: number;

  constructor(rig: Rig, seed: number) {
    this.#rig = rig;
    this.#next = random32(seed);
    this.#at = rig.begin;
  }

  /** Adds a case; runs what has gathered when the window or the ring is full. */
  add(what: Case): void {
    const { m, n, k, k0 = 0, n0 = 0, pad = [0, 0, 0] } = what;
    const aRow = planeRow(k0, k, what.a.bits) + pad[0];
    const bRow = planeRow(k0, k, what.b.bits) + pad[1];
    const oRow = (what.o.bits >= 16 ? up16((n * what.o.bits) / 8) : planeRow(n0, n, what.o.bits)) + pad[2];
    const entries = what.o.bits === 32 ? 0 : what.byRow ? m : n;
    const bytes = m * aRow + n * bRow + m * oRow + up16(entries * 8) + 4 * 48;
    if (this.#at + bytes > this.#rig.memory.byteLength || this.#descriptors.length === this.#rig.ringEntries)
      this.flush();

    if (this.#descriptors.length === 0) this.#rig.poison(this.#next());
    const a = { off: this.#place(m * aRow), stride: aRow, format: formatByte(what.a) };
    const b = { off: this.#place(n * bRow), stride: bRow, format: formatByte(what.b) };
    const o = { off: this.#place(m * oRow), stride: oRow, format: formatByte(what.o) };
    if (what.rawA) this.#write(a.off, aRow, what.a.bits, m, k, k0, what.rawA);
    if (what.rawB) this.#write(b.off, bRow, what.b.bits, n, k, k0, what.rawB);
    const table = entries > 0 ? { table: this.#place(entries * 8) } : {};
    if (table.table !== undefined) this.#writeTable(table.table, entries, what.table);

    const descriptor = new Uint8Array(DESCRIPTOR_BYTES);
    const flags = (what.byRow ? FLAG.TABLE_BY_ROW : 0) | (this.#next() % 2 ? FLAG.EARLY_B : 0);
    encodeQmm(new DataView(descriptor.buffer), 0, {
      flags,
      a,
      b,
      o,
      m,
      n,
      k,
      k0,
      n0,
      ...table,
      tag: this.#next(),
    });
    this.#descriptors.push(descriptor);
  }

  /** Runs and compares what has gathered. */
  flush(): void {
    if (this.#descriptors.length === 0) return;
    this.#rig.run(this.#descriptors);
    this.#descriptors = [];
    this.#at = this.#rig.begin;
  }

  /** A range behind the last one, now and then with a gap: neighbours that touch catch a write too far. */
  #place(bytes: number): number {
    const off = this.#at + 16 * (this.#next() % 4);
    this.#at = off + up16(bytes);
    if (this.#at > this.#rig.memory.byteLength)
      throw new RangeError(`a case of ${bytes} bytes does not fit the window`);
    return off;
  }

  #write(
    off: number,
    stride: number,
    bits: number,
    rows: number,
    k: number,
    k0: number,
    raw: (row: number, k: number) => number,
  ): void {
    for (let row = 0; row < rows; row++) {
      for (let i = 0; i < k; i++) {
        for (let plane = 0; plane < bits; plane++) {
          const element = k0 + i;
          const byte =
            off + row * stride + Math.floor(element / 128) * 16 * bits + 16 * plane + ((element % 128) >> 3);
          const mask = 1 << (element & 7);
          const old = this.#rig.memory[byte]!;
          this.#rig.memory[byte] = (raw(row, i) >> plane) & 1 ? old | mask : old & ~mask;
        }
      }
    }
  }

  #writeTable(off: number, entries: number, entry: Case['table']): void {
    const view = new DataView(this.#rig.memory.buffer, off, entries * 8);
    for (let i = 0; i < entries; i++) {
      const [bias, mul] = entry?.(i) ?? this.#anyEntry();
      view.setInt32(8 * i, bias, true);
      view.setInt32(8 * i + 4, mul, true);
    }
  }

  /** An extreme entry, or a bias near the dot products of small cases with a mul that spreads them over the output. */
  #anyEntry(): readonly [number, number] {
    const next = this.#next;
    if (next() % 4 === 0)
      return [EXTREME_BIASES[next() % EXTREME_BIASES.length]!, EXTREME_MULS[next() % EXTREME_MULS.length]!];
    const sign = next() % 2 ? 1 : -1;
    return [(next() % 4096) - 2048, sign * (next() >>> (8 + (next() % 14)))];
  }
}

const INT_MAX = 2 ** 31 - 1;
const INT_MIN = -(2 ** 31);

/** Biases around zero, around the wrap of the sum, and around thresholds. */
export const EXTREME_BIASES: readonly number[] = [
  0,
  1,
  -1,
  -5,
  127,
  -128,
  2 ** 24,
  -(2 ** 24),
  INT_MAX,
  INT_MAX - 1,
  INT_MIN,
  INT_MIN + 1,
];

/** Nothing, one step, halves (every odd sum is a tie), three quarters, one, just over one, and the ends. */
export const EXTREME_MULS: readonly number[] = [
  0,
  1,
  -1,
  2 ** 22,
  2 ** 23,
  -(2 ** 23),
  2 ** 23 - 1,
  3 * 2 ** 22,
  2 ** 24,
  -(2 ** 24),
  2 ** 24 + 1,
  3 * 2 ** 23,
  INT_MAX,
  INT_MIN,
];
