/**
 * Random BiT checkpoints: any size, every switch, the official names and file layout, the same for the same seed.
 * The values are chosen so that the network works like a trained one: no quantiser sits at one level, attention is
 * not uniform, every weight matrix has a mean that matters to its signs.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { OracleTensor } from './quantisers.js';
import { bitModules, torchSave } from './torch-file.js';

export interface RandomBitOptions {
  seed: number;
  layers: number;
  hidden: number;
  heads: number;
  intermediate: number;
  vocab: number;
  positions: number;
  labels: number;
  /** `input_bits` */
  bits: 1 | 2 | 4 | 8 | 32;
  weightLayerwise?: boolean;
  embedLayerwise?: boolean;
  symQuantQkvo?: boolean;
  symQuantFfnAttn?: boolean;
  notQuantizeAttention?: boolean;
  hiddenAct?: 'relu' | 'gelu' | 'swish';
  /** all biases of quantised linear layers 0: their sums, and with bits 1 their zeros, become exact */
  zeroBias?: boolean;
  /** all `move.bias` 0 */
  zeroMove?: boolean;
  /** fills move_q, move_k and move_v, which a reader must ignore; trained files hold zeros */
  deadMoves?: boolean;
  /** LayerNorm parameters under their old names gamma and beta */
  legacyNorms?: boolean;
  /** shape of clip values: 0-dimensional as released, or (1,) as in other versions */
  clipShape?: [] | [1];
}

export interface RandomBitCheckpoint {
  /** what config.json holds */
  config: Record<string, unknown>;
  tensors: Map<string, OracleTensor>;
}

/** Makes a checkpoint; nothing is written. */
export function randomBitCheckpoint(options: RandomBitOptions): RandomBitCheckpoint {
  return { config: configuration(options), tensors: new Maker(options).make() };
}

/**
 * Writes config.json, pytorch_model.bin and vocab.txt into a folder, which is made if need be.
 *
 * @param vocabulary  vocab.txt, by default `vocabulary(config.vocab_size)`
 */
export function writeCheckpoint(
  folder: string,
  checkpoint: RandomBitCheckpoint,
  vocab: string[] = vocabulary(checkpoint.config.vocab_size as number),
): void {
  const { config, tensors } = checkpoint;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'config.json'), `${JSON.stringify(config, null, 2)}\n`);
  const modules = bitModules(config.num_hidden_layers as number);
  writeFileSync(join(folder, 'pytorch_model.bin'), torchSave(tensors, modules));
  writeFileSync(join(folder, 'vocab.txt'), `${vocab.join('\n')}\n`);
}

const WORDS =
  'the a to my is what i in of you for how can please on me and do from account bank card balance transfer money ' +
  'flight book time play song weather today alarm set call hotel ##s ##ing ##ed ##er ##ly ##tion';

/** `size` WordPiece entries (at least 5): BERT's special tokens, letters, digits, ##letters, ##digits, some words. */
export function vocabulary(size: number): string[] {
  const characters = [...'abcdefghijklmnopqrstuvwxyz0123456789'];
  const entries = new Set(['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', ...characters]);
  for (const character of characters) entries.add(`##${character}`);
  for (const mark of ".,?!'-") entries.add(mark);
  for (const word of WORDS.split(' ')) entries.add(word);
  for (let i = 0; entries.size < size; i++) entries.add(`[unused${i}]`);
  return [...entries].slice(0, size);
}

