/**
 * The choice, for every integer result, between an exact threshold in the engine and an affine vector step on the CPU.
 */
import { EPILOGUE_SHIFT } from '../device/contract.generated.js';
import { formatByte } from '../device/descriptor.js';
import type { Activation, Quantiser } from '../model/description.js';
import type { AffinePlan, EpiloguePlan } from '../model/plan.js';
import type { Constants } from './constants.js';
import { codeFormat, planQuantiser } from './formats.js';
import { quantise } from './quantise.js';
import { type Accumulators, firstReaching, reachable } from './thresholds.js';

/** What stands between an integer result and the next operand. */
export interface Site {
  /** Name of the constants this site adds. */
  readonly name: string;
  readonly channels: number;
  /** Scale of a channel: real value of one unit of D. */
  readonly scale: (channel: number) => number;
  readonly bias: Float32Array | null;
  readonly activation: Activation | 'identity';
  /** The quantiser that follows. */
  readonly next: Quantiser;
  readonly accumulators: Accumulators;
  /** Set where the engine cannot place the result, whatever its values: says why. */
  readonly obstacle: string | null;
}

/** One in Q8.24: the accumulator passes the epilogue's multiplication unchanged. */
const ONE = 2 ** EPILOGUE_SHIFT;

/** Real value before the next quantiser; the expression of native/vector (beta_affine, then activation). */
function realValue(site: Site, channel: number, d: number): number {
  const product = site.scale(channel) * d;
  const value = product + (site.bias ? site.bias[channel]! : 0);
  return site.activation === 'relu' ? Math.max(value, 0) : value;
}

/** What a search finds: a threshold for every channel, or why thresholds do not decide this site. */
type Finding =
  | { readonly thresholds: Int32Array }
  | {
      readonly thresholds: null;
      readonly why: string /** Codes of 0 occur between -1 and +1. */;
      readonly zero: boolean;
    };

function searchThresholds(site: Site): Finding {
  const { next, accumulators } = site;
  const none = (why: string, zero = false): Finding => ({ thresholds: null, why, zero });
  if (next.bits !== 1) return none(`${2 ** next.bits} levels need more than one threshold`);
  // GELU is not monotone, so no search can exclude a zero between its two branches.
  if (site.activation === 'gelu') return none('GELU is not monotone', next.signed);
  const thresholds = new Int32Array(site.channels);
  for (let channel = 0; channel < site.channels; channel++) {
    const code = (d: number) => quantise(next, realValue(site, channel, d), channel);
    const one = firstReaching(code, 1, accumulators.bound);
    if (next.signed && reachable(firstReaching(code, 0, accumulators.bound), one, accumulators)) {
      return none(`channel ${channel} can be exactly zero, a third level`, true);
    }
    thresholds[channel] = one;
  }
  return site.obstacle ? none(site.obstacle) : { thresholds };
}

/** The epilogue table: one entry {i32 bias, i32 mul} a channel (docs/contract.md, section 5). */
function thresholdTable(thresholds: Int32Array, signed: boolean): Int32Array {
  const table = new Int32Array(thresholds.length * 2);
  thresholds.forEach((threshold, channel) => {
    // PM1 asks r >= 0, U asks clamp(r, 0, 1) = 1, which is r >= 1.
    table[channel * 2] = signed ? -threshold : 1 - threshold;
    table[channel * 2 + 1] = ONE;
  });
  return table;
}

/** Chooses the epilogue of a site; `affine` gives scale and bias of the fallback as already stored constants. */
export function chooseEpilogue(
  site: Site,
  affine: () => Pick<AffinePlan, 'scale' | 'bias' | 'sums'>,
  constants: Constants,
): EpiloguePlan {
  const found = searchThresholds(site);
  if (found.thresholds) {
    return {
      kind: 'threshold',
      format: formatByte(codeFormat(site.next, false)),
      table: constants.add(`${site.name}.thresholds`, thresholdTable(found.thresholds, site.next.signed)),
      why: 'one exact integer threshold per channel',
    };
  }
  return {
    kind: 'affine',
    ...affine(),
    quantiser: planQuantiser(site.next, found.zero, site.name, constants),
    why: found.why,
  };
}
