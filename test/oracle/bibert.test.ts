/**
 * BiBERT's oracle on a network worked out by hand, against counts of signs on random networks, and on the traps of the
 * released code. Trained checkpoints: encoder-golden.test.ts.
 */
import { describe, expect, it } from 'vitest';
import { BiBertOracle, binariseRows, positive, sign } from './bibert.js';
import { Decisions } from './encoder.js';
import { handTensors, products, run, SELF, SMALL, tensor } from './encoder-support.js';
import { type RandomBiBertOptions, randomBiBertCheckpoint } from './random-bibert.js';
import type { RandomEncoderCheckpoint } from './random-encoder.js';
import { IDS, largestDifference } from './support.js';

const small = (changes: Partial<RandomBiBertOptions> = {}): RandomEncoderCheckpoint =>
  randomBiBertCheckpoint({ ...SMALL, ...changes });
const traces = (checkpoint: RandomEncoderCheckpoint, ids = IDS): Map<string, Float64Array> =>
  run(BiBertOracle, checkpoint, ids).seen;
const logits = (checkpoint: RandomEncoderCheckpoint, ids = IDS): Float64Array =>
  run(BiBertOracle, checkpoint, ids).logits;

describe('quantisers', () => {
  it('binarise each row around its own mean, with the mean magnitude before centring', () => {
    // means 1, 0, 2
    const { signs, scales } = binariseRows({
      shape: [3, 3],
      data: Float32Array.of(4, 1, -2, 0, 0, 0, -3, 2, 7),
    });
    expect([...signs]).toEqual([1, 0, -1, 0, 0, 0, -1, 0, 1]);
    expect(largestDifference(scales, [7 / 3, 0, 4])).toBeLessThan(1e-15);
  });

  it('see that a weight equals the mean of its row where a plain float32 sum would not', () => {
    const data = new Float32Array(3000).fill(0.1);
    expect(binariseRows({ shape: [1, 3000], data }).signs.every((code) => code === 0)).toBe(true);
  });

  it('keep three levels of a sign and two of a probability', () => {
    const decisions = new Decisions();
    const x = Float64Array.of(3, 0, -0.25, -0);
    expect([...sign(x, decisions)].map((code) => code + 0)).toEqual([1, 0, -1, 0]);
    expect([...positive(x, decisions)]).toEqual([1, 0, 0, 0]);
    expect(decisions.smallest).toBe(0.25);
    expect(decisions.ties).toBe(4);
  });
});

