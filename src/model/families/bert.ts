/**
 * What every family of binary BERTs shares: the shape of the encoder and the names of its tensors. A family says how its linear
 * layers, word tables and quantisers are read; this file asks for them in the encoder's places.
 */
import type { Checkpoint } from '../checkpoint/open.js';
import type {
  Activation,
  EncoderLayer,
  Linear,
  ModelDescription,
  Norm,
  Quantiser,
  WordTable,
} from '../description.js';
import { ImportError } from '../import-error.js';
import { MODEL_LIMITS } from '../plan.js';
import type { Settings } from '../settings.js';
import type { TensorSource } from '../tensor-source.js';
import type { ImportContext } from './family.js';
import { readHead } from './heads.js';

/** How a family's parts are read. Names are without the branch or tensor suffix: `bert.encoder.layer.0.output.dense`. */
export interface BertParts {
  /** For people: family and widths. */
  readonly family: string;
  readonly activation: Activation;
  readonly layerNormEpsilon: number;
  /** Columns of all heads together; hidden where the encoder was not pruned. */
  readonly attentionSize: number;
  /** One input tensor that names the word table, for its number of rows. */
  readonly wordTensor: string;
  words(rows: number, hidden: number): WordTable[];
  /** `twoSidedInput` is false for the second layer of the FFN, whose input follows an activation. */
  linear(name: string, rows: number, cols: number, twoSidedInput: boolean): Linear;
  /** Quantisers of the projections and of the probabilities of one layer; `self` is `...attention.self`. */
  attention(self: string): {
    readonly q: Quantiser;
    readonly k: Quantiser;
    readonly v: Quantiser;
    readonly p: EncoderLayer['p'];
  };
}

/** LayerNorm parameters, under their present names or under gamma and beta of older files. */
function readNorm(source: TensorSource, name: string, width: number, epsilon: number): Norm {
  const either = (now: string, legacy: string) =>
    source.vector(source.has(`${name}.${legacy}`) ? `${name}.${legacy}` : `${name}.${now}`, width);
  return { gamma: either('weight', 'gamma'), beta: either('bias', 'beta'), epsilon };
}

/** Reads a whole model. Throws ImportError. */
export function readBert(
  checkpoint: Checkpoint,
  source: TensorSource,
  settings: Settings,
  parts: BertParts,
  context: ImportContext,
): ModelDescription {
  const hidden = settings.size('hidden_size');
  const heads = settings.size('num_attention_heads');
  const layers = settings.size('num_hidden_layers', MODEL_LIMITS.layers);
  const intermediate = settings.size('intermediate_size');
  const { attentionSize, layerNormEpsilon } = parts;
  if (attentionSize % heads !== 0) {
    throw new ImportError(
      'bad-config',
      `attention of ${attentionSize} columns is not a multiple of num_attention_heads ${heads}`,
    );
  }
  const norm = (name: string) => readNorm(source, name, hidden, layerNormEpsilon);
  const matrix = (name: string, rows: number) => ({
    rows,
    cols: hidden,
    values: source.matrix(name, rows, hidden),
  });
  const words = source.rows(parts.wordTensor, 1, MODEL_LIMITS.rows);
  const positions = source.rows(
    'bert.embeddings.position_embeddings.weight',
    MODEL_LIMITS.leastTokens,
    MODEL_LIMITS.width,
  );
  const types = source.rows('bert.embeddings.token_type_embeddings.weight', 1, MODEL_LIMITS.rows);
  const readTop = () =>
    readHead(
      checkpoint,
      source,
      hidden,
      () => parts.linear('bert.pooler.dense', hidden, hidden, true),
      context,
    );

  const readLayer = (index: number): EncoderLayer => {
    const at = `bert.encoder.layer.${index}`;
    const self = `${at}.attention.self`;
    return {
      query: parts.linear(`${self}.query`, attentionSize, hidden, true),
      key: parts.linear(`${self}.key`, attentionSize, hidden, true),
      value: parts.linear(`${self}.value`, attentionSize, hidden, true),
      ...parts.attention(self),
      output: parts.linear(`${at}.attention.output.dense`, hidden, attentionSize, true),
      attentionNorm: norm(`${at}.attention.output.LayerNorm`),
      up: parts.linear(`${at}.intermediate.dense`, intermediate, hidden, true),
      activation: parts.activation,
      down: parts.linear(`${at}.output.dense`, hidden, intermediate, false),
      outputNorm: norm(`${at}.output.LayerNorm`),
    };
  };

  context.progress('embeddings', 0, layers);
  const description: ModelDescription = {
    family: parts.family,
    hidden,
    heads,
    attentionSize,
    intermediate,
    embeddings: {
      words: parts.words(words, hidden),
      position: matrix('bert.embeddings.position_embeddings.weight', positions),
      type: matrix('bert.embeddings.token_type_embeddings.weight', types),
      norm: norm('bert.embeddings.LayerNorm'),
    },
    layers: Array.from({ length: layers }, (_, index) => {
      const layer = readLayer(index);
      context.progress('layer', index + 1, layers);
      return layer;
    }),
    ...readTop(),
  };
  source.reportUnused(context.warn);
  return description;
}
