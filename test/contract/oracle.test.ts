/**
 * The oracle itself, against examples worked out by hand from the contract's text: when device and oracle agree, both
 * could still have misread the page in the same way.
 */
import { describe, expect, it } from 'vitest';
import { applyDescriptor, type EngineLimits } from '../oracle/qmm.js';

const LIMITS: EngineLimits = {
  aBits: [1, 2, 4, 8],
  bBits: [1, 2, 4, 8],
  oBits: [1, 2, 4, 8, 16, 32],
  maxK: 16384,
  maxKp: 1032,
};

// Format bytes: log2 of the width in 2:0, encoding in 5:4.
const U1 = 0x00;
const U2 = 0x01;
const U4 = 0x02;
const S2 = 0x11;
const S8 = 0x13;
const PM1 = 0x20;
const INT16 = 0x14;
const INT32 = 0x15;

const A = 0x0000;
const B = 0x1000;
const O = 0x2000;
const E = 0x3000;

type Fields = Partial<
  Record<'flags' | 'a' | 'b' | 'o' | 'k0' | 'n0' | 'm' | 'n' | 'k' | 'as' | 'bs' | 'os' | 'e', number>
>;

/** A descriptor written by hand: the offsets are those of section 3. */
function qmm(fields: Fields): Uint8Array {
  const {
    flags = 0,
    a = U1,
    b = U1,
    o = INT32,
    k0 = 0,
    n0 = 0,
    m = 1,
    n = 1,
    k = 1,
    as = 128,
    bs = 128,
    os = 128,
  } = fields;
  const e = fields.e ?? (o === INT32 ? 0 : E);
  const bytes = new Uint8Array(64);
  bytes.set([1, flags, a, b, o, k0, n0, 0]);
  const view = new DataView(bytes.buffer);
  for (const [offset, value] of [
    [0x08, m],
    [0x0c, n],
    [0x10, k],
    [0x14, A],
    [0x18, as],
    [0x1c, B],
    [0x20, bs],
    [0x24, O],
    [0x28, os],
    [0x2c, e],
  ] as const) {
    view.setUint32(offset, value, true);
  }
  return bytes;
}

/** A zeroed window with some bytes set, after one descriptor. */
function run(descriptor: Uint8Array, ...contents: [offset: number, bytes: number[]][]): DataView {
  const window = new Uint8Array(0x10000);
  for (const [offset, bytes] of contents) window.set(bytes, offset);
  expect(applyDescriptor(window, descriptor, LIMITS)).toBeUndefined();
  return new DataView(window.buffer);
}

const entry = (bias: number, mul: number) => {
  const bytes = Buffer.alloc(8);
  bytes.writeInt32LE(bias, 0);
  bytes.writeInt32LE(mul, 4);
  return [...bytes];
};

const ONE = 2 ** 24;

describe('operands', () => {
  it('takes plane i from bytes 16 i of a block, least significant bit first', () => {
    // A = [3, 2, 0] as u2: plane 0 = 0b001, plane 1 = 0b011. B = [1, 1, 1] as u1. The sum is 5.
    const window = run(qmm({ a: U2, k: 3 }), [A, [0b001]], [A + 16, [0b011]], [B, [0b111]]);
    expect(window.getInt32(O, true)).toBe(5);
  });

  it('reads S as two’s complement and PM1 as minus or plus one', () => {
    // A = [-2, -1, 1] as s2: plane 0 = 0b110, plane 1 = 0b011. B = [+1, -1, -1] as pm1: 0b001. -2 + 1 - 1.
    const window = run(qmm({ a: S2, b: PM1, k: 3 }), [A, [0b110]], [A + 16, [0b011]], [B, [0b001]]);
    expect(window.getInt32(O, true)).toBe(-2);
  });

  it('starts at k0 and goes on in the next block', () => {
    // k0 = 127, K = 2: bit 7 of byte 15 of the first block, bit 0 of the second block, 16 * bits further on.
    const a: [number, number[]] = [A, [...Array(15).fill(0xff), 0x80, ...Array(16).fill(0xff), 0x01]];
    const window = run(qmm({ a: U2, k0: 127, k: 2 }), a, [B + 15, [0x80]], [B + 16, [0x01]]);
    // A[127] has bit 7 of byte 15 and, in plane 1, of byte 31: 3. A[128] has bit 0 of byte 32 and not of byte 48: 1.
    expect(window.getInt32(O, true)).toBe(3 + 1);
  });

  it('walks rows by their stride', () => {
    const window = run(
      qmm({ m: 2, n: 2, k: 8, as: 32, bs: 48, os: 16 }),
      [A, [0x0f]],
      [A + 32, [0xff]],
      [B, [0x3c]],
      [B + 48, [0xf1]],
    );
    expect([0, 4, 16, 20].map((at) => window.getInt32(O + at, true))).toEqual([2, 1, 4, 5]);
  });
});

