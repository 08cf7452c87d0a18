/**
 * BiT (arXiv 2205.13016): elastic binarisation, W1 with activations of 1, 2, 4 or 8 bits. What the released code really
 * computes, its traps included, is in docs/quantisation.md.
 */
import { mean, meanMagnitude, signCodes } from '../binarise.js';
import type { Checkpoint } from '../checkpoint/open.js';
import type { ModelDescription, Quantiser } from '../description.js';
import { Settings } from '../settings.js';
import { TensorSource } from '../tensor-source.js';
import { readBert } from './bert.js';
import type { Family, ImportContext } from './family.js';
import { readStep } from './steps.js';

/** The released code adds this whatever `layer_norm_eps` says. */
const LAYER_NORM_EPSILON = 1e-12;
/** Lower clamp of every learned step in the released code. */
const STEP_FLOOR = 1e-5;
const WORDS = 'bert.embeddings.word_embeddings.weight';

function importBit(checkpoint: Checkpoint, context: ImportContext): ModelDescription {
  const settings = new Settings(checkpoint.config, context.warn);
  settings.require(
    'weight_bits',
    1,
    'only binary weights can run on the engine; 32 means the weights were never quantised',
  );
  settings.expect('weight_quant_method', 'bwn');
  settings.expect('input_quant_method', 'elastic');
  settings.expect('input_layerwise', true);
  const bits = settings.oneOf(
    'input_bits',
    [1, 2, 4, 8] as const,
    'the engine multiplies activations of 1, 2, 4 or 8 bits',
  );
  const activation = settings.oneOf(
    'hidden_act',
    ['relu', 'gelu'] as const,
    'only these activations are known',
  );
  const perRowWeights = !settings.flag('weight_layerwise', true);
  const perRowEmbedding = !settings.flag('embed_layerwise', false);
  const signedInputs = settings.flag('sym_quant_qkvo', true);
  const signedFfnAttention = settings.flag('sym_quant_ffn_attn', false);
  const realAttention = settings.flag('not_quantize_attention', false);
  const source = new TensorSource(checkpoint);

  const quantiser = (stepName: string, signed: boolean, shift: Float32Array | null = null): Quantiser => ({
    kind: 'fixed',
    signed,
    bits,
    step: readStep(source, stepName, STEP_FLOOR, context.warn),
    // Released code: only the unsigned multi-bit quantiser subtracts the minimum of its tensor.
    offset: !signed && bits > 1 ? 'minimum' : 'none',
    shift,
  });

  return readBert(
    checkpoint,
    source,
    settings,
    {
      family: `BiT W1A${bits}`,
      activation,
      layerNormEpsilon: LAYER_NORM_EPSILON,
      attentionSize: settings.size('hidden_size'),
      wordTensor: WORDS,
      words(rows, hidden) {
        const table = source.weights(WORDS, rows, hidden);
        const scale = meanMagnitude(table, rows, perRowEmbedding);
        return [
          {
            codes: signCodes(table, rows, mean(table)),
            scale: perRowEmbedding ? scale : new Float64Array(rows).fill(scale[0]!),
          },
        ];
      },
      linear(name, rows, cols, twoSidedInput) {
        const weight = source.weights(`${name}.weight`, rows, cols);
        const move = source.vector(`${name}.move.bias`, cols);
        const branch = {
          input: quantiser(`${name}.input_clip_val`, twoSidedInput ? signedInputs : signedFfnAttention, move),
          weight: signCodes(weight, rows, mean(weight)),
          weightScale: meanMagnitude(weight, rows, perRowWeights),
        };
        return { name, branches: [branch], bias: source.vector(`${name}.bias`, rows) };
      },
      attention(self) {
        // move_q, move_k and move_v are in the file but dead: the released code overwrites what they produce.
        for (const dead of ['move_q', 'move_k', 'move_v']) source.ignore(`${self}.${dead}.bias`);
        if (realAttention) source.ignore(`${self}.clip_attn`);
        return {
          q: quantiser(`${self}.clip_query`, signedInputs),
          k: quantiser(`${self}.clip_key`, signedInputs),
          v: quantiser(`${self}.clip_value`, signedInputs),
          p: realAttention ? 'real' : quantiser(`${self}.clip_attn`, signedFfnAttention),
        };
      },
    },
    context,
  );
}

export const bit: Family = {
  name: 'BiT',
  fingerprint: ({ tensors }) => [...tensors.keys()].find((key) => key.endsWith('.move.bias')),
  import: importBit,
};
