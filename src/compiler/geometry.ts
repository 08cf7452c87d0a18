/** The shape of a batch: sequences of different length, packed row after row without padding. */
import { BLOCK_ELEMENTS } from '../device/contract.generated.js';

export interface SequencePlace {
  /** First row (token) of the sequence. */
  readonly start: number;
  /** Tokens. */
  readonly length: number;
  /** Element inside the first block where the sequence starts when tokens are the K dimension (P and V). */
  readonly k0: number;
}

export interface Geometry {
  /** Tokens of all sequences together. */
  readonly rows: number;
  readonly sequences: readonly SequencePlace[];
}

/** Packs sequences of the given lengths, in this order. */
export function packSequences(lengths: readonly number[]): Geometry {
  let rows = 0;
  const sequences = lengths.map((length) => {
    const start = rows;
    rows += length;
    return { start, length, k0: start % BLOCK_ELEMENTS };
  });
  return { rows, sequences };
}
