/**
 * BinaryBERT (arXiv 2012.15701), after ternary weight splitting: every quantised layer and the word table are two branches that are
 * added, each with its own one-bit weights and its own quantiser. Activations: `uniform` (learned clips, range found at run time) or
 * `lsq` (learned step). The attention may be narrower than the hidden state (`dyna_hidden_size`).
 */
import { meanMagnitude, signCodes } from '../binarise.js';
import type { Checkpoint } from '../checkpoint/open.js';
import type { ModelDescription, Quantiser } from '../description.js';
import { Settings } from '../settings.js';
import { TensorSource } from '../tensor-source.js';
import { readBert } from './bert.js';
import type { Family, ImportContext } from './family.js';
import { readClip, readStep } from './steps.js';

/** The released code adds this whatever `layer_norm_eps` says. */
const LAYER_NORM_EPSILON = 1e-12;
const WORDS = 'bert.embeddings.word_embeddings';
const BRANCHES = [1, 2] as const;

function importBinaryBert(checkpoint: Checkpoint, context: ImportContext): ModelDescription {
  const settings = new Settings(checkpoint.config, context.warn);
  settings.require('weight_bits', 1, 'the split model has one-bit weights; 2 means it was not split yet');
  settings.expect('weight_quant_method', 'bwn');
  settings.expect('input_layerwise', true);
  settings.expect('not_quantize_attention', false);
  const method = settings.oneOf(
    'input_quant_method',
    ['uniform', 'lsq'] as const,
    'these are the methods of the released code',
  );
  const bits = settings.oneOf(
    'input_bits',
    [2, 4, 8] as const,
    'the engine multiplies activations of 2, 4 or 8 bits here',
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
  const source = new TensorSource(checkpoint);

  const quantiser = (name: string, signed: boolean): Quantiser =>
    method === 'uniform'
      ? { kind: 'range', signed, bits, clip: readClip(source, name), shift: null }
      : {
          kind: 'fixed',
          signed,
          bits,
          step: readStep(source, name, 0, context.warn),
          offset: signed ? 'none' : 'minimum',
          shift: null,
        };

  return readBert(
    checkpoint,
    source,
    settings,
    {
      family: `BinaryBERT W1A${bits} (${method})`,
      activation,
      layerNormEpsilon: LAYER_NORM_EPSILON,
      attentionSize: settings.has('dyna_hidden_size')
        ? settings.size('dyna_hidden_size')
        : settings.size('hidden_size'),
      wordTensor: `${WORDS}_1.weight`,
      words: (rows, hidden) =>
        BRANCHES.map((number) => {
          const table = source.weights(`${WORDS}_${number}.weight`, rows, hidden);
          const scale = meanMagnitude(table, rows, perRowEmbedding);
          return {
            codes: signCodes(table, rows, 0),
            scale: perRowEmbedding ? scale : new Float64Array(rows).fill(scale[0]!),
          };
        }),
      linear(name, rows, cols, twoSidedInput) {
        const branches = BRANCHES.map((number) => {
          const weight = source.weights(`${name}_${number}.weight`, rows, cols);
          return {
            input: quantiser(
              `${name}_${number}.input_clip_val`,
              twoSidedInput ? signedInputs : signedFfnAttention,
            ),
            weight: signCodes(weight, rows, 0),
            weightScale: meanMagnitude(weight, rows, perRowWeights),
          };
        });
        const [first, second] = BRANCHES.map((number) => source.vector(`${name}_${number}.bias`, rows));
        return { name, branches, bias: first!.map((value, row) => value + second![row]!) };
      },
      attention: (self) => ({
        q: quantiser(`${self}.clip_query`, signedInputs),
        k: quantiser(`${self}.clip_key`, signedInputs),
        v: quantiser(`${self}.clip_value`, signedInputs),
        p: quantiser(`${self}.clip_attn`, signedFfnAttention),
      }),
    },
    context,
  );
}

export const binaryBert: Family = {
  name: 'BinaryBERT',
  fingerprint: ({ tensors }) =>
    [...tensors.keys()].find(
      (key) => key.endsWith('_1.weight') && tensors.has(key.replace(/_1\.weight$/, '_2.weight')),
    ),
  import: importBinaryBert,
};
