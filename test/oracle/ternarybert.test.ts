/**
 * TernaryBERT's oracle on a network worked out by hand, against its integer form on random networks, and on the traps of
 * the released code. Trained checkpoints: encoder-golden.test.ts.
 */
import { describe, expect, it } from 'vitest';
import { Decisions } from './encoder.js';
import { handTensors, products, run, SELF, SMALL, tensor } from './encoder-support.js';
import type { RandomEncoderCheckpoint } from './random-encoder.js';
import { type RandomTernaryBertOptions, randomTernaryBertCheckpoint } from './random-ternarybert.js';
import { IDS, largestDifference } from './support.js';
import { symmetric, TernaryBertOracle, ternarise } from './ternarybert.js';

const small = (changes: Partial<RandomTernaryBertOptions> = {}): RandomEncoderCheckpoint =>
  randomTernaryBertCheckpoint({ ...SMALL, ...changes });
const traces = (checkpoint: RandomEncoderCheckpoint, ids = IDS): Map<string, Float64Array> =>
  run(TernaryBertOracle, checkpoint, ids).seen;
const logits = (checkpoint: RandomEncoderCheckpoint, ids = IDS): Float64Array =>
  run(TernaryBertOracle, checkpoint, ids).logits;

describe('quantisers', () => {
  const matrix = { shape: [2, 2], data: Float32Array.of(3, -1, 0.25, 0.75) };

  it('ternarise a matrix with one threshold and one scale, after clipping', () => {
    // clipped to 2: mean |w| 1, threshold 0.7
    expect(ternarise(matrix, [-2, 2], 'matrix')).toEqual({
      signs: Float64Array.of(1, -1, 0, 1),
      scales: Float64Array.of(1.25, 1.25),
    });
  });

  it('ternarise the word embeddings by row', () => {
    // mean |w| 2 and 0.5, thresholds 1.4 and 0.35
    expect(ternarise(matrix, [-9, 9], 'row')).toEqual({
      signs: Float64Array.of(1, 0, 0, 1),
      scales: Float64Array.of(3, 0.75),
    });
  });

  it('put a weight equal to the threshold at 0', () => {
    // mean 10, threshold 7 (0.7 * 40 is 28 in float64 too)
    const { signs } = ternarise({ shape: [1, 4], data: Float32Array.of(7, -7, 13, 13) }, [-99, 99], 'row');
    expect([...signs]).toEqual([0, 0, 1, 1]);
  });

  it('have no scale for a row of zeros, as the released code', () => {
    const { scales } = ternarise({ shape: [2, 2], data: Float32Array.of(0, 0, 1, 1) }, [-1, 1], 'row');
    expect([...scales]).toEqual([Number.NaN, 1]);
  });

  it('quantise activations relative to the largest magnitude that clipping leaves, halves to even', () => {
    const decisions = new Decisions();
    const y = symmetric([-127, 64])(Float64Array.of(-300, 100, 2.5, -3.5, 0.4, 10.75), decisions);
    expect([...y]).toEqual([-127, 64, 2, -4, 0, 11]);
    expect(decisions.ties).toBe(2);
    expect(decisions.smallest).toBeCloseTo(0.1, 12);
    // M = 0.5
    const half = symmetric([-2.5, 2.5])(Float64Array.of(0.5, -0.25, 0.001), new Decisions());
    expect(largestDifference(half, [0.5, (-64 * 0.5) / 127, 0])).toBeLessThan(1e-15);
  });

  it('see ties through rounding noise, and only those', () => {
    const decisions = new Decisions();
    // A common scale of 0.1 / 3 times 254, 5, 7 and 7 + 1e-8: levels 127, 2.5, 3.5, 3.500000005
    symmetric([-99, 99])(
      Float64Array.of(254, 5, 7, 7 + 1e-8).map((value) => (value * 0.1) / 3),
      decisions,
    );
    expect(decisions.ties).toBe(2);
    expect(decisions.smallest).toBeCloseTo(5e-9, 13);
  });

  it('give NaN for a tensor of zeros, as the released code', () => {
    expect([...symmetric([-1, 1])(new Float64Array(2), new Decisions())]).toEqual([Number.NaN, Number.NaN]);
  });
});

