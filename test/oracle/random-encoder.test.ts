/** Random BiBERT and TernaryBERT checkpoints: reproducible, well formed on disk, and a real test of every quantiser. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { BiBertOracle, binariseRows } from './bibert.js';
import { loadTensors } from './checkpoint.js';
import { run, SMALL } from './encoder-support.js';
import { randomBiBertCheckpoint, writeBiBertCheckpoint } from './random-bibert.js';
import type { RandomEncoderCheckpoint, RandomEncoderOptions } from './random-encoder.js';
import { randomTernaryBertCheckpoint, writeTernaryBertCheckpoint } from './random-ternarybert.js';
import { IDS, largestDifference } from './support.js';
import { TernaryBertOracle, ternarise } from './ternarybert.js';

const FAMILIES = [
  {
    family: 'BiBERT',
    Oracle: BiBertOracle,
    make: randomBiBertCheckpoint,
    write: writeBiBertCheckpoint,
  },
  {
    family: 'TernaryBERT',
    Oracle: TernaryBertOracle,
    make: randomTernaryBertCheckpoint,
    write: writeTernaryBertCheckpoint,
  },
];

describe.each(FAMILIES)('random checkpoints of $family', ({ Oracle, make, write }) => {
  const folder = mkdtempSync(join(tmpdir(), 'beta-oracle-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  it.each([{}, { legacyNorms: true, configuredLabels: 2 }])(
    'come out of the files as they went in, %o',
    (changes) => {
      const checkpoint = make({ ...SMALL, ...changes });
      write(join(folder, 'small'), checkpoint);
      const loaded = loadTensors(join(folder, 'small'));
      expect(loaded.config).toEqual(checkpoint.config);
      expect([...loaded.tensors]).toEqual([...checkpoint.tensors]);
      expect(run(Oracle, loaded).logits).toEqual(run(Oracle, make(SMALL)).logits);
    },
  );

  it('are the same for the same seed only', () => {
    expect(make(SMALL).tensors).toEqual(make(SMALL).tensors);
    expect(run(Oracle, make({ ...SMALL, seed: 8 })).logits).not.toEqual(run(Oracle, make(SMALL)).logits);
  });

  it.each([
    {},
    { hidden: 15, heads: 3, intermediate: 33 },
    { hidden: 192, heads: 6, intermediate: 384 },
    { layers: 1, heads: 1, hidden: 16, intermediate: 16, labels: 1 },
    { zeroBias: true },
  ] as Partial<RandomEncoderOptions>[])('use the levels of every quantiser, %o', (changes) => {
    for (const [name, data] of run(Oracle, make({ ...SMALL, ...changes })).seen) {
      expect(data.every(Number.isFinite), name).toBe(true);
      if (!name.includes('quantised')) continue;
      const counts = new Map<number, number>();
      for (const value of data) counts.set(value, (counts.get(value) ?? 0) + 1);
      expect(Math.max(...counts.values()) / data.length, name).toBeLessThan(0.9);
      expect(counts.size, name).toBeGreaterThanOrEqual(
        Oracle === BiBertOracle ? 2 : Math.min(25, data.length / 2),
      );
      expect(counts.size, name).toBeLessThanOrEqual(Oracle === BiBertOracle ? 3 : 255);
    }
  });

  it('answer differently to different sequences', () => {
    const difference = largestDifference(
      run(Oracle, make(SMALL), [2, 50, 60, 3]).logits,
      run(Oracle, make(SMALL), [2, 50, 61, 3]).logits,
    );
    expect(difference).toBeGreaterThan(0.01);
  });

  it('have no logits of a single label, whatever the sequence', () => {
    const checkpoint = make({ ...SMALL, hidden: 64, heads: 4, intermediate: 128 });
    const labels = Array.from({ length: 30 }, (_, i) => {
      const { logits } = run(Oracle, checkpoint, [2, ...IDS.map((id) => (id * (i + 3)) % 120), 3]);
      return logits.indexOf(Math.max(...logits));
    });
    expect(new Set(labels).size).toBeGreaterThan(1);
  });
});

describe('what only one family has', () => {
  const weights = (checkpoint: RandomEncoderCheckpoint) =>
    [...checkpoint.tensors].filter(([name]) => /(dense|query|key|value|word_embeddings)\.weight$/.test(name));

  it('BiBERT: weights that equal the mean of their row, in every row, and one in eight of them', () => {
    for (const hidden of [30, 15]) {
      const checkpoint = randomBiBertCheckpoint({ ...SMALL, hidden, zeroWeights: true });
      for (const [name, weight] of weights(checkpoint)) {
        const { signs } = binariseRows(weight);
        const share = signs.filter((code) => code === 0).length / signs.length;
        expect(share, name).toBeGreaterThan(0.06);
        expect(share, name).toBeLessThan(0.25);
      }
    }
    for (const [name, weight] of weights(randomBiBertCheckpoint(SMALL)))
      expect(binariseRows(weight).signs.includes(0), name).toBe(false);
  });

  it('BiBERT: signs alone in a quantised save', () => {
    const checkpoint = randomBiBertCheckpoint({ ...SMALL, quantisedSave: true });
    for (const [name, { data }] of weights(checkpoint))
      expect(
        data.every((value) => Math.abs(value) === 1),
        name,
      ).toBe(true);
  });

  it('TernaryBERT: all three codes in every weight, a share of 0.42 of them 0', () => {
    for (const weightOutliers of [false, true]) {
      const checkpoint = randomTernaryBertCheckpoint({ ...SMALL, weightOutliers });
      for (const [name, weight] of weights(checkpoint)) {
        const { signs } = ternarise(weight, [-2.5, 2.5], 'matrix');
        const share = signs.filter((code) => code === 0).length / signs.length;
        expect(share, name).toBeGreaterThan(0.35);
        expect(share, name).toBeLessThan(0.6);
        expect(
          weight.data.some((value) => Math.abs(value) > 2.5),
          name,
        ).toBe(weightOutliers);
      }
    }
  });

  it('TernaryBERT: inputs that are clipped', () => {
    const { seen } = run(TernaryBertOracle, randomTernaryBertCheckpoint(SMALL));
    const x = seen.get('bert.encoder.layer.0 (output)')!;
    expect(x.filter((value) => Math.abs(value) > 2.5).length).toBeGreaterThan(1);
  });

  it('TernaryBERT: three values in a quantised save', () => {
    const checkpoint = randomTernaryBertCheckpoint({ ...SMALL, quantisedSave: true });
    for (const [name, { data }] of weights(checkpoint)) expect(new Set(data).size, name).toBe(3);
  });
});
