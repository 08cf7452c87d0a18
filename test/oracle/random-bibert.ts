/** Random BiBERT checkpoints of any size: one-bit weights and activations, latent weights in the file. */
import type { OracleTensor } from './quantisers.js';
import {
  type RandomEncoderCheckpoint,
  type RandomEncoderOptions,
  randomEncoderCheckpoint,
  writeEncoderCheckpoint,
} from './random-encoder.js';

export interface RandomBiBertOptions extends RandomEncoderOptions {
  /**
   * every row of every quantised weight holds some numbers exactly equal to the row's mean, whose sign is 0: the weight is
   * ternary. All of them are multiples of 2^-12, so every way to compute the mean finds the same
   */
  zeroWeights?: boolean;
  /** odd values in the parameters `scale` and `gate`, which a reader must ignore; trained files hold 0 and 1 */
  deadParameters?: boolean;
  /** what the option --save_quantized_model of the released code writes: sgn(W) without centring or scale, no model at all */
  quantisedSave?: boolean;
}

/** Makes a checkpoint; nothing is written. */
export function randomBiBertCheckpoint(options: RandomBiBertOptions): RandomEncoderCheckpoint {
  const { zeroWeights = false, deadParameters = false, quantisedSave = false } = options;
  return randomEncoderCheckpoint(options, {
    settings: { embedding_bits: 1, input_bits: 1, weight_bits: 1 },
    dead: deadParameters ? { scale: 0.37, gate: -2.5 } : { scale: 0, gate: 1 },
    // Inputs are signs; mean |W| of normal weights is 0.8 of their deviation.
    gain: () => 0.8,
    adjust: (weight, uniform) => {
      if (zeroWeights) meanOnGrid(weight, uniform);
      if (quantisedSave) weight.data.set(weight.data.map(Math.sign));
    },
  });
}

/** `writeEncoderCheckpoint`: config.json, pytorch_model.bin, vocab.txt. */
export const writeBiBertCheckpoint = writeEncoderCheckpoint;

const GRID = 2 ** -12;

/** Rows that become mean + d, mean - d, ..., one d in eight 0 (and the last of an odd row), all on the grid. */
function meanOnGrid({ shape, data }: OracleTensor, uniform: () => number): void {
  const columns = shape[1]!;
  const snap = (value: number): number => Math.round(value / GRID) * GRID;
  for (let at = 0; at < data.length; at += columns) {
    const mean = snap(data[at]! / 8);
    for (let k = 0; k < columns; k += 2) {
      const d = uniform() < 1 / 8 || k + 1 === columns ? 0 : snap(data[at + k]!);
      data[at + k] = mean + d;
      if (k + 1 < columns) data[at + k + 1] = mean - d;
    }
  }
}
