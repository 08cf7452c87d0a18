/** The shape of a batch: sequences of different length, packed row after row without padding. */

export interface SequencePlace {
  /** Number of the sequence. */
  readonly index: number;
  /** First row (token) of the sequence. */
  readonly start: number;
  /** Tokens. */
  readonly length: number;
}

export interface Geometry {
  /** Tokens of all sequences together. */
  readonly rows: number;
  readonly sequences: readonly SequencePlace[];
}

/** Packs sequences of the given lengths, in this order. */
export function packSequences(lengths: readonly number[]): Geometry {
  let rows = 0;
  const sequences = lengths.map((length, index) => {
    const start = rows;
    rows += length;
    return { index, start, length };
  });
  return { rows, sequences };
}
