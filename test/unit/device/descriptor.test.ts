import { describe, expect, it } from 'vitest';
import {
  blockOffset,
  decodeDescriptor,
  describeDescriptor,
  type Encoding,
  encodeQmm,
  formatByte,
  formatName,
  parseFormat,
  planeRowBytes,
  rowBlocks,
  type Width,
} from '../../../src/device/descriptor.js';

describe('a descriptor', () => {
  // The offsets of the contract's section 3, written out.
  const bytes = [
    ['01', '03', '12', '20', '05', '7f', '78', '00'],
    ['44332211', '54332211', '64332211'],
    ['70000000', '80000000', '90000000', 'a0000000', 'b0000000', 'c0000000', 'f0ffffff'],
    ['00000000', '00000000', '00000000', 'efbeadde'],
  ]
    .flat()
    .join('');
  const qmm = {
    flags: 3,
    a: { off: 0x70, stride: 0x80, format: 0x12 },
    b: { off: 0x90, stride: 0xa0, format: 0x20 },
    o: { off: 0xb0, stride: 0xc0, format: 0x05 },
    m: 0x11223344,
    n: 0x11223354,
    k: 0x11223364,
    k0: 127,
    n0: 120,
    table: 0xfffffff0,
    tag: 0xdeadbeef,
  };

  it('is 64 bytes, little-endian, at the place asked for', () => {
    const buffer = Buffer.alloc(192, 0xee);
    encodeQmm(new DataView(buffer.buffer, buffer.byteOffset, 192), 64, qmm);
    expect(buffer.subarray(64, 128).toString('hex')).toBe(bytes);
    expect(buffer.subarray(0, 64).every((byte) => byte === 0xee)).toBe(true);
    expect(buffer.subarray(128).every((byte) => byte === 0xee)).toBe(true);
  });

  it('has zeros where nothing is asked for', () => {
    const buffer = Buffer.alloc(64, 0xee);
    const operand = { off: 16, stride: 16, format: 0 };
    encodeQmm(new DataView(buffer.buffer, buffer.byteOffset, 64), 0, {
      a: operand,
      b: operand,
      o: operand,
      m: 1,
      n: 2,
      k: 3,
    });
    expect(buffer.toString('hex')).toBe(
      `0100000000000000${'010000000200000003000000'}${'10000000'.repeat(6)}${'00'.repeat(4 + 12 + 4)}`,
    );
  });

  it('decodes to its fields', () => {
    const buffer = Buffer.from(`${'00'.repeat(8)}${bytes}`, 'hex');
    const decoded = decodeDescriptor(new DataView(buffer.buffer, buffer.byteOffset, 72), 8);
    expect(decoded).toEqual({
      ...{ op: 1, flags: 3, a_fmt: 0x12, b_fmt: 0x20, o_fmt: 5, k0: 127, n0: 120, reserved0: 0 },
      ...{ m: qmm.m, n: qmm.n, k: qmm.k, a_off: 0x70, a_stride: 0x80, b_off: 0x90, b_stride: 0xa0 },
      ...{
        o_off: 0xb0,
        o_stride: 0xc0,
        e_off: 0xfffffff0,
        reserved1: 0,
        reserved2: 0,
        reserved3: 0,
        tag: 0xdeadbeef,
      },
    });
  });

  it('reads as one line', () => {
    const operand = { off: 0x1000, stride: 96, format: 0x12 };
    const view = new DataView(new ArrayBuffer(64));
    encodeQmm(view, 0, {
      a: operand,
      b: { ...operand, format: 0x20 },
      o: { ...operand, format: 0x15 },
      m: 10,
      n: 768,
      k: 64,
      k0: 64,
      tag: 9,
    });
    expect(describeDescriptor(decodeDescriptor(view, 0))).toBe(
      'QMM flags=0x0 a=s4 b=pm1 o=int32 M=10 N=768 K=64 k0=64 n0=0 a@0x1000+96 b@0x1000+96 o@0x1000+96 e@0x0 tag=9',
    );
    view.setUint8(2, 0x22); // plus/minus one of four bits
    expect(describeDescriptor(decodeDescriptor(view, 0))).toContain('a=0x22? b=pm1');
    view.setUint8(0, 7);
    expect(describeDescriptor(decodeDescriptor(view, 0))).toMatch(/^op 7\? /);
    view.setUint8(0, 0);
    expect(describeDescriptor(decodeDescriptor(view, 0))).toBe('NOP tag=9');
  });
});

describe('a format byte', () => {
  const valid: [number, Width, Encoding, string][] = [
    [0x00, 1, 'U', 'u1'],
    [0x01, 2, 'U', 'u2'],
    [0x02, 4, 'U', 'u4'],
    [0x03, 8, 'U', 'u8'],
    [0x10, 1, 'S', 's1'],
    [0x11, 2, 'S', 's2'],
    [0x12, 4, 'S', 's4'],
    [0x13, 8, 'S', 's8'],
    [0x14, 16, 'S', 'int16'],
    [0x15, 32, 'S', 'int32'],
    [0x20, 1, 'PM1', 'pm1'],
  ];

  it.each(valid)('%i', (byte, bits, encoding, name) => {
    expect(formatByte({ bits, encoding })).toBe(byte);
    expect(parseFormat(byte)).toEqual({ bits, encoding });
    expect(formatName({ bits, encoding })).toBe(name);
  });

  it('is nothing else', () => {
    const others = Array.from({ length: 256 }, (_, byte) => byte).filter(
      (byte) => !valid.some(([known]) => known === byte),
    );
    expect(others.filter((byte) => parseFormat(byte) !== undefined)).toEqual([]);
  });
});

describe('rows of bit-planes', () => {
  it('count the blocks that they touch', () => {
    expect([rowBlocks(1), rowBlocks(128), rowBlocks(129), rowBlocks(2, 127), rowBlocks(1, 127)]).toEqual([
      1, 1, 2, 2, 1,
    ]);
    expect([
      planeRowBytes(768, 1),
      planeRowBytes(768, 4),
      planeRowBytes(64, 2, 64),
      planeRowBytes(65, 2, 64),
    ]).toEqual([96, 384, 32, 64]);
    expect([blockOffset(0, 8), blockOffset(127, 8), blockOffset(128, 8), blockOffset(3 * 64, 4)]).toEqual([
      0, 0, 128, 64,
    ]);
  });
});
