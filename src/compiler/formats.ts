/** Which operand format carries a quantiser's codes. */
import { type Format, formatByte, type Width } from '../device/descriptor.js';
import { codeRange, isFound, type Quantiser } from '../model/description.js';
import type { EpiloguePlan, QuantiserPlan } from '../model/plan.js';
import type { Constants } from './constants.js';

export const PM1: Format = { bits: 1, encoding: 'PM1' };
/** Ternary codes {-1, 0, +1}: two planes, two's complement. */
export const TERNARY: Format = { bits: 2, encoding: 'S' };

/** True for sign(x): one signed bit, with 0 as a third level. */
export function isSign({ signed, bits }: Quantiser): boolean {
  return signed && bits === 1;
}

/** Format of a quantiser's codes; `zero` says that a sign quantiser can produce 0, which PM1 cannot hold. */
export function codeFormat(quantiser: Quantiser, zero: boolean): Format {
  if (isSign(quantiser)) return zero ? TERNARY : PM1;
  return { bits: quantiser.bits as Width, encoding: quantiser.signed ? 'S' : 'U' };
}

/** Largest magnitude of a quantiser's codes. */
export function largestCode(quantiser: Quantiser): number {
  const { qmin, qmax } = codeRange(quantiser);
  return Math.max(-qmin, qmax);
}

/** The part of a code's real value that is known now: the step, or 1 where a found entry will bring it. */
export function knownStep(quantiser: Quantiser): number {
  return quantiser.kind === 'range' || isFound(quantiser) ? 1 : quantiser.step;
}

/** True where the codes of a quantiser have a real value at code 0 other than 0. */
export function hasOffset(quantiser: Quantiser): boolean {
  return isFound(quantiser) && !quantiser.signed;
}

function planKind(quantiser: Quantiser): QuantiserPlan['kind'] {
  if (quantiser.kind === 'range') return quantiser.signed ? 'symmetric' : 'asymmetric';
  if (isSign(quantiser)) return 'sign';
  return quantiser.offset === 'minimum' ? 'round-from-min' : 'round';
}

/** The plan of a quantiser; its shift becomes a constant called `name`.shift. */
export function planQuantiser(
  quantiser: Quantiser,
  zero: boolean,
  name: string,
  constants: Constants,
): QuantiserPlan {
  return {
    kind: planKind(quantiser),
    format: formatByte(codeFormat(quantiser, zero)),
    step: quantiser.kind === 'fixed' ? quantiser.step : 1,
    clip: quantiser.kind === 'range' ? quantiser.clip : null,
    ...codeRange(quantiser),
    shift: quantiser.shift ? constants.add(`${name}.shift`, quantiser.shift) : null,
  };
}

/** True where a quantiser stores what it found, and whoever multiplies its codes must read it. */
export function storesFound({ kind }: QuantiserPlan): boolean {
  return kind === 'round-from-min' || kind === 'symmetric' || kind === 'asymmetric';
}

/** True where the code 0 of a quantiser does not mean 0: what it found has an offset. */
export function storesOffset({ kind }: QuantiserPlan): boolean {
  return kind === 'round-from-min' || kind === 'asymmetric';
}

/** The quantiser of the only operand that an epilogue leaves, where a vector step makes it. */
export function resultQuantiser(epilogue: EpiloguePlan): QuantiserPlan | null {
  return epilogue.kind === 'affine' ? (epilogue.quantisers[0] ?? null) : null;
}
