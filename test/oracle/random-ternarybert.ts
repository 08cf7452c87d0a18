/** Random TernaryBERT checkpoints of any size: ternary weights, 8-bit activations, latent weights in the file. */
import type { OracleTensor } from './quantisers.js';
import {
  type RandomEncoderCheckpoint,
  type RandomEncoderOptions,
  randomEncoderCheckpoint,
  writeEncoderCheckpoint,
} from './random-encoder.js';
import { ternarise } from './ternarybert.js';

export interface RandomTernaryBertOptions extends RandomEncoderOptions {
  /** one weight in 500 is far beyond the clip value, so that clipping changes thresholds and scales */
  weightOutliers?: boolean;
  /**
   * what the option that saves quantised weights writes: s and codes per matrix, for the word embeddings too, where the
   * forward pass has them per row. Read as a checkpoint it is another function
   */
  quantisedSave?: boolean;
}

/** Makes a checkpoint; nothing is written. */
export function randomTernaryBertCheckpoint(options: RandomTernaryBertOptions): RandomEncoderCheckpoint {
  const { weightOutliers = false, quantisedSave = false, clip = 2.5 } = options;
  return randomEncoderCheckpoint(options, {
    settings: { input_bits: 8, weight_bits: 2 },
    dead: null,
    // Of normal weights 58 % are above the threshold, with a mean of 1.22 deviations: sqrt(0.58) 1.22 = 0.93.
    gain: (spread) => 0.93 * spread,
    adjust: (weight) => {
      // Drawing them from the generator would change all other numbers.
      if (weightOutliers)
        for (let i = 0; i < weight.data.length; i += 500)
          weight.data[i] = clip * (i % 1000 === 0 ? 1.5 : -1.2);
      if (quantisedSave) weight.data.set(quantised(weight, clip));
    },
  });
}

/** `writeEncoderCheckpoint`: config.json, pytorch_model.bin, vocab.txt. */
export const writeTernaryBertCheckpoint = writeEncoderCheckpoint;

function quantised(weight: OracleTensor, clip: number): Float64Array {
  const { signs, scales } = ternarise(weight, [-clip, clip], 'matrix');
  return signs.map((sign) => sign * scales[0]!);
}
