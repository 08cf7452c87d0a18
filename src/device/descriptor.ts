/**
 * Descriptors and formats of the engine contract (docs/contract.md, sections 3 and 4): pure encoding, no device.
 */
import {
  BEAT_BYTES,
  BLOCK_ELEMENTS,
  DESCRIPTOR,
  DESCRIPTOR_BYTES,
  ENCODING,
  FORMAT,
  OP,
} from './contract.generated.js';

/** Encoding of a value in bit-planes: unsigned, two's complement, or plus/minus one (1 bit only). */
export type Encoding = keyof typeof ENCODING;

/** Width of an operand or output, bits. */
export type Width = 1 | 2 | 4 | 8 | 16 | 32;

/** A format byte taken apart. */
export interface Format {
  readonly bits: Width;
  readonly encoding: Encoding;
}

/** Format byte of a width and an encoding. */
export function formatByte({ bits, encoding }: Format): number {
  return Math.log2(bits) | (ENCODING[encoding] << FORMAT.ENCODING_SHIFT);
}

const ENCODINGS = Object.keys(ENCODING) as Encoding[];

/** The format of a byte, or undefined when it is none. */
export function parseFormat(byte: number): Format | undefined {
  const log2 = byte & FORMAT.WIDTH_MASK;
  const encoding = ENCODINGS.find(
    (name) => ENCODING[name] === ((byte >> FORMAT.ENCODING_SHIFT) & FORMAT.ENCODING_MASK),
  );
  if (log2 > FORMAT.OUTPUT_MAX_LOG2 || encoding === undefined) return undefined;
  // PM1 has one bit, int16 and int32 have a sign: a message about a wrong format must not make it look right.
  if ((encoding === 'PM1' && log2 !== 0) || (encoding !== 'S' && log2 > FORMAT.OPERAND_MAX_LOG2))
    return undefined;
  const format: Format = { bits: (1 << log2) as Width, encoding };
  return formatByte(format) === byte ? format : undefined; // Spare bits are zero.
}

/** "u4", "s2", "pm1", "int32": how tables and messages name a format. */
export function formatName({ bits, encoding }: Format): string {
  if (bits >= 16) return `int${bits}`;
  return encoding === 'PM1' ? 'pm1' : `${encoding.toLowerCase()}${bits}`;
}

/** Blocks of 128 elements that a row of `k` elements from element `k0` touches. */
export function rowBlocks(k: number, k0 = 0): number {
  return Math.ceil((k0 + k) / BLOCK_ELEMENTS);
}

/** Bytes of one row of bit-planes, padded to whole blocks. */
export function planeRowBytes(k: number, bits: number, k0 = 0): number {
  return rowBlocks(k, k0) * BEAT_BYTES * bits;
}

/** Byte offset of the block that holds `element`, from the start of its row. */
export function blockOffset(element: number, bits: number): number {
  return Math.floor(element / BLOCK_ELEMENTS) * BEAT_BYTES * bits;
}

/** One QMM, in the host's terms. Offsets are window offsets, strides bytes. */
export interface Qmm {
  readonly flags?: number;
  readonly a: { readonly off: number; readonly stride: number; readonly format: number };
  readonly b: { readonly off: number; readonly stride: number; readonly format: number };
  readonly o: { readonly off: number; readonly stride: number; readonly format: number };
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly k0?: number;
  readonly n0?: number;
  /** Epilogue table; absent for int32 output. */
  readonly table?: number;
  readonly tag?: number;
}

/** Writes a QMM descriptor at byte `at` of `view`. */
export function encodeQmm(view: DataView, at: number, qmm: Qmm): void {
  const u8 = (field: { offset: number }, value: number) => view.setUint8(at + field.offset, value);
  const u32 = (field: { offset: number }, value: number) => view.setUint32(at + field.offset, value, true);
  for (let i = 0; i < DESCRIPTOR_BYTES; i += 4) view.setUint32(at + i, 0, true);
  u8(DESCRIPTOR.op, OP.QMM);
  u8(DESCRIPTOR.flags, qmm.flags ?? 0);
  u8(DESCRIPTOR.a_fmt, qmm.a.format);
  u8(DESCRIPTOR.b_fmt, qmm.b.format);
  u8(DESCRIPTOR.o_fmt, qmm.o.format);
  u8(DESCRIPTOR.k0, qmm.k0 ?? 0);
  u8(DESCRIPTOR.n0, qmm.n0 ?? 0);
  u32(DESCRIPTOR.m, qmm.m);
  u32(DESCRIPTOR.n, qmm.n);
  u32(DESCRIPTOR.k, qmm.k);
  u32(DESCRIPTOR.a_off, qmm.a.off);
  u32(DESCRIPTOR.a_stride, qmm.a.stride);
  u32(DESCRIPTOR.b_off, qmm.b.off);
  u32(DESCRIPTOR.b_stride, qmm.b.stride);
  u32(DESCRIPTOR.o_off, qmm.o.off);
  u32(DESCRIPTOR.o_stride, qmm.o.stride);
  u32(DESCRIPTOR.e_off, qmm.table ?? 0);
  u32(DESCRIPTOR.tag, qmm.tag ?? 0);
}

/** Every field of a descriptor by its contract name, for messages and tools. */
export type DecodedDescriptor = Readonly<Record<keyof typeof DESCRIPTOR, number>>;

/** Reads a descriptor of 64 bytes at byte `at` of `view`. */
export function decodeDescriptor(view: DataView, at: number): DecodedDescriptor {
  const fields = Object.entries(DESCRIPTOR).map(([name, { offset, bytes }]) => [
    name,
    bytes === 1 ? view.getUint8(at + offset) : view.getUint32(at + offset, true),
  ]);
  return Object.fromEntries(fields);
}

/** A descriptor on one line: `QMM a=s4 b=pm1 o=int32 M=10 N=768 K=768 a@0x10000+96 ...`. */
export function describeDescriptor(d: DecodedDescriptor): string {
  if (d.op === OP.NOP) return `NOP tag=${d.tag}`;
  const format = (byte: number) => {
    const parsed = parseFormat(byte);
    return parsed ? formatName(parsed) : `0x${byte.toString(16)}?`;
  };
  const operand = (name: string, off: number, stride: number) => `${name}@0x${off.toString(16)}+${stride}`;
  return [
    d.op === OP.QMM ? 'QMM' : `op ${d.op}?`,
    `flags=0x${d.flags.toString(16)}`,
    `a=${format(d.a_fmt)} b=${format(d.b_fmt)} o=${format(d.o_fmt)}`,
    `M=${d.m} N=${d.n} K=${d.k} k0=${d.k0} n0=${d.n0}`,
    operand('a', d.a_off, d.a_stride),
    operand('b', d.b_off, d.b_stride),
    operand('o', d.o_off, d.o_stride),
    `e@0x${d.e_off.toString(16)} tag=${d.tag}`,
  ].join(' ');
}
