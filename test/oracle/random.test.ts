/** Random checkpoints: reproducible, well formed on disk, and a real test of every quantiser. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { loadTensors } from './checkpoint.js';
import { vocabulary, writeCheckpoint } from './random.js';
import { largestDifference, logits, small, traces } from './support.js';
import { bitModules, torchSave } from './torch-file.js';

describe('random checkpoints', () => {
  const folder = mkdtempSync(join(tmpdir(), 'beta-oracle-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  it('come out of the written files as they went in', () => {
    const checkpoint = small({ clipShape: [1], bits: 2 });
    writeCheckpoint(join(folder, 'small'), checkpoint);
    const loaded = loadTensors(join(folder, 'small'));
    expect(loaded.config).toEqual(checkpoint.config);
    expect([...loaded.tensors]).toEqual([...checkpoint.tensors]);
    const vocab = readFileSync(join(folder, 'small', 'vocab.txt'), 'utf8')
      .trimEnd()
      .split('\n');
    expect(vocab).toEqual(vocabulary(120));
    expect(new Set(vocab).size).toBe(120);
    expect(vocab.slice(0, 6)).toEqual(['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'a']);
  });

  it('are laid out as torch does: stored data on 64-byte boundaries, the pickle first', () => {
    const { tensors } = small();
    const file = torchSave(tensors, bitModules(2), 'model');
    expect(file.toString('latin1', 30, 44)).toBe('model/data.pkl');
    for (const [name, { data }] of tensors) {
      if (data.length < 32 || data.every((value) => value === 0)) continue;
      const at = file.indexOf(Buffer.from(data.buffer));
      expect(at, name).toBeGreaterThan(0);
      expect(at % 64, name).toBe(0);
    }
  });

  it('are the same for the same seed only', () => {
    expect(small().tensors).toEqual(small().tensors);
    expect(logits(small({ seed: 8 }))).not.toEqual(logits(small()));
  });

  it.each([1, 2, 4, 8] as const)(
    'use the levels of every quantiser and attend unevenly (%i bits)',
    (bits) => {
      for (const [name, data] of traces(small({ bits, hidden: 64, intermediate: 128 }))) {
        if (!name.includes('quantised')) {
          expect(data.every(Number.isFinite), name).toBe(true);
          continue;
        }
        const counts = new Map<number, number>();
        for (const value of data) counts.set(value, (counts.get(value) ?? 0) + 1);
        expect(Math.max(...counts.values()) / data.length, name).toBeLessThan(0.85);
        // (2^b levels, except that 8 bits need more values than a small tensor has)
        expect(counts.size, name).toBeGreaterThan(bits === 8 ? 40 : 2 ** bits * 0.6);
        expect(counts.size, name).toBeLessThanOrEqual(2 ** bits);
      }
    },
  );

  it('answer differently to different sequences', () => {
    const oracle = small();
    expect(largestDifference(logits(oracle, [2, 50, 60, 3]), logits(oracle, [2, 50, 61, 3]))).toBeGreaterThan(
      0.01,
    );
  });
});
