/**
 * fast-check arbitraries for streams of descriptors in a crowded stretch of the window, where operands, tables and
 * outputs of different descriptors overlap at random: what one writes, a later one reads.
 */
import fc from 'fast-check';
import { DESCRIPTOR, DESCRIPTOR_BYTES, FLAG } from '../../../src/device/contract.generated.js';
import { encodeQmm, formatByte } from '../../../src/device/descriptor.js';
import { extentsOf, readFields } from '../../oracle/qmm.js';
import { OPERANDS, OUTPUTS } from './batch.js';

/** The stretch of the window, bytes; the window itself must have room for an output behind it. */
export const STRETCH_BYTES = 48 * 1024;

const beats = (bytes: number) => fc.nat({ max: bytes / 16 - 1 }).map((beat) => beat * 16);
const place = beats(STRETCH_BYTES - 20 * 1024); // The largest operand, 40 rows of 3 blocks of 8 planes, still fits.
const pad = fc.nat({ max: 3 }).map((count) => count * 16);

/** The choices behind one descriptor; encodeAt() turns them into a valid one. */
const choices = fc.record({
  a: fc.constantFrom(...OPERANDS),
  b: fc.constantFrom(...OPERANDS),
  o: fc.constantFrom(...OUTPUTS),
  m: fc.integer({ min: 1, max: 12 }),
  n: fc.integer({ min: 1, max: 40 }),
  k: fc.integer({ min: 1, max: 250 }),
  k0: fc.nat({ max: 127 }),
  n0: fc.nat({ max: 15 }).map((byte) => byte * 8),
  byRow: fc.boolean(),
  early: fc.boolean(),
  pads: fc.tuple(pad, pad, pad),
  aOff: place,
  bOff: place,
  eOff: place,
  oOff: place,
});

type Choices = typeof choices extends fc.Arbitrary<infer T> ? T : never;
type Span = readonly [begin: number, end: number];

const overlaps = (x: Span, y: Span) => x[0] < y[1] && y[0] < x[1];
const blocks = (first: number, count: number) => Math.ceil((first + count) / 128);

/** Encodes choices at window offset `begin`; moves the output up until it overlaps none of its own operands. */
function encodeAt(choice: Choices, begin: number, written: readonly Span[]): Uint8Array {
  const { a, b, o, m, n, k, k0, pads } = choice;
  const n0 = o.bits >= 16 ? 0 : choice.n0;
  const aStride = blocks(k0, k) * 16 * a.bits + pads[0];
  const bStride = blocks(k0, k) * 16 * b.bits + pads[1];
  const oStride = (o.bits >= 16 ? Math.ceil((n * o.bits) / 128) * 16 : blocks(n0, n) * 16 * o.bits) + pads[2];
  const table: Span = [begin + choice.eOff, begin + choice.eOff + 8 * (choice.byRow ? m : n)];
  const left: Span = [begin + choice.aOff, begin + choice.aOff + m * aStride];
  const right: Span = [begin + choice.bOff, begin + choice.bOff + n * bStride];
  const inputs = (o.bits === 32 ? [left, right] : [left, right, table]).toSorted((x, y) => x[0] - y[0]);
  let at = begin + choice.oOff;
  for (const input of inputs) {
    if (overlaps([at, at + m * oStride], input)) at = Math.ceil(input[1] / 16) * 16;
  }
  // EARLY_B is a promise of the host: nothing in flight writes B or the table.
  const early = choice.early && !written.some((span) => overlaps(span, right) || overlaps(span, table));
  const descriptor = new Uint8Array(DESCRIPTOR_BYTES);
  encodeQmm(new DataView(descriptor.buffer), 0, {
    flags: (choice.byRow ? FLAG.TABLE_BY_ROW : 0) | (early ? FLAG.EARLY_B : 0),
    a: { off: left[0], stride: aStride, format: formatByte(a) },
    b: { off: right[0], stride: bStride, format: formatByte(b) },
    o: { off: at, stride: oStride, format: formatByte(o) },
    m,
    n,
    k,
    k0,
    n0,
    ...(o.bits === 32 ? {} : { table: table[0] }),
  });
  return descriptor;
}

/** Streams of 1 to `most` valid descriptors for a window whose free part begins at `begin`. */
export function streams(begin: number, most: number): fc.Arbitrary<Uint8Array[]> {
  return fc.array(choices, { minLength: 1, maxLength: most }).map((list) => {
    const written: Span[] = [];
    return list.map((choice) => {
      const descriptor = encodeAt(choice, begin, written);
      written.push(extentsOf(readFields(descriptor)).o);
      return descriptor;
    });
  });
}

/** A field by its contract name and what to overwrite it with. */
export interface Mutation {
  readonly field: keyof typeof DESCRIPTOR;
  readonly value: number;
}

/** Numbers at which checks and 32-bit arithmetic go wrong. */
export function edgeValues(windowBytes: number, maxK: number): number[] {
  const near = (value: number) => [value - 16, value - 1, value, value + 1, value + 16];
  const all = [
    ...[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 31, 32, 33, 48, 64, 120, 121, 124, 127, 128, 129, 136, 255],
    ...near(2 ** 16),
    ...near(windowBytes),
    ...near(maxK),
    ...near(2 ** 31),
    ...near(2 ** 32 - 17),
  ];
  return [...new Set(all)].filter((value) => value >= 0 && value < 2 ** 32);
}

/** One to three overwritten fields, with numbers from the edges or from anywhere. */
export function mutations(edges: readonly number[]): fc.Arbitrary<Mutation[]> {
  const value = fc.oneof(fc.constantFrom(...edges), fc.integer({ min: 0, max: 2 ** 32 - 1 }));
  const fields = Object.keys(DESCRIPTOR) as (keyof typeof DESCRIPTOR)[];
  return fc.array(fc.record({ field: fc.constantFrom(...fields), value }), { minLength: 1, maxLength: 3 });
}

/** A copy with fields overwritten; one-byte fields take the low byte. */
export function mutate(descriptor: Uint8Array, list: readonly Mutation[]): Uint8Array {
  const copy = descriptor.slice();
  const view = new DataView(copy.buffer);
  for (const { field, value } of list) {
    const { offset, bytes } = DESCRIPTOR[field];
    if (bytes === 1) view.setUint8(offset, value & 0xff);
    else view.setUint32(offset, value, true);
  }
  return copy;
}

/**
 * True when a valid descriptor has a result that the contract defines (its output overlaps none of its operands nor the
 * ring, which ends at `begin`, and it makes no promise about other descriptors) and a size that the oracle finishes.
 */
export function isRunnable(descriptor: Uint8Array, begin: number): boolean {
  const d = readFields(descriptor);
  if (d.op === 0) return true;
  if ((d.flags & FLAG.EARLY_B) !== 0 || d.m * d.n * d.k > 2e6 || (d.m + d.n) * d.k > 4e5) return false;
  const { a, b, o, e } = extentsOf(d);
  return o[0] >= begin && !overlaps(o, a) && !overlaps(o, b) && (e === undefined || !overlaps(o, e));
}
