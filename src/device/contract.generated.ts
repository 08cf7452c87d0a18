// Generated from firmware-config/contract.yaml by "npm run contract". Do not edit.

/** Contract version this host speaks. */
export const CONTRACT_VERSION = { major: 1, minor: 0 } as const;

/** ID register of every device that keeps this contract ("QMM1") */
export const ENGINE_ID = 0x314D4D51;
/** BUILD register of the emulator; RTL revisions count from 1 */
export const BUILD_EMULATOR = 0x00;
/** bytes of the register page */
export const REGISTER_SPACE = 0x1000;
/** WIN_LO/HI and WIN_SIZE are multiples of this (64 KiB) */
export const WINDOW_ALIGN = 0x10000;
/** largest MAX_K a device may report, so that abs(D) < 2^31 at 8x8 bits */
export const MAX_K_LIMIT = 0x4000;
/** largest RING_MAX a device may report */
export const RING_LOG2_LIMIT = 0x10;
/** elements of one plane of one block: one beat */
export const BLOCK_ELEMENTS = 0x80;
/** bytes of a beat; every offset and stride is a multiple of it */
export const BEAT_BYTES = 0x10;
/** one epilogue entry: i32 bias, i32 mul (Q8.24) */
export const TABLE_ENTRY_BYTES = 0x08;
/** fraction bits of mul */
export const EPILOGUE_SHIFT = 0x18;
/** largest n0 */
export const N0_LIMIT = 0x78;

/** Register offsets. */
export const REG = {
  /** device: 0x314D4D51 ("QMM1") */
  ID: 0x00,
  /** device: contract version */
  VERSION: 0x04,
  /** device: supported widths, a bit for each log2 */
  CAPS: 0x08,
  /** device: array geometry, for cost models; never needed for a correct program */
  GEOMETRY: 0x0C,
  /** device: largest K, elements */
  MAX_K: 0x10,
  /** device: largest ceil((k0+K)/128) * bits of one row of A or B */
  MAX_KP: 0x14,
  /** device: largest RING_LOG2 */
  RING_MAX: 0x18,
  /** device: implementation id (0 emulator, else RTL revision) */
  BUILD: 0x1C,
  /** host: control */
  CTRL: 0x20,
  /** host: interrupt enables */
  IRQ_EN: 0x24,
  /** host: sequence number the done interrupt waits for */
  WAKE: 0x28,
  /** host: submitted count (free-running) */
  TAIL: 0x2C,
  /** host: bus address of the window, low half, 64 KiB aligned */
  WIN_LO: 0x30,
  /** host: bus address of the window, high half */
  WIN_HI: 0x34,
  /** host: bytes, a multiple of 64 KiB, not zero */
  WIN_SIZE: 0x38,
  /** host: window offset of the ring, 64-byte aligned */
  RING: 0x3C,
  /** host: the ring has 2^n entries */
  RING_LOG2: 0x40,
  /** host: SHA-256 of the bitstream, bits 127:96; zero after configuration */
  IMAGE0: 0x50,
  /** host: SHA-256 of the bitstream, bits 95:64 */
  IMAGE1: 0x54,
  /** host: SHA-256 of the bitstream, bits 63:32 */
  IMAGE2: 0x58,
  /** host: SHA-256 of the bitstream, bits 31:0 */
  IMAGE3: 0x5C,
  /** device: state */
  STATUS: 0x80,
  /** device: completed count (free-running) */
  HEAD: 0x84,
  /** device: what stopped the engine */
  FAULT: 0x88,
  /** device: window offset of the offending access */
  FAULT_AT: 0x8C,
  /** device: busy cycles (wraps, not bit-exact) */
  CYCLES: 0x90,
  /** device: beats computed (wraps, not bit-exact) */
  BEATS: 0x94,
  /** device: beats read (wraps, not bit-exact) */
  RD_BEATS: 0x98,
  /** device: beats written (wraps, not bit-exact) */
  WR_BEATS: 0x9C,
} as const;

