/** Random BinaryBERT checkpoints: reproducible, well formed on disk, and a real test of every quantiser. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { LSQ, logits, SELF, small, tensor, traces, UNIFORM } from './binarybert-support.js';
import { loadTensors } from './checkpoint.js';
import { writeBinaryBertCheckpoint } from './random-binarybert.js';
import { largestDifference } from './support.js';

describe('random checkpoints', () => {
  const folder = mkdtempSync(join(tmpdir(), 'beta-oracle-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  it.each([UNIFORM, LSQ, { ...LSQ, stepShape: [1] as [1] }, { ...UNIFORM, doubles: true }])(
    'come out of the written files as they went in ($method)',
    (options) => {
      const checkpoint = small(options);
      writeBinaryBertCheckpoint(join(folder, 'small'), checkpoint);
      const loaded = loadTensors(join(folder, 'small'));
      expect(loaded.config).toEqual(checkpoint.config);
      expect([...loaded.tensors]).toEqual([...checkpoint.tensors]);
    },
  );

  it('hold float64 biases and clip values on request, float32 weights always', () => {
    const { tensors } = small({ doubles: true });
    for (const [name, { data }] of tensors) {
      const double = /_[12]\.bias$|clip_/.test(name);
      expect(data, name).toBeInstanceOf(double ? Float64Array : Float32Array);
    }
    const difference = largestDifference(logits(small({ doubles: true })), logits(small()));
    expect(difference).toBeGreaterThan(0);
    expect(difference).toBeLessThan(0.1);
  });

  it('are the same for the same seed only', () => {
    expect(small().tensors).toEqual(small().tensors);
    expect(logits(small({ seed: 8 }))).not.toEqual(logits(small()));
  });

  it.each([
    { bits: 2, method: 'uniform' },
    { bits: 4, method: 'uniform' },
    { bits: 8, method: 'uniform' },
    { bits: 2, method: 'lsq' },
    { bits: 4, method: 'lsq' },
    { bits: 8, method: 'lsq' },
  ] as const)('use the levels of every quantiser and attend unevenly ($method, $bits bits)', (options) => {
    const seen = traces(small({ ...options, hidden: 64, attention: 32, intermediate: 128 }));
    for (const [name, data] of seen) {
      expect(data.every(Number.isFinite), name).toBe(true);
      if (!name.includes('quantised')) continue;
      const counts = new Map<number, number>();
      for (const value of data) counts.set(value, (counts.get(value) ?? 0) + 1);
      expect(Math.max(...counts.values()) / data.length, name).toBeLessThan(0.85);
      // (2^b levels, one less for a signed uniform quantiser; 8 bits need more values than a small tensor has)
      const { bits } = options;
      expect(counts.size, name).toBeGreaterThan(bits === 8 ? 30 : 2 ** bits * 0.55);
      expect(counts.size, name).toBeLessThanOrEqual(2 ** bits);
    }
  });

  it('have clip bounds that act on both sides of a layer input', () => {
    const checkpoint = small();
    const seen = traces(checkpoint);
    for (const name of [`${SELF}.query_1`, `${SELF}.value_2`, 'bert.encoder.layer.1.intermediate.dense_1']) {
      const [low, high] = tensor(checkpoint, `${name}.input_clip_val`).data as unknown as [number, number];
      const x = seen.get(`${name} (input)`)!;
      expect(Math.min(...x), name).toBeLessThan(low);
      expect(Math.max(...x), name).toBeGreaterThan(high);
    }
  });

  it('answer differently to different sequences', () => {
    const oracle = small();
    const difference = largestDifference(logits(oracle, [2, 50, 60, 3]), logits(oracle, [2, 50, 61, 3]));
    expect(difference).toBeGreaterThan(0.01);
  });
});
