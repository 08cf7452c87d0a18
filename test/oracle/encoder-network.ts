/**
 * From a checkpoint to the numbers BiBERT and TernaryBERT compute with: names resolved, shapes checked, weights
 * quantised by the family's rule. The released code of both goes back to the same classes, so the names are the same.
 */
import type { Quantiser } from './encoder.js';
import type { BinarisedMatrix, OracleTensor } from './quantisers.js';

export interface Linear {
  inputs: number;
  outputs: number;
  /** outputs x inputs: codes -1, 0, +1 of a quantised weight, or the weight itself */
  weight: Float64Array;
  /** per output; multiplies the sum. Keeping it outside leaves sums of equal magnitudes exact, zeros included. */
  scales: Float64Array;
  bias: Float64Array;
}

export interface QuantisedLinear extends Linear {
  name: string;
  /** what its input goes through first */
  quantise: Quantiser;
}

export interface Norm {
  weight: Float64Array;
  bias: Float64Array;
  epsilon: number;
}

export interface Layer {
  name: string;
  query: QuantisedLinear;
  key: QuantisedLinear;
  value: QuantisedLinear;
  quantiseQuery: Quantiser;
  quantiseKey: Quantiser;
  quantiseValue: Quantiser;
  quantiseProbabilities: Quantiser;
  attentionOutput: QuantisedLinear;
  attentionNorm: Norm;
  intermediate: QuantisedLinear;
  output: QuantisedLinear;
  outputNorm: Norm;
}

export interface EncoderNetwork {
  hidden: number;
  heads: number;
  /** already dequantised, vocab x hidden */
  words: Float64Array;
  /** positions x hidden */
  positions: Float64Array;
  /** types x hidden */
  types: Float64Array;
  embeddingNorm: Norm;
  layers: Layer[];
  pooler: QuantisedLinear;
  /** its outputs are the labels */
  classifier: Linear;
  /** scores -> what is quantised as probabilities, rows of `tokens` numbers */
  probabilities: Family['probabilities'];
  scoresName: string;
}

/** What a family decides. */
export interface Family {
  /** settings that must have these values */
  settings: Record<string, unknown>;
  /** the weight of a linear layer; `clip` as for `activation` */
  linear(weight: OracleTensor, clip: readonly [number, number]): BinarisedMatrix;
  /** the word embeddings */
  words(weight: OracleTensor, clip: readonly [number, number]): BinarisedMatrix;
  /** quantiser of a linear layer's input, of q, k or v */
  activation(clip: readonly [number, number]): Quantiser;
  probabilities(scores: Float64Array, tokens: number): Float64Array;
  quantisedProbabilities(clip: readonly [number, number]): Quantiser;
  /** how the files of reference tensors call the scores */
  scoresName: string;
}

/** What both released configuration classes fall back to. */
const DEFAULT_CLIP = 2.5;
const DEFAULT_EPSILON = 1e-12;

/**
 * @param config   config.json as an object
 * @param tensors  the state_dict by its official names
 * @throws Error that names the setting or tensor if something is missing, misshapen or outside the definition
 */
export function readEncoderNetwork(
  config: Record<string, unknown>,
  tensors: Map<string, OracleTensor>,
  family: Family,
): EncoderNetwork {
  return new Reader(config, tensors, family).read();
}

class Reader {
  readonly #config: Record<string, unknown>;
  readonly #tensors: Map<string, OracleTensor>;
  readonly #family: Family;
  readonly #hidden: number;
  readonly #epsilon: number;

  constructor(config: Record<string, unknown>, tensors: Map<string, OracleTensor>, family: Family) {
    this.#config = config;
    this.#tensors = tensors;
    this.#family = family;
    for (const [field, value] of Object.entries(family.settings)) {
      if (config[field] !== value)
        throw new Error(`oracle: config.${field} is ${JSON.stringify(config[field])}, expected ${value}`);
    }
    this.#hidden = this.#count('hidden_size');
    this.#epsilon = this.#number('layer_norm_eps', DEFAULT_EPSILON);
  }

