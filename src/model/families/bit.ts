/**
 * BiT (arXiv 2205.13016): elastic binarisation, W1 with activations of 1, 2, 4 or 8 bits. What the released code really
 * computes, its traps included, is in docs/quantisation.md.
 */
import { mean, meanMagnitude, signCodes } from '../binarise.js';
import type { Checkpoint } from '../checkpoint/open.js';
import type {
  Activation,
  EncoderLayer,
  Linear,
  ModelDescription,
  Norm,
  OperandBits,
  Quantiser,
} from '../description.js';
import { ImportError } from '../import-error.js';
import { readLabels } from '../labels.js';
import { MODEL_LIMITS } from '../plan.js';
import { Settings } from '../settings.js';
import { TensorSource } from '../tensor-source.js';
import type { Family, ImportContext } from './family.js';

/** The released code adds this whatever `layer_norm_eps` says. */
const LAYER_NORM_EPSILON = 1e-12;
/** Lower clamp of every learned step. */
const STEP_FLOOR = 1e-5;

interface Options {
  readonly bits: OperandBits;
  readonly perRowWeights: boolean;
  readonly perRowEmbedding: boolean;
  readonly signedFfnAttention: boolean;
  readonly activation: Activation;
}

function readOptions(settings: Settings): Options {
  settings.require(
    'weight_bits',
    1,
    'only binary weights can run on the engine; 32 means the weights were never quantised',
  );
  settings.expect('weight_quant_method', 'bwn');
  settings.expect('input_quant_method', 'elastic');
  settings.expect('input_layerwise', true);
  settings.expect('sym_quant_qkvo', true);
  settings.expect('not_quantize_attention', false);
  return {
    bits: settings.oneOf(
      'input_bits',
      [1, 2, 4, 8] as const,
      'the engine multiplies activations of 1, 2, 4 or 8 bits',
    ),
    perRowWeights: !settings.flag('weight_layerwise', true),
    perRowEmbedding: !settings.flag('embed_layerwise', false),
    signedFfnAttention: settings.flag('sym_quant_ffn_attn', false),
    activation: settings.oneOf('hidden_act', ['relu', 'gelu'] as const, 'only these activations are known'),
  };
}

class BitReader {
  readonly #source: TensorSource;
  readonly #options: Options;
  readonly #warn: (message: string) => void;

  constructor(source: TensorSource, options: Options, warn: (message: string) => void) {
    this.#source = source;
    this.#options = options;
    this.#warn = warn;
  }

  #step(name: string): number {
    const stored = this.#source.scalar(name);
    if (stored === 1) {
      this.#warn(
        `${name} is exactly 1.0: the released code takes that for "not set yet" and replaces it from the first batch it sees. ` +
          'The stored value is used here, so results may differ from such a run',
      );
    }
    return Math.max(stored, STEP_FLOOR);
  }

  quantiser(stepName: string, signed: boolean, shift: Float32Array | null = null): Quantiser {
    const { bits } = this.#options;
    // Released code: only the unsigned multi-bit quantiser subtracts the minimum of its tensor.
    return {
      signed,
      bits,
      step: this.#step(stepName),
      offset: !signed && bits > 1 ? 'minimum' : 'none',
      shift,
    };
  }

  linear(name: string, rows: number, cols: number, signedInput = true): Linear {
    const weight = this.#source.weights(`${name}.weight`, rows, cols);
    return {
      name,
      weight: signCodes(weight, rows, mean(weight)),
      weightScale: meanMagnitude(weight, rows, this.#options.perRowWeights),
      bias: this.#source.vector(`${name}.bias`, rows),
      input: this.quantiser(
        `${name}.input_clip_val`,
        signedInput,
        this.#source.vector(`${name}.move.bias`, cols),
      ),
    };
  }

  norm(name: string, width: number): Norm {
    const either = (now: string, legacy: string) =>
      this.#source.vector(
        this.#source.has(`${name}.${legacy}`) ? `${name}.${legacy}` : `${name}.${now}`,
        width,
      );
    return { gamma: either('weight', 'gamma'), beta: either('bias', 'beta'), epsilon: LAYER_NORM_EPSILON };
  }

  layer(index: number, hidden: number, intermediate: number): EncoderLayer {
    const at = `bert.encoder.layer.${index}`;
    const self = `${at}.attention.self`;
    // move_q, move_k and move_v are in the file but dead: the released code overwrites what they produce.
    for (const dead of ['move_q', 'move_k', 'move_v']) this.#source.ignore(`${self}.${dead}.bias`);
    const signed = this.#options.signedFfnAttention;
    return {
      query: this.linear(`${self}.query`, hidden, hidden),
      key: this.linear(`${self}.key`, hidden, hidden),
      value: this.linear(`${self}.value`, hidden, hidden),
      q: this.quantiser(`${self}.clip_query`, true),
      k: this.quantiser(`${self}.clip_key`, true),
      v: this.quantiser(`${self}.clip_value`, true),
      p: this.quantiser(`${self}.clip_attn`, signed),
      output: this.linear(`${at}.attention.output.dense`, hidden, hidden),
      attentionNorm: this.norm(`${at}.attention.output.LayerNorm`, hidden),
      up: this.linear(`${at}.intermediate.dense`, intermediate, hidden),
      activation: this.#options.activation,
      down: this.linear(`${at}.output.dense`, hidden, intermediate, signed),
      outputNorm: this.norm(`${at}.output.LayerNorm`, hidden),
    };
  }
}