/** Fields inside registers: value = (word >>> shift) & mask. */
export const BITS = {
  /** major */
  VERSION_MAJOR: { shift: 16, mask: 0xFFFF },
  /** minor */
  VERSION_MINOR: { shift: 0, mask: 0xFFFF },
  /** A operand: 1, 2, 4, 8 bits */
  CAPS_A_WIDTHS: { shift: 0, mask: 0x0F },
  /** B operand: 1, 2, 4, 8 bits */
  CAPS_B_WIDTHS: { shift: 4, mask: 0x0F },
  /** output: 1, 2, 4, 8, 16, 32 bits */
  CAPS_O_WIDTHS: { shift: 8, mask: 0x3F },
  /** rows of A at once */
  GEOMETRY_DM: { shift: 0, mask: 0xFF },
  /** rows of B at once */
  GEOMETRY_DN: { shift: 8, mask: 0xFF },
  /** K elements at once / 64 */
  GEOMETRY_DK64: { shift: 16, mask: 0xFF },
  /** epilogue lanes */
  GEOMETRY_LANES: { shift: 24, mask: 0xFF },
  /** 1 run, 0 reset (a level) */
  CTRL_RUN: { shift: 0, mask: 0x01 },
  /** HEAD has reached WAKE */
  IRQ_EN_DONE: { shift: 0, mask: 0x01 },
  /** FAULT is not zero */
  IRQ_EN_FAULT: { shift: 1, mask: 0x01 },
  /** configuration accepted, running */
  STATUS_READY: { shift: 0, mask: 0x01 },
  /** a descriptor is in flight */
  STATUS_BUSY: { shift: 1, mask: 0x01 },
  /** stopped by a fault */
  STATUS_FAULT: { shift: 2, mask: 0x01 },
  /** fault code */
  FAULT_CODE: { shift: 0, mask: 0xFF },
  /** byte offset of the offending descriptor field, or of the register for CONFIG */
  FAULT_FIELD: { shift: 8, mask: 0xFF },
} as const;

/** Bytes of a descriptor. */
export const DESCRIPTOR_BYTES = 64;

/** Descriptor fields: offset and bytes. */
export const DESCRIPTOR = {
  /** operation */
  op: { offset: 0x00, bytes: 1 },
  /** flags */
  flags: { offset: 0x01, bytes: 1 },
  /** format of A */
  a_fmt: { offset: 0x02, bytes: 1 },
  /** format of B */
  b_fmt: { offset: 0x03, bytes: 1 },
  /** format of the output */
  o_fmt: { offset: 0x04, bytes: 1 },
  /** first element inside the first block, 0..127, both operands */
  k0: { offset: 0x05, bytes: 1 },
  /** first output column inside the first block, 0..120, a multiple of 8; 0 for int16 and int32 */
  n0: { offset: 0x06, bytes: 1 },
  /** zero */
  reserved0: { offset: 0x07, bytes: 1 },
  /** rows of A and of the output */
  m: { offset: 0x08, bytes: 4 },
  /** rows of B, columns of the output */
  n: { offset: 0x0C, bytes: 4 },
  /** elements of the dot product */
  k: { offset: 0x10, bytes: 4 },
  /** A, window offset */
  a_off: { offset: 0x14, bytes: 4 },
  /** bytes from one row of A to the next */
  a_stride: { offset: 0x18, bytes: 4 },
  /** B, window offset */
  b_off: { offset: 0x1C, bytes: 4 },
  /** bytes from one row of B to the next */
  b_stride: { offset: 0x20, bytes: 4 },
  /** output, window offset */
  o_off: { offset: 0x24, bytes: 4 },
  /** bytes from one output row to the next */
  o_stride: { offset: 0x28, bytes: 4 },
  /** epilogue table, window offset; 0 for int32 output */
  e_off: { offset: 0x2C, bytes: 4 },
  /** zero */
  reserved1: { offset: 0x30, bytes: 4 },
  /** zero */
  reserved2: { offset: 0x34, bytes: 4 },
  /** zero */
  reserved3: { offset: 0x38, bytes: 4 },
  /** ignored by the device */
  tag: { offset: 0x3C, bytes: 4 },
} as const;

/** Operations. */
export const OP = {
  /** completes at once; only flags and the reserved fields are checked */
  NOP: 0x00,
  /** quantized matrix multiplication */
  QMM: 0x01,
} as const;

/** Descriptor flags. */
export const FLAG = {
  /** the epilogue table is indexed by m instead of n */
  TABLE_BY_ROW: 0x01,
  /** B and the table may be fetched before earlier descriptors complete; performance only */
  EARLY_B: 0x02,
} as const;

