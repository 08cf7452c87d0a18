/**
 * The naive float64 oracle of TernaryBERT ("TernaryBERT: Distillation-aware Ultra-low Bit BERT", arXiv 2009.12812) with
 * ternary weights (TWN) and 8-bit activations, as the released model classes compute it (huawei-noah/
 * Pretrained-Language-Model, commit 0598f02, folder TernaryBERT; nothing of that code is here). With z = clip(x, -c, c):
 *
 *   weight           w = clip(W, -c, c), d = 0.7 mean |w|, Wq = s ([w > d] - [w < -d]), s the mean |w| where |w| > d;
 *                    d and s of the whole matrix, for the word embeddings of each row
 *   activation       rne(z 127 / M) M / 127, M = max |z| over the whole tensor: inputs of linear layers, q, k, v and,
 *                    after the softmax, the attention probabilities (which use 0..127 only)
 */
import {
  type Decisions,
  type OracleResult,
  type OracleTrace,
  type Quantiser,
  runEncoder,
} from './encoder.js';
import { type EncoderNetwork, type Family, readEncoderNetwork } from './encoder-network.js';
import { accurateSum, softmaxRows } from './maths.js';
import { type BinarisedMatrix, type OracleTensor, roundHalfEven } from './quantisers.js';

type Clip = readonly [number, number];

/** The largest code of an activation. */
const HIGHEST = 127;

/**
 * Closer to a threshold than this, in code units, an input counts as exactly on it. Ties are those of exact numbers: the
 * context is a common scale times whole numbers, and float64 spreads equal ones over 1e-13 or so.
 */
const TIE = 1e-10;

/**
 * Ternary codes and a scale per row.
 *
 * @param clip      weights beyond it count as it
 * @param parts     'matrix': one threshold and scale; 'row': of each row. A part without a weight but 0 has the
 *                  scale 0 / 0 = NaN, as in the released code
 */
export function ternarise(matrix: OracleTensor, clip: Clip, parts: 'matrix' | 'row'): BinarisedMatrix {
  const rows = matrix.shape[0]!;
  const size = matrix.data.length / (parts === 'matrix' ? 1 : rows);
  const signs = new Float64Array(matrix.data.length);
  const partScales: number[] = [];
  for (let at = 0; at < signs.length; at += size) {
    const w = clamp(Float64Array.from(matrix.data.subarray(at, at + size)), clip);
    const threshold = (0.7 * accurateSum(w.map(Math.abs), 0, size)) / size;
    const kept = w.filter((value) => Math.abs(value) > threshold).map(Math.abs);
    partScales.push(accurateSum(kept, 0, kept.length) / kept.length);
    for (let i = 0; i < size; i++) signs[at + i] = w[i]! > threshold ? 1 : w[i]! < -threshold ? -1 : 0;
  }
  const scales = Float64Array.from({ length: rows }, (_, row) => partScales[parts === 'matrix' ? 0 : row]!);
  return { signs, scales };
}

/** The 8-bit quantiser. A tensor of zeros gives NaN, as in the released code, which divides by its largest magnitude. */
export function symmetric(clip: Clip): Quantiser {
  return (x: Float64Array, decisions: Decisions): Float64Array => {
    const z = clamp(x, clip);
    let largest = 0;
    for (const value of z) largest = Math.max(largest, Math.abs(value));
    const s = HIGHEST / largest;
    return z.map((value) => {
      const level = value * s;
      const distance = Math.abs(level - closestThreshold(level));
      decisions.note(distance < TIE ? 0 : distance);
      return roundHalfEven(level) / s;
    });
  };
}

/** Halfway between the two codes next to a level; there is none beyond the outermost codes. */
function closestThreshold(level: number): number {
  return Math.min(Math.max(Math.floor(level) + 0.5, 0.5 - HIGHEST), HIGHEST - 0.5);
}

function clamp(x: Float64Array, [low, high]: Clip): Float64Array {
  return x.map((value) => Math.max(Math.min(value, high), low));
}

const FAMILY: Family = {
  settings: { quantize_act: true, weight_bits: 2, input_bits: 8 },
  linear: (weight, clip) => ternarise(weight, clip, 'matrix'),
  words: (weight, clip) => ternarise(weight, clip, 'row'),
  activation: symmetric,
  probabilities: softmaxRows,
  quantisedProbabilities: symmetric,
  scoresName: 'scores (scaled, mask added, before softmax)',
};

export class TernaryBertOracle {
  readonly #network: EncoderNetwork;

  /**
   * @param config   config.json as an object
   * @param tensors  the state_dict by its official names; copied
   * @throws Error that names the setting or tensor if something is missing, misshapen or outside the definition
   */
  constructor(config: Record<string, unknown>, tensors: Map<string, OracleTensor>) {
    this.#network = readEncoderNetwork(config, tensors, FAMILY);
  }

  /**
   * One sequence, unpadded, as if alone: ranges are taken over it and nothing else. See `runEncoder` for parameters
   * and errors. Where `ties` is not 0 rounding noise decides which way they fall, so the logits are one of several.
   */
  forward(ids: number[], types?: number[], trace?: OracleTrace): OracleResult {
    return runEncoder(this.#network, ids, types, trace);
  }
}