function configuration(options: RandomBitOptions): Record<string, unknown> {
  const names = Array.from({ length: options.labels }, (_, i) => `intent_${i}`);
  return {
    attention_probs_dropout_prob: 0,
    clip_init_val: 2.5,
    embed_layerwise: options.embedLayerwise ?? false,
    finetuning_task: null,
    hidden_act: options.hiddenAct ?? 'relu',
    hidden_dropout_prob: 0,
    hidden_size: options.hidden,
    id2label: Object.fromEntries(names.map((name, i) => [String(i), name])),
    initializer_range: 0.02,
    input_bits: options.bits,
    input_layerwise: true,
    input_quant_method: 'elastic',
    intermediate_size: options.intermediate,
    label2id: Object.fromEntries(names.map((name, i) => [name, i])),
    layer_norm_eps: 1e-12,
    learnable_scaling: true,
    max_position_embeddings: options.positions,
    not_quantize_attention: options.notQuantizeAttention ?? false,
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

/** Clip values by bits for each input, signed (S) and unsigned (U): the levels then span most of the values. */
const CLIPS: Record<Input, { signed: Record<number, number>; unsigned: Record<number, number> }> = {
  symmetric: {
    signed: { 1: 0.8, 2: 0.9, 4: 0.32, 8: 0.025 },
    unsigned: { 1: 0.8, 2: 1.4, 4: 0.36, 8: 0.023 },
  },
  rectified: { signed: { 1: 0.7, 2: 0.9, 4: 0.3, 8: 0.02 }, unsigned: { 1: 0.9, 2: 0.7, 4: 0.16, 8: 0.01 } },
  probability: {
    signed: { 1: 0.2, 2: 0.25, 4: 0.08, 8: 0.005 },
    unsigned: { 1: 0.2, 2: 0.14, 4: 0.045, 8: 0.003 },
  },
};

/** Draws the tensors in the order of the official state_dict. */
class Maker {
  readonly #options: RandomBitOptions;
  readonly #random: Random;
  readonly #tensors = new Map<string, OracleTensor>();

  constructor(options: RandomBitOptions) {
    this.#options = options;
    this.#random = new Random(options.seed);
  }

  make(): Map<string, OracleTensor> {
    const { hidden, vocab, positions, labels, layers } = this.#options;
    this.#normal('bert.embeddings.word_embeddings.weight', [vocab, hidden], 0.004, 0.05);
    this.#normal('bert.embeddings.position_embeddings.weight', [positions, hidden], 0, 0.02);
    this.#normal('bert.embeddings.token_type_embeddings.weight', [2, hidden], 0, 0.02);
    this.#norm('bert.embeddings.LayerNorm');
    for (let l = 0; l < layers; l++) this.#layer(`bert.encoder.layer.${l}`);
    this.#linear('bert.pooler.dense', hidden, hidden, 1, 'symmetric', 1);
    this.#normal('classifier.weight', [labels, hidden], 0, 2 / Math.sqrt(hidden));
    this.#normal('classifier.bias', [labels], 0, 0.05);
    return this.#tensors;
  }

  #layer(name: string): void {
    const { hidden, intermediate } = this.#options;
    const self = `${name}.attention.self`;
    const attention = { query: 1.4, key: 1.4, value: 1 };
    for (const [part, deviation] of Object.entries(attention))
      this.#clip(`${self}.clip_${part}`, 'symmetric', deviation);
    this.#clip(`${self}.clip_attn`, 'probability', 1);
    for (const [part, deviation] of Object.entries(attention)) {
      this.#linear(`${self}.${part}`, hidden, hidden, 1, 'symmetric', deviation);
    }
    for (const part of ['q', 'k', 'v']) {
      this.#normal(`${self}.move_${part}.bias`, [hidden], 0, this.#options.deadMoves === true ? 0.5 : 0);
    }
    this.#linear(`${name}.attention.output.dense`, hidden, hidden, 0.45, 'symmetric', 0.7);
    this.#norm(`${name}.attention.output.LayerNorm`);
    this.#linear(`${name}.intermediate.dense`, hidden, intermediate, 1, 'symmetric', 1);
    this.#linear(`${name}.output.dense`, intermediate, hidden, 1, 'rectified', 0.8);
    this.#norm(`${name}.output.LayerNorm`);
  }

  /**
   * A quantised linear layer.
   *
   * @param spread     deviation of its input, which scales the clip value and the offsets
   * @param deviation  wanted deviation of its output: with n inputs of deviation `spread` the sum has
   *                   spread * mean|W| * sqrt(n), and mean|W| of normal weights is 0.8 of their deviation
   */
  #linear(
    name: string,
    inputs: number,
    outputs: number,
    spread: number,
    input: Input,
    deviation: number,
  ): void {
    const { zeroBias = false, zeroMove = false } = this.#options;
    const weight = deviation / (0.8 * spread * Math.sqrt(inputs));
    this.#normal(`${name}.weight`, [outputs, inputs], this.#random.sign() * 0.2 * weight, weight);
    this.#normal(`${name}.bias`, [outputs], 0, zeroBias ? 0 : 0.1 * deviation);
    this.#clip(`${name}.input_clip_val`, input, spread);
    this.#normal(`${name}.move.bias`, [inputs], 0, zeroMove ? 0 : 0.15 * spread);
  }

  #norm(name: string): void {
    const [weight, bias] = this.#options.legacyNorms === true ? ['gamma', 'beta'] : ['weight', 'bias'];
    this.#normal(`${name}.${weight}`, [this.#options.hidden], 0.9, 0.08);
    this.#normal(`${name}.${bias}`, [this.#options.hidden], 0, 0.08);
  }

  #clip(name: string, input: Input, spread: number): void {
    const { symQuantQkvo = true, symQuantFfnAttn = false, clipShape = [], bits } = this.#options;
    const signed = input === 'symmetric' ? symQuantQkvo : symQuantFfnAttn;
    const clip = CLIPS[input][signed ? 'signed' : 'unsigned'][bits] ?? 0.5;
    let value = Math.fround(clip * spread * (0.9 + 0.2 * this.#random.next()));
    // The released code takes exactly 1 for "not set yet".
    if (value === 1) value = 1.0625;
    this.#tensors.set(name, { shape: [...clipShape], data: Float32Array.of(value) });
  }

  #normal(name: string, shape: number[], mean: number, deviation: number): void {
    const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
    if (mean !== 0 || deviation !== 0) {
      for (let i = 0; i < data.length; i++) data[i] = mean + deviation * this.#random.normal();
    }
    this.#tensors.set(name, { shape, data });
  }
}

/** mulberry32: 32 bits of state are plenty for test data, and it is the same on every machine. */
class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** Uniform in [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  sign(): number {
    return this.next() < 0.5 ? -1 : 1;
  }

  /** Normal with mean 0 and deviation 1 (Box-Muller, the cosine half). */
  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.next())) * Math.cos(2 * Math.PI * this.next());
  }
}
