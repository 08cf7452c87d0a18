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

/**
 * An activation quantiser, x -> codes (docs/quantisation.md):
 * signed 1 bit: sign(x), where sign(0) = 0; else clip(rne((x + shift - t) / step), qmin, qmax).
 */
export interface Quantiser {
  readonly signed: boolean;
  readonly bits: OperandBits;
  /** Step size alpha, > 0; the real value of a code is step * code + t. */
  readonly step: number;
  /** `minimum`: t is the minimum of the whole tensor of one sequence, found at run time; `none`: t = 0. */
  readonly offset: 'none' | 'minimum';
  /** Added to the input before quantising, one value per channel; null where there is none. */
  readonly shift: Float32Array | null;
}

/** y = scale * (codes of x) . (weight codes) + bias, scale = input.step * weightScale. */
export interface Linear {
  readonly name: string;
  readonly weight: WeightCodes;
  /** Real value of a weight code: one for the matrix, or one per row (output channel). */
  readonly weightScale: Float64Array;
  readonly bias: Float32Array;
  readonly input: Quantiser;
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
  /** Quantiser of the attention probabilities; its `minimum` is over all heads of a sequence. */
  readonly p: Quantiser;
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

/** An encoder with a sequence classification head. */
export interface ModelDescription {
  /** The family it came from, for people; nothing below the importer depends on it. */
  readonly family: string;
  readonly hidden: number;
  readonly heads: number;
  readonly intermediate: number;
  readonly embeddings: {
    readonly word: WeightCodes;
    /** Real value of a code in each row of the table. */
    readonly wordScale: Float64Array;
    readonly position: RealMatrix;
    readonly type: RealMatrix;
    readonly norm: Norm;
  };
  readonly layers: readonly EncoderLayer[];
  readonly pooler: Linear;
  readonly classifier: { readonly weight: RealMatrix; readonly bias: Float32Array };
  /** Class names in the order of the classifier's rows. */
  readonly labels: readonly string[];
}

/** Smallest and largest code of a quantiser. */
export function codeRange({ signed, bits }: Pick<Quantiser, 'signed' | 'bits'>): {
  qmin: number;
  qmax: number;
} {
  if (!signed) return { qmin: 0, qmax: 2 ** bits - 1 };
  return bits === 1 ? { qmin: -1, qmax: 1 } : { qmin: -(2 ** (bits - 1)), qmax: 2 ** (bits - 1) - 1 };
}