function importBit(checkpoint: Checkpoint, context: ImportContext): ModelDescription {
  const settings = new Settings(checkpoint.config, context.warn);
  const options = readOptions(settings);
  const hidden = settings.size('hidden_size');
  const heads = settings.size('num_attention_heads');
  const layers = settings.size('num_hidden_layers', MODEL_LIMITS.layers);
  const intermediate = settings.size('intermediate_size');
  if (hidden % heads !== 0)
    throw new ImportError(
      'bad-config',
      `hidden_size ${hidden} is not a multiple of num_attention_heads ${heads}`,
    );

  const source = new TensorSource(checkpoint);
  const reader = new BitReader(source, options, context.warn);
  const words = source.rows('bert.embeddings.word_embeddings.weight', 1, MODEL_LIMITS.rows);
  const positions = source.rows(
    'bert.embeddings.position_embeddings.weight',
    MODEL_LIMITS.leastTokens,
    MODEL_LIMITS.width,
  );
  const types = source.rows('bert.embeddings.token_type_embeddings.weight', 1, MODEL_LIMITS.rows);
  const classes = source.rows('classifier.weight', 1, MODEL_LIMITS.labels);
  const word = source.weights('bert.embeddings.word_embeddings.weight', words, hidden);
  const matrix = (name: string, rows: number) => ({
    rows,
    cols: hidden,
    values: source.matrix(name, rows, hidden),
  });
  const perRowScale = meanMagnitude(word, words, options.perRowEmbedding);
  context.progress('embeddings', 0, layers);

  const description: ModelDescription = {
    family: `BiT W1A${options.bits}`,
    hidden,
    heads,
    intermediate,
    embeddings: {
      word: signCodes(word, words, mean(word)),
      wordScale: options.perRowEmbedding ? perRowScale : new Float64Array(words).fill(perRowScale[0]!),
      position: matrix('bert.embeddings.position_embeddings.weight', positions),
      type: matrix('bert.embeddings.token_type_embeddings.weight', types),
      norm: reader.norm('bert.embeddings.LayerNorm', hidden),
    },
    layers: Array.from({ length: layers }, (_, index) => {
      const layer = reader.layer(index, hidden, intermediate);
      context.progress('layer', index + 1, layers);
      return layer;
    }),
    pooler: reader.linear('bert.pooler.dense', hidden, hidden),
    classifier: {
      weight: matrix('classifier.weight', classes),
      bias: source.vector('classifier.bias', classes),
    },
    labels: readLabels(checkpoint.config, classes, context.warn),
  };
  source.reportUnused(context.warn);
  return description;
}

export const bit: Family = {
  name: 'BiT',
  recognises: (checkpoint) => [...checkpoint.tensors.keys()].some((key) => key.endsWith('.move.bias')),
  import: importBit,
};