describe('a one-layer network of width 2, by hand', () => {
  // Clip values are such that the largest magnitude M is a simple number, mostly 127: then values are rounded to whole
  // numbers. A LayerNorm of two numbers is (+1, -1) or (-1, +1).
  const u = 2 ** -12;
  const checkpoint = {
    config: {
      ...small().config,
      hidden_size: 2,
      num_attention_heads: 1,
      num_hidden_layers: 1,
      intermediate_size: 3,
      vocab_size: 3,
      max_position_embeddings: 2,
    },
    tensors: handTensors({
      // rows 1 and 2: clipped to (2.5, -1), threshold 1.225: 2.5 (+ 0); threshold 0.7: 1 (- +)
      'bert.embeddings.word_embeddings.weight': [
        [1, 1],
        [3, -1],
        [-1, 1],
      ],
      'bert.embeddings.word_embeddings.weight_clip_val': [-2.5, 2.5],
      'bert.embeddings.position_embeddings.weight': [
        [0, 0.5],
        [0, 0],
      ],
      'bert.embeddings.token_type_embeddings.weight': [
        [0, 0],
        [0.5, 0],
      ],
      'bert.embeddings.LayerNorm.weight': [100, 27.4],
      'bert.embeddings.LayerNorm.bias': [27, 0.2],
      [`${SELF}.clip_query`]: [-127, 127],
      [`${SELF}.clip_key`]: [-2.5, 2.5],
      [`${SELF}.clip_value`]: [-254, 254],
      [`${SELF}.clip_attn`]: [-2.5, 2.5],
      [`${SELF}.query.weight`]: [
        [1, -1], // threshold 0.6125 over both rows: 1 (+ -)
        [0.5, 1], // 1 (0 +)
      ],
      [`${SELF}.query.bias`]: [-27, 10],
      [`${SELF}.query.act_clip_val`]: [-127, 127],
      [`${SELF}.key.weight`]: [
        [0, u], // threshold 0.3675 u: u (0 +)
        [u, 0.1 * u], // u (+ 0)
      ],
      [`${SELF}.key.bias`]: [0, 0],
      [`${SELF}.key.act_clip_val`]: [-20, 127],
      [`${SELF}.value.weight`]: [
        [3, 0], // clipped to 2: 2 (+ 0)
        [0, -2], // 2 (0 -)
      ],
      [`${SELF}.value.weight_clip_val`]: [-2, 2],
      [`${SELF}.value.bias`]: [0, 0],
      [`${SELF}.value.act_clip_val`]: [-63.5, 63.5],
      'bert.encoder.layer.0.attention.output.dense.weight': [
        [0.5, 0.1], // 0.5 (+ 0)
        [0, -0.5], // 0.5 (0 -)
      ],
      'bert.encoder.layer.0.attention.output.dense.bias': [0, 1],
      'bert.encoder.layer.0.attention.output.dense.act_clip_val': [-127, 127],
      'bert.encoder.layer.0.attention.output.LayerNorm.weight': [200, 3],
      'bert.encoder.layer.0.attention.output.LayerNorm.bias': [54, 0.5],
      'bert.encoder.layer.0.intermediate.dense.weight': [
        [1 / 128, 0.2 / 128], // 1/128 (+ 0)
        [0, 1 / 128], // 1/128 (0 +)
        [1 / 128, -1 / 128], // 1/128 (+ -)
      ],
      'bert.encoder.layer.0.intermediate.dense.bias': [0, 0.5, -1],
      'bert.encoder.layer.0.intermediate.dense.act_clip_val': [-254, 300],
      'bert.encoder.layer.0.output.dense.weight': [
        [1, 0, -1], // 1 (+ 0 -)
        [0, 1, 0.2], // 1 (0 + 0)
      ],
      'bert.encoder.layer.0.output.dense.bias': [0, 1],
      'bert.encoder.layer.0.output.dense.act_clip_val': [-2.5, 1],
      'bert.encoder.layer.0.output.LayerNorm.weight': [0.5, 100],
      'bert.encoder.layer.0.output.LayerNorm.bias': [0.2, 27],
      'bert.pooler.dense.weight': [
        [1 / 128, 0], // 1/128 (+ 0)
        [0.1 / 128, -1 / 128], // 1/128 (0 -)
      ],
      'bert.pooler.dense.bias': [-0.25, -0.5],
      'bert.pooler.dense.act_clip_val': [-254, 254],
      'classifier.weight': [
        [1, 2],
        [-1, 0.5],
      ],
      'classifier.bias': [0.1, 0.2],
    }),
  };
  const { seen, minDecisionMargin, ties } = run(TernaryBertOracle, checkpoint, [1, 2]);
  // score differences in a row, the largest probability, and what one unit of the context is
  const [first, second] = [(8595 * u) / Math.SQRT2, (11682 * u) / Math.SQRT2];
  const M = 1 / (1 + Math.exp(-second));
  const m = M / 127;
  const c = 110 * m;
  const [p0, p1] = [73 / 127 / 128 - 0.25, 73 / 128 - 0.5];

  it.each([
    ['bert.embeddings (output)', [127, -27.2, -73, 27.6]],
    [`${SELF}.query (quantised input)`, [127, -27, -73, 28]],
    [`${SELF}.query (output)`, [127, -17, -128, 38]],
    [`${SELF}.query (output, quantised)`, [127, -17, -127, 38]],
    [`${SELF}.key (quantised input)`, [127, -20, -20, 28]],
    [`${SELF}.key (output)`, [-20 * u, 127 * u, 28 * u, -20 * u]],
    [`${SELF}.key (output, quantised)`, [-20 * u, 127 * u, 28 * u, -20 * u]],
    // -27.2 and 27.6 are -54.4 and 55.2 in steps of a half
    [`${SELF}.value (quantised input)`, [63.5, -27, -63.5, 27.5]],
    [`${SELF}.value (output)`, [127, 54, -127, -55]],
    [`${SELF}.value (output, quantised)`, [127, 54, -127, -55]],
    [
      `${SELF} scores (scaled, mask added, before softmax)`,
      [-4699, 3896, 7366, -4316].map((sum) => (sum * u) / Math.SQRT2),
    ],
    // 26.6, 117.3, 127 and 16.9 steps
    [`${SELF} probabilities (quantised)`, [27 * m, 117 * m, 127 * m, 17 * m]],
    [`${SELF} (output)`, [-11430 * m, -4977 * m, 13970 * m, 5923 * m]],
    // -103.9, -45.2, 127 and 53.8 steps of 13970 m / 127
    ['bert.encoder.layer.0.attention.output.dense (quantised input)', [-104 * c, -45 * c, 127 * c, 54 * c]],
    ['bert.encoder.layer.0.attention.output.dense (output)', [-52 * c, 22.5 * c + 1, 63.5 * c, -27 * c + 1]],
    ['bert.encoder.layer.0.attention.output (output)', [254, -2.5, -146, 3.5]],
    // steps of 2
    ['bert.encoder.layer.0.intermediate.dense (quantised input)', [254, -2, -146, 4]],
    [
      'bert.encoder.layer.0.intermediate.dense (output)',
      [1.984375, 0.484375, 1, -1.140625, 0.53125, -2.171875],
    ],
    // GELU of these from another library
    [
      'bert.encoder.layer.0.intermediate (output)',
      [
        1.937529808904577, 0.3322522462337904, 0.8413447460685429, -0.14487420834051715, 0.3731379011178458,
        -0.03243162403262639,
      ],
    ],
    [
      'bert.encoder.layer.0.output.dense (quantised input)',
      [127, 42, 107, -18, 47, -4].map((code) => code / 127),
    ],
    ['bert.encoder.layer.0.output.dense (output)', [20 / 127, 169 / 127, -14 / 127, 174 / 127]],
    ['bert.encoder.layer.0 (output)', [0.7, -73, -0.3, 127]],
    // Of the first token alone: steps of 73 / 127
    ['bert.pooler.dense (quantised input)', [73 / 127, -73]],
    ['bert.pooler.dense (output)', [p0, p1]],
    ['logits', [Math.tanh(p0) + 2 * Math.tanh(p1) + 0.1, -Math.tanh(p0) + 0.5 * Math.tanh(p1) + 0.2]],
  ])('%s', (name, expected) => {
    expect(largestDifference(seen.get(name)!, expected)).toBeLessThan(1e-9);
  });

  it('has the probabilities of the softmax', () => {
    const levels = [1 / (1 + Math.exp(first)), 1 / (1 + Math.exp(-first)), M, 1 - M].map((p) => p / m);
    expect(levels.map(Math.round)).toEqual([27, 117, 127, 17]);
  });

  it('finds the closest decision: 27.6 and -54.4 are 0.1 from their thresholds', () => {
    expect(minDecisionMargin).toBeCloseTo(0.1, 9);
    expect(ties).toBe(0);
  });
});

