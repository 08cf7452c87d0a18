/**
 * The choice, for every integer result, between an exact epilogue of the engine (a threshold, or fixed point) and an affine vector step on
 * the CPU.
 */
import { EPILOGUE_SHIFT } from '../device/contract.generated.js';
import { formatByte } from '../device/descriptor.js';
import { type Activation, codeRange, type Quantiser } from '../model/description.js';
import type { AffinePlan, EpiloguePlan } from '../model/plan.js';
import type { Constants } from './constants.js';
import { findEntry, findLevels, type TableEntry } from './fixed-point.js';
import { codeFormat, isSign, planQuantiser } from './formats.js';
import { quantise } from './quantise.js';
import { type Accumulators, firstReaching, reachable } from './thresholds.js';

/** What stands between an integer result and the next operands. */
export interface Site {
  /** Name of the constants this site adds. */
  readonly name: string;
  readonly channels: number;
  /** Real value of one unit of D in a channel. */
  readonly scale: (channel: number) => number;
  readonly bias: Float32Array | null;
  readonly activation: Activation | 'identity';
  /** The quantisers that follow: one, or one per branch of the layer that reads the result. */
  readonly next: readonly Quantiser[];
  readonly accumulators: Accumulators;
  /** Set where the engine cannot give this result, whatever its values: says why. */
  readonly obstacle: string | null;
}

/** A quantiser that an epilogue table can stand for: its step is known, and it has no offset. */
type Static = Quantiser & { readonly kind: 'fixed' };

/** One in Q8.24: the accumulator passes the epilogue's multiplication unchanged. */
export const ONE = 2 ** EPILOGUE_SHIFT;

/** Real value before the next quantiser; the expression of native/vector (terms and bias, then activation). */
function realValue(site: Site, channel: number, d: number): number {
  const product = site.scale(channel) * d;
  const value = product + (site.bias ? site.bias[channel]! : 0);
  return site.activation === 'relu' ? Math.max(value, 0) : value;
}

/** What a search finds: a table entry for every channel, or why no table decides this site. */
type Finding =
  | { readonly table: Int32Array }
  | {
      readonly table: null;
      readonly why: string /** Codes of 0 occur between -1 and +1. */;
      readonly zero: boolean;
    };

/** The entry that leaves one bit: whether D has reached `threshold`. */
function thresholdEntry(threshold: number, signed: boolean): TableEntry {
  // PM1 asks r >= 0, U asks clamp(r, 0, 1) = 1, which is r >= 1.
  return { bias: signed ? -threshold : 1 - threshold, mul: ONE };
}

/** The epilogue table of thresholds: one entry {i32 bias, i32 mul} a channel (docs/contract.md, section 5). */
export function thresholdTable(thresholds: Int32Array, signed: boolean): Int32Array {
  return tableOf(Array.from(thresholds, (threshold) => thresholdEntry(threshold, signed)));
}

/** The table that leaves D as it is, where the output is wide enough: int16 rows. */
export function identityTable(length: number): Int32Array {
  return tableOf(Array.from({ length }, () => ({ bias: 0, mul: ONE })));
}

function tableOf(entries: readonly TableEntry[]): Int32Array {
  return Int32Array.from(entries.flatMap(({ bias, mul }) => [bias, mul]));
}

/** The entry of one channel, or why it has none. `code` must not decrease. */
function channelEntry(
  site: Site,
  next: Static,
  channel: number,
  code: (d: number) => number,
): TableEntry | { readonly why: string; readonly zero: boolean } {
  const { accumulators } = site;
  if (next.bits > 1) {
    const levels = findLevels(code, codeRange(next), accumulators);
    const why = `fixed point cannot place all ${levels.length} level boundaries of channel ${channel}`;
    return findEntry(levels, accumulators) ?? { why, zero: false };
  }
  const one = firstReaching(code, 1, accumulators.bound);
  if (next.signed && reachable(firstReaching(code, 0, accumulators.bound), one, accumulators)) {
    return { why: `channel ${channel} can be exactly zero, a third level`, zero: true };
  }
  return thresholdEntry(one, next.signed);
}

function searchTable(site: Site): Finding {
  const [next, ...others] = site.next;
  const none = (why: string, zero = false): Finding => ({ table: null, why, zero });
  if (next === undefined || others.length > 0)
    return none('two quantisers read the result', site.next.some(isSign));
  if (next.kind === 'range' || next.offset === 'minimum')
    return none('the next step size or offset is found at run time', isSign(next));
  // Without a known scale, or a monotone function of D, no search can exclude a zero.
  if (site.obstacle && (next.bits > 1 || site.accumulators.bound === 0))
    return none(site.obstacle, isSign(next));
  if (site.activation === 'gelu') return none('GELU is not monotone', isSign(next));
  const entries: TableEntry[] = [];
  for (let channel = 0; channel < site.channels; channel++) {
    // The searches want a staircase that rises with D. Where it falls, that of -D rises, and accumulators lie on both sides of 0 alike.
    const sign = site.scale(channel) < 0 ? -1 : 1;
    const entry = channelEntry(site, next, channel, (d) =>
      quantise(next, realValue(site, channel, sign * d), channel),
    );
    if ('why' in entry) return none(entry.why, entry.zero);
    // (-D + bias)*mul = (D - bias)*-mul
    entries.push({ bias: sign * entry.bias, mul: sign * entry.mul });
  }
  return site.obstacle ? none(site.obstacle) : { table: tableOf(entries) };
}

/** Chooses the epilogue of a site; `affine` gives the constants of the vector step. */
export function chooseEpilogue(
  site: Site,
  affine: () => Pick<AffinePlan, 'terms' | 'bias'>,
  constants: Constants,
): EpiloguePlan {
  const found = searchTable(site);
  if (found.table) {
    const next = site.next[0]!;
    const format = formatByte(codeFormat(next, false));
    return next.bits === 1
      ? {
          kind: 'threshold',
          format,
          table: constants.add(`${site.name}.thresholds`, found.table),
          why: 'one exact integer threshold per channel',
        }
      : {
          kind: 'fixed-point',
          format,
          table: constants.add(`${site.name}.fixed-point`, found.table),
          why: `fixed point gives all ${2 ** next.bits} levels for every accumulator`,
        };
  }
  return {
    kind: 'affine',
    ...affine(),
    quantisers: site.next.map((next, index) =>
      planQuantiser(next, found.zero, `${site.name}.${index}`, constants),
    ),
    why: found.why,
  };
}