describe('outputs', () => {
  it('writes exactly the bytes of [n0, n0 + N) and clears the spare bits of the last one', () => {
    // Ten columns from 8 as u2, D = 2 in each: plane 0 clear, plane 1 set.
    const window = run(
      qmm({ a: U2, o: U2, n0: 8, n: 10, k: 1, bs: 16, os: 32 }),
      [A + 16, [1]],
      ...Array.from({ length: 10 }, (_, n): [number, number[]] => [B + 16 * n, [1]]),
      ...Array.from({ length: 10 }, (_, n): [number, number[]] => [E + 8 * n, entry(0, ONE)]),
      [O, Array(32).fill(0xaa)],
    );
    const row = [...new Uint8Array(window.buffer, O, 32)];
    const untouched = Array(13).fill(0xaa);
    expect(row).toEqual([0xaa, 0x00, 0x00, ...untouched, 0xaa, 0xff, 0x03, ...untouched]);
  });

  it('stores int16 and int32 little-endian, row after row', () => {
    const wide = run(qmm({ a: S8, b: S8, k: 1 }), [A + 112, [1]], [B + 112, [1]]); // -128 * -128
    expect(wide.getInt32(O, true)).toBe(16384);
    const table: [number, number[]] = [E, entry(-16384 - 300, ONE)];
    const narrow = run(qmm({ a: S8, b: S8, o: INT16, k: 1 }), [A + 112, [1]], [B + 112, [1]], table);
    expect([narrow.getUint8(O), narrow.getUint8(O + 1), narrow.getUint8(O + 2)]).toEqual([0xd4, 0xfe, 0]); // -300
  });
});

describe('epilogue', () => {
  /** y of D = 0 and one table entry; every byte of the operands is zero. */
  const y = (o: number, bias: number, mul: number) => run(qmm({ o }), [E, entry(bias, mul)]);
  const int16 = (bias: number, mul: number) => y(INT16, bias, mul).getInt16(O, true);

  it('rounds halves up, also below zero', () => {
    const half = ONE / 2;
    expect([1, 3, -1, -3, 5, -5].map((bias) => int16(bias, half))).toEqual([1, 2, 0, -1, 3, -2]);
    expect([int16(1, half - 1), int16(-1, half + 1)]).toEqual([0, -1]);
  });

  it('wraps the sum at 32 bits and nothing after it', () => {
    // D = 1, bias = 2^31 - 1: the sum is -2^31, times 1 is -128.
    const wrap = run(qmm({ o: INT16 }), [A, [1]], [B, [1]], [E, entry(2 ** 31 - 1, 1)]);
    expect(wrap.getInt16(O, true)).toBe(-128);
    // -2^31 * -2^31 = 2^62 is more than any accumulator of 32 bits holds; it clamps to the top.
    expect(int16(-(2 ** 31), -(2 ** 31))).toBe(32767);
    expect(int16(-(2 ** 31), 2 ** 31 - 1)).toBe(-32768);
  });

  it('clamps to the range of the format', () => {
    expect(y(U4, 16, ONE).getUint8(O)).toBe(1); // 15: plane 0 is set ...
    expect(y(U4, 16, ONE).getUint8(O + 48)).toBe(1); // ... and plane 3.
    expect(y(U4, -1, ONE).getUint8(O)).toBe(0);
    const lowest = y(S2, -7, ONE); // -2: plane 1 alone
    expect([lowest.getUint8(O), lowest.getUint8(O + 16)]).toEqual([0, 1]);
  });

  it('makes a one-bit output a threshold', () => {
    // D = 3. bias = -T and mul = 1.0 is D >= T; mul = -1.0 is D <= T.
    const bit = (o: number, threshold: number, sign: number) =>
      run(qmm({ o, k: 3 }), [A, [7]], [B, [7]], [E, entry(-threshold, sign * ONE)]).getUint8(O);
    expect([2, 3, 4].map((threshold) => bit(PM1, threshold, 1))).toEqual([1, 1, 0]);
    expect([2, 3, 4].map((threshold) => bit(PM1, threshold, -1))).toEqual([0, 1, 1]);
    expect([2, 3].map((threshold) => bit(U1, threshold, 1))).toEqual([1, 0]); // U clamps: 3 - 3 = 0
  });

  it('indexes the table by column, or by row when the flag says so', () => {
    const table: [number, number[]] = [E, [...entry(10, ONE), ...entry(20, ONE), ...entry(30, ONE)]];
    const cells = (flags: number) => {
      const window = run(qmm({ flags, o: INT16, m: 2, n: 3, os: 16 }), table);
      return [0, 2, 4, 16, 18, 20].map((at) => window.getInt16(O + at, true));
    };
    expect(cells(0)).toEqual([10, 20, 30, 10, 20, 30]);
    expect(cells(1)).toEqual([10, 10, 10, 20, 20, 20]);
  });
});