describe.each([{}, { zeroBias: true }, { weightOutliers: true }, { clip: 1.25 }])(
  'random networks in integers first, %o',
  (changes: Partial<RandomTernaryBertOptions>) => {
    const checkpoint = small(changes);
    const seen = traces(checkpoint);
    const clip = changes.clip ?? 2.5;
    const clamp = (value: number): number => Math.max(-clip, Math.min(value, clip));

    /** Codes of a tensor that is quantised, and what they are multiplied with. */
    function encode(x: ArrayLike<number>): { codes: number[]; scale: number } {
      const z = Array.from(x, clamp);
      const scale = Math.max(...z.map(Math.abs)) / 127;
      // (Math.round takes halves up; no input here is one.)
      return { codes: z.map((value) => Math.round(value / scale)), scale };
    }

    it.each([
      ['bert.encoder.layer.1.attention.self.key', 'bert.encoder.layer.0 (output)'],
      ['bert.encoder.layer.1.attention.output.dense', 'bert.encoder.layer.1.attention.self (output)'],
      ['bert.encoder.layer.1.intermediate.dense', 'bert.encoder.layer.1.attention.output (output)'],
      ['bert.encoder.layer.1.output.dense', 'bert.encoder.layer.1.intermediate (output)'],
    ])('%s', (name, input) => {
      const w = tensor(checkpoint, `${name}.weight`);
      const [outputs, inputs] = w.shape as [number, number];
      const bias = tensor(checkpoint, `${name}.bias`).data;
      const clipped = Array.from(w.data, clamp);
      const threshold = (0.7 * clipped.reduce((a, b) => a + Math.abs(b), 0)) / clipped.length;
      const kept = clipped.filter((value) => Math.abs(value) > threshold);
      const s = kept.reduce((a, b) => a + Math.abs(b), 0) / kept.length;
      const weights = clipped.map((value) => (Math.abs(value) > threshold ? Math.sign(value) : 0));
      const { codes, scale } = encode(seen.get(input)!);
      const expected = products(codes, weights, inputs).map(
        (sum, at) => s * scale * sum + bias[at % outputs]!,
      );
      expect(largestDifference(seen.get(`${name} (output)`)!, expected)).toBeLessThan(1e-12);
    });

    it('attention', () => {
      const [heads, size, tokens, hidden] = [
        SMALL.heads,
        SMALL.hidden / SMALL.heads,
        IDS.length,
        SMALL.hidden,
      ];
      const [q, k, v] = ['query', 'key', 'value'].map((part) =>
        encode(seen.get(`${SELF}.${part} (output)`)!),
      ) as [ReturnType<typeof encode>, ReturnType<typeof encode>, ReturnType<typeof encode>];
      const head = (codes: number[], h: number): number[] =>
        codes.filter((_, at) => Math.floor((at % hidden) / size) === h);
      const scores = Array.from({ length: heads }, (_, h) =>
        products(head(q.codes, h), head(k.codes, h), size),
      ).flat();
      const scaled = scores.map((sum) => (q.scale * k.scale * sum) / Math.sqrt(size));
      const probabilities = scaled.map((score, at) => {
        const row = scaled.slice(at - (at % tokens), at - (at % tokens) + tokens);
        return Math.exp(score) / row.reduce((a, b) => a + Math.exp(b), 0);
      });
      // One range for all heads and rows.
      const p = encode(probabilities);
      const expected = Float64Array.from({ length: tokens * hidden }, (_, at) => {
        const [i, column] = [Math.floor(at / hidden), at % hidden];
        const row = (Math.floor(column / size) * tokens + i) * tokens;
        let sum = 0;
        for (let j = 0; j < tokens; j++) sum += p.codes[row + j]! * v.codes[j * hidden + column]!;
        return p.scale * v.scale * sum;
      });
      const name = `${SELF} scores (scaled, mask added, before softmax)`;
      expect(largestDifference(seen.get(name)!, scaled)).toBeLessThan(1e-11);
      expect(largestDifference(seen.get(`${SELF} (output)`)!, expected)).toBeLessThan(1e-11);
    });
  },
);

