/**
 * The naive oracle of the engine: one descriptor applied to a window, written from the contract's sections 3 to 6
 * (docs/contract.md) alone. Every bit is fetched by the formula of section 4, every product is a plain multiplication,
 * the epilogue is BigInt. Codes and offsets are written out here rather than imported, so that the oracle also guards
 * the generated constants. Slow on purpose; it must never share code with src/ or native/.
 */

/** What a device says it can do (contract section 2); a `Capabilities` fits. */
export interface EngineLimits {
  readonly aBits: readonly number[];
  readonly bBits: readonly number[];
  readonly oBits: readonly number[];
  readonly maxK: number;
  readonly maxKp: number;
}

/** A fault as the registers report it: FAULT 7:0, FAULT 15:8 and FAULT_AT. */
export interface OracleFault {
  readonly code: number;
  readonly field: number;
  readonly at: number;
}

const CODE = { OP: 3, RESERVED: 4, FORMAT: 5, SHAPE: 6, LIMIT: 7, ALIGN: 8, BOUNDS: 9 };

type Encoding = 'U' | 'S' | 'PM1';

interface OracleFormat {
  readonly bits: number;
  readonly encoding: Encoding;
}

/** Rows of bit-planes in a window: section 4. */
interface Planes {
  readonly off: number;
  readonly stride: number;
  readonly format: OracleFormat;
}

/** The fields of section 3, by their names there. */
export function readFields(descriptor: Uint8Array) {
  if (descriptor.byteLength !== 64)
    throw new RangeError(`a descriptor is 64 bytes, not ${descriptor.byteLength}`);
  const view = new DataView(descriptor.buffer, descriptor.byteOffset, 64);
  const u8 = (offset: number) => view.getUint8(offset);
  const u32 = (offset: number) => view.getUint32(offset, true);
  return {
    op: u8(0x00),
    flags: u8(0x01),
    aFormat: u8(0x02),
    bFormat: u8(0x03),
    oFormat: u8(0x04),
    k0: u8(0x05),
    n0: u8(0x06),
    reserved: [
      [0x07, u8(0x07)],
      [0x30, u32(0x30)],
      [0x34, u32(0x34)],
      [0x38, u32(0x38)],
    ] as const,
    m: u32(0x08),
    n: u32(0x0c),
    k: u32(0x10),
    aOff: u32(0x14),
    aStride: u32(0x18),
    bOff: u32(0x1c),
    bStride: u32(0x20),
    oOff: u32(0x24),
    oStride: u32(0x28),
    eOff: u32(0x2c),
  };
}

type Fields = ReturnType<typeof readFields>;

/** A format byte: 2:0 log2 of the width, 5:4 the encoding, the rest zero. Undefined when it is not one. */
function readFormat(byte: number, widestLog2: number): OracleFormat | undefined {
  const log2 = byte & 0b0000_0111;
  const encoding = (['U', 'S', 'PM1'] as const)[(byte & 0b0011_0000) >> 4];
  if ((byte & 0b1100_1000) !== 0 || log2 > widestLog2 || encoding === undefined) return undefined;
  const bits = 2 ** log2;
  if (encoding === 'PM1' && bits !== 1) return undefined;
  if (bits >= 16 && encoding !== 'S') return undefined;
  return { bits, encoding };
}

/** Bytes of a row of bit-planes that holds elements [first, first + count): whole blocks of 128. */
const planeBytes = (first: number, count: number, bits: number) =>
  Math.ceil((first + count) / 128) * 16 * bits;

/** Bytes of one output row: int16 and int32 are plain arrays. */
const outputBytes = (d: Fields, format: OracleFormat) =>
  format.bits >= 16 ? d.n * (format.bits / 8) : planeBytes(d.n0, d.n, format.bits);

const tableEntries = (d: Fields) => ((d.flags & 0x01) !== 0 ? d.m : d.n);

/** [first byte, byte after the last) of everything a valid QMM touches; the table is absent for int32 output. */
export interface Extents {
  readonly a: readonly [number, number];
  readonly b: readonly [number, number];
  readonly o: readonly [number, number];
  readonly e: readonly [number, number] | undefined;
}

/** Extents of a descriptor whose formats are valid. */
export function extentsOf(d: Fields): Extents {
  const a = readFormat(d.aFormat, 3)!;
  const b = readFormat(d.bFormat, 3)!;
  const o = readFormat(d.oFormat, 5)!;
  const rows = (off: number, stride: number, count: number, bytes: number) =>
    [off, off + (count - 1) * stride + bytes] as const;
  return {
    a: rows(d.aOff, d.aStride, d.m, planeBytes(d.k0, d.k, a.bits)),
    b: rows(d.bOff, d.bStride, d.n, planeBytes(d.k0, d.k, b.bits)),
    o: rows(d.oOff, d.oStride, d.m, outputBytes(d, o)),
    e: o.bits === 32 ? undefined : ([d.eOff, d.eOff + tableEntries(d) * 8] as const),
  };
}

