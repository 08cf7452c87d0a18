/**
 * The oracle on random networks: its tensors against formulas that count signs, the traps of the released code and
 * symmetries the network must have.
 */
import { describe, expect, it } from 'vitest';
import { BitOracle } from './bit.js';
import { accurateSum } from './maths.js';
import { IDS, largestDifference, logits, small, tensor, traces } from './support.js';

/** The normal distribution function at x > 0, by the midpoint rule over its density. */
function normalArea(x: number): number {
  const steps = 10_000;
  let sum = 0;
  for (let i = 0; i < steps; i++) sum += Math.exp(-0.5 * (((i + 0.5) * x) / steps) ** 2);
  return 0.5 + (sum * x) / steps / Math.sqrt(2 * Math.PI);
}

describe('random networks against other ways to compute them', () => {
  // At one bit every sum of products is a count of agreeing signs.
  it.each([true, false])('counts signs in the linear layers (weight_layerwise %s)', (weightLayerwise) => {
    const checkpoint = small({ weightLayerwise });
    const seen = traces(checkpoint);
    for (const [name, input] of [
      ['bert.encoder.layer.1.attention.self.key', 'bert.encoder.layer.0 (output)'],
      ['bert.encoder.layer.1.intermediate.dense', 'bert.encoder.layer.1.attention.output (output)'],
      ['bert.encoder.layer.1.output.dense', 'bert.encoder.layer.1.intermediate (output)'],
    ] as const) {
      const x = seen.get(input)!;
      const { shape, data: w } = tensor(checkpoint, `${name}.weight`);
      const [outputs, inputs] = shape as [number, number];
      const bias = tensor(checkpoint, `${name}.bias`).data;
      const move = tensor(checkpoint, `${name}.move.bias`).data;
      const clip = tensor(checkpoint, `${name}.input_clip_val`).data[0]!;
      const mean = accurateSum(w, 0, w.length) / w.length;
      const unsigned = name.endsWith('1.output.dense');
      const expected = Float64Array.from({ length: IDS.length * outputs }, (_, at) => {
        const [i, j] = [Math.floor(at / outputs), at % outputs];
        const row = w.subarray(j * inputs, (j + 1) * inputs);
        let count = 0;
        for (let k = 0; k < inputs; k++) {
          const value = x[i * inputs + k]! + move[k]!;
          const plus = row[k]! > mean;
          if (unsigned) count += value > clip / 2 ? (plus ? 1 : -1) : 0;
          else count += value > 0 === plus ? 1 : -1;
        }
        const magnitudes = Float64Array.from(weightLayerwise ? w : row, Math.abs);
        const m = accurateSum(magnitudes, 0, magnitudes.length) / magnitudes.length;
        return clip * m * count + bias[j]!;
      });
      expect(largestDifference(seen.get(`${name} (output)`)!, expected), name).toBeLessThan(1e-12);
    }
  });

  it.each([1, 2, 4] as const)('attends per head over the quantised q, k, v (%i bits)', (bits) => {
    const checkpoint = small({ bits });
    const seen = traces(checkpoint);
    const self = 'bert.encoder.layer.1.attention.self';
    const clip = (part: string): number => tensor(checkpoint, `${self}.clip_${part}`).data[0]!;
    const codes = (part: string): Float64Array =>
      seen.get(`${self}.${part} (output)`)!.map((value) => {
        const level = value / clip(part);
        if (bits === 1) return Math.sign(level);
        return Math.min(Math.max(Math.round(level), -(2 ** (bits - 1))), 2 ** (bits - 1) - 1);
      });
    const [q, k, v] = [codes('query'), codes('key'), codes('value')];
    const [tokens, hidden, heads, size] = [IDS.length, 32, 4, 8];
    const scores: number[] = [];
    const p: number[] = [];
    for (let row = 0; row < heads * tokens; row++) {
      const [head, i] = [Math.floor(row / tokens), row % tokens];
      const sums = IDS.map((_, j) => {
        let sum = 0;
        for (let c = 0; c < size; c++)
          sum += q[i * hidden + head * size + c]! * k[j * hidden + head * size + c]!;
        return (clip('query') * clip('key') * sum) / Math.sqrt(size);
      });
      scores.push(...sums);
      const total = sums.reduce((a, s) => a + Math.exp(s), 0);
      p.push(...sums.map((s) => Math.exp(s) / total));
    }
    const name = `${self} scores (scaled, mask added, before softmax)`;
    expect(largestDifference(seen.get(name)!, scores)).toBeLessThan(1e-12);
    // One minimum over all heads and rows, and none at one bit.
    const offset = bits === 1 ? 0 : Math.min(...p);
    const levels = p.map((value) => Math.min(Math.round((value - offset) / clip('attn')), 2 ** bits - 1));
    const context = Float64Array.from({ length: tokens * hidden }, (_, at) => {
      const [i, c] = [Math.floor(at / hidden), at % hidden];
      const head = Math.floor(c / size);
      let sum = 0;
      for (let j = 0; j < tokens; j++) {
        const probability = clip('attn') * levels[(head * tokens + i) * tokens + j]! + offset;
        sum += probability * clip('value') * v[j * hidden + c]!;
      }
      return sum;
    });
    expect(largestDifference(seen.get(`${self} (output)`)!, context)).toBeLessThan(1e-12);
  });

  it('adds the input of each half layer before its LayerNorm', () => {
    const checkpoint = small({ bits: 4 });
    const seen = traces(checkpoint);
    for (const [sum, residual, norm, output] of [
      ['attention.output.dense', 'bert.encoder.layer.0', 'attention.output', 'attention.output'],
      ['output.dense', 'bert.encoder.layer.1.attention.output', 'output', ''],
    ] as const) {
      const layer = 'bert.encoder.layer.1';
      const a = seen.get(`${layer}.${sum} (output)`)!;
      const b = seen.get(`${residual} (output)`)!;
      const gain = tensor(checkpoint, `${layer}.${norm}.LayerNorm.weight`).data;
      const bias = tensor(checkpoint, `${layer}.${norm}.LayerNorm.bias`).data;
      const expected: number[] = [];
      for (let at = 0; at < a.length; at += 32) {
        const z = Array.from({ length: 32 }, (_, j) => a[at + j]! + b[at + j]!);
        const mean = z.reduce((x, y) => x + y) / 32;
        const power = z.reduce((x, y) => x + y * y, 0) / 32;
        expected.push(
          ...z.map((value, j) => (gain[j]! * (value - mean)) / Math.sqrt(power - mean ** 2) + bias[j]!),
        );
      }
      const name = output === '' ? layer : `${layer}.${output}`;
      expect(largestDifference(seen.get(`${name} (output)`)!, expected), name).toBeLessThan(1e-11);
    }
  });

  it('leaves attention probabilities alone with not_quantize_attention', () => {
    const name = 'bert.encoder.layer.0.attention.self probabilities (quantised)';
    const rows = traces(small({ notQuantizeAttention: true })).get(name)!;
    for (let at = 0; at < rows.length; at += IDS.length) {
      expect(rows.subarray(at, at + IDS.length).reduce((a, b) => a + b, 0)).toBeCloseTo(1, 12);
    }
  });

  it('quantises nothing at 32 bits but still adds the moves', () => {
    const checkpoint = small({ bits: 32 });
    const seen = traces(checkpoint);
    const result = new BitOracle(checkpoint.config, checkpoint.tensors).forward(IDS);
    expect(result.minDecisionMargin).toBe(Infinity);
    const move = tensor(checkpoint, 'bert.pooler.dense.move.bias').data;
    const first = seen.get('bert.encoder.layer.1 (output)')!.slice(0, 32);
    const moved = first.map((value, i) => value + move[i]!);
    expect(largestDifference(seen.get('bert.pooler.dense (quantised input)')!, moved)).toBe(0);
  });

  it('is an ordinary BERT at 32 bits of weight and input, without any move or clip parameter', () => {
    const { config, tensors } = small({ bits: 32 });
    for (const name of [...tensors.keys()]) if (/move|clip/.test(name)) tensors.delete(name);
    const checkpoint = { config: { ...config, weight_bits: 32 }, tensors };
    const seen = traces(checkpoint);
    const first = seen.get('bert.encoder.layer.1 (output)')!.slice(0, 32);
    const w = tensor(checkpoint, 'bert.pooler.dense.weight').data;
    const bias = tensor(checkpoint, 'bert.pooler.dense.bias').data;
    const pooled = first.map((_, j) =>
      first.reduce((sum, value, k) => sum + value * w[j * 32 + k]!, bias[j]!),
    );
    expect(largestDifference(seen.get('bert.pooler.dense (output)')!, pooled)).toBeLessThan(1e-13);
  });

  it('switches signed and unsigned quantisers', () => {
    const qkvo = traces(small({ symQuantQkvo: false }));
    const pooled = qkvo.get('bert.pooler.dense (quantised input)')!;
    expect(Math.min(...pooled)).toBe(0); // levels 0 and a
    const ffn = traces(small({ symQuantFfnAttn: true, zeroMove: true, hiddenAct: 'gelu' }));
    const contracted = ffn.get('bert.encoder.layer.0.output.dense (quantised input)')!;
    expect(Math.min(...contracted)).toBeLessThan(0); // levels -a and a
    expect(Math.max(...contracted)).toBe(-Math.min(...contracted));
  });

  it('applies the configured activation', () => {
    for (const hiddenAct of ['relu', 'gelu', 'swish'] as const) {
      const seen = traces(small({ hiddenAct, bits: 4 }));
      const before = seen.get('bert.encoder.layer.0.intermediate.dense (output)')!;
      const after = seen.get('bert.encoder.layer.0.intermediate (output)')!;
      const at = before.findIndex((value) => value > 0.4 && value < 2);
      const x = before[at]!;
      const expected = { relu: x, gelu: x * normalArea(x), swish: x - x / (1 + Math.exp(x)) }[hiddenAct];
      expect(after[at]!).toBeCloseTo(expected, 8);
    }
  });

  it('binarises word embeddings by row or as one', () => {
    const scaled = (embedLayerwise: boolean): Float64Array => {
      const checkpoint = small({ embedLayerwise });
      // Nothing else in the sum: what LayerNorm sees is the table alone, and it removes any scale of a row.
      for (const part of ['position', 'token_type'])
        tensor(checkpoint, `bert.embeddings.${part}_embeddings.weight`).data.fill(0);
      return traces(checkpoint).get('bert.embeddings (output)')!;
    };
    expect(largestDifference(scaled(true), scaled(false))).toBeLessThan(1e-8);
    expect(largestDifference(logits(small({ embedLayerwise: true })), logits(small()))).toBeGreaterThan(1e-3);
  });
});

