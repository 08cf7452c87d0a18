/**
 * Random BinaryBERT checkpoints: any size, every switch, the official names and file layout, the same for the same
 * seed. Weights look like those of ternary weight splitting: both branches of a +-1 agree in sign, those of a 0 are
 * opposed. Clip bounds and steps are such that they act and the levels are used.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { random32 } from '../contract/support/random.js';
import type { OracleTensor } from './quantisers.js';
import { vocabulary } from './random.js';
import { torchSave } from './torch-file.js';

export interface RandomBinaryBertOptions {
  seed: number;
  layers: number;
  hidden: number;
  /** `dyna_hidden_size`: width of q, k, v and of the context, a multiple of heads */
  attention: number;
  heads: number;
  intermediate: number;
  vocab: number;
  positions: number;
  labels: number;
  /** `input_bits` */
  bits: 2 | 4 | 8 | 32;
  /** `input_quant_method` */
  method: 'uniform' | 'lsq';
  /** by default what the released scripts take: gelu with uniform, relu with lsq */
  hiddenAct?: 'relu' | 'gelu';
  weightLayerwise?: boolean;
  embedLayerwise?: boolean;
  symQuantQkvo?: boolean;
  symQuantFfnAttn?: boolean;
  /** the second branch gets the clip bounds or step of the first, as right after the splitting */
  sharedClips?: boolean;
  /** biases and clip values as float64 tensors, as the splitting itself writes them (trained files have none) */
  doubles?: boolean;
  /** all biases of split layers 0: their sums become exact multiples of the scales */
  zeroBias?: boolean;
  /** LayerNorm parameters under their old names gamma and beta */
  legacyNorms?: boolean;
  /** shape of lsq steps: 0-dimensional as released, or (1,) as in other versions */
  stepShape?: [] | [1];
}

export interface RandomBinaryBertCheckpoint {
  /** what config.json holds */
  config: Record<string, unknown>;
  tensors: Map<string, OracleTensor>;
}

/** Makes a checkpoint; nothing is written. */
export function randomBinaryBertCheckpoint(options: RandomBinaryBertOptions): RandomBinaryBertCheckpoint {
  return { config: configuration(options), tensors: new Maker(options).make() };
}

/**
 * Writes config.json, pytorch_model.bin and vocab.txt into a folder, which is made if need be.
 *
 * @param vocab  vocab.txt, by default `vocabulary(config.vocab_size)`
 */
export function writeBinaryBertCheckpoint(
  folder: string,
  { config, tensors }: RandomBinaryBertCheckpoint,
  vocab: string[] = vocabulary(config.vocab_size as number),
): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'config.json'), `${JSON.stringify(config, null, 2)}\n`);
  const modules = binaryBertModules(config.num_hidden_layers as number);
  writeFileSync(join(folder, 'pytorch_model.bin'), torchSave(tensors, modules));
  writeFileSync(join(folder, 'vocab.txt'), `${vocab.join('\n')}\n`);
}

/** Every module of BinaryBERT's BertForSequenceClassification, in the order torch walks them. */
export function binaryBertModules(layers: number): string[] {
  const under = (name: string, parts: string[]): string[] => [
    name,
    ...parts.map((part) => `${name}.${part}`),
  ];
  const split = (...parts: string[]): string[] => parts.flatMap((part) => [`${part}_1`, `${part}_2`]);
  const layer = (name: string): string[] => [
    name,
    `${name}.attention`,
    ...under(`${name}.attention.self`, [...split('query', 'key', 'value'), 'dropout']),
    ...under(`${name}.attention.output`, [...split('dense'), 'LayerNorm', 'dropout']),
    ...under(`${name}.intermediate`, split('dense')),
    ...under(`${name}.output`, [...split('dense'), 'LayerNorm', 'dropout']),
  ];
  return [
    '',
    'bert',
    ...under('bert.embeddings', [
      ...split('word_embeddings'),
      'position_embeddings',
      'token_type_embeddings',
      'LayerNorm',
      'dropout',
    ]),
    'bert.encoder',
    'bert.encoder.layer',
    ...Array.from({ length: layers }, (_, l) => layer(`bert.encoder.layer.${l}`)).flat(),
    ...under('bert.pooler', [...split('dense'), 'activation']),
    'dropout',
    'classifier',
  ];
}

