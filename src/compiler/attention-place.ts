/** Where attention keeps what belongs to one sequence. */
import { scoreIntegers } from '../model/integers.js';
import type { LayerPlan } from '../model/plan.js';
import { storesFound } from './formats.js';
import type { Geometry } from './geometry.js';
import { probabilityBytes, scoreBytes, valueBytes, valueIntegerBytes } from './memory.js';
import type { Matrix, ProgramWriter } from './program-writer.js';

/** A sequence with its parts of the buffers that attention fills per sequence, and the rows that ask. */
export interface AttentionPlace {
  readonly index: number;
  /** Rows of K and V. */
  readonly start: number;
  readonly length: number;
  /** Rows of Q and of the context: as many, or only the first token's. */
  readonly queryStart: number;
  readonly queries: number;
  /** Bytes from the beginning of each buffer. */
  readonly value: number;
  readonly valueAcc: number;
  readonly scores: number;
  readonly probabilities: number;
}

/** Where each sequence's V, scores and probabilities lie. */
export function places(w: ProgramWriter, layer: LayerPlan, queries: Geometry): AttentionPlace[] {
  let value = 0;
  let valueAcc = 0;
  let scores = 0;
  let probabilities = 0;
  return w.geometry.sequences.map((place) => {
    const { start, length } = queries.sequences[place.index]!;
    const here = { ...place, queryStart: start, queries: length, value, valueAcc, scores, probabilities };
    value += valueBytes(w.plan, layer, place.length);
    valueAcc += valueIntegerBytes(layer.value, place.length);
    scores += scoreBytes(w.plan, layer, place.length);
    probabilities += probabilityBytes(w.plan, layer, place.length);
    return here;
  });
}

/** Scores of one sequence, head after head; with real probabilities a head's rows lie as far apart as if all tokens asked. */
export function scoreMatrix(w: ProgramWriter, layer: LayerPlan, { length, scores }: AttentionPlace): Matrix {
  return w.integers('scores', length, scoreIntegers(w.plan, layer)!, scores);
}

/** Rows from one head's scores to the next one's. */
export function scoreRows(layer: LayerPlan, { length, queries }: AttentionPlace): number {
  return layer.attention.probabilities.kind === 'real' ? length : queries;
}

/** Steps shorter than this many times what a step costs before its first element are not cut. */
const WORTHWHILE = 4;

/**
 * The heads of one sequence, in groups that go through scores, softmax and context together: all of them where engine and CPU do not
 * overlap, or where a quantiser of P takes its range from all heads.
 */
export function headGroups(
  w: ProgramWriter,
  { attention: { probabilities } }: LayerPlan,
  { length, queries }: AttentionPlace,
): { readonly first: number; readonly end: number }[] {
  const { heads } = w.plan;
  const { stepNs, elementNs } = w.cost.cpu;
  let together = heads;
  if (w.cost.overlap && probabilities.kind === 'softmax' && !storesFound(probabilities.probability)) {
    const each = elementNs[probabilities.exponentials ? 'softmaxTable' : 'softmaxExp'] + elementNs.quantise;
    together = Math.min(heads, Math.ceil((WORTHWHILE * stepNs) / (queries * length * each)));
  }
  const groups = [];
  for (let first = 0; first < heads; first += together)
    groups.push({ first, end: Math.min(first + together, heads) });
  return groups;
}
