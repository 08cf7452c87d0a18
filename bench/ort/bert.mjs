/**
 * BERT for sequence classification as ONNX, in the four forms that exporters and optimisers give it:
 *
 * - plain: what a float32 export has, operator by operator (MatMul, Softmax, LayerNormalization);
 * - fused: what the transformer optimiser makes of it (Attention, SkipLayerNormalization);
 *
 * each in float32 and in int8. int8 is dynamic quantisation: every product with a weight becomes DynamicQuantizeLinear and MatMulInteger
 * (plain; the session fuses them) or DynamicQuantizeMatMul and QAttention (fused); products of two activations stay float.
 */
import { Graph } from './graph.mjs';

const EPSILON = 1e-12;
/** Rows of the word table: a lookup costs the same in a small one. */
const WORDS = 1000;

/** x [.., inputs] times a random weight, plus bias. */
function linear(graph, x, inputs, outputs, int8) {
  const bias = graph.randomFloats([outputs], 0.1);
  const scale = 1 / Math.sqrt(inputs);
  if (int8 === 'fused') {
    return graph.contrib('DynamicQuantizeMatMul', [
      x,
      graph.randomBytes([inputs, outputs]),
      graph.floats([], [scale / 64]),
      graph.bytes([], [0]),
      bias,
    ]);
  }
  if (int8 === 'plain') {
    const [codes, step, zero] = graph.node('DynamicQuantizeLinear', [x], {}, { outputs: 3 });
    const sums = graph.node('MatMulInteger', [
      codes,
      graph.randomBytes([inputs, outputs]),
      zero,
      graph.bytes([], [0]),
    ]);
    const factor = graph.node('Mul', [step, graph.floats([], [scale / 64])]);
    const real = graph.node('Mul', [graph.node('Cast', [sums], { to: 1 }), factor]);
    return graph.node('Add', [real, bias]);
  }
  return graph.node('Add', [graph.node('MatMul', [x, graph.randomFloats([inputs, outputs], scale)]), bias]);
}

const norm = (graph, hidden) => [graph.randomFloats([hidden], 0.1, 1), graph.randomFloats([hidden], 0.1)];

/** LN(x + residual). */
function addNorm(graph, x, residual, { hidden, fused }) {
  const [gamma, beta] = norm(graph, hidden);
  if (fused) return graph.contrib('SkipLayerNormalization', [x, residual, gamma, beta], { epsilon: EPSILON });
  const sum = graph.node('Add', [x, residual]);
  return graph.node('LayerNormalization', [sum, gamma, beta], { axis: -1, epsilon: EPSILON });
}

function plainAttention(graph, x, { batch, tokens, hidden, heads, int8 }) {
  const size = hidden / heads;
  const split = graph.longs([4], [batch, tokens, heads, size]);
  const project = (perm) =>
    graph.node('Transpose', [graph.node('Reshape', [linear(graph, x, hidden, hidden, int8), split])], {
      perm,
    });
  const q = project([0, 2, 1, 3]);
  const k = project([0, 2, 3, 1]);
  const v = project([0, 2, 1, 3]);
  const scores = graph.node('Div', [graph.node('MatMul', [q, k]), graph.floats([], [Math.sqrt(size)])]);
  const context = graph.node('MatMul', [graph.node('Softmax', [scores], { axis: -1 }), v]);
  const joined = graph.node('Transpose', [context], { perm: [0, 2, 1, 3] });
  return graph.node('Reshape', [joined, graph.longs([3], [batch, tokens, hidden])]);
}

function fusedAttention(graph, x, { hidden, heads, int8 }) {
  const bias = graph.randomFloats([3 * hidden], 0.1);
  if (!int8) {
    const weight = graph.randomFloats([hidden, 3 * hidden], 1 / Math.sqrt(hidden));
    return graph.contrib('Attention', [x, weight, bias], { num_heads: heads });
  }
  const [codes, step, zero] = graph.node('DynamicQuantizeLinear', [x], {}, { outputs: 3 });
  return graph.contrib(
    'QAttention',
    [
      codes,
      graph.randomBytes([hidden, 3 * hidden]),
      bias,
      step,
      graph.floats([], [1 / Math.sqrt(hidden) / 64]),
      '',
      zero,
      graph.bytes([], [0]),
    ],
    { num_heads: heads },
  );
}

function activate(graph, x, activation, fused) {
  if (activation === 'relu') return graph.node('Relu', [x]);
  if (fused) return graph.contrib('Gelu', [x]);
  const erf = graph.node('Erf', [graph.node('Div', [x, graph.floats([], [Math.SQRT2])])]);
  const half = graph.node('Mul', [x, graph.floats([], [0.5])]);
  return graph.node('Mul', [half, graph.node('Add', [erf, graph.floats([], [1])])]);
}

function layer(graph, x, shape) {
  const { hidden, intermediate, activation, fused, int8 } = shape;
  const context = fused ? fusedAttention(graph, x, shape) : plainAttention(graph, x, shape);
  const attended = addNorm(graph, linear(graph, context, hidden, hidden, int8), x, shape);
  const up = activate(graph, linear(graph, attended, hidden, intermediate, int8), activation, fused);
  return addNorm(graph, linear(graph, up, intermediate, hidden, int8), attended, shape);
}

/**
 * The model file of a BERT of a shape {layers, hidden, heads, intermediate, labels, activation, batch, tokens}; `form` is plain or
 * fused, `width` f32 or int8. Input: ids, int64 [batch][tokens].
 */
export function bertModel(shape, form, width) {
  const { layers, hidden, labels, batch, tokens } = shape;
  const whole = { ...shape, fused: form === 'fused', int8: width === 'int8' && form };
  const graph = new Graph();
  const ids = graph.input('ids', [batch, tokens]);
  const words = graph.node('Gather', [graph.randomFloats([WORDS, hidden], 1), ids], { axis: 0 });
  const positions = graph.randomFloats([1, tokens, hidden], 0.1);
  const [gamma, beta] = norm(graph, hidden);
  let x = graph.node('LayerNormalization', [graph.node('Add', [words, positions]), gamma, beta], {
    axis: -1,
    epsilon: EPSILON,
  });
  for (let i = 0; i < layers; i++) x = layer(graph, x, whole);
  const first = graph.node('Gather', [x, graph.longs([], [0])], { axis: 1 });
  const pooled = graph.node('Tanh', [linear(graph, first, hidden, hidden, whole.int8)]);
  const logits = linear(graph, pooled, hidden, labels, false);
  graph.output(logits, [batch, labels]);
  return graph.encode();
}

export const WORD_COUNT = WORDS;
