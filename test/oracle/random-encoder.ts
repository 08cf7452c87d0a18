/**
 * What random BiBERT and TernaryBERT checkpoints have in common: names, their order and the file layout are those of the
 * released classes, the same for the same seed. The values are chosen so that the network works like a trained one: no
 * quantiser sits at one level, attention is not uniform.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { random32 } from '../contract/support/random.js';
import type { OracleTensor } from './quantisers.js';
import { vocabulary } from './random.js';
import { torchSave } from './torch-file.js';

export interface RandomEncoderOptions {
  seed: number;
  layers: number;
  hidden: number;
  heads: number;
  intermediate: number;
  vocab: number;
  positions: number;
  /** rows of the classifier */
  labels: number;
  /** `num_labels` and the label names in config.json; by default `labels`. Readers must go by the classifier's shape */
  configuredLabels?: number;
  /** all biases of quantised linear layers 0: then whole sums can be exactly 0 */
  zeroBias?: boolean;
  /** LayerNorm parameters under their old names gamma and beta */
  legacyNorms?: boolean;
  /** `layer_norm_eps`, by default 1e-12; both families heed it */
  layerNormEps?: number;
  /** what the clip buffers hold, by default 2.5: [-clip, clip] */
  clip?: number;
  /** `clip_val` in config.json, by default `clip`. Only the buffers count */
  configuredClip?: number;
}

export interface RandomEncoderCheckpoint {
  /** what config.json holds */
  config: Record<string, unknown>;
  tensors: Map<string, OracleTensor>;
}

/** What a family adds. */
export interface Layout {
  /** the fields of config.json that only this family has, or with a value of its own */
  settings: Record<string, unknown>;
  /** dead 0-dimensional parameters: `scale` of every quantised linear layer, `gate` of both outputs; null for none */
  dead: { scale: number; gate: number } | null;
  /** deviation of quantised weight times quantised input, for a weight of deviation 1 and an input of deviation `spread` */
  gain(spread: number): number;
  /** changes a quantised weight after it was drawn, in place; `uniform` draws from [0, 1) */
  adjust(weight: OracleTensor, uniform: () => number): void;
}

/** Makes a checkpoint; nothing is written. */
export function randomEncoderCheckpoint(
  options: RandomEncoderOptions,
  layout: Layout,
): RandomEncoderCheckpoint {
  return { config: configuration(options, layout), tensors: new Maker(options, layout).make() };
}

/**
 * Writes config.json, pytorch_model.bin and vocab.txt into a folder, which is made if need be.
 *
 * @param vocab  vocab.txt, by default `vocabulary(config.vocab_size)`
 */
export function writeEncoderCheckpoint(
  folder: string,
  checkpoint: RandomEncoderCheckpoint,
  vocab: string[] = vocabulary(checkpoint.config.vocab_size as number),
): void {
  const { config, tensors } = checkpoint;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'config.json'), `${JSON.stringify(config, null, 2)}\n`);
  const modules = encoderModules(config.num_hidden_layers as number);
  writeFileSync(join(folder, 'pytorch_model.bin'), torchSave(tensors, modules));
  writeFileSync(join(folder, 'vocab.txt'), `${vocab.join('\n')}\n`);
}

/** Every module of the released BertForSequenceClassification, in the order torch walks them. */
export function encoderModules(layers: number): string[] {
  const children = (name: string, parts: string): string[] => [
    name,
    ...parts.split(' ').map((part) => `${name}.${part}`),
  ];
  const layer = (name: string): string[] => [
    name,
    `${name}.attention`,
    ...children(`${name}.attention.self`, 'query key value dropout'),
    ...children(`${name}.attention.output`, 'dense LayerNorm dropout'),
    ...children(`${name}.intermediate`, 'dense'),
    ...children(`${name}.output`, 'dense LayerNorm dropout'),
  ];
  return [
    '',
    'bert',
    ...children(
      'bert.embeddings',
      'word_embeddings position_embeddings token_type_embeddings LayerNorm dropout',
    ),
    'bert.encoder',
    'bert.encoder.layer',
    ...Array.from({ length: layers }, (_, l) => layer(`bert.encoder.layer.${l}`)).flat(),
    ...children('bert.pooler', 'dense activation'),
    'dropout',
    'classifier',
  ];
}

