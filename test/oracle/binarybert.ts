/**
 * The naive float64 oracle of BinaryBERT ("BinaryBERT: Pushing the Limit of BERT Quantization", arXiv 2012.15701):
 * the whole network with dequantised values, as the released model classes compute it (huawei-noah/
 * Pretrained-Language-Model, commit 0598f02, folder BinaryBERT; nothing of that code is here), one sequence without
 * padding. The compiled integer program is held against it; it must never share code with src/.
 */
import {
  type BinaryBertNetwork,
  type Layer,
  type Linear,
  readBinaryBertNetwork,
  type SplitLinear,
} from './binarybert-network.js';
import { type ActivationQuantiser, Decisions, quantiseActivations } from './binarybert-quantisers.js';
import { layerNorm, softmaxRows } from './maths.js';
import type { OracleTensor } from './quantisers.js';

/**
 * Called with every tensor inside the network, row-major. Names are those of intermediates_float64.json, for what goes
 * into a quantiser the quantiser's name there (`MODULE_1 (input)`, `...attention.self query`), each in the order the
 * released code computes them. What that file leaves out: `MODULE (output)`, the sum of both branches,
 * `MODULE_1 (quantised input)`, `...query (output, quantised)` (key, value likewise) and `...attention.self
 * probabilities (quantised)`.
 */
export type OracleTrace = (name: string, shape: number[], data: Float64Array) => void;

export interface BinaryBertResult {
  /** one number per label, in label-id order */
  logits: Float64Array;
  /**
   * smallest distance of any quantiser input from a threshold, in code units of that quantiser, exact hits left out;
   * Infinity if there is none
   */
  minDecisionMargin: number;
  /** quantiser inputs exactly on a threshold: which way they fall in the released code is a matter of rounding noise */
  ties: number;
}

/** What goes along with one sequence. */
interface Run {
  tokens: number;
  decisions: Decisions;
  trace: OracleTrace;
}

export class BinaryBertOracle {
  readonly #network: BinaryBertNetwork;

  /**
   * @param config   config.json as an object
   * @param tensors  the state_dict by its official names; copied
   * @throws Error that names the setting or tensor if something is missing, misshapen or outside the definition
   */
  constructor(config: Record<string, unknown>, tensors: Map<string, OracleTensor>) {
    this.#network = readBinaryBertNetwork(config, tensors);
  }

