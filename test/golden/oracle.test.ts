/**
 * The oracle is what everything else is compared with, so it is itself held against numbers written out by hand and,
 * where BETA_CHECKPOINTS names a folder with the trained checkpoints (clinc150/w1a1, ...), against what the official
 * code computed in float64. More of it in test/oracle/*.test.ts.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { BitOracle, type OracleTensor } from '../oracle/bit.js';
import { loadTensors } from '../oracle/checkpoint.js';
import { randomBitCheckpoint } from '../oracle/random.js';
import { largestDifference, small } from '../oracle/support.js';
import { bitModules, torchSave } from '../oracle/torch-file.js';

describe('a one-layer network of width 2, by hand', () => {
  // Every W has a mean that moves a sign or makes a zero; a LayerNorm of two numbers is (+1, -1) or (-1, +1).
  const values: Record<string, number[][] | number[] | number> = {
    // mean 0.0625; rows 1 and 2 become 2 (+1, -1) and 3 (-1, +1)
    'bert.embeddings.word_embeddings.weight': [
      [0.5, -0.5],
      [1, -3],
      [-2, 4],
      [0.25, 0.25],
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
    'bert.encoder.layer.0.attention.self.clip_query': 2,
    'bert.encoder.layer.0.attention.self.clip_key': 0.5,
    'bert.encoder.layer.0.attention.self.clip_value': 3,
    'bert.encoder.layer.0.attention.self.clip_attn': 0.5,
    ...linear('bert.encoder.layer.0.attention.self.query', [1, 2, 3, -2], [0, -1], 0.5, [-1, 0]), // 2 [0 +; + -]
    ...linear('bert.encoder.layer.0.attention.self.key', [-1, -1, 1, 5], [1, 1], 1.5, [0, 1]), // 2 [- -; 0 +]
    ...linear('bert.encoder.layer.0.attention.self.value', [2, 0, -1, 3], [0.5, 8], 2, [0, 0]), // 1.5 [+ -; - +]
    'bert.encoder.layer.0.attention.self.move_q.bias': [5, 5],
    'bert.encoder.layer.0.attention.self.move_k.bias': [5, 5],
    'bert.encoder.layer.0.attention.self.move_v.bias': [-50, 5],
    ...linear('bert.encoder.layer.0.attention.output.dense', [1, 1, 1, -7], [0.5, 0], 0.4, [1, -2]), // 2.5 [+ +; + -]
    'bert.encoder.layer.0.attention.output.LayerNorm.weight': [2, 1],
    'bert.encoder.layer.0.attention.output.LayerNorm.bias': [0, 0.5],
    ...linear('bert.encoder.layer.0.intermediate.dense', [3, 1, 1, -1], [0.25, 1.5], 0.5, [-1, 1]), // 1.5 [+ 0; 0 -]
    ...linear('bert.encoder.layer.0.output.dense', [1, 3, -2, 2], [0, 1], 0.8, [0.38, -0.05]), // 2 [0 +; - +]
    'bert.encoder.layer.0.output.LayerNorm.weight': [0.5, 1],
    'bert.encoder.layer.0.output.LayerNorm.bias': [0, 0],
    ...linear('bert.pooler.dense', [2, 4, -1, -1], [0.5, -0.5], 0.25, [-1, 0]), // 2 [+ +; - -]
    'classifier.weight': [
      [1, 2],
      [-1, 0.5],
    ],
    'classifier.bias': [0.1, 0.2],
  };
  const config = {
    ...small().config,
    hidden_size: 2,
    num_attention_heads: 1,
    num_hidden_layers: 1,
    intermediate_size: 2,
    vocab_size: 4,
    max_position_embeddings: 2,
  };
  const tensors = new Map(
    Object.entries(values).map(([name, value]) => {
      const shape = !Array.isArray(value) ? [] : Array.isArray(value[0]) ? [value.length, 2] : [value.length];
      return [name, { shape, data: Float64Array.from([value].flat(2)) }];
    }),
  );
  const seen = new Map<string, Float64Array>();
  const result = new BitOracle(config, tensors).forward([1, 2], [0, 0], (name, _, data) =>
    seen.set(name, data),
  );
  const t = Math.tanh(0.5);
  const r = Math.SQRT2;

  it.each([
    ['bert.embeddings (output)', [1.5, -2, -0.5, 2]],
    ['bert.encoder.layer.0.attention.self.query (quantised input)', [0.5, -0.5, -0.5, 0.5]],
    ['bert.encoder.layer.0.attention.self.query (output)', [-1, 1, 1, -3]],
    ['bert.encoder.layer.0.attention.self.query (output, quantised)', [-2, 2, 2, -2]],
    ['bert.encoder.layer.0.attention.self.key (output)', [1, -2, 1, 4]],
    ['bert.encoder.layer.0.attention.self.key (output, quantised)', [0.5, -0.5, 0.5, 0.5]],
    ['bert.encoder.layer.0.attention.self.value (output)', [6.5, 2, -5.5, 14]],
    ['bert.encoder.layer.0.attention.self.value (output, quantised)', [3, 3, -3, 3]],
    ['bert.encoder.layer.0.attention.self scores (scaled, mask added, before softmax)', [-r, 0, r, 0]],
    // softmax gives 0.196 and 0.804; the threshold is 0.25
    ['bert.encoder.layer.0.attention.self probabilities (quantised)', [0, 0.5, 0.5, 0]],
    ['bert.encoder.layer.0.attention.self (output)', [-1.5, 1.5, 1.5, 1.5]],
    ['bert.encoder.layer.0.attention.output.dense (quantised input)', [-0.4, -0.4, 0.4, -0.4]],
    ['bert.encoder.layer.0.attention.output.dense (output)', [-1.5, 0, 0.5, 2]],
    ['bert.encoder.layer.0.attention.output (output)', [2, -0.5, -2, 1.5]],
    ['bert.encoder.layer.0.intermediate.dense (output)', [1, 0.75, -0.5, 0.75]],
    ['bert.encoder.layer.0.intermediate (output)', [1, 0.75, 0, 0.75]],
    ['bert.encoder.layer.0.output.dense (quantised input)', [0.8, 0.8, 0, 0.8]],
    ['bert.encoder.layer.0.output.dense (output)', [1.6, 1, 1.6, 2.6]],
    ['bert.encoder.layer.0 (output)', [0.5, -1, -0.5, 1]],
    ['bert.pooler.dense (quantised input)', [-0.25, -0.25]],
    ['bert.pooler.dense (output)', [-0.5, 0.5]],
    ['bert.pooler (output)', [-t, t]],
    ['logits', [t + 0.1, 1.5 * t + 0.2]],
  ])('%s', (name, expected) => {
    expect(largestDifference(seen.get(name)!, expected)).toBeLessThan(1e-11);
  });

  it('finds the closest decision, the exact zero after ReLU (0 + 0.38, 0.025 from its threshold) left out', () => {
    // The probability 1/(1 + e^sqrt 2) = 0.1956 lies 0.1089 scales of 0.5 below the threshold.
    expect(result.minDecisionMargin).toBeCloseTo(0.5 - 2 / (1 + Math.exp(r)), 11);
  });

  it('adds the embedding of the token type', () => {
    const other = new BitOracle(config, tensors);
    const embedding = new Map<string, Float64Array>();
    other.forward([3], [1], (name, _, data) => embedding.set(name, data));
    // 0.25 (1, 1) + (0, 0.5) + (0.5, 0) = (0.75, 0.75): no deviation, so LayerNorm leaves its bias.
    expect([...embedding.get('bert.embeddings (output)')!]).toEqual([0.5, 0]);
  });

  function linear(
    name: string,
    w: number[],
    bias: number[],
    clip: number,
    move: number[],
  ): Record<string, number[][] | number[] | number> {
    return {
      [`${name}.weight`]: [w.slice(0, 2), w.slice(2)],
      [`${name}.bias`]: bias,
      [`${name}.input_clip_val`]: clip,
      [`${name}.move.bias`]: move,
    };
  }
});

const checkpoints = process.env.BETA_CHECKPOINTS ?? '';

interface Golden {
  sentences: { input_ids: number[]; logits_float64: number[]; min_decision_margin: number }[];
}
type Intermediates = { input_ids: number[]; tensors: { name: string; shape: number[]; data: number[] }[] }[];

describe.skipIf(checkpoints === '').each(['w1a1', 'w1a2', 'w1a4'])(
  'the official code in float64, clinc150/%s',
  (model) => {
    const folder = join(checkpoints, 'clinc150', model);
    const json = <T>(name: string): T => JSON.parse(readFileSync(join(folder, name), 'utf8')) as T;

    it('agrees on the logits within 1e-8 and on the closest decision of every golden sentence', () => {
      expect(existsSync(folder), `BETA_CHECKPOINTS must hold ${folder}`).toBe(true);
      const { config, tensors } = loadTensors(folder);
      const oracle = new BitOracle(config, tensors);
      const { sentences } = json<Golden>('golden.json');
      expect(sentences.length).toBe(64);
      for (const sentence of sentences) {
        const { logits, minDecisionMargin } = oracle.forward(sentence.input_ids);
        expect(largestDifference(logits, sentence.logits_float64)).toBeLessThan(1e-8);
        expect(Math.abs(minDecisionMargin - sentence.min_decision_margin)).toBeLessThan(1e-10);
      }
    });

    it('agrees on every tensor inside the network (which the file rounds to 7 digits)', () => {
      const { config, tensors } = loadTensors(folder);
      const oracle = new BitOracle(config, tensors);
      for (const sentence of json<Intermediates>('intermediates_float64.json')) {
        const seen = new Map<string, Float64Array>();
        oracle.forward(sentence.input_ids, undefined, (name, shape, data) =>
          seen.set(`${name} [${shape}]`, data),
        );
        for (const { name, shape, data } of sentence.tensors) {
          expect(largestDifference(seen.get(`${name} [${shape}]`)!, data), name).toBeLessThan(1e-7);
        }
      }
    });

    it('has its file reproduced byte for byte by the writer, and its names and shapes by the random maker', () => {
      const { config, tensors } = loadTensors(folder);
      const official = readFileSync(join(folder, 'pytorch_model.bin'));
      expect(torchSave(tensors, bitModules(4)).equals(official)).toBe(true);
      const made = randomBitCheckpoint({
        seed: 1,
        layers: 4,
        hidden: 256,
        heads: 4,
        intermediate: 1024,
        vocab: 4096,
        positions: 128,
        labels: 150,
        bits: config.input_bits as 1,
      });
      const outline = (map: Map<string, OracleTensor>): string[] =>
        [...map].map(([name, { shape }]) => `${name} [${shape}]`);
      expect(outline(made.tensors)).toEqual(outline(tensors));
      expect(Object.keys(made.config)).toEqual(Object.keys(config));
    });
  },
);
