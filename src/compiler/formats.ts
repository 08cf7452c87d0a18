/** Which operand format carries a quantiser's codes. */
import { type Format, formatByte, type Width } from '../device/descriptor.js';
import { codeRange, type Quantiser } from '../model/description.js';
import type { EpiloguePlan, QuantiserPlan } from '../model/plan.js';
import type { Constants } from './constants.js';

export const PM1: Format = { bits: 1, encoding: 'PM1' };
/** Ternary codes {-1, 0, +1}: two planes, two's complement. */
export const TERNARY: Format = { bits: 2, encoding: 'S' };

/** Format of a quantiser's codes; `zero` says that a one-bit signed quantiser can produce 0, which PM1 cannot hold. */
export function codeFormat({ signed, bits }: Quantiser, zero: boolean): Format {
  if (!signed) return { bits: bits as Width, encoding: 'U' };
  if (bits === 1) return zero ? TERNARY : PM1;
  return { bits: bits as Width, encoding: 'S' };
}

/** Largest magnitude of a quantiser's codes. */
export function largestCode(quantiser: Quantiser): number {
  const { qmin, qmax } = codeRange(quantiser);
  return Math.max(-qmin, qmax);
}

/** The plan of a quantiser; its shift becomes a constant called `name`.shift. */
export function planQuantiser(
  quantiser: Quantiser,
  zero: boolean,
  name: string,
  constants: Constants,
): QuantiserPlan {
  const sign = quantiser.signed && quantiser.bits === 1;
  return {
    kind: sign ? 'sign' : quantiser.offset === 'minimum' ? 'round-from-min' : 'round',
    format: formatByte(codeFormat(quantiser, zero)),
    step: quantiser.step,
    ...codeRange(quantiser),
    shift: quantiser.shift ? constants.add(`${name}.shift`, quantiser.shift) : null,
  };
}

/** Format byte of the operand that an epilogue leaves, or undefined where it leaves real values. */
export function resultFormat(epilogue: EpiloguePlan): number | undefined {
  return epilogue.kind === 'threshold' ? epilogue.format : epilogue.quantiser?.format;
}