describe('traps and symmetries', () => {
  it('ignores move_q, move_k and move_v', () => {
    const checkpoint = small();
    const before = logits(checkpoint);
    for (const part of ['q', 'k', 'v'])
      tensor(checkpoint, `bert.encoder.layer.0.attention.self.move_${part}.bias`).data.fill(9);
    expect(logits(checkpoint)).toEqual(before);
  });

  it('quantises the pooler: at one bit its clip value scales the sum and changes no sign', () => {
    const checkpoint = small();
    const before = traces(checkpoint);
    tensor(checkpoint, 'bert.pooler.dense.input_clip_val').data[0]! *= 2;
    const after = traces(checkpoint);
    const bias = tensor(checkpoint, 'bert.pooler.dense.bias').data;
    const name = 'bert.pooler.dense (output)';
    const doubled = before.get(name)!.map((value, i) => 2 * (value - bias[i]!) + bias[i]!);
    expect(largestDifference(after.get(name)!, doubled)).toBeLessThan(1e-12);
  });

  it('treats a stored scale under 1e-5 as 1e-5', () => {
    const name = 'bert.encoder.layer.1.intermediate.dense';
    const withScale = (value: number): Float64Array | undefined => {
      const checkpoint = small({ bits: 4 });
      checkpoint.tensors.set(`${name}.input_clip_val`, { shape: [], data: Float64Array.of(value) });
      return traces(checkpoint).get(`${name} (output)`);
    };
    expect(withScale(-2)).toEqual(withScale(1e-5));
    expect(withScale(1e-7)).toEqual(withScale(1e-5));
    expect(withScale(2e-5)).not.toEqual(withScale(1e-5));
  });

  it.each([1, 2, 4] as const)(
    'does not care about the order of tokens without position embeddings (%i bits)',
    (bits) => {
      const checkpoint = small({ bits });
      tensor(checkpoint, 'bert.embeddings.position_embeddings.weight').data.fill(0);
      const shuffled = [IDS[0]!, ...IDS.slice(1).reverse()];
      expect(largestDifference(logits(checkpoint, shuffled), logits(checkpoint))).toBeLessThan(1e-10);
      expect(largestDifference(logits(small({ bits }), shuffled), logits(small({ bits })))).toBeGreaterThan(
        1e-3,
      );
    },
  );

  it('keeps no state between sequences', () => {
    const { config, tensors } = small({ bits: 2 });
    const oracle = new BitOracle(config, tensors);
    const first = oracle.forward(IDS);
    oracle.forward([2, 99, 3]);
    expect(oracle.forward(IDS)).toEqual(first);
  });

  it('reads gamma and beta, and clip values of shape (1)', () => {
    expect(logits(small({ legacyNorms: true, clipShape: [1] }))).toEqual(logits(small()));
  });

  it('refuses what the definition does not cover', () => {
    const { config, tensors } = small();
    expect(() => new BitOracle({ ...config, input_bits: 3 }, tensors)).toThrow(/input_bits is 3/);
    expect(() => new BitOracle({ ...config, input_layerwise: false }, tensors)).toThrow(/input_layerwise/);
    expect(() => new BitOracle({ ...config, hidden_size: 64 }, tensors)).toThrow(
      /query\.weight has shape \[32,32\], the configuration asks for \[64,64\]/,
    );
    const missing = new Map(tensors);
    missing.delete('bert.pooler.dense.move.bias');
    expect(() => new BitOracle(config, missing)).toThrow(/no tensor bert\.pooler\.dense\.move\.bias/);
    expect(() => new BitOracle(config, tensors).forward([2, 120, 3])).toThrow(
      /token id 120 is not in 0\.\.119/,
    );
    expect(() => new BitOracle(config, tensors).forward(new Array(25).fill(5))).toThrow(/position 24/);
  });
});
