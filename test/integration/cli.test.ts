/**
 * The command as users call it: built, in a process of its own, with files and pipes. What it computes is checked against the
 * float64 oracle, on a checkpoint made for the purpose.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TextTokenizer } from '../../src/model/tokenizer.js';
import { readTokenizer } from '../../src/model/vocabulary.js';
import { BitOracle } from '../oracle/bit.js';
import { randomBitCheckpoint, writeCheckpoint } from '../oracle/random.js';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function beta(args: readonly string[], input = ''): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [MAIN, ...args], { stdio: 'pipe' });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, stdout, stderr }));
    child.stdin.end(input);
  });
}

const checkpoint = randomBitCheckpoint({
  seed: 5,
  layers: 2,
  hidden: 48,
  heads: 4,
  intermediate: 80,
  vocab: 200,
  positions: 24,
  labels: 4,
  bits: 2,
});
let folder: string;
let source: string;
let artifact: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'beta-cli-'));
  source = join(folder, 'source');
  artifact = join(folder, 'tiny.beta');
  writeCheckpoint(source, checkpoint);
  const { code, stdout, stderr } = await beta(['import', source, '-o', artifact, '--json']);
  expect(code, stderr).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({
    file: artifact,
    layers: 2,
    hidden: 48,
    max_tokens: 24,
    labels: 4,
  });
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('run', () => {
  const texts = [
    'play my song please',
    'a',
    'what is the weather today',
    'transfer money from bank to card 12',
    'i do',
  ];

  test('lines in, results out, in order, as the oracle computes them', async () => {
    const { code, stdout, stderr } = await beta(['run', artifact, '--json'], `${texts.join('\n')}\n`);
    expect(code, stderr).toBe(0);
    const answer = JSON.parse(stdout) as {
      results: { text: string; label: string; score: number; logits: number[] }[];
      device: string;
      model: string;
    };
    expect(answer.device).toBe('emu:');
    expect(answer.model).toMatch(/^tiny@[0-9a-f]{12}$/);
    expect(answer.results.map(({ text }) => text)).toEqual(texts);
    const oracle = new BitOracle(checkpoint.config, checkpoint.tensors);
    const tokenizer = new TextTokenizer(readTokenizer(source, 200));
    for (const { text, label, score, logits } of answer.results) {
      const expected = oracle.forward([...tokenizer.encode(text, 24).ids]).logits;
      logits.forEach((value, index) => {
        expect(Math.abs(value - expected[index]!), `${text}: logit ${index}`).toBeLessThan(1e-3);
      });
      const best = logits.indexOf(Math.max(...logits));
      expect(label).toBe((checkpoint.config.id2label as Record<string, string>)[best]);
      expect(score).toBeCloseTo(
        Math.exp(logits[best]!) / logits.reduce((sum, value) => sum + Math.exp(value), 0),
        5,
      );
    }
  });

  test('arguments give the same as lines; people get one line a text', async () => {
    const lines = JSON.parse((await beta(['run', artifact, '--json'], texts.join('\n'))).stdout);
    const given = JSON.parse((await beta(['run', artifact, '--json', ...texts])).stdout);
    expect(given.results).toEqual(lines.results);
    const { stdout } = await beta(['run', artifact, ...texts]);
    expect(stdout.trimEnd().split('\n')).toHaveLength(texts.length);
  });

  test('a text that is too long is cut with a warning, or refused', async () => {
    const long = 'play '.repeat(100);
    const cut = await beta(['run', artifact, '--json', long]);
    expect(cut.code).toBe(0);
    expect(JSON.parse(cut.stdout).results[0]).toMatchObject({ truncated: true });
    expect(cut.stderr).toContain('102 tokens');
    const refused = await beta(['run', artifact, '--no-truncate', '--json', long]);
    expect(refused.code).toBe(1);
    expect(JSON.parse(refused.stdout).error).toMatchObject({ code: 'bad-input' });
  });

  test('an empty line names itself', async () => {
    const { code, stderr } = await beta(['run', artifact], 'play\n\nsong\n');
    expect(code).toBe(1);
    expect(stderr).toContain('line 2 is empty');
  });

  test('a device with smaller limits is refused with both sides', async () => {
    const { code, stderr } = await beta(['run', artifact, 'play', '--device', 'emu:?max_k=64']);
    expect(code).toBe(1);
    expect(stderr).toMatch(/MAX_K: the device has 64, the host needs 80 for model tiny/);
  });
});

describe('errors', () => {
  test.each([
    [['run', 'missing.beta', 'x'], 1, 'missing.beta'],
    [['run', MAIN, 'x'], 1, 'header'],
    [['run'], 2, 'model'],
    [['nonsense'], 2, 'nonsense'],
    [['run', 'intents', 'x', '--device', 'gpu:'], 1, 'gpu'],
    [['run', 'intents', 'x', '--device', 'emu:?window=1'], 1, '64 KiB'],
    [['bench', 'forward', 'intents', '--batch', 'many'], 2, 'whole number'],
    [['bench', 'forward', 'intents', '--seconds', '0'], 2, 'above 0'],
    [['bench', 'qmm', '--shapes', 'project,wide'], 2, '"wide" is no shape: one of project, up'],
    [['bench', 'qmm', '--bits', '3'], 2, 'Widths are 1, 2, 4, 8'],
    [['bench', 'qmm', '--threads', '0'], 2, 'from 1 to 64'],
    [['bench', 'qmm', '--threads', '2', '--device', 'emu:?threads=2'], 2, 'leave one out'],
    [['bench', 'qmm', '--peer-isa', 'mmx'], 2, 'avx2'],
    [['bench', 'qmm', '--no-peers', '--shapes', '1x20000x1', '--seconds', '0.01'], 1, 'MAX_K'],
  ] as const)('%j ends with %i', async (args, code, words) => {
    const outcome = await beta(args);
    expect(outcome.code, outcome.stderr).toBe(code);
    expect(outcome.stderr).toContain(words);
    expect(outcome.stdout).toBe('');
  });

  test('a refused import leaves no file, and the old artifact as it was', async () => {
    const broken = join(folder, 'broken');
    const old = readFileSync(artifact);
    writeCheckpoint(broken, checkpoint);
    const weights = join(broken, 'pytorch_model.bin');
    writeFileSync(weights, readFileSync(weights).subarray(0, 20_000));
    for (const output of [join(folder, 'new.beta'), artifact]) {
      const { code, stdout, stderr } = await beta(['import', broken, '-o', output, '--json']);
      expect(code).toBe(1);
      expect(stderr).toContain('pytorch_model.bin');
      expect(JSON.parse(stdout).error.code).toEqual(expect.any(String));
    }
    expect(existsSync(join(folder, 'new.beta'))).toBe(false);
    expect(readFileSync(artifact).equals(old)).toBe(true);
    expect(readdirSync(folder).filter((name) => name.endsWith('.part'))).toEqual([]);
  });
});

describe('help and the rest', () => {
  test.each([
    'import',
    'inspect',
    'run',
    'serve',
    'request',
    'devices',
    'bench',
    'bench qmm',
    'bench forward',
  ])('%s --help has examples', async (command) => {
    const { code, stdout } = await beta([...command.split(' '), '--help']);
    expect(code).toBe(0);
    expect(stdout).toContain('Examples:');
  });

  test('inspect, devices and bench print one JSON document', async () => {
    expect(JSON.parse((await beta(['inspect', artifact, '--json'])).stdout)).toMatchObject({
      model: { name: 'tiny' },
    });
    expect(JSON.parse((await beta(['devices', '--json'])).stdout).devices).toContainEqual(
      expect.objectContaining({ uri: 'emu:', usable: true }),
    );
    const { rows } = JSON.parse(
      (await beta(['bench', 'forward', artifact, '--seconds', '0.05', '--tokens', '8', '--json'])).stdout,
    );
    expect(rows.map(({ batch }: { batch: number }) => batch)).toEqual([1, 32]);
    for (const row of rows) {
      expect(row.ms_p50).toBeGreaterThan(0);
      expect(row.qmm_share + row.vector_share + row.js_share).toBeCloseTo(1, 0);
    }
  });

  test('bench qmm prints one JSON document, a row a case, null where no peer is compared', async () => {
    const args = ['bench', 'qmm', '--shapes', 'context,8x130x8', '--bits', '1,8', '--seconds', '0.01'];
    const { code, stdout, stderr } = await beta([...args, '--threads', '2', '--no-peers', '--json']);
    expect(code, stderr).toBe(0);
    const { rows, descriptor, clock_ghz, device, peers } = JSON.parse(stdout);
    const keys = ['m', 'k', 'n', 'a_bits', 'b_bits', 'gmacs', 'mac_per_cycle', 'vs_onednn', 'vs_openblas'];
    for (const row of rows) expect(Object.keys(row)).toEqual(expect.arrayContaining(keys));
    expect(rows.map((row: Record<string, unknown>) => keys.slice(0, 5).map((key) => row[key]))).toEqual([
      [128, 128, 64, 1, 1],
      [128, 128, 64, 8, 8],
      [8, 130, 8, 1, 1],
      [8, 130, 8, 8, 1],
      [8, 130, 8, 8, 2],
    ]);
    expect(rows.map(({ output }: { output: string }) => output)).toEqual([
      'pm1',
      'int32',
      'pm1',
      'int16',
      'int32',
    ]);
    for (const row of rows) {
      expect(row.gmacs / row.clock_ghz / row.mac_per_cycle).toBeCloseTo(1, 2);
      expect(row.vs_one_thread).toBeGreaterThan(0);
      expect(row).toMatchObject({ vs_onednn: null, vs_openblas: null });
    }
    expect(descriptor.ns_per_descriptor).toBeGreaterThan(0);
    expect(clock_ghz).toBeGreaterThan(0);
    expect(device).toBe('emu:?threads=2');
    expect(peers).toEqual({ onednn: null, openblas: null, isa: null });
  });

  test('bench qmm prints a table for people', async () => {
    const args = ['bench', 'qmm', '--shapes', 'scores', '--bits', '2', '--seconds', '0.01', '--no-peers'];
    const { stdout } = await beta(args);
    expect(stdout).toMatch(
      /^product +M x K x N +A +B +output +GMAC\/s +MAC\/cycle\nscores +12 of 128x64x128 +s2 +s2 +int16/,
    );
    expect(stdout).toMatch(/one descriptor +[\d.]+ ns streaming through a ring of 1024/);
  });
});
