/**
 * A random checkpoint in BiT's layout (docs/quantisation.md). It knows no language, but it computes like a trained one: no quantiser sits at one
 * level, attention is not uniform, and every weight matrix has a mean that matters to its signs.
 */
import { Random } from './random.js';
import type { SyntheticShape } from './shape.js';

export type SyntheticBits = 1 | 2 | 4 | 8;

/** A tensor that is made when it is asked for: all of them together may be larger than memory should hold. */
export interface SyntheticTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly make: () => Float32Array;
}

/** What a quantiser sees: values around 0 with deviation 1, the same after ReLU, or probabilities. */
type Input = 'symmetric' | 'rectified' | 'probability';

/** Steps with which the levels span most of the values. */
const STEPS: Readonly<Record<Input, Readonly<Record<SyntheticBits, number>>>> = {
  symmetric: { 1: 0.8, 2: 0.9, 4: 0.32, 8: 0.025 },
  rectified: { 1: 0.9, 2: 0.7, 4: 0.16, 8: 0.01 },
  probability: { 1: 0.03, 2: 0.02, 4: 0.006, 8: 0.0005 },
};

/** Mean |x| of normal values of deviation 1. */
const MEAN_MAGNITUDE = 0.8;

/** The configuration file of the checkpoint. */
export function syntheticConfig(shape: SyntheticShape, bits: SyntheticBits): Record<string, unknown> {
  return {
    architectures: ['BertForSequenceClassification'],
    hidden_size: shape.hidden,
    num_attention_heads: shape.heads,
    num_hidden_layers: shape.layers,
    intermediate_size: shape.intermediate,
    vocab_size: shape.vocab,
    max_position_embeddings: shape.positions,
    type_vocab_size: 2,
    num_labels: shape.labels,
    id2label: Object.fromEntries(
      Array.from({ length: shape.labels }, (_, id) => [String(id), `class_${id}`]),
    ),
    hidden_act: 'relu',
    layer_norm_eps: 1e-12,
    weight_bits: 1,
    input_bits: bits,
    weight_quant_method: 'bwn',
    input_quant_method: 'elastic',
    clip_init_val: 2.5,
    learnable_scaling: true,
    sym_quant_qkvo: true,
    sym_quant_ffn_attn: false,
    weight_layerwise: true,
    embed_layerwise: false,
    input_layerwise: true,
    not_quantize_attention: false,
  };
}

/** The tensors, in the order of the file. They must be made in that order, each once: they share one source of chance. */
export function syntheticTensors(
  shape: SyntheticShape,
  bits: SyntheticBits,
  seed: number,
): SyntheticTensor[] {
  const { hidden, intermediate, vocab, positions, labels, layers } = shape;
  const random = new Random(seed);
  const tensors: SyntheticTensor[] = [];

  const normal = (name: string, dims: readonly number[], mean: number, deviation: number) => {
    const cols = dims.at(-1)!;
    const rows = dims.reduce((a, b) => a * b, 1) / cols;
    tensors.push({ name, shape: dims, make: () => random.normals(rows, cols, mean, deviation) });
  };
  const step = (name: string, input: Input, spread: number) => {
    tensors.push({ name, shape: [], make: () => Float32Array.of(STEPS[input][bits] * spread) });
  };
  const norm = (name: string) => {
    normal(`${name}.weight`, [hidden], 0.9, 0.08);
    normal(`${name}.bias`, [hidden], 0, 0.08);
  };
  /** `spread`: deviation of the input; `deviation`: that of the output, which follows from the weights' magnitude. */
  const linear = (
    name: string,
    inputs: number,
    outputs: number,
    spread: number,
    input: Input,
    deviation: number,
  ) => {
    const weight = deviation / (MEAN_MAGNITUDE * spread * Math.sqrt(inputs));
    normal(`${name}.weight`, [outputs, inputs], 0.1 * weight, weight);
    normal(`${name}.bias`, [outputs], 0, 0.1 * deviation);
    step(`${name}.input_clip_val`, input, spread);
    normal(`${name}.move.bias`, [inputs], 0, 0.15 * spread);
  };

  normal('bert.embeddings.word_embeddings.weight', [vocab, hidden], 0.004, 0.05);
  normal('bert.embeddings.position_embeddings.weight', [positions, hidden], 0, 0.02);
  normal('bert.embeddings.token_type_embeddings.weight', [2, hidden], 0, 0.02);
  norm('bert.embeddings.LayerNorm');
  for (let index = 0; index < layers; index++) {
    const layer = `bert.encoder.layer.${index}`;
    const self = `${layer}.attention.self`;
    const deviations = { query: 1.4, key: 1.4, value: 1 };
    for (const [part, deviation] of Object.entries(deviations)) {
      linear(`${self}.${part}`, hidden, hidden, 1, 'symmetric', deviation);
      step(`${self}.clip_${part}`, 'symmetric', deviation);
    }
    step(`${self}.clip_attn`, 'probability', 1);
    linear(`${layer}.attention.output.dense`, hidden, hidden, 0.45, 'symmetric', 0.7);
    norm(`${layer}.attention.output.LayerNorm`);
    linear(`${layer}.intermediate.dense`, hidden, intermediate, 1, 'symmetric', 1);
    linear(`${layer}.output.dense`, intermediate, hidden, 1, 'rectified', 0.8);
    norm(`${layer}.output.LayerNorm`);
  }
  linear('bert.pooler.dense', hidden, hidden, 1, 'symmetric', 1);
  normal('classifier.weight', [labels, hidden], 0, 2 / Math.sqrt(hidden));
  normal('classifier.bias', [labels], 0, 0.05);
  return tensors;
}

const CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,?!'-";

/** A WordPiece vocabulary that spells every plain word letter by letter: special tokens, characters, and words nobody writes. */
export function syntheticVocabulary(size: number): string[] {
  const spelled = [...CHARACTERS].flatMap((character) =>
    /[a-z0-9]/.test(character) ? [character, `##${character}`] : [character],
  );
  const words = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', ...spelled];
  for (let index = 0; words.length < size; index++) words.push(`[unused${index}]`);
  return words.slice(0, size);
}
