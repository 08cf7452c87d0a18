/**
 * The naive float64 oracle of BiBERT ("BiBERT: Accurate Fully Binarized BERT", arXiv 2203.06390) with one-bit weights
 * and activations, as the released model classes compute it (htqin/BiBERT, commit 91fd347; nothing of that code is
 * here). With sgn(0) = 0:
 *
 *   weight, word embeddings  Wq_jk = m_j sgn(W_jk - e_j)     m_j mean |W_jk|, e_j mean W_jk of the row
 *   activation               sgn(x)                          no scale, no offset
 *   attention                P = 1 where q k^T > 0, else 0   no softmax; the context P sgn(v) is a whole number
 *
 * GELU rounds to -0 below about -8.3 in float64 (-5.5 in float32), and sgn(-0) = 0: counted in `ties`, never seen.
 * The parameters `scale` and `gate` and all clip values are in every file and do nothing.
 */
import { type Decisions, type OracleResult, type OracleTrace, runEncoder } from './encoder.js';
import { type EncoderNetwork, type Family, readEncoderNetwork } from './encoder-network.js';
import { accurateSum } from './maths.js';
import type { BinarisedMatrix, OracleTensor } from './quantisers.js';

/** m_j sgn(W_jk - e_j), the mean taken so accurately that a weight equal to it gets the code 0. */
export function binariseRows(matrix: OracleTensor): BinarisedMatrix {
  const rows = matrix.shape[0]!;
  const columns = matrix.shape[1]!;
  const signs = new Float64Array(rows * columns);
  const scales = new Float64Array(rows);
  for (let j = 0; j < rows; j++) {
    const row = matrix.data.subarray(j * columns, (j + 1) * columns);
    const mean = accurateSum(row, 0, columns) / columns;
    scales[j] = accurateSum(row.map(Math.abs), 0, columns) / columns;
    for (let k = 0; k < columns; k++) signs[j * columns + k] = Math.sign(row[k]! - mean);
  }
  return { signs, scales };
}

/** sgn(x), with three levels: the context and, behind a bias of 0, every linear layer can be exactly 0. */
export function sign(x: Float64Array, decisions: Decisions): Float64Array {
  for (const value of x) decisions.note(Math.abs(value));
  return x.map(Math.sign);
}

/** 1 where x > 0, else 0. */
export function positive(x: Float64Array, decisions: Decisions): Float64Array {
  for (const value of x) decisions.note(Math.abs(value));
  return x.map((value) => (value > 0 ? 1 : 0));
}

const FAMILY: Family = {
  settings: { quantize_act: true, weight_bits: 1, input_bits: 1 },
  linear: binariseRows,
  words: binariseRows,
  activation: () => sign,
  probabilities: (scores) => scores,
  quantisedProbabilities: () => positive,
  scoresName: 'scores (scaled, mask added)',
};

export class BiBertOracle {
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
   * One sequence, unpadded. See `runEncoder` for parameters and errors; `minDecisionMargin` is the smallest magnitude
   * of a binarised value but 0, and `ties` how many are exactly 0 (no accident: scores and context often are).
   */
  forward(ids: number[], types?: number[], trace?: OracleTrace): OracleResult {
    return runEncoder(this.#network, ids, types, trace);
  }
}
