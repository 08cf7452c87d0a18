/**
 * The canonical model: an encoder made of quantised layers, with no trace of the family it came from. Importers write it,
 * the compiler reads it. Weights are integer codes with their scales kept apart; nothing is dequantised.
 */

/** Operand widths the engine multiplies, bits. */
export type OperandBits = 1 | 2 | 4 | 8;

/** Integer weight codes of a matrix, row-major [rows][cols], every code -1, 0 or +1. */
export interface WeightCodes {
  readonly rows: number;
  readonly cols: number;
  readonly codes: Int8Array;
}

/** Bounds that a value is clipped to before a range quantiser takes its range. */
export interface Clip {
  readonly low: number;
  readonly high: number;
}

/**
 * An activation quantiser, x -> codes (docs/quantisation.md), after `shift` is added:
 *
 * - `fixed`, signed, 1 bit: sign(x), where sign(0) = 0;
 * - `fixed`: clip(rne((x - t) / step), qmin, qmax); `offset` minimum: t is the minimum of one sequence's tensor, else 0;
 * - `range`: the step too is found at run time, from the clipped values c of one sequence's tensor. Signed: step = max|c| / qmax,
 *   rne(c / step). Unsigned: t = min c, step = (max c - t + 1e-8) / qmax, rne((c - t) / step).
 *
 * The real value of a code is step * code + t.
 */
export type Quantiser = {
  readonly signed: boolean;
  readonly bits: OperandBits;
  /** Added to the input before quantising, one value per channel; null where there is none. */
  readonly shift: Float32Array | null;
} & (
  | { readonly kind: 'fixed' /** > 0 */; readonly step: number; readonly offset: 'none' | 'minimum' }
  | { readonly kind: 'range'; readonly clip: Clip | null }
);

/** One branch of a linear layer: its own quantiser of the common input, its own weights. */
export interface Branch {
  readonly input: Quantiser;
  readonly weight: WeightCodes;
  /** Real value of a weight code: one for the matrix, or one per row (output channel). */
  readonly weightScale: Float64Array;
}

/** y = sum over the branches of (dequantised x) . (weights) + bias. */
export interface Linear {
  readonly name: string;
  readonly branches: readonly Branch[];
  readonly bias: Float32Array;
}

export interface Norm {
  readonly gamma: Float32Array;
  readonly beta: Float32Array;
  readonly epsilon: number;
}

export type Activation = 'relu' | 'gelu';

/** One post-LayerNorm encoder block. */
export interface EncoderLayer {
  readonly query: Linear;
  readonly key: Linear;
  readonly value: Linear;
  /** Quantisers of the projections, per layer. */
  readonly q: Quantiser;
  readonly k: Quantiser;
  readonly v: Quantiser;
  /**
   * Quantiser of the attention probabilities, whose range is over all heads of a sequence. `real`: they are not quantised.
   * `boolean`: P = 1 where the score is above 0, without softmax.
   */
  readonly p: Quantiser | 'real' | 'boolean';
  /** attention.output.dense */
  readonly output: Linear;
  readonly attentionNorm: Norm;
  /** intermediate.dense */
  readonly up: Linear;
  readonly activation: Activation;
  /** output.dense */
  readonly down: Linear;
  readonly outputNorm: Norm;
}

/** A full-precision matrix, row-major. */
export interface RealMatrix {
  readonly rows: number;
  readonly cols: number;
  readonly values: Float32Array;
}

/** A word table: codes, and the real value of a code in each of its rows. */
export interface WordTable {
  readonly codes: WeightCodes;
  readonly scale: Float64Array;
}

/** A full-precision linear layer. */
export interface RealLinear {
  readonly weight: RealMatrix;
  readonly bias: Float32Array;
}

/**
 * What stands on the encoder, by task:
 *
 * - sequence classification: tanh(pooler) of the first token, then `dense`, a row for each label;
 * - token classification: `dense` on every token, a row for each label;
 * - question answering: `dense` on every token, one row for the start of the answer and one for its end;
 * - hidden states: nothing, the last layer's output is the result.
 */
export type Head =
  | { readonly task: 'sequence-classification'; readonly pooler: Linear; readonly dense: RealLinear }
  | { readonly task: 'token-classification' | 'question-answering'; readonly dense: RealLinear }
  | { readonly task: 'hidden-states' };

/** An encoder with a head. */
export interface ModelDescription {
  /** The family it came from, for people; nothing below the importer depends on it. */
  readonly family: string;
  readonly hidden: number;
  readonly heads: number;
  /** Columns of all heads together; a pruned encoder has fewer than `hidden`. */
  readonly attentionSize: number;
  readonly intermediate: number;
  readonly embeddings: {
    /** The tables whose rows are added; one, or one per branch. */
    readonly words: readonly WordTable[];
    readonly position: RealMatrix;
    readonly type: RealMatrix;
    readonly norm: Norm;
  };
  readonly layers: readonly EncoderLayer[];
  readonly head: Head;
  /** Class names in the order of the head's rows; empty where the task has no classes. */
  readonly labels: readonly string[];
}

/** Smallest and largest code of a quantiser. Range quantisers are symmetric: -128 does not occur. */
export function codeRange({ signed, bits, kind }: Pick<Quantiser, 'signed' | 'bits' | 'kind'>): {
  qmin: number;
  qmax: number;
} {
  if (!signed) return { qmin: 0, qmax: 2 ** bits - 1 };
  if (bits === 1) return { qmin: -1, qmax: 1 };
  const qmax = 2 ** (bits - 1) - 1;
  return { qmin: kind === 'range' ? -qmax : -qmax - 1, qmax };
}

/** True where something of a quantiser is known only at run time: its step, its offset, or both. */
export function isFound(quantiser: Quantiser): boolean {
  return quantiser.kind === 'range' || quantiser.offset === 'minimum';
}
