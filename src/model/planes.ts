/** Integer codes to the engine's bit-plane layout (docs/contract.md, section 4). */
import { BEAT_BYTES, BLOCK_ELEMENTS } from '../device/contract.generated.js';
import type { WeightCodes } from './description.js';

/** A matrix in bit-planes: rows of `stride` bytes. */
export interface PackedPlanes {
  readonly bytes: Uint8Array;
  readonly stride: number;
}

/**
 * Packs weight codes. One plane (PM1: bit = code > 0) where every code is +-1; two planes (two's complement) where `ternary`,
 * because a code of 0 needs them.
 */
export function packWeights({ rows, cols, codes }: WeightCodes, ternary: boolean): PackedPlanes {
  const bits = ternary ? 2 : 1;
  const stride = Math.ceil(cols / BLOCK_ELEMENTS) * BEAT_BYTES * bits;
  const bytes = new Uint8Array(rows * stride);
  for (let row = 0, i = 0; row < rows; row++) {
    for (let col = 0; col < cols; col++, i++) {
      const code = codes[i]!;
      const at =
        row * stride + Math.floor(col / BLOCK_ELEMENTS) * BEAT_BYTES * bits + ((col % BLOCK_ELEMENTS) >> 3);
      const bit = 1 << (col & 7);
      // Two's complement of 2 bits: +1 = 01, -1 = 11, 0 = 00.
      if (ternary ? code !== 0 : code > 0) bytes[at]! |= bit;
      if (ternary && code < 0) bytes[at + BEAT_BYTES]! |= bit;
    }
  }
  return { bytes, stride };
}
