/**
 * BiBERT (arXiv 2203.06390): one-bit weights and activations, boolean attention. Activations are bare signs, scale 1: the `scale` of every
 * layer and the `gate` parameters are in the file but dead.
 */
import { meanMagnitude, rowMeans, signCodes } from '../binarise.js';
import type { Checkpoint } from '../checkpoint/open.js';
import type { ModelDescription, Quantiser } from '../description.js';
import { ImportError } from '../import-error.js';
import { Settings } from '../settings.js';
import { TensorSource } from '../tensor-source.js';
import { readBert } from './bert.js';
import type { Family, ImportContext } from './family.js';

const WORDS = 'bert.embeddings.word_embeddings.weight';
/** Weights this close to their row's mean get another sign from a float32 mean. */
const NEAR_MEAN = 1e-8;

const SIGN: Quantiser = { kind: 'fixed', signed: true, bits: 1, step: 1, offset: 'none', shift: null };

/** True for what a quantised save holds in place of weights: signs, among them those of latent weights of exactly 0. */
function holdsSigns(weight: Float32Array | Float64Array): boolean {
  return weight.every((value) => Math.sign(value) === value) && weight.some((value) => value !== 0);
}

function importBiBert(checkpoint: Checkpoint, context: ImportContext): ModelDescription {
  const settings = new Settings(checkpoint.config, context.warn);
  settings.require('weight_bits', 1, 'BiBERT has one-bit weights');
  settings.require('input_bits', 1, 'BiBERT has one-bit activations');
  settings.expect('quantize_act', true);
  const source = new TensorSource(checkpoint);
  let nearMean = 0;

  /** sign(w - row mean) and mean |w| of the row, uncentred. */
  const binarise = (name: string, rows: number, cols: number) => {
    const weight = source.weights(name, rows, cols);
    if (holdsSigns(weight)) {
      throw new ImportError(
        'unsupported',
        `${checkpoint.file}: every value of ${name} is +1, 0 or -1: a quantised save, which lost centres and scales and is another function; use the full-precision save (--save_fp_model)`,
      );
    }
    const means = rowMeans(weight, rows);
    for (let row = 0, i = 0; row < rows; row++) {
      for (let col = 0; col < cols; col++, i++)
        if (Math.abs(weight[i]! - means[row]!) < NEAR_MEAN) nearMean++;
    }
    return { codes: signCodes(weight, rows, means), scale: meanMagnitude(weight, rows, true) };
  };

  const description = readBert(
    checkpoint,
    source,
    settings,
    {
      family: 'BiBERT W1A1',
      activation: 'gelu', // Hard-coded there, whatever hidden_act says.
      layerNormEpsilon: settings.positive('layer_norm_eps', 1e-12),
      attentionSize: settings.size('hidden_size'),
      wordTensor: WORDS,
      words: (rows, hidden) => {
        source.ignore('bert.embeddings.word_embeddings.weight_clip_val');
        return [binarise(WORDS, rows, hidden)];
      },
      linear(name, rows, cols) {
        for (const dead of ['scale', 'weight_clip_val', 'act_clip_val']) source.ignore(`${name}.${dead}`);
        source.ignore(name.replace(/\.dense$/, '.gate'));
        const { codes, scale } = binarise(`${name}.weight`, rows, cols);
        return {
          name,
          branches: [{ input: SIGN, weight: codes, weightScale: scale }],
          bias: source.vector(`${name}.bias`, rows),
        };
      },
      attention(self) {
        for (const dead of ['clip_query', 'clip_key', 'clip_value', 'clip_attn'])
          source.ignore(`${self}.${dead}`);
        return { q: SIGN, k: SIGN, v: SIGN, p: 'boolean' };
      },
    },
    context,
  );
  if (nearMean > 0) {
    context.warn(
      `${nearMean} weights lie within ${NEAR_MEAN} of their row's mean: the released code in float32 may give them another sign than the exact mean, which is used here`,
    );
  }
  return description;
}

export const biBert: Family = {
  name: 'BiBERT',
  fingerprint: ({ tensors }) =>
    [...tensors].find(
      ([key, { shape }]) => key.endsWith('.gate') || (key.endsWith('.dense.scale') && shape.length === 0),
    )?.[0],
  import: importBiBert,
};
