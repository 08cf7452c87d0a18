/**
 * TernaryBERT (arXiv 2009.12812), W2A8: ternary weights by the TWN threshold, 8-bit activations whose range is found at run time inside
 * fixed clips, signed everywhere, the probabilities included.
 */
import { ternariseWeights } from '../binarise.js';
import type { Checkpoint } from '../checkpoint/open.js';
import type { ModelDescription, Quantiser } from '../description.js';
import { ImportError } from '../import-error.js';
import { Settings } from '../settings.js';
import { TensorSource } from '../tensor-source.js';
import { readBert } from './bert.js';
import { biBert } from './bibert.js';
import type { Family, ImportContext } from './family.js';
import { readClip } from './steps.js';

const WORDS = 'bert.embeddings.word_embeddings';

function importTernaryBert(checkpoint: Checkpoint, context: ImportContext): ModelDescription {
  const settings = new Settings(checkpoint.config, context.warn);
  settings.require('weight_bits', 2, 'TernaryBERT has ternary weights');
  settings.require('input_bits', 8, 'TernaryBERT has 8-bit activations');
  settings.expect('quantize_act', true);
  const source = new TensorSource(checkpoint);
  const quantiser = (name: string): Quantiser => ({
    kind: 'range',
    signed: true,
    bits: 8,
    clip: readClip(source, name),
    shift: null,
  });

  return readBert(
    checkpoint,
    source,
    settings,
    {
      family: 'TernaryBERT W2A8',
      activation: 'gelu', // Hard-coded there, whatever hidden_act says.
      layerNormEpsilon: settings.positive('layer_norm_eps', 1e-12),
      attentionSize: settings.size('hidden_size'),
      wordTensor: `${WORDS}.weight`,
      words(rows, hidden) {
        const table = source.weights(`${WORDS}.weight`, rows, hidden);
        if (new Set(table.subarray(0, Math.min(table.length, 64 * hidden))).size <= 3) {
          throw new ImportError(
            'unsupported',
            `${checkpoint.file}: ${WORDS}.weight has three values: a quantised save, whose word table has one scale in place of one per row and is another function; use the full-precision save`,
          );
        }
        const { codes, scale } = ternariseWeights(
          table,
          rows,
          true,
          readClip(source, `${WORDS}.weight_clip_val`),
        );
        return [{ codes, scale }];
      },
      linear(name, rows, cols) {
        const weight = source.weights(`${name}.weight`, rows, cols);
        const { codes, scale } = ternariseWeights(
          weight,
          rows,
          false,
          readClip(source, `${name}.weight_clip_val`),
        );
        const branch = { input: quantiser(`${name}.act_clip_val`), weight: codes, weightScale: scale };
        return { name, branches: [branch], bias: source.vector(`${name}.bias`, rows) };
      },
      attention: (self) => ({
        q: quantiser(`${self}.clip_query`),
        k: quantiser(`${self}.clip_key`),
        v: quantiser(`${self}.clip_value`),
        p: quantiser(`${self}.clip_attn`),
      }),
    },
    context,
  );
}

export const ternaryBert: Family = {
  name: 'TernaryBERT',
  // BiBERT's files carry these clips as well, unused, so the setting has to say it too, and BiBERT's own tensors must be absent.
  fingerprint: (checkpoint) =>
    checkpoint.config.weight_bits === 2 && biBert.fingerprint(checkpoint) === undefined
      ? [...checkpoint.tensors.keys()].find((key) => key.endsWith('.weight_clip_val'))
      : undefined,
  import: importTernaryBert,
};
