/** `beta bench forward`: what its JSON holds. What it measures is no test. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isOrtInstalled, OrtPeer } from '../../src/cli/bench/ort.js';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const bench = (...args: string[]) =>
  JSON.parse(
    execFileSync(
      process.execPath,
      [MAIN, 'bench', 'forward', 'intents', '--device', 'emu:', '--seconds', '0.05', '--json', ...args],
      { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] },
    ),
  );

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'beta-bench-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('random sentences: a row for each batch and length', () => {
  const { rows, model, device, memory, peer } = bench('--no-peers', '--batch', '1,3', '--tokens', '5,9');
  expect(rows.map(({ batch, tokens }: { batch: number; tokens: number }) => [batch, tokens])).toEqual([
    [1, 5],
    [3, 5],
    [1, 9],
    [3, 9],
  ]);
  for (const row of rows) {
    expect(row.ms_p50).toBeGreaterThan(0);
    expect(row.qmm_share + row.vector_share + row.js_share).toBeGreaterThan(0.8);
    expect(row.tokens_per_s / row.sentences_per_s).toBeCloseTo(row.tokens, 0);
    expect([row.vs_ort_int8, row.vs_ort_f32, row.ort_ms]).toEqual([null, null, null]);
  }
  expect([model.startsWith('intents@'), device, peer]).toEqual([true, 'emu:', null]);
  expect(memory.peak_mib).toBeGreaterThan(memory.before_mib);
});

test('sentences of their own lengths', () => {
  const file = join(folder, 'lines.tsv');
  writeFileSync(file, 'book a table\trestaurant\nhow warm is it in Bern\tweather\n\nplay it\nhello\n');
  const { rows } = bench('--texts', file, '--batch', '2');
  expect(rows).toHaveLength(1);
  expect([rows[0].batch, rows[0].tokens]).toEqual([2, null]);
});

describe.skipIf(!isOrtInstalled())('onnxruntime is installed', () => {
  test('all its models run', { timeout: 120_000 }, async () => {
    const peer = OrtPeer.start();
    try {
      await peer.prepare({
        layers: 1,
        hidden: 32,
        heads: 2,
        intermediate: 48,
        labels: 3,
        activation: 'gelu',
        batch: 2,
        tokens: 7,
      });
      expect(peer.variants).toEqual(['plain f32', 'fused f32', 'plain int8', 'fused int8']);
      for (const variant of peer.variants) {
        const times = await peer.run(variant, 1);
        expect(Math.min(...times), variant).toBeGreaterThan(0);
      }
      await expect(peer.run('none', 1)).rejects.toThrow();
    } finally {
      peer.close();
    }
  });

  test('a row has its ratio', { timeout: 120_000 }, () => {
    const { rows, peer } = bench('--batch', '1', '--tokens', '4');
    expect(peer).toMatch(/^onnxruntime-node \d/);
    expect(rows[0].vs_ort_int8).toBeGreaterThan(0);
    expect(rows[0].vs_ort_f32).toBeGreaterThan(0);
    expect(Object.keys(rows[0].ort_ms)).toHaveLength(4);
  });
});
