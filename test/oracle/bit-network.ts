/**
 * From a checkpoint to the numbers BiT computes with: settings checked, weights binarised, names resolved.
 */
import { gelu, swish } from './maths.js';
import { type ActivationQuantiser, binarise, type OracleTensor } from './quantisers.js';

export interface Linear {
  inputs: number;
  outputs: number;
  /** outputs x inputs: signs of the binarised weight, or the weight itself at weight_bits 32 */
  weight: Float64Array;
  /** per output; multiplies the sum. Keeping it outside leaves sums of equal magnitudes exact, zeros included. */
  scales: Float64Array;
  bias: Float64Array;
}

export interface QuantisedLinear extends Linear {
  name: string;
  /** `move.bias`: added to the input before it is quantised */
  offset: Float64Array | null;
  quantiser: ActivationQuantiser;
}

export interface Norm {
  weight: Float64Array;
  bias: Float64Array;
}

export interface Layer {
  name: string;
  query: QuantisedLinear;
  key: QuantisedLinear;
  value: QuantisedLinear;
  clipQuery: ActivationQuantiser;
  clipKey: ActivationQuantiser;
  clipValue: ActivationQuantiser;
  clipAttention: ActivationQuantiser;
  attentionOutput: QuantisedLinear;
  attentionNorm: Norm;
  intermediate: QuantisedLinear;
  output: QuantisedLinear;
  outputNorm: Norm;
}

export interface BitNetwork {
  hidden: number;
  heads: number;
  activation: (x: number) => number;
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
}

const ACTIVATIONS: Record<string, (x: number) => number> = {
  relu: (x) => Math.max(x, 0),
  gelu,
  swish,
};

/**
 * @param config   config.json as an object
 * @param tensors  the state_dict by its official names
 * @throws Error that names the setting or tensor if something is missing, misshapen or outside the definition
 */
export function readBitNetwork(
  config: Record<string, unknown>,
  tensors: Map<string, OracleTensor>,
): BitNetwork {
  return new Reader(config, tensors).read();
}

class Reader {
  readonly #config: Record<string, unknown>;
  readonly #tensors: Map<string, OracleTensor>;
  readonly #bits: number;
  readonly #weightBits: number;
  readonly #hidden: number;
  readonly #intermediate: number;
  /** signedness of every quantiser but the next two */
  readonly #signed: boolean;
  /** signedness for the attention probabilities and the input of output.dense */
  readonly #signedFfnAttention: boolean;

