/** Synthetic checkpoints: what is written imports, and computes what the oracle computes from the same tensors. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type SyntheticBits, syntheticConfig, syntheticTensors } from '../../../src/model/synthetic/bit.js';
import { PRESETS } from '../../../src/model/synthetic/shape.js';
import { writeSynthetic } from '../../../src/model/synthetic/write.js';
import { largestDifference, withFolder, withModel } from '../../golden/support.js';
import { BitOracle } from '../../oracle/bit.js';

const SHAPE = { layers: 2, hidden: 64, heads: 2, intermediate: 96, vocab: 120, positions: 40, labels: 5 };
const write = (folder: string, bits: SyntheticBits, seed = 3) =>
  writeSynthetic(folder, { shape: SHAPE, bits, seed, progress: () => undefined });

describe.each([1, 2, 4, 8] as const)('%i bits', (bits) => {
  test('the file holds the tensors: the stack agrees with the oracle', async () => {
    const tensors = new Map(
      syntheticTensors(SHAPE, bits, 3).map(({ name, shape, make }) => [
        name,
        { shape: [...shape], data: make() },
      ]),
    );
    const oracle = new BitOracle(syntheticConfig(SHAPE, bits), tensors);
    await withFolder(async (folder) => {
      write(join(folder, 'source'), bits);
      await withModel(join(folder, 'source'), ({ session, warnings }) => {
        expect(warnings).toEqual([]);
        let compared = 0;
        for (const length of [3, 9, 17, 24, 33, 40]) {
          const ids = Array.from({ length }, (_, i) => (i * 37 + length) % SHAPE.vocab);
          const { logits, minDecisionMargin } = oracle.forward(ids);
          if (minDecisionMargin < 1e-5) continue;
          compared++;
          expect(largestDifference(session.run([{ ids }]).logits[0]!, logits)).toBeLessThan(1e-3);
        }
        expect(compared).toBeGreaterThanOrEqual(2);
      });
    });
  });
});

test('the same seed gives the same bytes, another one others', async () => {
  await withFolder((folder) => {
    const bytes = (name: string, seed: number) => {
      write(join(folder, name), 1, seed);
      return readFileSync(join(folder, name, 'model.safetensors'));
    };
    expect(bytes('a', 1).equals(bytes('b', 1))).toBe(true);
    expect(bytes('c', 2).equals(bytes('d', 1))).toBe(false);
  });
});

test('a folder that holds a checkpoint is left alone', async () => {
  await withFolder((folder) => {
    writeFileSync(join(folder, 'config.json'), 'mine');
    expect(() => write(folder, 1)).toThrow(/has a config.json already/);
    expect(readdirSync(folder)).toEqual(['config.json']);
    expect(readFileSync(join(folder, 'config.json'), 'utf8')).toBe('mine');
  });
});

test('what cannot be written whole is not left behind', async () => {
  await withFolder((folder) => {
    const fail = () => {
      throw new Error('disk full');
    };
    expect(() =>
      writeSynthetic(join(folder, 'out'), { shape: SHAPE, bits: 1, seed: 1, progress: fail }),
    ).toThrow('disk full');
    expect(existsSync(join(folder, 'out', 'model.safetensors'))).toBe(false);
  });
});

test('presets are shapes that can be', () => {
  for (const { hidden, heads } of Object.values(PRESETS)) expect(hidden % heads).toBe(0);
});
