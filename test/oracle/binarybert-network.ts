/**
 * From a checkpoint to the numbers BinaryBERT computes with: settings checked, both branches of every split layer
 * binarised, names resolved.
 */
import { type ActivationQuantiser, binariseUncentred } from './binarybert-quantisers.js';
import { gelu } from './maths.js';
import type { OracleTensor } from './quantisers.js';

export interface Linear {
  inputs: number;
  outputs: number;
  /** outputs x inputs: signs of a binarised weight, or the weight itself */
  weight: Float64Array;
  /** per output; multiplies the sum */
  scales: Float64Array;
  bias: Float64Array;
}

/** One branch of a split layer. */
export interface Branch extends Linear {
  name: string;
  quantiser: ActivationQuantiser;
}

/** A layer that ternary weight splitting made two of: both read the same input, their outputs are added. */
export interface SplitLinear {
  name: string;
  outputs: number;
  branches: readonly [Branch, Branch];
}

export interface Norm {
  weight: Float64Array;
  bias: Float64Array;
}

export interface Layer {
  name: string;
  query: SplitLinear;
  key: SplitLinear;
  value: SplitLinear;
  clipQuery: ActivationQuantiser;
  clipKey: ActivationQuantiser;
  clipValue: ActivationQuantiser;
  clipAttention: ActivationQuantiser;
  attentionOutput: SplitLinear;
  attentionNorm: Norm;
  intermediate: SplitLinear;
  output: SplitLinear;
  outputNorm: Norm;
}

export interface BinaryBertNetwork {
  hidden: number;
  /** width of q, k, v and of the context: `dyna_hidden_size` */
  attention: number;
  heads: number;
  activation: (x: number) => number;
  /** both tables dequantised and added, vocab x hidden */
  words: Float64Array;
  /** positions x hidden */
  positions: Float64Array;
  /** types x hidden */
  types: Float64Array;
  embeddingNorm: Norm;
  layers: Layer[];
  pooler: SplitLinear;
  /** its outputs are the labels */
  classifier: Linear;
}

const ACTIVATIONS = { relu: (x: number): number => Math.max(x, 0), gelu };

/**
 * @param config   config.json as an object
 * @param tensors  the state_dict by its official names
 * @throws Error that names the setting or tensor if something is missing, misshapen or outside the definition
 */
export function readBinaryBertNetwork(
  config: Record<string, unknown>,
  tensors: Map<string, OracleTensor>,
): BinaryBertNetwork {
  return new Reader(config, tensors).read();
}

class Reader {
  readonly #config: Record<string, unknown>;
  readonly #tensors: Map<string, OracleTensor>;
  readonly #bits: number;
  readonly #method: 'uniform' | 'lsq';
  readonly #hidden: number;
  readonly #attention: number;
  /** signedness of every quantiser but the next two */
  readonly #signed: boolean;
  /** signedness for the attention probabilities and the input of output.dense */
  readonly #signedFfnAttention: boolean;

  constructor(config: Record<string, unknown>, tensors: Map<string, OracleTensor>) {
    this.#config = config;
    this.#tensors = tensors;
    this.#bits = this.#choice('input_bits', [2, 4, 8, 32]);
    this.#method = this.#choice('input_quant_method', ['uniform', 'lsq']);
    this.#choice('weight_bits', [1]);
    this.#choice('weight_quant_method', ['bwn']);
    this.#choice('input_layerwise', [true], true);
    this.#hidden = this.#count('hidden_size');
    this.#attention = config.dyna_hidden_size === undefined ? this.#hidden : this.#count('dyna_hidden_size');
    this.#signed = this.#choice('sym_quant_qkvo', [true, false], true);
    this.#signedFfnAttention = this.#choice('sym_quant_ffn_attn', [true, false], false);
  }

