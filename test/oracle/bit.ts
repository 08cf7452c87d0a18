/**
 * The naive float64 oracle of BiT ("BiT: Robustly Binarized Multi-distilled Transformer", arXiv 2205.13016): the
 * whole network with dequantised values, as the released model classes compute it (facebookresearch/bit, commit
 * 4f2feb1; nothing of that code is here), one sequence without padding. It is the second, slow implementation that the compiled integer program is held against; it must never share code with src/.
 */
import {
  type BitNetwork,
  type Layer,
  type Linear,
  type QuantisedLinear,
  readBitNetwork,
} from './bit-network.js';
import { layerNorm, softmaxRows } from './maths.js';
import {
  type ActivationQuantiser,
  DecisionMargin,
  type OracleTensor,
  quantiseActivations,
} from './quantisers.js';

export type { OracleTensor } from './quantisers.js';

/**
 * Called with every tensor inside the network, row-major. Names are those of intermediates_float64.json and, for what
 * that file leaves out: `MODULE (quantised input)`, `...query (output, quantised)` (key, value likewise) and
 * `...attention.self probabilities (quantised)`.
 */
export type OracleTrace = (name: string, shape: number[], data: Float64Array) => void;

export interface OracleResult {
  /** one number per label, in label-id order */
  logits: Float64Array;
  /** smallest distance of any quantiser input from a threshold, in units of that quantiser's scale; Infinity if none */
  minDecisionMargin: number;
}

/** What goes along with one sequence. */
interface Run {
  tokens: number;
  margin: DecisionMargin;
  trace: OracleTrace;
}

export class BitOracle {
  readonly #network: BitNetwork;

  /**
   * @param config   config.json as an object
   * @param tensors  the state_dict by its official names; copied
   * @throws Error that names the setting or tensor if something is missing, misshapen or outside the definition
   */
  constructor(config: Record<string, unknown>, tensors: Map<string, OracleTensor>) {
    this.#network = readBitNetwork(config, tensors);
  }