function configuration(options: RandomBinaryBertOptions): Record<string, unknown> {
  const names = Array.from({ length: options.labels }, (_, i) => `intent_${i}`);
  return {
    attention_probs_dropout_prob: 0,
    clip_init_val: 2.5,
    dyna_hidden_size: options.attention,
    embed_layerwise: options.embedLayerwise ?? false,
    finetuning_task: null,
    hidden_act: options.hiddenAct ?? (options.method === 'uniform' ? 'gelu' : 'relu'),
    hidden_dropout_prob: 0,
    hidden_size: options.hidden,
    id2label: Object.fromEntries(names.map((name, i) => [String(i), name])),
    initializer_range: 0.02,
    input_bits: options.bits,
    input_layerwise: true,
    input_quant_method: options.method,
    intermediate_size: options.intermediate,
    label2id: Object.fromEntries(names.map((name, i) => [name, i])),
    layer_norm_eps: 1e-12,
    learnable_scaling: true,
    max_position_embeddings: options.positions,
    num_attention_heads: options.heads,
    num_hidden_layers: options.layers,
    num_labels: options.labels,
    output_attentions: false,
    output_hidden_states: false,
    output_past: true,
    pruned_heads: {},
    sym_quant_ffn_attn: options.symQuantFfnAttn ?? false,
    sym_quant_qkvo: options.symQuantQkvo ?? true,
    torchscript: false,
    type_vocab_size: 2,
    use_bfloat16: false,
    vocab_size: options.vocab,
    weight_bits: 1,
    weight_layerwise: options.weightLayerwise ?? true,
    weight_quant_method: 'bwn',
  };
}

/** What a quantiser sees: values around 0 with deviation 1, the same after an activation, or probabilities. */
type Input = 'symmetric' | 'rectified' | 'probability';

/** lsq steps by bits for each input, signed and unsigned: the levels then span most of the values. */
const STEPS: Record<Input, { signed: Record<number, number>; unsigned: Record<number, number> }> = {
  symmetric: { signed: { 2: 0.9, 4: 0.32, 8: 0.025 }, unsigned: { 2: 1.4, 4: 0.36, 8: 0.023 } },
  rectified: { signed: { 2: 0.9, 4: 0.3, 8: 0.02 }, unsigned: { 2: 0.7, 4: 0.16, 8: 0.01 } },
  probability: { signed: { 2: 0.25, 4: 0.08, 8: 0.005 }, unsigned: { 2: 0.14, 4: 0.045, 8: 0.003 } },
};

/** The share of latent weights that the ternary model before the splitting keeps: P(|w| > 0.7 mean |w|), w normal. */
const KEPT = 0.575;

/** Draws the tensors in the order of the official state_dict. */
class Maker {
  readonly #options: RandomBinaryBertOptions;
  readonly #next: () => number;
  readonly #tensors = new Map<string, OracleTensor>();

  constructor(options: RandomBinaryBertOptions) {
    this.#options = options;
    this.#next = random32(options.seed);
  }

  make(): Map<string, OracleTensor> {
    const { hidden, vocab, positions, labels, layers } = this.#options;
    const embeddings = 'bert.embeddings';
    const [first, second] = this.#branches(vocab * hidden, 0.06);
    this.#set(`${embeddings}.word_embeddings_1.weight`, [vocab, hidden], first);
    this.#set(`${embeddings}.word_embeddings_2.weight`, [vocab, hidden], second);
    this.#normals(`${embeddings}.position_embeddings.weight`, [positions, hidden], 0, 0.025);
    this.#normals(`${embeddings}.token_type_embeddings.weight`, [2, hidden], 0, 0.02);
    this.#norm(`${embeddings}.LayerNorm`);
    for (let l = 0; l < layers; l++) this.#layer(`bert.encoder.layer.${l}`);
    this.#split('bert.pooler.dense', hidden, hidden, 1, 'symmetric', 1);
    this.#normals('classifier.weight', [labels, hidden], 0, 2 / Math.sqrt(hidden));
    this.#normals('classifier.bias', [labels], 0, 0.05);
    return this.#tensors;
  }