  read(): BinaryBertNetwork {
    const hidden = this.#hidden;
    const heads = this.#count('num_attention_heads');
    if (this.#attention % heads !== 0)
      throw new Error('oracle: dyna_hidden_size is no multiple of num_attention_heads');
    const table = (name: string, rows: string): Float64Array =>
      this.#values(`bert.embeddings.${name}_embeddings.weight`, [this.#count(rows), hidden]);
    const labels = this.#tensor('classifier.weight').shape[0]!;
    return {
      hidden,
      attention: this.#attention,
      heads,
      activation: ACTIVATIONS[this.#choice('hidden_act', ['relu', 'gelu'])],
      words: this.#words([this.#count('vocab_size'), hidden]),
      positions: table('position', 'max_position_embeddings'),
      types: table('token_type', 'type_vocab_size'),
      embeddingNorm: this.#norm('bert.embeddings.LayerNorm'),
      layers: Array.from({ length: this.#count('num_hidden_layers') }, (_, l) =>
        this.#layer(`bert.encoder.layer.${l}`),
      ),
      pooler: this.#split('bert.pooler.dense', hidden, hidden, this.#signed),
      classifier: {
        inputs: hidden,
        outputs: labels,
        weight: this.#values('classifier.weight', [labels, hidden]),
        scales: new Float64Array(labels).fill(1),
        bias: this.#values('classifier.bias', [labels]),
      },
    };
  }

  #layer(name: string): Layer {
    const [hidden, attention, signed] = [this.#hidden, this.#attention, this.#signed];
    const intermediate = this.#count('intermediate_size');
    const self = `${name}.attention.self`;
    return {
      name,
      query: this.#split(`${self}.query`, hidden, attention, signed),
      key: this.#split(`${self}.key`, hidden, attention, signed),
      value: this.#split(`${self}.value`, hidden, attention, signed),
      clipQuery: this.#quantiser(`${self}.clip_query`, signed),
      clipKey: this.#quantiser(`${self}.clip_key`, signed),
      clipValue: this.#quantiser(`${self}.clip_value`, signed),
      clipAttention: this.#quantiser(`${self}.clip_attn`, this.#signedFfnAttention),
      attentionOutput: this.#split(`${name}.attention.output.dense`, attention, hidden, signed),
      attentionNorm: this.#norm(`${name}.attention.output.LayerNorm`),
      intermediate: this.#split(`${name}.intermediate.dense`, hidden, intermediate, signed),
      output: this.#split(`${name}.output.dense`, intermediate, hidden, this.#signedFfnAttention),
      outputNorm: this.#norm(`${name}.output.LayerNorm`),
    };
  }

  #split(name: string, inputs: number, outputs: number, signed: boolean): SplitLinear {
    const branch = (number: 1 | 2): Branch => {
      const full = `${name}_${number}`;
      const layerwise = this.#choice('weight_layerwise', [true, false], true);
      const { signs, scales } = binariseUncentred(
        this.#tensor(`${full}.weight`, [outputs, inputs]),
        layerwise,
      );
      const bias = this.#values(`${full}.bias`, [outputs]);
      const quantiser = this.#quantiser(`${full}.input_clip_val`, signed);
      return { name: full, inputs, outputs, weight: signs, scales, bias, quantiser };
    };
    return { name, outputs, branches: [branch(1), branch(2)] };
  }

  #words(shape: [number, number]): Float64Array {
    const layerwise = this.#choice('embed_layerwise', [true, false], false);
    const table = (number: 1 | 2): Float64Array => {
      const name = `bert.embeddings.word_embeddings_${number}.weight`;
      const { signs, scales } = binariseUncentred(this.#tensor(name, shape), layerwise);
      return signs.map((sign, i) => sign * scales[Math.floor(i / shape[1])]!);
    };
    const second = table(2);
    return table(1).map((value, i) => value + second[i]!);
  }

  /** The quantiser whose clip bounds (uniform) or step (lsq) a tensor holds. */
  #quantiser(name: string, signed: boolean): ActivationQuantiser {
    const bits = this.#bits;
    if (bits === 32) return { method: 'none' };
    const { data, shape } = this.#tensor(name);
    if (this.#method === 'uniform') {
      if (shape.join() !== '2') throw new Error(`oracle: ${name} has shape [${shape}], expected [2]`);
      return { method: 'uniform', bits, signed, clip: [data[0]!, data[1]!] };
    }
    if (data.length !== 1) throw new Error(`oracle: ${name} holds ${data.length} numbers, expected 1`);
    const step = data[0]!;
    if (!(step > 0))
      throw new Error(`oracle: ${name} is ${step}; the released code asserts that it is positive`);
    if (step === 1) {
      throw new Error(
        `oracle: ${name} is exactly 1, which the released code overwrites from its first batch: no defined answer`,
      );
    }
    return { method: 'lsq', bits, signed, step };
  }

  #norm(name: string): Norm {
    // The official loader renames gamma and beta, as older files call the two.
    const legacy = this.#tensors.has(`${name}.gamma`);
    return {
      weight: this.#values(`${name}.${legacy ? 'gamma' : 'weight'}`, [this.#hidden]),
      bias: this.#values(`${name}.${legacy ? 'beta' : 'bias'}`, [this.#hidden]),
    };
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
    const value = this.#config[field];
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 1) {
      throw new Error(`oracle: config.${field} is ${JSON.stringify(value)}, expected a whole number from 1`);
    }
    return value;
  }

  #choice<const T>(field: string, allowed: readonly T[], fallback?: T): T {
    const value = this.#config[field] ?? fallback;
    const found = allowed.find((one) => one === value);
    if (found !== undefined) return found;
    throw new Error(
      `oracle: config.${field} is ${JSON.stringify(value)}, expected one of ${JSON.stringify(allowed)}`,
    );
  }
}