describe('a one-layer network of width 2, by hand', () => {
  // A LayerNorm of two numbers is (+1, -1) or (-1, +1), a row of two weights is binarised to (+ -), (- +) or (0 0).
  const checkpoint = {
    config: {
      ...small().config,
      hidden_size: 2,
      num_attention_heads: 1,
      num_hidden_layers: 1,
      intermediate_size: 3,
      vocab_size: 4,
      max_position_embeddings: 2,
      num_labels: 9,
    },
    tensors: handTensors({
      // rows 1 and 2 become 2 (+ -) and 2 (- +)
      'bert.embeddings.word_embeddings.weight': [
        [0, 0],
        [3, 1],
        [-1, 3],
        [0.5, 0.5],
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
      [`${SELF}.query.weight`]: [
        [3, 1], // 2 (+ -)
        [0, 2], // 1 (- +)
      ],
      [`${SELF}.query.bias`]: [-1, 0.5],
      [`${SELF}.key.weight`]: [
        [-1, 1], // 1 (- +)
        [1, 1], // 1 (0 0)
      ],
      [`${SELF}.key.bias`]: [0.25, 0.5],
      [`${SELF}.value.weight`]: [
        [2, 0], // 1 (+ -)
        [1, 4], // 2.5 (- +)
      ],
      [`${SELF}.value.bias`]: [0.5, 0],
      'bert.encoder.layer.0.attention.output.dense.weight': [
        [0.5, -1.5], // 1 (+ -)
        [0, 1], // 0.5 (- +)
      ],
      'bert.encoder.layer.0.attention.output.dense.bias': [-1.5, 0.5],
      'bert.encoder.layer.0.attention.output.LayerNorm.weight': [2, 1],
      'bert.encoder.layer.0.attention.output.LayerNorm.bias': [0, 0.5],
      'bert.encoder.layer.0.intermediate.dense.weight': [
        [3, 1], // 2 (+ -)
        [-1, 1], // 1 (- +)
        [1, 1], // 1 (0 0)
      ],
      'bert.encoder.layer.0.intermediate.dense.bias': [-1, 0.75, 0],
      'bert.encoder.layer.0.output.dense.weight': [
        [3, 6, 0], // 3 (0 + -)
        [3, 0, 0], // 1 (+ - -)
      ],
      'bert.encoder.layer.0.output.dense.bias': [0.5, -1],
      'bert.encoder.layer.0.output.LayerNorm.weight': [0.5, 1],
      'bert.encoder.layer.0.output.LayerNorm.bias': [0, 0.25],
      'bert.pooler.dense.weight': [
        [2, 4], // 3 (- +)
        [-1, -1], // 1 (0 0)
      ],
      'bert.pooler.dense.bias': [-5.5, -0.5],
      'classifier.weight': [
        [1, 2],
        [-1, 0.5],
      ],
      'classifier.bias': [0.1, 0.2],
    }),
  };
  const { seen, minDecisionMargin, ties } = run(BiBertOracle, checkpoint, [1, 2]);
  const t = Math.tanh(0.5);
  const r = Math.SQRT2;

  it.each([
    ['bert.embeddings (output)', [1.5, -2, -0.5, 2]],
    [`${SELF}.key (quantised input)`, [1, -1, -1, 1]],
    [`${SELF}.query (output)`, [3, -1.5, -5, 2.5]],
    [`${SELF}.query (output, quantised)`, [1, -1, -1, 1]],
    [`${SELF}.key (output)`, [-1.75, 0.5, 2.25, 0.5]],
    [`${SELF}.key (output, quantised)`, [-1, 1, 1, 1]],
    [`${SELF}.value (output)`, [2.5, -5, -1.5, 5]],
    [`${SELF}.value (output, quantised)`, [1, -1, -1, 1]],
    [`${SELF} scores (scaled, mask added)`, [-r, 0, r, 0]],
    [`${SELF} probabilities (quantised)`, [0, 0, 1, 0]],
    [`${SELF} (output)`, [0, 0, 1, -1]],
    ['bert.encoder.layer.0.attention.output.dense (quantised input)', [0, 0, 1, -1]],
    ['bert.encoder.layer.0.attention.output.dense (output)', [-1.5, 0.5, 0.5, -0.5]],
    ['bert.encoder.layer.0.attention.output (output)', [2, -0.5, -2, 1.5]],
    ['bert.encoder.layer.0.intermediate.dense (output)', [3, -1.25, 0, -5, 2.75, 0]],
    // GELU of 3, -1.25, 0, -5, 2.75, 0 from another library
    [
      'bert.encoder.layer.0.intermediate (output)',
      [2.99595030590511, -0.13206221708356913, 0, -1.4332578593401202e-6, 2.7418056511035998, 0],
    ],
    ['bert.encoder.layer.0.output.dense (quantised input)', [1, -1, 0, -1, 1, 0]],
    ['bert.encoder.layer.0.output.dense (output)', [-2.5, 1, 3.5, -3]],
    ['bert.encoder.layer.0 (output)', [-0.5, 1.25, 0.5, -0.75]],
    ['bert.pooler.dense (quantised input)', [-1, 1]],
    ['bert.pooler.dense (output)', [0.5, -0.5]],
    ['bert.pooler (output)', [t, -t]],
    ['logits', [-t + 0.1, -1.5 * t + 0.2]],
  ])('%s', (name, expected) => {
    expect(largestDifference(seen.get(name)!, expected)).toBeLessThan(1e-11);
  });

  it('counts zeros (two scores, two of the context, two after GELU) and finds the smallest other magnitude', () => {
    expect(ties).toBe(6);
    expect(minDecisionMargin).toBeCloseTo(1.4332578593401202e-6, 14);
  });

  it('adds the embedding of the token type', () => {
    // 0.5 (0 0) + (0, 0.5) + (0.5, 0) = (0.5, 0.5): no deviation, so LayerNorm leaves its bias.
    const other = run(BiBertOracle, checkpoint, [3], [1]).seen;
    expect([...other.get('bert.embeddings (output)')!]).toEqual([0.5, 0]);
  });
});

describe.each([{}, { zeroBias: true }, { zeroWeights: true }, { zeroBias: true, zeroWeights: true }])(
  'random networks by counting signs, %o',
  (changes) => {
    const checkpoint = small(changes);
    const seen = traces(checkpoint);

    it.each([
      ['bert.encoder.layer.1.attention.self.key', 'bert.encoder.layer.0 (output)'],
      ['bert.encoder.layer.1.attention.output.dense', 'bert.encoder.layer.1.attention.self (output)'],
      ['bert.encoder.layer.1.intermediate.dense', 'bert.encoder.layer.1.attention.output (output)'],
      // sgn(GELU(y)) = sgn(y)
      ['bert.encoder.layer.1.output.dense', 'bert.encoder.layer.1.intermediate.dense (output)'],
    ])('%s', (name, input) => {
      const w = tensor(checkpoint, `${name}.weight`);
      const [outputs, inputs] = w.shape as [number, number];
      const bias = tensor(checkpoint, `${name}.bias`).data;
      const rows = Array.from({ length: outputs }, (_, j) => [
        ...w.data.subarray(j * inputs, (j + 1) * inputs),
      ]);
      const codes = rows.flatMap((row) => {
        const mean = row.reduce((a, b) => a + b) / inputs;
        return row.map((value) => (value > mean ? 1 : value < mean ? -1 : 0));
      });
      const counts = products(seen.get(input)!.map(Math.sign), codes, inputs);
      const expected = counts.map((count, at) => {
        const row = rows[at % outputs]!;
        return (row.reduce((a, b) => a + Math.abs(b), 0) / inputs) * count + bias[at % outputs]!;
      });
      expect(codes.includes(0)).toBe('zeroWeights' in changes);
      expect(largestDifference(seen.get(`${name} (output)`)!, expected)).toBeLessThan(1e-12);
    });

    it('attention', () => {
      const [heads, size, tokens, hidden] = [
        SMALL.heads,
        SMALL.hidden / SMALL.heads,
        IDS.length,
        SMALL.hidden,
      ];
      const codes = (part: string): Float64Array => seen.get(`${SELF}.${part} (output)`)!.map(Math.sign);
      const head = (x: Float64Array, h: number): Float64Array =>
        x.filter((_, at) => Math.floor((at % hidden) / size) === h);
      const expected = new Float64Array(tokens * hidden);
      const scores: number[] = [];
      for (let h = 0; h < heads; h++) {
        const agreement = products(head(codes('query'), h), head(codes('key'), h), size);
        scores.push(...agreement.map((score) => score / Math.sqrt(size)));
        const v = head(codes('value'), h);
        agreement.forEach((score, at) => {
          if (score <= 0) return;
          const [i, j] = [Math.floor(at / tokens), at % tokens];
          for (let c = 0; c < size; c++) expected[i * hidden + h * size + c]! += v[j * size + c]!;
        });
      }
      expect(largestDifference(seen.get(`${SELF} scores (scaled, mask added)`)!, scores)).toBeLessThan(1e-12);
      expect([...seen.get(`${SELF} (output)`)!]).toEqual([...expected]);
    });
  },
);

describe('traps and symmetries', () => {
  it('gets exact zeros from linear layers without bias and an even number of inputs', () => {
    const zeros = (changes: Partial<RandomBiBertOptions>): number =>
      traces(small(changes))
        .get(`${SELF}.query (output, quantised)`)!
        .filter((code) => code === 0).length;
    expect(zeros({})).toBe(0);
    expect(zeros({ zeroBias: true })).toBeGreaterThan(5);
  });

  it('ignores scale, gate, clips and the settings of them, hidden_act, embedding_bits and num_labels', () => {
    const before = logits(small());
    expect(
      logits(small({ deadParameters: true, clip: 0.125, configuredClip: 9, configuredLabels: 2 })),
    ).toEqual(before);
    const { config, tensors } = small();
    const other = { ...config, hidden_act: 'relu', embedding_bits: 32 };
    expect(logits({ config: other, tensors })).toEqual(before);
    const without = new Map([...tensors].filter(([name]) => !/clip|scale|gate/.test(name)));
    expect(logits({ config, tensors: without })).toEqual(before);
  });

  it('heeds layer_norm_eps', () => {
    const x = traces(small()).get('bert.embeddings (output)')!;
    const damped = traces(small({ layerNormEps: 1 })).get('bert.embeddings (output)')!;
    const bias = tensor(small(), 'bert.embeddings.LayerNorm.bias').data;
    // Deviations of about 0.05 against an epsilon of 1: (z - mean) / 1 instead of (z - mean) / 0.05.
    const left = damped.map((value, i) => (value - bias[i % 30]!) / (x[i]! - bias[i % 30]!));
    expect(Math.max(...left)).toBeLessThan(0.1);
    expect(Math.min(...left)).toBeGreaterThan(0.01);
    const { config, tensors } = small();
    const { layer_norm_eps: _, ...rest } = config;
    expect(logits({ config: rest, tensors })).toEqual(logits(small()));
  });

  it('is another function on a file of quantised weights', () => {
    expect(largestDifference(logits(small({ quantisedSave: true })), logits(small()))).toBeGreaterThan(0.1);
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
    const make = (changes: Record<string, unknown>): BiBertOracle =>
      new BiBertOracle({ ...config, ...changes }, tensors);
    expect(() => make({ input_bits: 8 })).toThrow(/input_bits is 8, expected 1/);
    expect(() => make({ weight_bits: 2 })).toThrow(/weight_bits/);
    expect(() => make({ quantize_act: false })).toThrow(/quantize_act/);
    expect(() => make({ num_attention_heads: 7 })).toThrow(/no multiple/);
    expect(() => make({ hidden_size: 60 })).toThrow(
      /has shape \[120,30\], the configuration asks for \[120,60\]/,
    );
    expect(() => make({}).forward([2, 120, 3])).toThrow(/token id 120 is not in 0\.\.119/);
    expect(() => make({}).forward(new Array(25).fill(5))).toThrow(/position 24/);
    expect(() => make({}).forward([2, 3], [0, 2])).toThrow(/token type 2/);
    expect(() => make({}).forward([])).toThrow(/a token/);
    tensors.delete(`${SELF}.key.bias`);
    expect(() => make({})).toThrow(/no tensor .*key\.bias/);
  });
});