function configuration(options: RandomEncoderOptions, layout: Layout): Record<string, unknown> {
  const { labels, configuredLabels = labels, clip = 2.5, configuredClip = clip } = options;
  const names = Array.from({ length: configuredLabels }, (_, i) => `intent_${i}`);
  const fields = {
    attention_probs_dropout_prob: 0,
    clip_val: configuredClip,
    finetuning_task: null,
    hidden_act: 'gelu',
    hidden_dropout_prob: 0,
    hidden_size: options.hidden,
    id2label: Object.fromEntries(names.map((name, i) => [String(i), name])),
    initializer_range: 0.02,
    intermediate_size: options.intermediate,
    label2id: Object.fromEntries(names.map((name, i) => [name, i])),
    layer_norm_eps: options.layerNormEps ?? 1e-12,
    max_position_embeddings: options.positions,
    num_attention_heads: options.heads,
    num_hidden_layers: options.layers,
    num_labels: configuredLabels,
    output_attentions: false,
    output_hidden_states: false,
    output_past: true,
    pruned_heads: {},
    quantize_act: true,
    torchscript: false,
    type_vocab_size: 2,
    use_bfloat16: false,
    vocab_size: options.vocab,
    ...layout.settings,
  };
  return Object.fromEntries(Object.entries(fields).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Draws the tensors in the order of the official state_dict. */
class Maker {
  readonly #options: RandomEncoderOptions;
  readonly #layout: Layout;
  /** draws from [0, 1) */
  readonly #uniform: () => number;
  readonly #tensors = new Map<string, OracleTensor>();

  constructor(options: RandomEncoderOptions, layout: Layout) {
    this.#options = options;
    this.#layout = layout;
    const next = random32(options.seed);
    this.#uniform = () => next() / 2 ** 32;
  }

  make(): Map<string, OracleTensor> {
    const { hidden, vocab, positions, labels, layers } = this.#options;
    const words = 'bert.embeddings.word_embeddings';
    this.#layout.adjust(this.#normals(`${words}.weight`, [vocab, hidden], 0.004, 0.05), this.#uniform);
    this.#clip(`${words}.weight_clip_val`);
    this.#normals('bert.embeddings.position_embeddings.weight', [positions, hidden], 0, 0.02);
    this.#normals('bert.embeddings.token_type_embeddings.weight', [2, hidden], 0, 0.02);
    this.#norm('bert.embeddings.LayerNorm');
    for (let l = 0; l < layers; l++) this.#layer(`bert.encoder.layer.${l}`);
    this.#linear('bert.pooler.dense', hidden, hidden, 1, 1);
    this.#normals('classifier.weight', [labels, hidden], 0, 2 / Math.sqrt(hidden));
    this.#normals('classifier.bias', [labels], 0, 0.05);
    return this.#tensors;
  }

  #layer(name: string): void {
    const { hidden, intermediate } = this.#options;
    const { dead } = this.#layout;
    const self = `${name}.attention.self`;
    for (const part of ['query', 'key', 'value', 'attn']) this.#clip(`${self}.clip_${part}`);
    // Queries and keys above 1, so that the softmax is far from uniform.
    this.#linear(`${self}.query`, hidden, hidden, 1, 1.4);
    this.#linear(`${self}.key`, hidden, hidden, 1, 1.4);
    this.#linear(`${self}.value`, hidden, hidden, 1, 1);
    if (dead) this.#scalar(`${name}.attention.output.gate`, dead.gate);
    this.#linear(`${name}.attention.output.dense`, hidden, hidden, 0.6, 0.7);
    this.#norm(`${name}.attention.output.LayerNorm`);
    this.#linear(`${name}.intermediate.dense`, hidden, intermediate, 1, 1);
    if (dead) this.#scalar(`${name}.output.gate`, dead.gate);
    this.#linear(`${name}.output.dense`, intermediate, hidden, 0.65, 0.8);
    this.#norm(`${name}.output.LayerNorm`);
  }

  /**
   * A quantised linear layer.
   *
   * @param spread     deviation of its input
   * @param deviation  wanted deviation of its output
   */
  #linear(name: string, inputs: number, outputs: number, spread: number, deviation: number): void {
    const { zeroBias = false } = this.#options;
    const { dead, gain } = this.#layout;
    const weight = deviation / (gain(spread) * Math.sqrt(inputs));
    const mean = (this.#uniform() < 0.5 ? -1 : 1) * 0.1 * weight;
    this.#layout.adjust(this.#normals(`${name}.weight`, [outputs, inputs], mean, weight), this.#uniform);
    this.#normals(`${name}.bias`, [outputs], 0, zeroBias ? 0 : 0.15 * deviation);
    if (dead) this.#scalar(`${name}.scale`, dead.scale);
    this.#clip(`${name}.weight_clip_val`);
    this.#clip(`${name}.act_clip_val`);
  }

  #norm(name: string): void {
    const [weight, bias] = this.#options.legacyNorms === true ? ['gamma', 'beta'] : ['weight', 'bias'];
    // Uneven as in trained models, so that some columns reach beyond the clip value.
    this.#normals(`${name}.${weight}`, [this.#options.hidden], 1, 0.3);
    this.#normals(`${name}.${bias}`, [this.#options.hidden], 0, 0.08);
  }

  #clip(name: string): void {
    const { clip = 2.5 } = this.#options;
    this.#tensors.set(name, { shape: [2], data: Float32Array.of(-clip, clip) });
  }

  #scalar(name: string, value: number): void {
    this.#tensors.set(name, { shape: [], data: Float32Array.of(value) });
  }

  #normals(name: string, shape: number[], mean: number, deviation: number): OracleTensor {
    const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
    if (mean !== 0 || deviation !== 0) {
      for (let i = 0; i < data.length; i++) data[i] = mean + deviation * this.#normal();
    }
    const tensor = { shape, data };
    this.#tensors.set(name, tensor);
    return tensor;
  }

  /** Normal with mean 0 and deviation 1 (Box-Muller, the cosine half). */
  #normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.#uniform())) * Math.cos(2 * Math.PI * this.#uniform());
  }
}
