/**
 * The float expressions of the model, in double, exactly as native/vector evaluates them. The compiler searches these for
 * integer thresholds, so a threshold and a vector step can never disagree.
 */
import { codeRange, type Quantiser } from '../model/description.js';

/** Round half to even, as torch.round. */
export function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}

/** Code of a real value by a quantiser whose step is fixed and whose offset is 0. `channel` selects the shift. */
export function quantise(
  quantiser: Quantiser & { readonly kind: 'fixed' },
  x: number,
  channel: number,
): number {
  const value = quantiser.shift ? x + quantiser.shift[channel]! : x;
  if (quantiser.signed && quantiser.bits === 1) return Math.sign(value);
  const { qmin, qmax } = codeRange(quantiser);
  return roundHalfEven(Math.min(Math.max(value / quantiser.step, qmin), qmax));
}