  /**
   * One sequence, unpadded, as if alone: quantisers take their ranges over it and nothing else.
   *
   * @param ids    T token ids
   * @param types  T token types (all 0 if left out)
   * @param trace  receives the tensors; the arrays stay as they are after the call
   * @throws RangeError for ids, types or lengths the tables do not cover
   */
  forward(
    ids: number[],
    types: number[] = ids.map(() => 0),
    trace: OracleTrace = () => {},
  ): BinaryBertResult {
    const { hidden, layers, pooler, classifier } = this.#network;
    const run: Run = { tokens: ids.length, decisions: new Decisions(), trace };

    let x = embed(this.#network, ids, types);
    trace('bert.embeddings (output)', [run.tokens, hidden], x);
    for (const layer of layers) x = encode(this.#network, layer, x, run);

    // The pooler's quantisers see the first token only.
    const pooled = splitLinear(pooler, x.slice(0, hidden), [], run).map(Math.tanh);
    trace('bert.pooler (output)', [hidden], pooled);
    const logits = multiply(classifier, pooled);
    trace('logits', [classifier.outputs], logits);
    return { logits, minDecisionMargin: run.decisions.smallest, ties: run.decisions.ties };
  }
}

function embed(network: BinaryBertNetwork, ids: number[], types: number[]): Float64Array {
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

function encode(network: BinaryBertNetwork, layer: Layer, x: Float64Array, run: Run): Float64Array {
  const { hidden, activation } = network;
  const { name, attentionOutput, attentionNorm, intermediate, output, outputNorm } = layer;
  const rows = [run.tokens];
  const context = attend(network, layer, x, run);
  const attended = splitLinear(attentionOutput, context, rows, run);
  const y = layerNorm(add(attended, x), attentionNorm.weight, attentionNorm.bias);
  run.trace(`${name}.attention.output (output)`, [run.tokens, hidden], y);

  const h = splitLinear(intermediate, y, rows, run).map(activation);
  run.trace(`${name}.intermediate (output)`, [run.tokens, intermediate.outputs], h);
  const contracted = splitLinear(output, h, rows, run);
  const next = layerNorm(add(contracted, y), outputNorm.weight, outputNorm.bias);
  run.trace(`${name} (output)`, [run.tokens, hidden], next);
  return next;
}

function attend(network: BinaryBertNetwork, layer: Layer, x: Float64Array, run: Run): Float64Array {
  const { attention: width, heads } = network;
  const { tokens, trace } = run;
  const name = `${layer.name}.attention.self`;
  const query = splitLinear(layer.query, x, [tokens], run);
  const key = splitLinear(layer.key, x, [tokens], run);
  const value = splitLinear(layer.value, x, [tokens], run);
  const q = quantise(
    `${name} query`,
    `${name}.query (output, quantised)`,
    query,
    [tokens, width],
    layer.clipQuery,
    run,
  );
  const k = quantise(
    `${name} key`,
    `${name}.key (output, quantised)`,
    key,
    [tokens, width],
    layer.clipKey,
    run,
  );

  const size = width / heads;
  const scores = new Float64Array(heads * tokens * tokens);
  for (let head = 0; head < heads; head++) {
    for (let i = 0; i < tokens; i++) {
      for (let j = 0; j < tokens; j++) {
        let dot = 0;
        for (let c = head * size; c < (head + 1) * size; c++) dot += q[i * width + c]! * k[j * width + c]!;
        scores[(head * tokens + i) * tokens + j] = dot / Math.sqrt(size);
      }
    }
  }
  const square = [heads, tokens, tokens];
  trace(`${name} scores (scaled, mask added, before softmax)`, square, scores);
  const p = quantise(
    `${name} attn`,
    `${name} probabilities (quantised)`,
    softmaxRows(scores, tokens),
    square,
    layer.clipAttention,
    run,
  );
  const v = quantise(
    `${name} value`,
    `${name}.value (output, quantised)`,
    value,
    [tokens, width],
    layer.clipValue,
    run,
  );

  const context = new Float64Array(tokens * width);
  for (let head = 0; head < heads; head++) {
    for (let i = 0; i < tokens; i++) {
      for (let j = 0; j < tokens; j++) {
        const probability = p[(head * tokens + i) * tokens + j]!;
        for (let c = head * size; c < (head + 1) * size; c++) {
          context[i * width + c] = context[i * width + c]! + probability * v[j * width + c]!;
        }
      }
    }
  }
  trace(`${name} (output)`, [tokens, width], context);
  return context;
}

/** The sum of both branches, each with its own quantiser of the input. `rows` is the shape but for its last axis. */
function splitLinear(linear: SplitLinear, x: Float64Array, rows: number[], run: Run): Float64Array {
  const [first, second] = linear.branches.map((branch) => {
    const input = quantise(
      `${branch.name} (input)`,
      `${branch.name} (quantised input)`,
      x,
      [...rows, branch.inputs],
      branch.quantiser,
      run,
    );
    const y = multiply(branch, input);
    run.trace(`${branch.name} (output)`, [...rows, branch.outputs], y);
    return y;
  });
  const sum = add(first!, second!);
  run.trace(`${linear.name} (output)`, [...rows, linear.outputs], sum);
  return sum;
}

function quantise(
  name: string,
  quantisedName: string,
  x: Float64Array,
  shape: number[],
  quantiser: ActivationQuantiser,
  run: Run,
): Float64Array {
  run.trace(name, shape, x);
  const quantised = quantiseActivations(x, quantiser, run.decisions);
  run.trace(quantisedName, shape, quantised);
  return quantised;
}

/** scale * (x W^T) + bias, rows x inputs -> rows x outputs. */
function multiply({ inputs, outputs, weight, scales, bias }: Linear, x: Float64Array): Float64Array {
  const rows = x.length / inputs;
  const y = new Float64Array(rows * outputs);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < outputs; j++) {
      let sum = 0;
      for (let k = 0; k < inputs; k++) sum += x[i * inputs + k]! * weight[j * inputs + k]!;
      y[i * outputs + j] = scales[j]! * sum + bias[j]!;
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