describe('faults', () => {
  it('reports the first of many wrongs and writes nothing', () => {
    const wrong = qmm({ flags: 0x80, a: 0x33, n: 0, os: 0 });
    wrong[0x38] = 1;
    const view = new DataView(wrong.buffer);
    const window = new Uint8Array(0x10000).fill(0x5a);
    const seen: [number, number][] = [];
    for (const repair of [
      () => view.setUint8(0x01, 0),
      () => view.setUint32(0x38, 0),
      () => view.setUint8(0x02, U1),
      () => view.setUint32(0x0c, 1, true),
      () => view.setUint32(0x28, 24, true),
    ]) {
      const fault = applyDescriptor(window, wrong, LIMITS, 0x40);
      seen.push([fault?.code ?? 0, fault?.field ?? 0]);
      expect(fault?.at).toBe(0x40);
      repair();
    }
    expect(seen).toEqual([
      [3, 0x01],
      [4, 0x38],
      [5, 0x02],
      [6, 0x0c],
      [6, 0x28],
    ]);
    expect(applyDescriptor(window, wrong, LIMITS, 0x40)).toEqual({ code: 8, field: 0x28, at: 0x40 });
    view.setUint32(0x28, 16, true);
    view.setUint32(0x14, 0xfffffff0, true);
    expect(applyDescriptor(window, wrong, LIMITS, 0x40)).toEqual({ code: 9, field: 0x14, at: 0xfffffff0 });
    expect(window.every((byte) => byte === 0x5a)).toBe(true);
  });

  it('knows limits and the NOP', () => {
    const window = new Uint8Array(0x10000);
    const tight = { ...LIMITS, maxK: 256, maxKp: 8 };
    expect(applyDescriptor(window, qmm({ k: 257 }), tight)).toEqual({ code: 7, field: 0x10, at: 0 });
    // 129 elements from k0 = 127 touch two blocks: 16 planes at 8 bits, 4 at 2.
    expect(applyDescriptor(window, qmm({ a: S8, k: 129, k0: 127, as: 256 }), tight)).toEqual({
      code: 7,
      field: 0x10,
      at: 0,
    });
    expect(applyDescriptor(window, qmm({ a: U2, k: 129, k0: 127 }), tight)).toBeUndefined();
    const nop = new Uint8Array(64).fill(0xff, 0x08, 0x30); // op 0; M to e_off are ignored
    expect(applyDescriptor(window, nop, tight)).toBeUndefined();
    nop[0x07] = 1;
    expect(applyDescriptor(window, nop, tight)).toEqual({ code: 4, field: 0x07, at: 0 });
  });
});