/**
 * The fault a device reports for a descriptor of 64 bytes at window offset `slot`, or undefined when it is valid:
 * classes in the order of section 6, and inside a class the first offending field in descriptor order.
 */
export function validateDescriptor(
  descriptor: Uint8Array,
  windowBytes: number,
  limits: EngineLimits,
  slot: number,
): OracleFault | undefined {
  const d = readFields(descriptor);
  const fault = (code: number, field: number, at = slot): OracleFault => ({ code, field, at });

  if (d.op !== 0 && d.op !== 1) return fault(CODE.OP, 0x00);
  if ((d.flags & ~0x03) !== 0) return fault(CODE.OP, 0x01);

  for (const [field, value] of d.reserved) if (value !== 0) return fault(CODE.RESERVED, field);

  if (d.op === 0) return undefined; // A NOP has no other field.

  const a = readFormat(d.aFormat, 3);
  const b = readFormat(d.bFormat, 3);
  const o = readFormat(d.oFormat, 5);
  if (a === undefined || !limits.aBits.includes(a.bits)) return fault(CODE.FORMAT, 0x02);
  if (b === undefined || !limits.bBits.includes(b.bits)) return fault(CODE.FORMAT, 0x03);
  if (o === undefined || !limits.oBits.includes(o.bits)) return fault(CODE.FORMAT, 0x04);

  if (d.k0 > 127) return fault(CODE.SHAPE, 0x05);
  if (d.n0 > 120 || d.n0 % 8 !== 0) return fault(CODE.SHAPE, 0x06);
  if (o.bits >= 16 && d.n0 !== 0) return fault(CODE.SHAPE, 0x06);
  if (d.m === 0) return fault(CODE.SHAPE, 0x08);
  if (d.n === 0) return fault(CODE.SHAPE, 0x0c);
  if (d.k === 0) return fault(CODE.SHAPE, 0x10);
  if (d.aStride < planeBytes(d.k0, d.k, a.bits)) return fault(CODE.SHAPE, 0x18);
  if (d.bStride < planeBytes(d.k0, d.k, b.bits)) return fault(CODE.SHAPE, 0x20);
  if (d.oStride < outputBytes(d, o)) return fault(CODE.SHAPE, 0x28);
  if (o.bits === 32 && d.eOff !== 0) return fault(CODE.SHAPE, 0x2c);

  if (d.k > limits.maxK) return fault(CODE.LIMIT, 0x10);
  // Both operands share k0 and K, so K is the field to make smaller whichever of them is too wide.
  if (Math.ceil((d.k0 + d.k) / 128) * a.bits > limits.maxKp) return fault(CODE.LIMIT, 0x10);
  if (Math.ceil((d.k0 + d.k) / 128) * b.bits > limits.maxKp) return fault(CODE.LIMIT, 0x10);

  const aligned: [number, number][] = [
    [0x14, d.aOff],
    [0x18, d.aStride],
    [0x1c, d.bOff],
    [0x20, d.bStride],
    [0x24, d.oOff],
    [0x28, d.oStride],
    [0x2c, d.eOff],
  ];
  for (const [field, value] of aligned) if (value % 16 !== 0) return fault(CODE.ALIGN, field);

  const extents = extentsOf(d);
  if (extents.a[1] > windowBytes) return fault(CODE.BOUNDS, 0x14, d.aOff);
  if (extents.b[1] > windowBytes) return fault(CODE.BOUNDS, 0x1c, d.bOff);
  if (extents.o[1] > windowBytes) return fault(CODE.BOUNDS, 0x24, d.oOff);
  if (extents.e !== undefined && extents.e[1] > windowBytes) return fault(CODE.BOUNDS, 0x2c, d.eOff);
  return undefined;
}

/** The byte that holds plane `plane` of element `k` of row `r`, as its bit `k % 8`: section 4, word for word. */
function byteOf({ off, stride, format }: Planes, r: number, k: number, plane: number): number {
  return off + r * stride + Math.floor(k / 128) * 16 * format.bits + 16 * plane + Math.floor((k % 128) / 8);
}

/** The value of element `k` of row `r`. */
export function decodeElement(window: Uint8Array, planes: Planes, r: number, k: number): number {
  const { bits, encoding } = planes.format;
  let value = 0;
  for (let plane = 0; plane < bits; plane++) {
    const b = (window[byteOf(planes, r, k, plane)]! >> (k % 8)) & 1;
    if (encoding === 'PM1') value = 2 * b - 1;
    else if (encoding === 'S' && plane === bits - 1) value -= b * 2 ** plane;
    else value += b * 2 ** plane;
  }
  return value;
}

