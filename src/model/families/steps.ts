/** Learned step sizes and clips of activation quantisers. */
import type { Clip } from '../description.js';
import { ImportError } from '../import-error.js';
import type { TensorSource } from '../tensor-source.js';

/** A learned step, clamped from below at `floor`. Exactly 1.0 is what the released code takes for "not set yet". */
export function readStep(
  source: TensorSource,
  name: string,
  floor: number,
  warn: (message: string) => void,
): number {
  const stored = source.scalar(name);
  if (stored === 1) {
    warn(
      `${name} is exactly 1.0: the released code takes that for "not set yet" and replaces it from the first batch it sees. ` +
        'The stored value is used here, so results may differ from such a run',
    );
  }
  const step = Math.max(stored, floor);
  if (!(step > 0)) throw new ImportError('bad-values', `${name} is ${stored}; a step size must be above 0`);
  return step;
}

/** The two bounds of a uniform quantiser. */
export function readClip(source: TensorSource, name: string): Clip {
  const [low, high] = source.vector(name, 2);
  if (!(low! < high!))
    throw new ImportError('bad-values', `${name} is [${low}, ${high}]: no range is left between the clips`);
  return { low: low!, high: high! };
}
