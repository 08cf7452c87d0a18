// Weight codes in bit-planes, against the layout as the contract words it (section 4), bit by bit.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { packWeights } from '../../../src/model/planes.js';

/** Bit of plane `plane` of element `k` in row `row`. */
function bit(bytes: Uint8Array, stride: number, bits: number, row: number, k: number, plane: number): number {
  const byte = row * stride + Math.floor(k / 128) * 16 * bits + 16 * plane + Math.floor((k % 128) / 8);
  return (bytes[byte]! >> (k % 8)) & 1;
}

const matrix = (codes: fc.Arbitrary<number>) =>
  fc
    .record({ rows: fc.integer({ min: 1, max: 4 }), cols: fc.integer({ min: 1, max: 300 }) })
    .chain(({ rows, cols }) =>
      fc
        .array(codes, { minLength: rows * cols, maxLength: rows * cols })
        .map((list) => ({ rows, cols, codes: Int8Array.from(list) })),
    );

test('codes of +-1 in one plane: 1 is +1, spare bits are 0', () => {
  fc.assert(
    fc.property(matrix(fc.constantFrom(-1, 1)), (weights) => {
      const { rows, cols, codes } = weights;
      const { bytes, stride } = packWeights(weights, false);
      expect(stride).toBe(Math.ceil(cols / 128) * 16);
      expect(bytes.byteLength).toBe(rows * stride);
      for (let row = 0; row < rows; row++) {
        for (let k = 0; k < stride * 8; k++) {
          const code = k < cols ? 2 * bit(bytes, stride, 1, row, k, 0) - 1 : bit(bytes, stride, 1, row, k, 0);
          expect(code).toBe(k < cols ? codes[row * cols + k] : 0);
        }
      }
    }),
    { numRuns: 40, seed: 11 },
  );
});

test('codes of -1, 0 and +1 in two planes: two-bit two’s complement', () => {
  fc.assert(
    fc.property(matrix(fc.constantFrom(-1, 0, 1)), (weights) => {
      const { rows, cols, codes } = weights;
      const { bytes, stride } = packWeights(weights, true);
      expect(stride).toBe(Math.ceil(cols / 128) * 32);
      expect(bytes.byteLength).toBe(rows * stride);
      for (let row = 0; row < rows; row++) {
        for (let k = 0; k < stride * 4; k++) {
          const code = bit(bytes, stride, 2, row, k, 0) - 2 * bit(bytes, stride, 2, row, k, 1);
          expect(code).toBe(k < cols ? codes[row * cols + k] : 0);
        }
      }
    }),
    { numRuns: 40, seed: 12 },
  );
});

test('known bytes', () => {
  const codes = Int8Array.from({ length: 130 }, (_, k) => (k === 0 || k === 9 || k === 129 ? 1 : -1));
  const { bytes, stride } = packWeights({ rows: 1, cols: 130, codes }, false);
  expect(stride).toBe(32);
  expect([bytes[0], bytes[1], bytes[2], bytes[16], bytes[17]]).toEqual([0b1, 0b10, 0, 0b10, 0]);
  const ternary = packWeights({ rows: 1, cols: 3, codes: Int8Array.of(1, 0, -1) }, true);
  expect([ternary.stride, ternary.bytes[0], ternary.bytes[16]]).toEqual([32, 0b101, 0b100]);
});