describe('traps and symmetries', () => {
  it('takes clip values from the buffers, or from the setting if there are none', () => {
    const before = logits(small({ clip: 1.25 }));
    expect(logits(small())).not.toEqual(before);
    expect(logits(small({ clip: 1.25, configuredClip: 2.5 }))).toEqual(before);
    const { config, tensors } = small({ clip: 1.25 });
    const without = new Map([...tensors].filter(([name]) => !name.includes('clip')));
    expect(logits({ config, tensors: without })).toEqual(before);
  });

  it('clips probabilities by clip_attn', () => {
    const checkpoint = small();
    checkpoint.tensors.set(`${SELF}.clip_attn`, { shape: [2], data: Float32Array.of(-2.5, 0.25) });
    const name = `${SELF} probabilities (quantised)`;
    expect(Math.max(...traces(small()).get(name)!)).toBeGreaterThan(0.3);
    expect(Math.max(...traces(checkpoint).get(name)!)).toBe(0.25);
  });

  it('clips weights before anything else', () => {
    const code = (changes: Partial<RandomTernaryBertOptions>): Float64Array => logits(small(changes));
    const clipped = small({ weightOutliers: true });
    for (const [name, { data, shape }] of clipped.tensors) {
      if (shape.length === 2 && name.endsWith('.weight') && !/position|type|classifier/.test(name))
        data.forEach((value, i) => {
          data[i] = Math.max(-2.5, Math.min(value, 2.5));
        });
    }
    expect(logits(clipped)).toEqual(code({ weightOutliers: true }));
    expect(code({ weightOutliers: true })).not.toEqual(code({}));
  });

  it('ignores hidden_act and num_labels, and heeds layer_norm_eps', () => {
    const before = logits(small());
    const { config, tensors } = small({ configuredLabels: 2 });
    expect(logits({ config: { ...config, hidden_act: 'relu' }, tensors })).toEqual(before);
    expect(largestDifference(logits(small({ layerNormEps: 1e-3 })), before)).toBeGreaterThan(1e-3);
  });

  it('is another function on a file of quantised weights, by its embeddings alone', () => {
    const latent = small();
    const saved = small({ quantisedSave: true });
    expect(largestDifference(logits(saved), logits(latent))).toBeGreaterThan(0.01);
    const words = 'bert.embeddings.word_embeddings.weight';
    saved.tensors.set(words, tensor(latent, words));
    // (Ternarising the ternary gives the same; the file rounds the scale to float32.)
    expect(traces(saved).get(`${SELF}.key (quantised input)`)).toEqual(
      traces(latent).get(`${SELF}.key (quantised input)`),
    );
    const name = `${SELF}.key (output)`;
    expect(largestDifference(traces(saved).get(name)!, traces(latent).get(name)!)).toBeLessThan(1e-6);
  });

  it('does not care about the order of tokens without position embeddings', () => {
    const checkpoint = small();
    tensor(checkpoint, 'bert.embeddings.position_embeddings.weight').data.fill(0);
    const shuffled = [IDS[0]!, ...IDS.slice(1).reverse()];
    expect(largestDifference(logits(checkpoint, shuffled), logits(checkpoint))).toBeLessThan(1e-10);
    expect(largestDifference(logits(small(), shuffled), logits(small()))).toBeGreaterThan(1e-3);
  });

  it('refuses what the definition does not cover', () => {
    const { config, tensors } = small();
    const make = (changes: Record<string, unknown>): TernaryBertOracle =>
      new TernaryBertOracle({ ...config, ...changes }, tensors);
    expect(() => make({ input_bits: 1 })).toThrow(/input_bits is 1, expected 8/);
    expect(() => make({ weight_bits: 1 })).toThrow(/weight_bits/);
    expect(() => make({ intermediate_size: 0 })).toThrow(/intermediate_size is 0/);
    tensors.set(`${SELF}.clip_key`, { shape: [], data: Float32Array.of(2.5) });
    expect(() => make({})).toThrow(/clip_key has shape \[\], the configuration asks for \[2\]/);
  });
});
