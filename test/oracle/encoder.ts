/**
 * The forward pass that BiBERT and TernaryBERT have in common, in float64 with dequantised values, one sequence without
 * padding: BERT with GELU, where the two differ in their quantisers and in what becomes of the attention scores.
 * Like the rest of the oracle it shares no code with src/.
 */
import type { EncoderNetwork, Layer, Linear, Norm, QuantisedLinear } from './encoder-network.js';
import { gelu } from './maths.js';

/**
 * Called with every tensor inside the network, row-major. Names are those of intermediates_float64.json and, for what
 * that file leaves out, in the order the released code calls its quantisers: `MODULE (quantised input)`,
 * `...query (output, quantised)` (key, value likewise) and `...attention.self probabilities (quantised)`.
 */
export type OracleTrace = (name: string, shape: number[], data: Float64Array) => void;

export interface OracleResult {
  /** one number per label, in label-id order */
  logits: Float64Array;
  /** smallest distance of any quantiser input from a threshold, in code units, exact hits left out; Infinity if none */
  minDecisionMargin: number;
  /** quantiser inputs exactly on a threshold; each family says what that means for the result */
  ties: number;
}

/** Keeps account of how close the inputs of quantisers come to a threshold. */
export class Decisions {
  /** smallest distance that is not 0, in code units; Infinity if there was none */
  smallest = Infinity;
  /** how many distances were 0 */
  ties = 0;

  /** @param distance  of one quantiser input from its closest threshold, in code units, not negative */
  note(distance: number): void {
    if (distance === 0) this.ties++;
    else if (distance < this.smallest) this.smallest = distance;
  }
}

/** A tensor quantised and dequantised again; its range, where there is one, is taken over all of x. */
export type Quantiser = (x: Float64Array, decisions: Decisions) => Float64Array;

/** What goes along with one sequence. */
interface Run {
  tokens: number;
  decisions: Decisions;
  trace: OracleTrace;
}

/**
 * @param ids    T token ids
 * @param types  T token types (all 0 if left out)
 * @param trace  receives the tensors; the arrays stay as they are after the call
 * @throws RangeError for ids, types or lengths the tables do not cover
 */
export function runEncoder(
  network: EncoderNetwork,
  ids: number[],
  types: number[] = ids.map(() => 0),
  trace: OracleTrace = () => {},
): OracleResult {
  const { hidden, layers, pooler, classifier } = network;
  const run: Run = { tokens: ids.length, decisions: new Decisions(), trace };

  let x = embed(network, ids, types);
  trace('bert.embeddings (output)', [run.tokens, hidden], x);
  for (const layer of layers) x = encode(network, layer, x, run);

  // The pooler and its quantiser see the first token only.
  const pooled = quantisedLinear(pooler, x.slice(0, hidden), [], run).map(Math.tanh);
  trace('bert.pooler (output)', [hidden], pooled);
  const logits = multiply(classifier, pooled);
  trace('logits', [classifier.outputs], logits);
  return { logits, minDecisionMargin: run.decisions.smallest, ties: run.decisions.ties };
}

function embed(network: EncoderNetwork, ids: number[], types: number[]): Float64Array {
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
  return layerNorm(sum, embeddingNorm);
}

function encode(network: EncoderNetwork, layer: Layer, x: Float64Array, run: Run): Float64Array {
  const { hidden } = network;
  const { name, attentionOutput, attentionNorm, intermediate, output, outputNorm } = layer;
  const { tokens, trace } = run;
  const context = attend(network, layer, x, run);
  const attended = quantisedLinear(attentionOutput, context, [tokens], run);
  const y = layerNorm(add(attended, x), attentionNorm);
  trace(`${name}.attention.output (output)`, [tokens, hidden], y);

  // The erf form of GELU, whatever hidden_act says.
  const h = quantisedLinear(intermediate, y, [tokens], run).map(gelu);
  trace(`${name}.intermediate (output)`, [tokens, intermediate.outputs], h);
  const contracted = quantisedLinear(output, h, [tokens], run);
  const next = layerNorm(add(contracted, y), outputNorm);
  trace(`${name} (output)`, [tokens, hidden], next);
  return next;
}

function attend(network: EncoderNetwork, layer: Layer, x: Float64Array, run: Run): Float64Array {
  const { hidden, heads } = network;
  const { tokens, decisions, trace } = run;
  const name = `${layer.name}.attention.self`;
  const rows = [tokens];
  const square = [heads, tokens, tokens];
  const query = quantisedLinear(layer.query, x, rows, run);
  const key = quantisedLinear(layer.key, x, rows, run);
  const value = quantisedLinear(layer.value, x, rows, run);
  const q = layer.quantiseQuery(query, decisions);
  trace(`${name}.query (output, quantised)`, [tokens, hidden], q);
  const k = layer.quantiseKey(key, decisions);
  trace(`${name}.key (output, quantised)`, [tokens, hidden], k);

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
  trace(`${name} ${network.scoresName}`, square, scores);
  const p = layer.quantiseProbabilities(network.probabilities(scores, tokens), decisions);
  trace(`${name} probabilities (quantised)`, square, p);
  const v = layer.quantiseValue(value, decisions);
  trace(`${name}.value (output, quantised)`, [tokens, hidden], v);

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

/** quantise(x) Wq^T + bias. `rows` is the shape of x but for its last axis. */
function quantisedLinear(linear: QuantisedLinear, x: Float64Array, rows: number[], run: Run): Float64Array {
  const quantised = linear.quantise(x, run.decisions);
  run.trace(`${linear.name} (quantised input)`, [...rows, linear.inputs], quantised);
  const y = multiply(linear, quantised);
  run.trace(`${linear.name} (output)`, [...rows, linear.outputs], y);
  return y;
}

/**
 * scale * (x W^T) + bias, rows x inputs -> rows x outputs. Two outputs at a time, because one sum alone waits for itself;
 * every sum still runs over k in order. An odd last row of W is computed twice.
 */
function multiply({ inputs, outputs, weight, scales, bias }: Linear, x: Float64Array): Float64Array {
  const rows = x.length / inputs;
  const y = new Float64Array(rows * outputs);
  for (let j = 0; j < outputs; j += 2) {
    const next = Math.min(j + 1, outputs - 1);
    for (let i = 0; i < rows; i++) {
      let [sum, nextSum] = [0, 0];
      for (let k = 0; k < inputs; k++) {
        const value = x[i * inputs + k]!;
        sum += value * weight[j * inputs + k]!;
        nextSum += value * weight[next * inputs + k]!;
      }
      y[i * outputs + j] = scales[j]! * sum + bias[j]!;
      y[i * outputs + next] = scales[next]! * nextSum + bias[next]!;
    }
  }
  return y;
}

/** Row-wise weight * (z - mean) / sqrt(var + epsilon) + bias with the biased variance. */
function layerNorm(z: Float64Array, { weight, bias, epsilon }: Norm): Float64Array {
  const width = weight.length;
  const y = new Float64Array(z.length);
  for (let at = 0; at < z.length; at += width) {
    let mean = 0;
    for (let j = 0; j < width; j++) mean += z[at + j]! / width;
    let variance = 0;
    for (let j = 0; j < width; j++) variance += (z[at + j]! - mean) ** 2 / width;
    for (let j = 0; j < width; j++) {
      y[at + j] = (weight[j]! * (z[at + j]! - mean)) / Math.sqrt(variance + epsilon) + bias[j]!;
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