/** Section 5: r of a dot product and a table entry, before the clamp. */
function scaled(dot: number, bias: number, mul: number): bigint {
  const s = BigInt.asIntN(32, BigInt(dot) + BigInt(bias));
  const product = s * BigInt(mul) + 2n ** 23n;
  // BigInt division truncates towards zero; section 5 wants the floor.
  const quotient = product / 2n ** 24n;
  return product < 0n && product % 2n ** 24n !== 0n ? quotient - 1n : quotient;
}

/** Section 5: what is stored in a format for a dot product and a table entry; for PM1 the bit. */
function epilogue(dot: number, bias: number, mul: number, { bits, encoding }: OracleFormat): number {
  const r = scaled(dot, bias, mul);
  if (encoding === 'PM1') return r >= 0n ? 1 : 0;
  const least = encoding === 'U' ? 0n : -(2n ** BigInt(bits - 1));
  const most = encoding === 'U' ? 2n ** BigInt(bits) - 1n : 2n ** BigInt(bits - 1) - 1n;
  if (r < least) return Number(least);
  if (r > most) return Number(most);
  return Number(r);
}

/** D[m][n], row-major, of section 3. */
function dotProducts(window: Uint8Array, d: Fields, a: OracleFormat, b: OracleFormat): number[] {
  const decodeRow = (planes: Planes, r: number) => {
    const row: number[] = [];
    for (let k = 0; k < d.k; k++) row.push(decodeElement(window, planes, r, d.k0 + k));
    return row;
  };
  const rowsOfB: number[][] = [];
  for (let n = 0; n < d.n; n++) rowsOfB.push(decodeRow({ off: d.bOff, stride: d.bStride, format: b }, n));
  const dots: number[] = [];
  for (let m = 0; m < d.m; m++) {
    const rowOfA = decodeRow({ off: d.aOff, stride: d.aStride, format: a }, m);
    for (const rowOfB of rowsOfB) {
      let dot = 0;
      for (let k = 0; k < d.k; k++) dot += rowOfA[k]! * rowOfB[k]!;
      dots.push(dot);
    }
  }
  return dots;
}

/** Writes y[m][n], row-major, the way section 4 lays out an output. */
function store(window: Uint8Array, d: Fields, format: OracleFormat, y: readonly number[]): void {
  if (format.bits >= 16) {
    for (let m = 0; m < d.m; m++) {
      for (let n = 0; n < d.n; n++) {
        const at = d.oOff + m * d.oStride + n * (format.bits / 8);
        for (let i = 0; i < format.bits / 8; i++) window[at + i] = (y[m * d.n + n]! >> (8 * i)) & 0xff;
      }
    }
    return;
  }
  const planes: Planes = { off: d.oOff, stride: d.oStride, format };
  for (let m = 0; m < d.m; m++) {
    for (let plane = 0; plane < format.bits; plane++) {
      // n0 is a multiple of 8, so the first column of a byte is always the first one written: it clears the spare bits.
      for (let n = 0; n < d.n; n++) {
        const byte = byteOf(planes, m, d.n0 + n, plane);
        const bit = (d.n0 + n) % 8;
        const b = (y[m * d.n + n]! >> plane) & 1;
        window[byte] = (bit === 0 ? 0 : window[byte]!) | (b << bit);
      }
    }
  }
}

/**
 * Does to `window` what a device must do for the descriptor at window offset `slot`: writes exactly the output's bytes
 * and returns undefined, or changes nothing and returns the fault.
 */
export function applyDescriptor(
  window: Uint8Array,
  descriptor: Uint8Array,
  limits: EngineLimits,
  slot = 0,
): OracleFault | undefined {
  const fault = validateDescriptor(descriptor, window.byteLength, limits, slot);
  const d = readFields(descriptor);
  if (fault !== undefined || d.op === 0) return fault;

  const format = readFormat(d.oFormat, 5)!;
  const dots = dotProducts(window, d, readFormat(d.aFormat, 3)!, readFormat(d.bFormat, 3)!);
  if (format.bits === 32) {
    store(window, d, format, dots);
    return undefined;
  }
  const view = new DataView(window.buffer, window.byteOffset, window.byteLength);
  const table = Array.from({ length: tableEntries(d) }, (_, i) => ({
    bias: view.getInt32(d.eOff + 8 * i, true),
    mul: view.getInt32(d.eOff + 8 * i + 4, true),
  }));
  const byRow = (d.flags & 0x01) !== 0;
  const y = dots.map((dot, i) => {
    const entry = table[byRow ? Math.floor(i / d.n) : i % d.n]!;
    return epilogue(dot, entry.bias, entry.mul, format);
  });
  store(window, d, format, y);
  return undefined;
}
