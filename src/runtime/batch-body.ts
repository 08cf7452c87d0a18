/** A batch and its results as bodies of frames: what one process packs, the other unpacks. */
import type { OutputShape } from '../model/plan.js';
import { bytesOf, type Frame } from './frames.js';

export interface PackedSequence {
  readonly ids: Uint32Array;
  readonly types?: Uint32Array;
}

/** Tokens of each sequence, and whether token types follow the ids of all of them. */
export interface BatchShape {
  readonly lengths: readonly number[];
  readonly types: boolean;
}

export function packBatch(
  sequences: readonly PackedSequence[],
): BatchShape & { readonly bodies: Uint8Array[] } {
  const types = sequences.some((sequence) => sequence.types);
  const bodies = sequences.map(({ ids }) => bytesOf(ids));
  if (types)
    for (const { ids, types: own } of sequences) bodies.push(bytesOf(own ?? new Uint32Array(ids.length)));
  return { lengths: sequences.map(({ ids }) => ids.length), types, bodies };
}

/** The sequences: views of the body. */
export function unpackBatch({ lengths, types }: BatchShape, { buffer }: Frame['body']): PackedSequence[] {
  const tokens = lengths.reduce((sum, length) => sum + length, 0);
  const allIds = new Uint32Array(buffer, 0, tokens);
  const allTypes = types ? new Uint32Array(buffer, allIds.byteLength, tokens) : undefined;
  let at = 0;
  return lengths.map((length) => {
    const begin = at;
    at += length;
    const ids = allIds.subarray(begin, at);
    return allTypes ? { ids, types: allTypes.subarray(begin, at) } : { ids };
  });
}

/** The head's values of all sequences, one after another. */
export function packValues(values: readonly Float32Array[]): Uint8Array {
  const packed = new Float32Array(values.reduce((sum, { length }) => sum + length, 0));
  let end = 0;
  for (const own of values) {
    packed.set(own, end);
    end += own.length;
  }
  return bytesOf(packed);
}

/** The head's values of each sequence: views of one buffer that nobody else has. */
export function unpackValues(
  { buffer }: Frame['body'],
  lengths: readonly number[],
  { perToken, width }: OutputShape,
): Float32Array[] {
  let at = 0;
  return lengths.map((length) => {
    const values = new Float32Array(buffer, at, (perToken ? length : 1) * width);
    at += values.byteLength;
    return values;
  });
}
