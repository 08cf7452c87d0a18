/** A BinaryBERT small enough to work out every tensor by hand. */
import { describe, expect, it } from 'vitest';
import { BinaryBertOracle } from './binarybert.js';
import { LSQ, SELF, small, traces } from './binarybert-support.js';
import { largestDifference } from './support.js';

describe('a one-layer lsq network of hidden 2 and attention width 1, by hand', () => {
  const values: Record<string, number[][] | number[] | number> = {
    // rows of both tables: 2 (+ -) + 0.5 (+ +) = (2.5, -1.5) and (-1, 1) + 2 (+ +) = (1, 3)
    'bert.embeddings.word_embeddings_1.weight': [
      [0, 0],
      [1, -3],
      [-1, 1],
    ],
    'bert.embeddings.word_embeddings_2.weight': [
      [0, 0],
      [0.5, 0.5],
      [1, 3],
    ],
    'bert.embeddings.position_embeddings.weight': [
      [0, 0.5],
      [0, 0],
    ],
    'bert.embeddings.token_type_embeddings.weight': [
      [0, 0],
      [0.5, 0],
    ],
    'bert.embeddings.LayerNorm.weight': [1, 2],
    'bert.embeddings.LayerNorm.bias': [0.5, 0],
    [`${SELF}.clip_query`]: 2,
    [`${SELF}.clip_key`]: 0.25,
    [`${SELF}.clip_value`]: 0.5,
    [`${SELF}.clip_attn`]: 0.1,
    ...branch(`${SELF}.query_1`, [[2, -4]], [0.5], 0.5), // 3 (+ -)
    ...branch(`${SELF}.query_2`, [[-1, -1]], [-1], 0.25), // 1 (- -)
    ...branch(`${SELF}.key_1`, [[1, 1]], [0], 0.5), // 1 (+ +)
    ...branch(`${SELF}.key_2`, [[0.25, -0.75]], [0.25], 1.5), // 0.5 (+ -)
    ...branch(`${SELF}.value_1`, [[1, -1]], [-0.25], 0.5), // 1 (+ -)
    ...branch(`${SELF}.value_2`, [[0, 2]], [0], 0.5), // 1 (0 +): a zero weight stays zero and counts in the mean
    ...branch('bert.encoder.layer.0.attention.output.dense_1', [[1], [-3]], [0, 0.5], 0.3), // 2 (+; -)
    ...branch('bert.encoder.layer.0.attention.output.dense_2', [[1], [1]], [0, 0], 0.5), // 1 (+; +)
    'bert.encoder.layer.0.attention.output.LayerNorm.weight': [2, 1],
    'bert.encoder.layer.0.attention.output.LayerNorm.bias': [0, 0.5],
    ...square('bert.encoder.layer.0.intermediate.dense_1', [1, 1, -1, 1], [0.5, 0], 0.5), // 1 (+ +; - +)
    ...square('bert.encoder.layer.0.intermediate.dense_2', [2, -2, 4, 0], [-5, 4], 2), // 2 (+ -; + 0)
    ...square('bert.encoder.layer.0.output.dense_1', [1, 1, 1, -1], [0, 0], 0.3), // 1 (+ +; + -)
    ...square('bert.encoder.layer.0.output.dense_2', [-2, 2, 2, 2], [-0.5, 0.5], 0.5), // 2 (- +; + +)
    'bert.encoder.layer.0.output.LayerNorm.weight': [0.5, 1],
    'bert.encoder.layer.0.output.LayerNorm.bias': [0, 0],
    ...square('bert.pooler.dense_1', [1, -1, 1, 1], [0, 0.3], 0.3), // 1 (+ -; + +)
    ...square('bert.pooler.dense_2', [1, 1, 2, 0], [-0.5, -0.25], 0.5), // 1 (+ +; + 0)
    'classifier.weight': [
      [1, 2],
      [-1, 0.5],
    ],
    'classifier.bias': [0.1, 0.2],
  };
  const config = {
    ...small(LSQ).config,
    hidden_size: 2,
    dyna_hidden_size: 1,
    num_attention_heads: 1,
    num_hidden_layers: 1,
    intermediate_size: 2,
    vocab_size: 3,
    max_position_embeddings: 2,
  };
  const tensors = new Map(
    Object.entries(values).map(([name, value]) => {
      const rows = Array.isArray(value) ? [value.length] : [];
      const columns = Array.isArray(value) && Array.isArray(value[0]) ? [value[0].length] : [];
      return [name, { shape: [...rows, ...columns], data: Float64Array.from([value].flat(2)) }];
    }),
  );
  const checkpoint = { config, tensors };
  const seen = traces(checkpoint, [1, 2]);
  const t = 1 / (1 + Math.exp(2.5));
  const p = Math.tanh(0.5) + 2 * Math.tanh(0.25);

  it.each([
    ['bert.embeddings (output)', [1.5, -2, -0.5, 2]],
    [`${SELF}.query_1 (quantised input)`, [1.5, -2, -0.5, 2]],
    [`${SELF}.query_1 (output)`, [11, -7]],
    [`${SELF}.query_2 (quantised input)`, [1.5, -2, -0.5, 1.75]], // level 8 of 7
    [`${SELF}.query_2 (output)`, [-0.5, -2.25]],
    [`${SELF}.query (output)`, [10.5, -9.25]],
    [`${SELF}.query (output, quantised)`, [10, -10]],
    [`${SELF}.key_1 (output)`, [-0.5, 1.5]],
    [`${SELF}.key_2 (quantised input)`, [1.5, -1.5, 0, 1.5]],
    [`${SELF}.key_2 (output)`, [1.75, -0.5]],
    [`${SELF}.key (output, quantised)`, [1.25, 1]],
    [`${SELF}.value_1 (output)`, [3.25, -2.75]],
    [`${SELF}.value_2 (output)`, [-2, 2]],
    [`${SELF} value`, [1.25, -0.75]],
    [`${SELF}.value (output, quantised)`, [1, -1]], // levels 2.5 and -1.5: ties
    [`${SELF} scores (scaled, mask added, before softmax)`, [12.5, 10, -12.5, -10]],
    [`${SELF} attn`, [1 - t, t, t, 1 - t]],
    [`${SELF} probabilities (quantised)`, [0.8 + t, t, t, 0.8 + t]],
    [`${SELF} (output)`, [0.8, -0.8]],
    ['bert.encoder.layer.0.attention.output.dense_1 (output)', [1.8, -1.3, -1.8, 2.3]],
    ['bert.encoder.layer.0.attention.output.dense_2 (output)', [1, 1, -1, -1]],
    ['bert.encoder.layer.0.attention.output (output)', [2, -0.5, -2, 1.5]],
    ['bert.encoder.layer.0.intermediate.dense_1 (output)', [2, -2.5, 0, 3.5]],
    ['bert.encoder.layer.0.intermediate.dense_2 (quantised input)', [2, 0, -2, 2]],
    ['bert.encoder.layer.0.intermediate.dense_2 (output)', [-1, 8, -13, 0]],
    ['bert.encoder.layer.0.intermediate (output)', [1, 5.5, 0, 3.5]],
    ['bert.encoder.layer.0.output.dense_1 (quantised input)', [0.9, 4.5, 0, 3.6]], // level 18.3 of 15
    ['bert.encoder.layer.0.output.dense_1 (output)', [5.4, -3.6, 3.6, -3.6]],
    ['bert.encoder.layer.0.output.dense_2 (output)', [8.5, 13.5, 6.5, 7.5]],
    ['bert.encoder.layer.0 (output)', [0.5, -1, 0.5, -1]],
    ['bert.pooler.dense_1 (quantised input)', [0.6, -0.9]],
    ['bert.pooler.dense_1 (output)', [1.5, 0]],
    ['bert.pooler.dense_2 (output)', [-1, 0.25]],
    ['bert.pooler.dense (output)', [0.5, 0.25]],
    ['logits', [p + 0.1, 0.5 * Math.tanh(0.25) - Math.tanh(0.5) + 0.2]],
  ])('%s', (name, expected) => {
    expect(largestDifference(seen.get(name)!, expected)).toBeLessThan(1e-11);
  });

  it('finds the closest decision, and the two ties of the value', () => {
    const result = new BinaryBertOracle(config, tensors).forward([1, 2]);
    expect(result.ties).toBe(2);
    // The larger probability is (1 - 2t) / 0.1 = 8.483 steps above the smaller.
    expect(result.minDecisionMargin).toBeCloseTo(8.5 - 10 * (1 - 2 * t), 11);
  });

  it('adds the embedding of the token type', () => {
    const changed = new Map(tensors);
    const name = 'bert.embeddings.token_type_embeddings.weight';
    changed.set(name, { shape: [2, 2], data: Float64Array.of(0, 0, 0, 4) });
    const embedded = (types: number[]): Float64Array =>
      traces({ config, tensors: changed }, [1, 2], types).get('bert.embeddings (output)')!;
    // (2.5, -1.5) + (0, 0.5) + (0, 4) = (2.5, 3): the first of its pair is the smaller one now
    expect(largestDifference(embedded([1, 0]), [-0.5, 2, -0.5, 2])).toBeLessThan(1e-10);
    expect(largestDifference(embedded([0, 1]), [1.5, -2, -0.5, 2])).toBeLessThan(1e-11);
    expect(() => embedded([2, 0])).toThrow(/token type 2 is not in 0\.\.1/);
  });

  function branch(
    name: string,
    weight: number[][],
    bias: number[],
    step: number,
  ): Record<string, number[][] | number[] | number> {
    return { [`${name}.weight`]: weight, [`${name}.bias`]: bias, [`${name}.input_clip_val`]: step };
  }

  function square(name: string, w: number[], bias: number[], step: number): ReturnType<typeof branch> {
    return branch(name, [w.slice(0, 2), w.slice(2)], bias, step);
  }
});
