// What a written artifact is: every field comes back, the same checkpoint gives the same bytes, and a parser that knows
// only the safetensors format can read it.
import { createHash } from 'node:crypto';
import { copyFileSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { ArtifactError } from '../../../src/model/artifact/errors.js';
import { Artifact } from '../../../src/model/artifact/read.js';
import { writeArtifact } from '../../../src/model/artifact/write.js';
import { openCheckpoint } from '../../../src/model/checkpoint/open.js';
import { vocabulary } from '../../oracle/random.js';
import { classificationHead } from './head.js';
import { checkpointWith, imported, parseArtifact, saved, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const source = saved(folder, checkpointWith());
const { file, plan, provenance, bytes } = await imported(source);
const whole = readFileSync(file);

test('every field comes back', async () => {
  const artifact = Artifact.open(file);
  const { metadata, data, tensors } = parseArtifact(whole);
  expect(artifact.plan).toEqual(plan);
  expect(artifact.provenance).toEqual(provenance);
  expect(artifact.tokenizer.settings).toEqual({
    type: 'bert-wordpiece',
    lowercase: true,
    stripAccents: null,
    cleanText: true,
    handleChineseChars: true,
    unknown: '[UNK]',
    classification: '[CLS]',
    separator: '[SEP]',
    continuation: '##',
    maxCharsPerWord: 100,
    vocabulary: vocabulary(90),
  });
  expect(artifact).toMatchObject({ file, name: 'model', fileBytes: bytes, dataBytes: data.length });
  expect(statSync(file).size).toBe(bytes);
  const headerHash = createHash('sha256')
    .update(whole.subarray(0, whole.length - data.length))
    .digest('hex');
  expect(artifact.id).toBe(`model@${headerHash.slice(0, 12)}`);
  expect([...artifact.tensors]).toEqual(
    [...tensors].map(
      ([
        name,
        {
          data_offsets: [begin, end],
        },
      ]) => [name, { off: begin, bytes: end - begin }],
    ),
  );
  expect(metadata['beta.format']).toBe('2');
  expect(metadata).not.toHaveProperty(['beta.name']);
});

test('provenance names the source without a path or a date', async () => {
  const checkpoint = await openCheckpoint(source);
  await checkpoint.close();
  expect(provenance).toEqual({
    family: 'BiT W1A1',
    source: 'pytorch_model.bin',
    sourceSha256: createHash('sha256')
      .update(readFileSync(join(source, 'pytorch_model.bin')))
      .digest('hex'),
    compiler: expect.stringMatching(/^beta \d/),
    warnings: [],
  });
  expect(provenance.sourceSha256).toBe(checkpoint.sha256);
  expect(whole.includes(basename(folder))).toBe(false);
});

test('load() brings exactly the data section', () => {
  const artifact = Artifact.open(file);
  const target = new Uint8Array(artifact.dataBytes).fill(0xee);
  artifact.load(target);
  expect(Buffer.from(target).equals(parseArtifact(whole).data)).toBe(true);
  for (const size of [artifact.dataBytes - 1, artifact.dataBytes + 1]) {
    expect(() => artifact.load(new Uint8Array(size))).toThrow(RangeError);
  }
});

test('the same checkpoint gives the same bytes', async () => {
  expect(readFileSync((await imported(source)).file)).toEqual(whole);
});

test('a valid safetensors file: U8, aligned to 64 bytes, one tensor after another to the end', () => {
  const length = Number(whole.readBigUInt64LE(0));
  expect((8 + length) % 64).toBe(0);
  const text = whole.toString('utf8', 8, 8 + length);
  expect(text).toMatch(/^\{.*\} *$/s);
  const { __metadata__: metadata, ...entries } = JSON.parse(text) as Record<string, Record<string, unknown>>;
  for (const value of Object.values(metadata!)) expect(typeof value).toBe('string');
  let at = 0;
  for (const [name, entry] of Object.entries(entries)) {
    expect(Object.keys(entry).sort(), name).toEqual(['data_offsets', 'dtype', 'shape']);
    const [begin, end] = entry.data_offsets as [number, number];
    expect(entry, name).toEqual({ dtype: 'U8', shape: [end - begin], data_offsets: [at, end] });
    expect([begin % 64, end % 64, end > begin], name).toEqual([0, 0, true]);
    at = end;
  }
  expect(8 + length + at).toBe(whole.length);
  expect(metadata!['beta.data.sha256']).toBe(
    createHash('sha256')
      .update(whole.subarray(8 + length))
      .digest('hex'),
  );
});

test('tensors are padded with zeros', () => {
  const { tensors, data } = parseArtifact(whole);
  // The biases of three classes: 12 bytes of values, then nothing.
  const [begin, end] = tensors.get(classificationHead(plan).dense.bias)!.data_offsets;
  expect(end - begin).toBe(64);
  expect([...data.subarray(begin + 12, end)]).toEqual(new Array(52).fill(0));
});

test.each([
  ['intents.beta', 'intents'],
  ['Intents.BETA', 'intents'],
  ['my_model v2.beta', 'my-model-v2'],
  ['a--b.beta', 'a--b'],
  ['v1.2', 'v1-2'],
  [`${'x'.repeat(80)}.beta`, 'x'.repeat(63)],
])('a file called %s holds the model %s', (name, model) => {
  const copy = join(dirname(file), name);
  copyFileSync(file, copy);
  expect(Artifact.open(copy).name).toBe(model);
});

test('a name in the metadata goes before the file name', async () => {
  const named = await imported(source, { name: 'kitchen-2' });
  const artifact = Artifact.open(named.file);
  expect(artifact.name).toBe('kitchen-2');
  expect(artifact.id).toMatch(/^kitchen-2@[0-9a-f]{12}$/);
});

test('fewer tokens than the model has positions', async () => {
  const shorter = await imported(source, { maxTokens: 5 });
  expect(Artifact.open(shorter.file).plan.maxTokens).toBe(5);
});

test('contents that no reader would take are not written', () => {
  const artifact = Artifact.open(file);
  const { data } = parseArtifact(whole);
  const tensors = new Map(
    [...artifact.tensors].map(([name, { off, bytes: size }]) => [name, data.subarray(off, off + size)]),
  );
  const contents = { plan, tensors, tokenizer: artifact.tokenizer.settings, provenance };
  const [first] = tensors.keys();
  const without = new Map(tensors);
  without.delete(first!);
  for (const [code, wrong] of [
    ['bad-plan', { ...contents, plan: { ...plan, heads: 3 } }],
    ['bad-plan', { ...contents, plan: { ...plan, hidden: Number.NaN } }],
    ['bad-plan', { ...contents, tensors: without }],
    ['bad-header', { ...contents, provenance: { ...provenance, sourceSha256: 'unknown' } }],
    ['bad-tokenizer', { ...contents, tokenizer: { ...contents.tokenizer, maxCharsPerWord: 0 } }],
  ] as const) {
    const target = join(folder, 'never.beta');
    let caught: unknown;
    try {
      writeArtifact(target, wrong);
    } catch (error) {
      caught = error;
    }
    expect(caught).toBeInstanceOf(ArtifactError);
    expect((caught as ArtifactError).code).toBe(code);
    expect(readdirSync(folder).filter((name) => name.startsWith('never'))).toEqual([]);
  }
  expect(writeArtifact(join(folder, 'again.beta'), contents)).toBe(bytes);
  expect(readFileSync(join(folder, 'again.beta'))).toEqual(whole);
});