  read(): EncoderNetwork {
    const hidden = this.#hidden;
    const heads = this.#count('num_attention_heads');
    if (hidden % heads !== 0) throw new Error('oracle: hidden_size is no multiple of num_attention_heads');
    const table = (name: string, rows: string): Float64Array =>
      this.#values(`bert.embeddings.${name}_embeddings.weight`, [this.#count(rows), hidden]);
    const words = 'bert.embeddings.word_embeddings';
    const wordTable = this.#tensor(`${words}.weight`, [this.#count('vocab_size'), hidden]);
    const { signs, scales } = this.#family.words(wordTable, this.#clip(`${words}.weight_clip_val`));
    return {
      hidden,
      heads,
      words: signs.map((sign, i) => sign * scales[Math.floor(i / hidden)]!),
      positions: table('position', 'max_position_embeddings'),
      types: table('token_type', 'type_vocab_size'),
      embeddingNorm: this.#norm('bert.embeddings.LayerNorm'),
      layers: Array.from({ length: this.#count('num_hidden_layers') }, (_, l) =>
        this.#layer(`bert.encoder.layer.${l}`),
      ),
      pooler: this.#quantisedLinear('bert.pooler.dense', hidden, hidden),
      classifier: this.#classifier(),
      probabilities: this.#family.probabilities,
      scoresName: this.#family.scoresName,
    };
  }

  #layer(name: string): Layer {
    const hidden = this.#hidden;
    const intermediate = this.#count('intermediate_size');
    const self = `${name}.attention.self`;
    const { activation, quantisedProbabilities } = this.#family;
    return {
      name,
      query: this.#quantisedLinear(`${self}.query`, hidden, hidden),
      key: this.#quantisedLinear(`${self}.key`, hidden, hidden),
      value: this.#quantisedLinear(`${self}.value`, hidden, hidden),
      quantiseQuery: activation(this.#clip(`${self}.clip_query`)),
      quantiseKey: activation(this.#clip(`${self}.clip_key`)),
      quantiseValue: activation(this.#clip(`${self}.clip_value`)),
      quantiseProbabilities: quantisedProbabilities(this.#clip(`${self}.clip_attn`)),
      attentionOutput: this.#quantisedLinear(`${name}.attention.output.dense`, hidden, hidden),
      attentionNorm: this.#norm(`${name}.attention.output.LayerNorm`),
      intermediate: this.#quantisedLinear(`${name}.intermediate.dense`, hidden, intermediate),
      output: this.#quantisedLinear(`${name}.output.dense`, intermediate, hidden),
      outputNorm: this.#norm(`${name}.output.LayerNorm`),
    };
  }

  #quantisedLinear(name: string, inputs: number, outputs: number): QuantisedLinear {
    const matrix = this.#tensor(`${name}.weight`, [outputs, inputs]);
    const { signs, scales } = this.#family.linear(matrix, this.#clip(`${name}.weight_clip_val`));
    return {
      name,
      inputs,
      outputs,
      weight: signs,
      scales,
      bias: this.#values(`${name}.bias`, [outputs]),
      quantise: this.#family.activation(this.#clip(`${name}.act_clip_val`)),
    };
  }

  /** In full precision. Its shape counts, not num_labels: the released classes take that as an argument. */
  #classifier(): Linear {
    const outputs = this.#tensor('classifier.weight').shape[0]!;
    return {
      inputs: this.#hidden,
      outputs,
      weight: this.#values('classifier.weight', [outputs, this.#hidden]),
      scales: new Float64Array(outputs).fill(1),
      bias: this.#values('classifier.bias', [outputs]),
    };
  }

  #norm(name: string): Norm {
    // TensorFlow-era checkpoints call the two gamma and beta; the official loaders rename them.
    const legacy = this.#tensors.has(`${name}.gamma`);
    return {
      weight: this.#values(`${name}.${legacy ? 'gamma' : 'weight'}`, [this.#hidden]),
      bias: this.#values(`${name}.${legacy ? 'beta' : 'bias'}`, [this.#hidden]),
      epsilon: this.#epsilon,
    };
  }

  /** A buffer of the file wins over the setting it was made from. */
  #clip(name: string): readonly [number, number] {
    if (this.#tensors.has(name)) {
      const [low, high] = this.#values(name, [2]);
      return [low!, high!];
    }
    const clip = this.#number('clip_val', DEFAULT_CLIP);
    return [-clip, clip];
  }

  #values(name: string, shape: number[]): Float64Array {
    return Float64Array.from(this.#tensor(name, shape).data);
  }

  #tensor(name: string, shape?: number[]): OracleTensor {
    const tensor = this.#tensors.get(name);
    if (tensor === undefined) throw new Error(`oracle: the checkpoint has no tensor ${name}`);
    if (shape !== undefined && tensor.shape.join() !== shape.join()) {
      throw new Error(`oracle: ${name} has shape [${tensor.shape}], the configuration asks for [${shape}]`);
    }
    return tensor;
  }

  #count(field: string): number {
    const value = this.#number(field);
    if (!Number.isInteger(value) || value < 1)
      throw new Error(`oracle: config.${field} is ${value}, expected a whole number from 1`);
    return value;
  }

  #number(field: string, fallback?: number): number {
    const value = this.#config[field] ?? fallback;
    if (typeof value !== 'number')
      throw new Error(`oracle: config.${field} is ${JSON.stringify(value)}, expected a number`);
    return value;
  }
}