/** Encodings of a format byte. */
export const ENCODING = {
  /** unsigned: sum of 2^i b_i */
  U: 0,
  /** two's complement; the only encoding of int16 and int32 */
  S: 1,
  /** plus or minus one: 2b-1, 1 bit only */
  PM1: 2,
} as const;

/** Layout of a format byte. */
export const FORMAT = {
  /** log2 of the width */
  WIDTH_SHIFT: 0,
  /** log2 of the width */
  WIDTH_MASK: 0x07,
  /** encoding */
  ENCODING_SHIFT: 4,
  /** encoding */
  ENCODING_MASK: 0x03,
  /** widest operand: 8 bits */
  OPERAND_MAX_LOG2: 3,
  /** widest output: 32 bits */
  OUTPUT_MAX_LOG2: 5,
} as const;

/** Fault codes. */
export const FAULT = {
  /** no fault */
  NONE: 0,
  /** WIN_* or RING* is not acceptable when RUN rises; FIELD is the register offset */
  CONFIG: 1,
  /** TAIL - HEAD > 2^n: the ring was overrun */
  RING: 2,
  /** unknown op, or unknown flag bits */
  OP: 3,
  /** a reserved field is not zero */
  RESERVED: 4,
  /** a_fmt, b_fmt or o_fmt is no supported format */
  FORMAT: 5,
  /** M, N or K is 0, k0 or n0 is out of range, a stride is shorter than its row, or int32 output has a table */
  SHAPE: 6,
  /** K > MAX_K, or ceil((k0+K)/128) * bits > MAX_KP */
  LIMIT: 7,
  /** an offset or stride is not a multiple of 16 */
  ALIGN: 8,
  /** an operand reaches past the window; FAULT_AT is its offset */
  BOUNDS: 9,
  /** bus error on a descriptor fetch */
  FETCH: 16,
  /** bus error on an operand read */
  READ: 17,
  /** bus error on an output write */
  WRITE: 18,
} as const;

/** What each fault means and what to do about it, by code. */
export const FAULT_TEXT: Readonly<Record<number, { name: string; doc: string; hint: string }>> = {
  0: { name: 'NONE', doc: "no fault", hint: "" },
  1: { name: 'CONFIG', doc: "WIN_* or RING* is not acceptable when RUN rises; FIELD is the register offset", hint: "WIN_LO/HI and WIN_SIZE are multiples of 64 KiB, RING is 64-byte aligned and lies inside the window with all its entries, RING_LOG2 <= RING_MAX" },
  2: { name: 'RING', doc: "TAIL - HEAD > 2^n: the ring was overrun", hint: "never let TAIL run more than 2^RING_LOG2 ahead of HEAD" },
  3: { name: 'OP', doc: "unknown op, or unknown flag bits", hint: "op is 0 or 1, flags has only TABLE_BY_ROW and EARLY_B" },
  4: { name: 'RESERVED', doc: "a reserved field is not zero", hint: "zero every reserved byte" },
  5: { name: 'FORMAT', doc: "a_fmt, b_fmt or o_fmt is no supported format", hint: "widths must be in CAPS, PM1 is 1 bit only, int16 and int32 are encoding S, spare bits are zero" },
  6: { name: 'SHAPE', doc: "M, N or K is 0, k0 or n0 is out of range, a stride is shorter than its row, or int32 output has a table", hint: "k0 <= 127; n0 <= 120, a multiple of 8, and 0 for int16 and int32; stride >= bytes of one row; e_off = 0 for int32" },
  7: { name: 'LIMIT', doc: "K > MAX_K, or ceil((k0+K)/128) * bits > MAX_KP", hint: "split K, or use fewer bits" },
  8: { name: 'ALIGN', doc: "an offset or stride is not a multiple of 16", hint: "align to 16 bytes" },
  9: { name: 'BOUNDS', doc: "an operand reaches past the window; FAULT_AT is its offset", hint: "offset + (rows-1)*stride + bytes of one row <= WIN_SIZE" },
  16: { name: 'FETCH', doc: "bus error on a descriptor fetch", hint: "check the window address and the bus" },
  17: { name: 'READ', doc: "bus error on an operand read", hint: "check the window address and the bus" },
  18: { name: 'WRITE', doc: "bus error on an output write", hint: "check the window address and the bus" },
};
