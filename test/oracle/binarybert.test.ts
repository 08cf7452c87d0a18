/**
 * BinaryBERT's oracle on random networks: against the integer form of its layers, and on the traps of the released
 * code. By hand: binarybert-hand.test.ts; trained checkpoints: binarybert-golden.test.ts.
 */
import { describe, expect, it } from 'vitest';
import { BinaryBertOracle } from './binarybert.js';
import { BOTH, LSQ, logits, SELF, small, tensor, traces } from './binarybert-support.js';
import type { OracleTensor } from './quantisers.js';
import type { RandomBinaryBertCheckpoint } from './random-binarybert.js';
import { IDS, largestDifference } from './support.js';

describe('random networks against the integer form', () => {
  /** Codes, scale and offset of one quantiser input, so that value = scale * code + offset. */
  function encode(
    x: Float64Array,
    clip: OracleTensor,
    bits: number,
    unsigned: boolean,
  ): { codes: number[]; scale: number; offset: number } {
    // (Math.round takes halves up; the inputs here are no halves.)
    if (clip.data.length === 1) {
      const scale = clip.data[0]!;
      const offset = unsigned ? Math.min(...x) : 0;
      const lowest = unsigned ? 0 : -(2 ** (bits - 1));
      const codes = Array.from(x, (value) => {
        const code = Math.round((value - offset) / scale);
        return Math.max(lowest, Math.min(code, lowest + 2 ** bits - 1));
      });
      return { codes, scale, offset };
    }
    const [low, high] = clip.data as unknown as [number, number];
    const z = Array.from(x, (value) => Math.max(low, Math.min(value, high)));
    const offset = unsigned ? Math.min(...z) : 0;
    const range = unsigned ? Math.max(...z) - offset + 1e-8 : Math.max(...z.map(Math.abs));
    const scale = range / (unsigned ? 2 ** bits - 1 : 2 ** (bits - 1) - 1);
    return { codes: z.map((value) => Math.round((value - offset) / scale)), scale, offset };
  }

  const cases = BOTH.flatMap((method) =>
    [true, false].map((weightLayerwise) => ({ ...method, weightLayerwise })),
  );

  it.each(cases)('$method, weight_layerwise $weightLayerwise: split layers', (options) => {
    const checkpoint = small(options);
    const seen = traces(checkpoint);
    for (const [name, input] of [
      ['bert.encoder.layer.1.attention.self.key', 'bert.encoder.layer.0 (output)'],
      ['bert.encoder.layer.1.attention.output.dense', 'bert.encoder.layer.1.attention.self (output)'],
      ['bert.encoder.layer.1.intermediate.dense', 'bert.encoder.layer.1.attention.output (output)'],
      ['bert.encoder.layer.1.output.dense', 'bert.encoder.layer.1.intermediate (output)'],
    ] as const) {
      const x = seen.get(input)!;
      const unsigned = name.endsWith('1.output.dense');
      const total: number[] = [];
      for (const branch of [`${name}_1`, `${name}_2`]) {
        const { shape, data: w } = tensor(checkpoint, `${branch}.weight`);
        const [outputs, inputs] = shape as [number, number];
        const bias = tensor(checkpoint, `${branch}.bias`).data;
        const clip = tensor(checkpoint, `${branch}.input_clip_val`);
        const { codes, scale, offset } = encode(x, clip, options.bits, unsigned);
        for (let at = 0; at < IDS.length * outputs; at++) {
          const [i, j] = [Math.floor(at / outputs), at % outputs];
          const row = Array.from(w.subarray(j * inputs, (j + 1) * inputs));
          const magnitudes = options.weightLayerwise ? Array.from(w) : row;
          const m = magnitudes.reduce((sum, value) => sum + Math.abs(value), 0) / magnitudes.length;
          const product = row.reduce((sum, value, k) => sum + Math.sign(value) * codes[i * inputs + k]!, 0);
          const columns = row.reduce((sum, value) => sum + Math.sign(value), 0);
          total[at] = (total[at] ?? 0) + scale * m * product + offset * m * columns + bias[j]!;
        }
      }
      expect(largestDifference(seen.get(`${name} (output)`)!, total), name).toBeLessThan(1e-12);
    }
  });

  it.each(BOTH)('$method: attends per head over quantised q, k, p and v', (options) => {
    const checkpoint = small(options);
    const seen = traces(checkpoint);
    const self = 'bert.encoder.layer.1.attention.self';
    const encoded = (part: string, x: Float64Array, unsigned: boolean): ReturnType<typeof encode> =>
      encode(x, tensor(checkpoint, `${self}.clip_${part}`), options.bits, unsigned);
    const of = (part: string): ReturnType<typeof encode> =>
      encoded(part, seen.get(`${self}.${part} (output)`)!, false);
    const [q, k, v] = [of('query'), of('key'), of('value')];
    const [tokens, width, heads, size] = [IDS.length, 24, 4, 6];
    const scores: number[] = [];
    const p: number[] = [];
    for (let row = 0; row < heads * tokens; row++) {
      const [head, i] = [Math.floor(row / tokens), row % tokens];
      const sums = IDS.map((_, j) => {
        let sum = 0;
        for (let c = head * size; c < (head + 1) * size; c++)
          sum += q.codes[i * width + c]! * k.codes[j * width + c]!;
        return (q.scale * k.scale * sum) / Math.sqrt(size);
      });
      scores.push(...sums);
      const total = sums.reduce((a, s) => a + Math.exp(s), 0);
      p.push(...sums.map((s) => Math.exp(s) / total));
    }
    const name = `${self} scores (scaled, mask added, before softmax)`;
    expect(largestDifference(seen.get(name)!, scores)).toBeLessThan(1e-12);
    // One range over all heads and rows; its offset meets the column sum of v.
    const probability = encoded('attn', Float64Array.from(p), true);
    expect(probability.offset).toBeGreaterThan(0);
    const context = Float64Array.from({ length: tokens * width }, (_, at) => {
      const [i, c] = [Math.floor(at / width), at % width];
      const head = Math.floor(c / size);
      let [product, column] = [0, 0];
      for (let j = 0; j < tokens; j++) {
        const value = v.codes[j * width + c]!;
        product += probability.codes[(head * tokens + i) * tokens + j]! * value;
        column += value;
      }
      return v.scale * (probability.scale * product + probability.offset * column);
    });
    expect(largestDifference(seen.get(`${self} (output)`)!, context)).toBeLessThan(1e-12);
  });

  it('adds the input of each half layer before its LayerNorm, whose epsilon no setting changes', () => {
    const checkpoint = small();
    checkpoint.config.layer_norm_eps = 0.1;
    const seen = traces(checkpoint);
    const layer = 'bert.encoder.layer.1';
    for (const [sum, residual, part, output] of [
      ['attention.output.dense', 'bert.encoder.layer.0', 'attention.output', `${layer}.attention.output`],
      ['output.dense', `${layer}.attention.output`, 'output', layer],
    ] as const) {
      const a = seen.get(`${layer}.${sum} (output)`)!;
      const b = seen.get(`${residual} (output)`)!;
      const gain = tensor(checkpoint, `${layer}.${part}.LayerNorm.weight`).data;
      const bias = tensor(checkpoint, `${layer}.${part}.LayerNorm.bias`).data;
      const expected: number[] = [];
      for (let at = 0; at < a.length; at += 32) {
        const z = Array.from({ length: 32 }, (_, j) => a[at + j]! + b[at + j]!);
        const mean = z.reduce((x, y) => x + y) / 32;
        const power = z.reduce((x, y) => x + y * y, 0) / 32;
        const deviation = Math.sqrt(power - mean ** 2);
        expected.push(...z.map((value, j) => (gain[j]! * (value - mean)) / deviation + bias[j]!));
      }
      expect(largestDifference(seen.get(`${output} (output)`)!, expected), output).toBeLessThan(1e-11);
    }
  });

  it('pools the first token alone: its quantisers do not see the others', () => {
    const seen = traces(small());
    const first = seen.get('bert.encoder.layer.1 (output)')!.subarray(0, 32);
    expect(seen.get('bert.pooler.dense_1 (input)')).toEqual(first);
    expect(seen.get('bert.pooler.dense_2 (input)')).toEqual(first);
  });
});