  #layer(name: string): void {
    const { hidden, attention, intermediate } = this.#options;
    const self = `${name}.attention.self`;
    const deviations = { query: 1.4, key: 1.4, value: 1 };
    for (const [part, deviation] of Object.entries(deviations)) {
      this.#clip(`${self}.clip_${part}`, 'symmetric', deviation);
    }
    this.#clip(`${self}.clip_attn`, 'probability', 1);
    for (const [part, deviation] of Object.entries(deviations)) {
      this.#split(`${self}.${part}`, hidden, attention, 1, 'symmetric', deviation);
    }
    this.#split(`${name}.attention.output.dense`, attention, hidden, 0.45, 'symmetric', 0.7);
    this.#norm(`${name}.attention.output.LayerNorm`);
    this.#split(`${name}.intermediate.dense`, hidden, intermediate, 1, 'symmetric', 1);
    this.#split(`${name}.output.dense`, intermediate, hidden, 1, 'rectified', 0.8);
    this.#norm(`${name}.output.LayerNorm`);
  }

  /**
   * Both branches of a split layer.
   *
   * @param spread     deviation of its input, which scales clip bounds and steps
   * @param deviation  wanted deviation of its output: of n inputs only the kept ones count, with both scales
   */
  #split(
    name: string,
    inputs: number,
    outputs: number,
    spread: number,
    input: Input,
    deviation: number,
  ): void {
    const { zeroBias = false, sharedClips = false } = this.#options;
    const weights = this.#branches(inputs * outputs, deviation / (spread * Math.sqrt(KEPT * inputs)));
    for (const number of [1, 2] as const) {
      const branch = `${name}_${number}`;
      this.#set(`${branch}.weight`, [outputs, inputs], weights[number - 1]!);
      const bias = Float64Array.from({ length: outputs }, () =>
        zeroBias ? 0 : 0.07 * deviation * this.#normal(),
      );
      this.#trained(`${branch}.bias`, [outputs], bias);
      const clip = `${branch}.input_clip_val`;
      if (number === 2 && sharedClips) {
        const { shape, data } = this.#tensors.get(`${name}_1.input_clip_val`)!;
        this.#tensors.set(clip, { shape: [...shape], data: data.slice() });
      } else {
        this.#clip(clip, input, spread);
      }
    }
  }

  /** Latent weights of both branches, with mean magnitudes that differ a little and add up to about `sum`. */
  #branches(count: number, sum: number): [Float64Array, Float64Array] {
    const share = 0.45 + 0.1 * this.#uniform();
    const first = new Float64Array(count);
    const second = new Float64Array(count);
    for (let i = 0; i < count; i++) {
      const kept = this.#uniform() < KEPT;
      const sign = kept && this.#uniform() < 0.5 ? -1 : 1;
      first[i] = sign * share * sum * (0.5 + this.#uniform());
      // A 0 became a positive weight in the first branch and a negative one in the second.
      second[i] = (kept ? sign : -1) * (1 - share) * sum * (0.5 + this.#uniform());
    }
    return [first, second];
  }

  #clip(name: string, input: Input, spread: number): void {
    const { method } = this.#options;
    if (method === 'uniform') this.#trained(name, [2], this.#bounds(input, spread));
    else this.#trained(name, this.#options.stepShape ?? [], Float64Array.of(this.#step(input, spread)));
  }

  #bounds(input: Input, spread: number): Float64Array {
    // Probabilities stay within the bounds the training starts from.
    if (input === 'probability') return Float64Array.of(-2.5, 2.5);
    const drift = (): number => spread * (1.6 + 0.6 * this.#uniform());
    // No output of an activation is far below 0, so the lower bound rarely acts, and rarely moves.
    if (input === 'rectified') return Float64Array.of(this.#uniform() < 0.5 ? -2.5 : -0.1, drift());
    return Float64Array.of(-drift(), drift());
  }

  #step(input: Input, spread: number): number {
    const { symQuantQkvo = true, symQuantFfnAttn = false, bits } = this.#options;
    const signed = input === 'symmetric' ? symQuantQkvo : symQuantFfnAttn;
    const step =
      (STEPS[input][signed ? 'signed' : 'unsigned'][bits] ?? 0.5) * spread * (0.85 + 0.3 * this.#uniform());
    // The released code takes exactly 1 for "not set yet".
    return Math.fround(step) === 1 ? 1.0625 : step;
  }

  #norm(name: string): void {
    const [weight, bias] = this.#options.legacyNorms === true ? ['gamma', 'beta'] : ['weight', 'bias'];
    this.#normals(`${name}.${weight}`, [this.#options.hidden], 0.9, 0.08);
    this.#normals(`${name}.${bias}`, [this.#options.hidden], 0, 0.08);
  }

  #normals(name: string, shape: number[], mean: number, deviation: number): void {
    const values = new Float64Array(shape.reduce((a, b) => a * b, 1));
    this.#set(
      name,
      shape,
      values.map(() => mean + deviation * this.#normal()),
    );
  }

  #set(name: string, shape: number[], values: Float64Array): void {
    this.#tensors.set(name, { shape, data: new Float32Array(values) });
  }

  /** A bias or clip value: the parameters that come out of the splitting as float64. */
  #trained(name: string, shape: readonly number[], values: Float64Array): void {
    const data = this.#options.doubles === true ? values : new Float32Array(values);
    this.#tensors.set(name, { shape: [...shape], data });
  }

  /** Uniform in [0, 1). */
  #uniform(): number {
    return this.#next() / 2 ** 32;
  }

  /** Normal with mean 0 and deviation 1 (Box-Muller, the cosine half). */
  #normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.#uniform())) * Math.cos(2 * Math.PI * this.#uniform());
  }
}
