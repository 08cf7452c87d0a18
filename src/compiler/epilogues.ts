/**
 * The choice, for every integer result, between an exact threshold in the engine and an affine vector step on the CPU.
 */
import { EPILOGUE_SHIFT } from '../device/contract.generated.js';
import { formatByte } from '../device/descriptor.js';
import type { Activation, Quantiser } from '../model/description.js';
import type { AffinePlan, EpiloguePlan } from '../model/plan.js';
import type { Constants } from './constants.js';
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

/** One in Q8.24: the accumulator passes the epilogue's multiplication unchanged. */
export const ONE = 2 ** EPILOGUE_SHIFT;

/** Real value before the next quantiser; the expression of native/vector (terms and bias, then activation). */
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
  const [next, ...others] = site.next;
  const none = (why: string, zero = false): Finding => ({ thresholds: null, why, zero });
  if (next === undefined || others.length > 0)
    return none('two quantisers read the result', site.next.some(isSign));
  if (next.kind === 'range' || next.offset === 'minimum')
    return none('the next step size or offset is found at run time', isSign(next));
  if (next.bits !== 1) return none(`${2 ** next.bits} levels need more than one threshold`);
  // Without a known scale, or a monotone function of D, no search can exclude a zero.
  if (site.obstacle && site.accumulators.bound === 0) return none(site.obstacle, next.signed);
  if (site.activation === 'gelu') return none('GELU is not monotone', next.signed);
  const thresholds = new Int32Array(site.channels);
  for (let channel = 0; channel < site.channels; channel++) {
    const code = (d: number) => quantise(next, realValue(site, channel, d), channel);
    const one = firstReaching(code, 1, site.accumulators.bound);
    if (next.signed && reachable(firstReaching(code, 0, site.accumulators.bound), one, site.accumulators)) {
      return none(`channel ${channel} can be exactly zero, a third level`, true);
    }
    thresholds[channel] = one;
  }
  return site.obstacle ? none(site.obstacle) : { thresholds };
}

/** The epilogue table: one entry {i32 bias, i32 mul} a channel (docs/contract.md, section 5). */
export function thresholdTable(thresholds: Int32Array, signed: boolean): Int32Array {
  const table = new Int32Array(thresholds.length * 2);
  thresholds.forEach((threshold, channel) => {
    // PM1 asks r >= 0, U asks clamp(r, 0, 1) = 1, which is r >= 1.
    table[channel * 2] = signed ? -threshold : 1 - threshold;
    table[channel * 2 + 1] = ONE;
  });
  return table;
}

/** Chooses the epilogue of a site; `affine` gives the constants of the vector step. */
export function chooseEpilogue(
  site: Site,
  affine: () => Pick<AffinePlan, 'terms' | 'bias'>,
  constants: Constants,
): EpiloguePlan {
  const found = searchThresholds(site);
  if (found.thresholds) {
    const next = site.next[0]!;
    return {
      kind: 'threshold',
      format: formatByte(codeFormat(next, false)),
      table: constants.add(`${site.name}.thresholds`, thresholdTable(found.thresholds, next.signed)),
      why: 'one exact integer threshold per channel',
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