  constructor(config: Record<string, unknown>, tensors: Map<string, OracleTensor>) {
    this.#config = config;
    this.#tensors = tensors;
    this.#bits = this.#choice('input_bits', [1, 2, 4, 8, 32]);
    this.#weightBits = this.#choice('weight_bits', [1, 32]);
    if (this.#weightBits === 1) this.#choice('weight_quant_method', ['bwn']);
    if (this.#bits !== 32) this.#choice('input_quant_method', ['elastic']);
    this.#choice('input_layerwise', [true], true);
    this.#hidden = this.#count('hidden_size');
    this.#intermediate = this.#count('intermediate_size');
    this.#signed = this.#switch('sym_quant_qkvo', true);
    this.#signedFfnAttention = this.#switch('sym_quant_ffn_attn', false);
  }

  read(): BitNetwork {
    const hidden = this.#hidden;
    const heads = this.#count('num_attention_heads');
    if (hidden % heads !== 0) throw new Error('oracle: hidden_size is no multiple of num_attention_heads');
    const table = (name: string, rows: string): Float64Array =>
      this.#values(`bert.embeddings.${name}_embeddings.weight`, [this.#count(rows), hidden]);
    const layers = Array.from({ length: this.#count('num_hidden_layers') }, (_, l) =>
      this.#layer(`bert.encoder.layer.${l}`),
    );
    // The classifier's shape counts, not num_labels: the field is absent or stale in files of other versions.
    const labels = this.#tensor('classifier.weight').shape[0]!;
    return {
      hidden,
      heads,
      activation: ACTIVATIONS[this.#choice('hidden_act', Object.keys(ACTIVATIONS))]!,
      words: this.#wordEmbeddings([this.#count('vocab_size'), hidden]),
      positions: table('position', 'max_position_embeddings'),
      types: table('token_type', 'type_vocab_size'),
      embeddingNorm: this.#norm('bert.embeddings.LayerNorm'),
      layers,
      pooler: this.#quantisedLinear('bert.pooler.dense', hidden, hidden, this.#signed),
      classifier: this.#linear('classifier', hidden, labels, 32),
    };
  }

  #layer(name: string): Layer {
    const hidden = this.#hidden;
    const signed = this.#signed;
    const self = `${name}.attention.self`;
    const clip = (tensor: string, isSigned: boolean, bits: number): ActivationQuantiser => ({
      bits,
      signed: isSigned,
      scale: bits === 32 ? Number.NaN : this.#scalar(`${self}.${tensor}`),
    });
    const attentionBits = this.#switch('not_quantize_attention', false) ? 32 : this.#bits;
    return {
      name,
      query: this.#quantisedLinear(`${self}.query`, hidden, hidden, signed),
      key: this.#quantisedLinear(`${self}.key`, hidden, hidden, signed),
      value: this.#quantisedLinear(`${self}.value`, hidden, hidden, signed),
      clipQuery: clip('clip_query', signed, this.#bits),
      clipKey: clip('clip_key', signed, this.#bits),
      clipValue: clip('clip_value', signed, this.#bits),
      clipAttention: clip('clip_attn', this.#signedFfnAttention, attentionBits),
      attentionOutput: this.#quantisedLinear(`${name}.attention.output.dense`, hidden, hidden, signed),
      attentionNorm: this.#norm(`${name}.attention.output.LayerNorm`),
      intermediate: this.#quantisedLinear(`${name}.intermediate.dense`, hidden, this.#intermediate, signed),
      output: this.#quantisedLinear(
        `${name}.output.dense`,
        this.#intermediate,
        hidden,
        this.#signedFfnAttention,
      ),
      outputNorm: this.#norm(`${name}.output.LayerNorm`),
    };
  }

  #quantisedLinear(name: string, inputs: number, outputs: number, signed: boolean): QuantisedLinear {
    // A plain full-precision BERT has no move parameters; every other file must have them, also at input_bits 32.
    const plain = this.#bits === 32 && this.#weightBits === 32 && !this.#tensors.has(`${name}.move.bias`);
    return {
      ...this.#linear(name, inputs, outputs, this.#weightBits),
      name,
      offset: plain ? null : this.#values(`${name}.move.bias`, [inputs]),
      quantiser: {
        bits: this.#bits,
        signed,
        scale: this.#bits === 32 ? Number.NaN : this.#scalar(`${name}.input_clip_val`),
      },
    };
  }

  #linear(name: string, inputs: number, outputs: number, weightBits: number): Linear {
    const matrix = this.#tensor(`${name}.weight`, [outputs, inputs]);
    const bias = this.#values(`${name}.bias`, [outputs]);
    if (weightBits === 32) {
      const weight = Float64Array.from(matrix.data);
      return { inputs, outputs, weight, scales: new Float64Array(outputs).fill(1), bias };
    }
    const { signs, scales } = binarise(matrix, this.#switch('weight_layerwise', true));
    return { inputs, outputs, weight: signs, scales, bias };
  }

  #wordEmbeddings(shape: [number, number]): Float64Array {
    const name = 'bert.embeddings.word_embeddings.weight';
    if (this.#weightBits === 32) return this.#values(name, shape);
    const { signs, scales } = binarise(this.#tensor(name, shape), this.#switch('embed_layerwise', false));
    return signs.map((sign, i) => sign * scales[Math.floor(i / shape[1])]!);
  }

  #norm(name: string): Norm {
    // TensorFlow-era checkpoints call the two gamma and beta; the official loaders rename them.
    const legacy = this.#tensors.has(`${name}.gamma`);
    return {
      weight: this.#values(`${name}.${legacy ? 'gamma' : 'weight'}`, [this.#hidden]),
      bias: this.#values(`${name}.${legacy ? 'beta' : 'bias'}`, [this.#hidden]),
    };
  }

  #values(name: string, shape: number[]): Float64Array {
    return Float64Array.from(this.#tensor(name, shape).data);
  }

  /** A clip value: 0-dimensional, or of shape (1,) in files of other versions. */
  #scalar(name: string): number {
    const { data } = this.#tensor(name);
    if (data.length !== 1) throw new Error(`oracle: ${name} holds ${data.length} numbers, expected 1`);
    return data[0]!;
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
    const value = this.#config[field];
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 1) {
      throw new Error(`oracle: config.${field} is ${JSON.stringify(value)}, expected a whole number from 1`);
    }
    return value;
  }

  #switch(field: string, fallback: boolean): boolean {
    return this.#choice(field, [true, false], fallback);
  }

  #choice<T>(field: string, allowed: T[], fallback?: T): T {
    const value = this.#config[field] ?? fallback;
    if (!allowed.includes(value as T)) {
      throw new Error(
        `oracle: config.${field} is ${JSON.stringify(value)}, expected one of ${JSON.stringify(allowed)}`,
      );
    }
    return value as T;
  }
}