  /**
   * One sequence, unpadded, as if alone.
   *
   * @param ids    T token ids
   * @param types  T token types (all 0 if left out)
   * @param trace  receives the tensors; the arrays stay as they are after the call
   * @throws RangeError for ids, types or lengths the tables do not cover
   */
  forward(ids: number[], types: number[] = ids.map(() => 0), trace: OracleTrace = () => {}): OracleResult {
    const { hidden, layers, pooler, classifier } = this.#network;
    const run: Run = { tokens: ids.length, margin: new DecisionMargin(), trace };

    let x = embed(this.#network, ids, types);
    trace('bert.embeddings (output)', [run.tokens, hidden], x);
    for (const layer of layers) x = encode(this.#network, layer, x, run);

    const dense = quantisedLinear(pooler, x.slice(0, hidden), { ...run, tokens: 1 });
    trace('bert.pooler.dense (output)', [hidden], dense);
    const pooled = dense.map(Math.tanh);
    trace('bert.pooler (output)', [hidden], pooled);
    const logits = multiply(classifier, pooled);
    trace('logits', [classifier.outputs], logits);
    return { logits, minDecisionMargin: run.margin.smallest };
  }
}

function embed(network: BitNetwork, ids: number[], types: number[]): Float64Array {
  const { hidden, words, positions, embeddingNorm } = network;
  if (ids.length === 0 || types.length !== ids.length)
    throw new RangeError('oracle: need one type per token, and a token');
  const sum = new Float64Array(ids.length * hidden);
  for (let i = 0; i < ids.length; i++) {
    const word = row(words, ids[i]!, hidden, 'token id');
    const position = row(positions, i, hidden, 'position');
    const type = row(network.types, types[i]!, hidden, 'token type');
    for (let j = 0; j < hidden; j++) sum[i * hidden + j] = word[j]! + position[j]! + type[j]!;
  }
  return layerNorm(sum, embeddingNorm.weight, embeddingNorm.bias);
}

function encode(network: BitNetwork, layer: Layer, x: Float64Array, run: Run): Float64Array {
  const { hidden, activation } = network;
  const { name, attentionOutput, attentionNorm, intermediate, output, outputNorm } = layer;
  const context = attend(network, layer, x, run);
  const attended = tracedLinear(attentionOutput, context, run);
  const y = layerNorm(add(attended, x), attentionNorm.weight, attentionNorm.bias);
  run.trace(`${name}.attention.output (output)`, [run.tokens, hidden], y);

  const h = tracedLinear(intermediate, y, run).map(activation);
  run.trace(`${name}.intermediate (output)`, [run.tokens, intermediate.outputs], h);
  const contracted = tracedLinear(output, h, run);
  const next = layerNorm(add(contracted, y), outputNorm.weight, outputNorm.bias);
  run.trace(`${name} (output)`, [run.tokens, hidden], next);
  return next;
}

function attend(network: BitNetwork, layer: Layer, x: Float64Array, run: Run): Float64Array {
  const { hidden, heads } = network;
  const { tokens, margin, trace } = run;
  const name = `${layer.name}.attention.self`;
  const quantised = (linear: QuantisedLinear, clip: ActivationQuantiser): Float64Array => {
    // move_q, move_k and move_v are in every file, but the released code overwrites what they compute.
    const values = quantiseActivations(tracedLinear(linear, x, run), null, clip, margin);
    trace(`${linear.name} (output, quantised)`, [tokens, hidden], values);
    return values;
  };
  const q = quantised(layer.query, layer.clipQuery);
  const k = quantised(layer.key, layer.clipKey);
  const v = quantised(layer.value, layer.clipValue);

  const size = hidden / heads;
  const scores = new Float64Array(heads * tokens * tokens);
  for (let head = 0; head < heads; head++) {
    for (let i = 0; i < tokens; i++) {
      for (let j = 0; j < tokens; j++) {
        let dot = 0;
        for (let c = head * size; c < (head + 1) * size; c++) dot += q[i * hidden + c]! * k[j * hidden + c]!;
        scores[(head * tokens + i) * tokens + j] = dot / Math.sqrt(size);
      }
    }
  }
  trace(`${name} scores (scaled, mask added, before softmax)`, [heads, tokens, tokens], scores);

  const p = quantiseActivations(softmaxRows(scores, tokens), null, layer.clipAttention, margin);
  trace(`${name} probabilities (quantised)`, [heads, tokens, tokens], p);

  const context = new Float64Array(tokens * hidden);
  for (let head = 0; head < heads; head++) {
    for (let i = 0; i < tokens; i++) {
      for (let j = 0; j < tokens; j++) {
        const probability = p[(head * tokens + i) * tokens + j]!;
        for (let c = head * size; c < (head + 1) * size; c++) {
          context[i * hidden + c] = context[i * hidden + c]! + probability * v[j * hidden + c]!;
        }
      }
    }
  }
  trace(`${name} (output)`, [tokens, hidden], context);
  return context;
}

/** S(x + c; a) Wq^T + bias, or U for the second layer of the feed-forward network. */
function quantisedLinear(linear: QuantisedLinear, x: Float64Array, run: Run): Float64Array {
  const quantised = quantiseActivations(x, linear.offset, linear.quantiser, run.margin);
  run.trace(`${linear.name} (quantised input)`, [run.tokens, linear.inputs], quantised);
  return multiply(linear, quantised);
}

function tracedLinear(linear: QuantisedLinear, x: Float64Array, run: Run): Float64Array {
  const y = quantisedLinear(linear, x, run);
  run.trace(`${linear.name} (output)`, [run.tokens, linear.outputs], y);
  return y;
}

/**
 * scale * (x W^T) + bias, rows x inputs -> rows x outputs. Four outputs at a time, so that four sums are under way at
 * once: twice as fast as one by one, and every sum still runs over k in order. Where outputs is no multiple of four
 * the last row of W stands in for the missing ones and its sum is written again.
 */
function multiply(linear: Linear, x: Float64Array): Float64Array {
  const { inputs, outputs, weight, scales, bias } = linear;
  const rows = x.length / inputs;
  const y = new Float64Array(rows * outputs);
  for (let j = 0; j < outputs; j += 4) {
    const [j1, j2, j3] = [
      Math.min(j + 1, outputs - 1),
      Math.min(j + 2, outputs - 1),
      Math.min(j + 3, outputs - 1),
    ];
    const [w0, w1, w2, w3] = [j * inputs, j1 * inputs, j2 * inputs, j3 * inputs];
    for (let i = 0; i < rows; i++) {
      let [sum0, sum1, sum2, sum3] = [0, 0, 0, 0];
      for (let k = 0; k < inputs; k++) {
        const value = x[i * inputs + k]!;
        sum0 += value * weight[w0 + k]!;
        sum1 += value * weight[w1 + k]!;
        sum2 += value * weight[w2 + k]!;
        sum3 += value * weight[w3 + k]!;
      }
      const at = i * outputs;
      y[at + j] = scales[j]! * sum0 + bias[j]!;
      y[at + j1] = scales[j1]! * sum1 + bias[j1]!;
      y[at + j2] = scales[j2]! * sum2 + bias[j2]!;
      y[at + j3] = scales[j3]! * sum3 + bias[j3]!;
    }
  }
  return y;
}

function add(a: Float64Array, b: Float64Array): Float64Array {
  return a.map((value, i) => value + b[i]!);
}

function row(table: Float64Array, index: number, width: number, what: string): Float64Array {
  const rows = table.length / width;
  if (!Number.isInteger(index) || index < 0 || index >= rows) {
    throw new RangeError(`oracle: ${what} ${index} is not in 0..${rows - 1}`);
  }
  return table.subarray(index * width, (index + 1) * width);
}