describe('traps and symmetries', () => {
  it.each(BOTH)('$method: each branch has its own quantiser of the same input', (options) => {
    const codes = (checkpoint: RandomBinaryBertCheckpoint): (Float64Array | undefined)[] => {
      const seen = traces(checkpoint);
      return [1, 2].map((number) => seen.get(`${SELF}.query_${number} (quantised input)`));
    };
    const [first, second] = codes(small(options));
    expect(first).not.toEqual(second);
    const [shared, same] = codes(small({ ...options, sharedClips: true }));
    expect(shared).toEqual(same);
  });

  it.each(BOTH)(
    '$method: the branches add up in either order, and only their biases’ sum counts',
    (options) => {
      const checkpoint = small(options);
      const before = logits(checkpoint);
      const swapped = new Map<string, OracleTensor>();
      for (const [name, value] of checkpoint.tensors) {
        swapped.set(
          name.replace(/_([12])\./, (_, n) => (n === '1' ? '_2.' : '_1.')),
          value,
        );
      }
      expect(largestDifference(logits({ ...checkpoint, tensors: swapped }), before)).toBeLessThan(1e-9);
      const [a, b] = [1, 2].map((n) => tensor(checkpoint, `${SELF}.value_${n}.bias`).data);
      for (let j = 0; j < a!.length; j++) {
        b![j] = a![j]! + b![j]!;
        a![j] = 0;
      }
      // (float32 biases: their sum is rounded)
      expect(
        largestDifference(
          traces(checkpoint).get(`${SELF}.value (output)`)!,
          traces(small(options)).get(`${SELF}.value (output)`)!,
        ),
      ).toBeLessThan(1e-7);
    },
  );

  it('does not centre weights: a matrix with all weights positive is all +1', () => {
    const checkpoint = small({ zeroBias: true });
    const weight = tensor(checkpoint, `${SELF}.query_1.weight`).data;
    for (let i = 0; i < weight.length; i++) weight[i] = 0.5 + (i % 3) / 4;
    const seen = traces(checkpoint);
    const x = seen.get(`${SELF}.query_1 (quantised input)`)!;
    const y = seen.get(`${SELF}.query_1 (output)`)!;
    const expected = y.map((_, at) => {
      const i = Math.floor(at / 24);
      return 0.75 * x.subarray(i * 32, (i + 1) * 32).reduce((a, b) => a + b, 0);
    });
    expect(largestDifference(y, expected)).toBeLessThan(1e-12);
  });

  it('takes the range of a uniform quantiser from the values, not from bounds that do not act', () => {
    const widened = (name: string, bounds: [number, number]): Float64Array => {
      const checkpoint = small();
      tensor(checkpoint, name).data.set(bounds);
      return logits(checkpoint);
    };
    const attention = `${SELF}.clip_attn`;
    expect(widened(attention, [-7, 40])).toEqual(logits(small()));
    expect(widened(attention, [-7, 0.1])).not.toEqual(logits(small()));
    expect(widened(attention, [0.1, 40])).not.toEqual(logits(small()));
  });

  it('uniform: one range for all tokens, so another word moves the first token too', () => {
    const checkpoint = small();
    const name = `${SELF}.query_1`;
    tensor(checkpoint, `${name}.input_clip_val`).data.set([-9, 9]); // out of reach: only the values count
    const inputs = new Set<string>();
    const quantised = new Map<number, string>();
    for (let id = 5; id < 30; id++) {
      const seen = traces(checkpoint, [2, id, 3]);
      inputs.add(seen.get(`${name} (input)`)!.subarray(0, 32).join());
      const largest = Math.max(...seen.get(`${name} (input)`)!.map(Math.abs));
      const first = seen.get(`${name} (quantised input)`)!.subarray(0, 32).join();
      expect(quantised.get(largest) ?? first).toBe(first);
      quantised.set(largest, first);
    }
    expect(inputs.size).toBe(1);
    expect(new Set(quantised.values()).size).toBe(quantised.size);
    expect(quantised.size).toBeGreaterThan(2);
  });

  it.each(BOTH)('$method: does not care about the order of tokens without position embeddings', (options) => {
    const checkpoint = small(options);
    tensor(checkpoint, 'bert.embeddings.position_embeddings.weight').data.fill(0);
    const shuffled = [IDS[0]!, ...IDS.slice(1).reverse()];
    expect(largestDifference(logits(checkpoint, shuffled), logits(checkpoint))).toBeLessThan(1e-10);
    expect(largestDifference(logits(small(options), shuffled), logits(small(options)))).toBeGreaterThan(1e-3);
  });

  it('switches signed and unsigned quantisers', () => {
    for (const options of BOTH) {
      const qkvo = traces(small({ ...options, symQuantQkvo: false }));
      const low = Math.min(...qkvo.get(`${SELF}.query_1 (quantised input)`)!);
      const input = qkvo.get(`${SELF}.query_1 (input)`)!;
      const clip = tensor(small({ ...options, symQuantQkvo: false }), `${SELF}.query_1.input_clip_val`).data;
      // The smallest value is a level of an unsigned quantiser: min of the input, or of the clipped one.
      expect(low).toBe(Math.max(Math.min(...input), options.method === 'uniform' ? clip[0]! : -Infinity));
      const ffn = traces(small({ ...options, symQuantFfnAttn: true }));
      // Signed: 0 is a level, so the smallest probability (below half a code) becomes 0.
      const p = ffn.get(`${SELF} probabilities (quantised)`)!;
      expect(Math.min(...p)).toBe(0);
      expect(Math.min(...traces(small(options)).get(`${SELF} probabilities (quantised)`)!)).toBeGreaterThan(
        0,
      );
    }
  });

  it('applies the configured activation to the sum of both branches', () => {
    const before = traces(small({ hiddenAct: 'relu' })).get(
      'bert.encoder.layer.0.intermediate.dense (output)',
    )!;
    const relu = traces(small({ hiddenAct: 'relu' })).get('bert.encoder.layer.0.intermediate (output)')!;
    const gelu = traces(small({ hiddenAct: 'gelu' })).get('bert.encoder.layer.0.intermediate (output)')!;
    expect([...relu]).toEqual([...before].map((x) => Math.max(x, 0)));
    before.forEach((x, at) => {
      // gelu(x) - gelu(-x) = x, and its minimum is -0.16997
      if (x > 6) expect(gelu[at]).toBeCloseTo(x, 6);
      else expect(gelu[at]).toBeGreaterThan(-0.17);
    });
  });

  it('binarises word embeddings by row or as one', () => {
    const scaled = (embedLayerwise: boolean): Float64Array => logits(small({ embedLayerwise }));
    expect(largestDifference(scaled(true), scaled(false))).toBeGreaterThan(1e-3);
  });

  it('quantises nothing at 32 bits', () => {
    const checkpoint = small({ bits: 32 });
    const result = new BinaryBertOracle(checkpoint.config, checkpoint.tensors).forward(IDS);
    expect(result.minDecisionMargin).toBe(Infinity);
    expect(result.ties).toBe(0);
    // The attention has no clip values then.
    for (const name of [...checkpoint.tensors.keys()])
      if (/clip_/.test(name)) checkpoint.tensors.delete(name);
    expect(logits(checkpoint)).toEqual(result.logits);
  });

  it('keeps no state between sequences', () => {
    const { config, tensors } = small();
    const oracle = new BinaryBertOracle(config, tensors);
    const first = oracle.forward(IDS);
    oracle.forward([2, 99, 3]);
    expect(oracle.forward(IDS)).toEqual(first);
  });

  it('reads gamma and beta, steps of shape (1), and a full-width model without dyna_hidden_size', () => {
    expect(logits(small({ ...LSQ, legacyNorms: true, stepShape: [1] }))).toEqual(logits(small(LSQ)));
    const wide = small({ attention: 32 });
    const { dyna_hidden_size: _, ...config } = wide.config;
    expect(logits({ ...wide, config })).toEqual(logits(wide));
  });

  it('takes the number of labels from the classifier', () => {
    expect(logits(small({ labels: 3 })).length).toBe(3);
  });

  it('refuses what the definition does not cover', () => {
    const { config, tensors } = small(LSQ);
    const oracle = (changes: Record<string, unknown>): (() => BinaryBertOracle) => {
      return () => new BinaryBertOracle({ ...config, ...changes }, tensors);
    };
    expect(oracle({ input_bits: 1 })).toThrow(/input_bits is 1/);
    expect(oracle({ input_quant_method: 'elastic' })).toThrow(/input_quant_method is "elastic"/);
    expect(oracle({ input_quant_method: 'uniform' })).toThrow(
      /query_1\.input_clip_val has shape \[\], expected \[2\]/,
    );
    expect(oracle({ input_layerwise: false })).toThrow(/input_layerwise/);
    expect(oracle({ hidden_act: 'swish' })).toThrow(/hidden_act is "swish"/);
    expect(oracle({ num_attention_heads: 5 })).toThrow(/no multiple of num_attention_heads/);
    expect(oracle({ dyna_hidden_size: 32 })).toThrow(
      /query_1\.weight has shape \[24,32\], the configuration asks for \[32,32\]/,
    );
    const changed = (name: string, step: number): Map<string, OracleTensor> =>
      new Map(tensors).set(name, { shape: [], data: Float32Array.of(step) });
    const name = 'bert.pooler.dense_2.input_clip_val';
    expect(() => new BinaryBertOracle(config, changed(name, 1))).toThrow(
      /dense_2\.input_clip_val is exactly 1/,
    );
    for (const step of [0, -0.5, Number.NaN]) {
      expect(() => new BinaryBertOracle(config, changed(name, step))).toThrow(/asserts that it is positive/);
    }
    const missing = new Map(tensors);
    missing.delete('bert.embeddings.word_embeddings_2.weight');
    expect(() => new BinaryBertOracle(config, missing)).toThrow(/no tensor .*word_embeddings_2\.weight/);
    expect(() => logits({ config, tensors }, [2, 120, 3])).toThrow(/token id 120 is not in 0\.\.119/);
    expect(() => logits({ config, tensors }, new Array(25).fill(5))).toThrow(/position 24/);
    expect(() => logits({ config, tensors }, [])).toThrow(/a token/);
  });
});
