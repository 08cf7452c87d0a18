/**
 * The engine's fixed-point epilogue as a quantiser of several levels (docs/contract.md, section 5):
 *
 *     code(D) = clamp(floor(((D + bias)*mul + 2^23) / 2^24))
 *
 * Like the float quantiser it replaces, it is a staircase in D, so the two are equal for every accumulator when every level begins
 * at the same one. That makes the search exact: integers only, no rounding (docs/quantisation.md).
 */
import { EPILOGUE_SHIFT } from '../device/contract.generated.js';
import { type Accumulators, firstReaching } from './thresholds.js';

/** One entry of an epilogue table. */
export interface TableEntry {
  readonly bias: number;
  readonly mul: number;
}

/**
 * Where a level begins, in accumulators that can occur: `last` is the largest one below it (-Infinity: there is none), `first` the
 * smallest one that reaches it (Infinity: there is none).
 */
export interface Level {
  readonly level: number;
  readonly last: number;
  readonly first: number;
}

/** The levels of the non-decreasing staircase `code` above `qmin`, up to `qmax`. */
export function findLevels(
  code: (d: number) => number,
  { qmin, qmax }: { readonly qmin: number; readonly qmax: number },
  { bound, parityOf }: Accumulators,
): Level[] {
  const apart = parityOf === null ? 1 : 2;
  return Array.from({ length: qmax - qmin }, (_, index) => {
    const level = qmin + 1 + index;
    const reached = firstReaching(code, level, bound);
    const first = parityOf !== null && Math.abs(reached - parityOf) % 2 === 1 ? reached + 1 : reached;
    return {
      level,
      last: first - apart < -bound ? Number.NEGATIVE_INFINITY : first - apart,
      first: first > bound ? Number.POSITIVE_INFINITY : first,
    };
  });
}

const INT32_MAX = 2 ** 31 - 1;
/** What rounds half up: one half in Q8.24. */
const HALF = 2 ** (EPILOGUE_SHIFT - 1);

/** The multipliers from `low` to `high` with factor*mul >= least, as a narrower range. Exact below 2^53. */
function narrow(range: { low: number; high: number }, factor: number, least: number): void {
  if (factor > 0) range.low = Math.max(range.low, Math.ceil(least / factor));
  else if (factor < 0) range.high = Math.min(range.high, Math.floor(least / factor));
  else if (least > 0) range.high = 0;
}

/** The multipliers > 0 that put every level where it belongs, given the bias; empty where low > high. */
function multipliers(levels: readonly Level[], bias: number): { low: number; high: number } {
  const range = { low: 1, high: INT32_MAX };
  for (const { level, last, first } of levels) {
    // r >= level where (D + bias)*mul >= (2*level - 1)*2^23.
    const least = (2 * level - 1) * HALF;
    if (first !== Number.POSITIVE_INFINITY) narrow(range, first + bias, least);
    if (last !== Number.NEGATIVE_INFINITY) narrow(range, -(last + bias), 1 - least);
    if (range.low > range.high) break;
  }
  return range;
}

/**
 * How much room a bias leaves for r, half the accumulators of a level, between r's bounds: multipliers are 2^23 / r. A concave function of the
 * bias, because every bound on r is linear in it; negative where no multiplier is left.
 */
function room(levels: readonly Level[], bias: number): number {
  let low = HALF / INT32_MAX;
  let high = HALF;
  for (const { level, last, first } of levels) {
    // Level t begins at (2t - 1)*r - bias, which must lie in (last, first].
    const factor = 2 * level - 1;
    const [below, above] = [(last + bias) / factor, (first + bias) / factor];
    low = Math.max(low, Math.min(below, above));
    high = Math.min(high, Math.max(below, above));
  }
  return high - low;
}

/** The least whole number from `low` to `high` with `holds`, once it holds for all above; `high` where it holds for none below. */
function leastWhere(low: number, high: number, holds: (value: number) => boolean): number {
  let [from, to] = [low, high];
  while (from < to) {
    const middle = Math.floor((from + to) / 2);
    if (holds(middle)) to = middle;
    else from = middle + 1;
  }
  return from;
}

/** Biases worth trying, best first: those with room, from the one nearest to 0, where multipliers are large and so finest. */
function* biases(levels: readonly Level[], most: number): Generator<number> {
  // Up to the roomiest bias the room grows, behind it it shrinks.
  const roomiest = leastWhere(-most, most, (bias) => room(levels, bias) >= room(levels, bias + 1));
  const toward = roomiest < 0 ? -1 : 1;
  const hasRoom = (distance: number) => room(levels, toward * distance) >= 0;
  const nearest = leastWhere(0, Math.abs(roomiest), hasRoom);
  // A window of biases is at most about as wide as there are levels; one that is wider has so much room that the first will do.
  for (let distance = nearest; distance <= nearest + 2 * levels.length; distance++) {
    if (distance > most) return;
    yield toward * distance;
    if (nearest === 0 && distance > 0 && distance <= most) yield -toward * distance;
  }
}

/**
 * The table entry that gives every level its place, or null where there is none.
 *
 * The multiplier has 24 fraction bits but the bias none, so the staircase can be stretched but moved only by whole accumulators: unless
 * accumulators are two apart, or few levels lie in their range, most staircases have no entry.
 */
export function findEntry(levels: readonly Level[], { bound }: Accumulators): TableEntry | null {
  // Beyond it D + bias would wrap.
  const most = INT32_MAX - bound;
  for (const bias of biases(levels, most)) {
    const { low, high } = multipliers(levels, bias);
    if (low <= high) return { bias, mul: Math.floor((low + high) / 2) };
  }
  return null;
}
