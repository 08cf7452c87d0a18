// The reader against damaged, foreign and hostile files: an ArtifactError with a stable code, and nothing else.
import { execFileSync } from 'node:child_process';
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Artifact } from '../../../src/model/artifact/read.js';
import { random } from '../checkpoint/build.js';
import { changed, file, folder, outcome, refuses, whole } from './artifact-support.js';
import { buildArtifact, parseArtifact } from './support.js';

test('rebuilding a file from its own parts gives the file', () => {
  expect(changed(() => undefined)).toEqual(whole);
  expect(outcome(whole)).toBeUndefined();
});

test('a file that is cut anywhere', () => {
  const { headerBytes } = parseArtifact(whole);
  const points = [
    0,
    1,
    7,
    8,
    9,
    63,
    64,
    headerBytes - 1,
    headerBytes,
    headerBytes + 1,
    whole.length - 64,
    whole.length - 1,
  ];
  for (let i = 1; i < 60; i++) points.push(Math.floor((whole.length * i) / 60));
  for (const point of points)
    expect(outcome(whole.subarray(0, point))?.code, `cut at ${point}`).toBe('truncated');
});

test('bytes after the end, and a hole before the data', () => {
  refuses(Buffer.concat([whole, Buffer.alloc(64)]), 'bad-header', /64 bytes after the last tensor/);
  refuses(
    changed((parts) => {
      parts.data = Buffer.concat([Buffer.alloc(64), parts.data]);
    }),
    'bad-header',
    /64 bytes/,
  );
});

test('a header length beyond reason allocates nothing', () => {
  for (const length of [2n ** 63n, 2n ** 53n, 100_000_001n]) {
    const bytes = Buffer.from(whole);
    bytes.writeBigUInt64LE(length);
    refuses(bytes, 'too-large', /header of \d+ bytes/);
  }
});

test.each(['', 'not a model', '{"a":1}', '\u0000'.repeat(100)])('foreign bytes: %.20s', (text) => {
  expect(outcome(Buffer.from(text))).toBeDefined();
});

test('data that does not start at a multiple of 64', () => {
  const parts = parseArtifact(whole);
  const padding = (bytes: number) => ((64 - ((8 + bytes) % 64)) % 64) + 8;
  refuses(buildArtifact(parts, padding), 'bad-tensor', /no multiple of 64/);
});

test('data that is not what the header says: found while loading', () => {
  const { headerBytes } = parseArtifact(whole);
  for (const at of [headerBytes, headerBytes + 777, whole.length - 1]) {
    const bytes = Buffer.from(whole);
    bytes[at]! ^= 1;
    refuses(bytes, 'damaged', /SHA-256/);
  }
  refuses(
    changed(({ metadata }) => {
      metadata['beta.data.sha256'] = '0'.repeat(64);
    }),
    'damaged',
    /SHA-256/,
  );
  refuses(
    changed(({ metadata }) => {
      metadata['beta.data.sha256'] = 'SHA';
    }),
    'bad-header',
    /sha256/,
  );
});

test('a file that changes after it was opened', () => {
  writeFileSync(file, whole);
  const artifact = Artifact.open(file);
  const target = new Uint8Array(artifact.dataBytes);
  truncateSync(file, whole.length - 64);
  expect(() => artifact.load(target)).toThrow(expect.objectContaining({ code: 'damaged' }));
  execFileSync('rm', [file]);
  expect(() => artifact.load(target)).toThrow(expect.objectContaining({ code: 'not-found' }));
});

test('paths that are no files, a named pipe without a writer among them', () => {
  const pipe = join(folder, 'pipe.beta');
  execFileSync('mkfifo', [pipe]);
  for (const path of [join(folder, 'absent.beta'), folder, pipe, '/dev/zero', 'a\u0000b']) {
    expect(() => Artifact.open(path), path).toThrow(
      expect.objectContaining({ name: 'ArtifactError', code: 'not-found' }),
    );
  }
});

test('random byte flips in the header and in the data', () => {
  const next = random(4711);
  const { headerBytes } = parseArtifact(whole);
  let unharmed = 0;
  for (let round = 0; round < 600; round++) {
    const bytes = Buffer.from(whole);
    const limit = round % 3 === 0 ? whole.length : headerBytes;
    for (let flips = 0; flips <= round % 3; flips++)
      bytes[Math.floor(next() * limit)]! ^= 1 << Math.floor(next() * 8);
    if (outcome(bytes) === undefined) unharmed++;
  }
  // A flip in a word of the vocabulary, in a label or in a scale gives another model, but a sound one. All others must be seen.
  expect(unharmed).toBeGreaterThan(0);
  expect(unharmed).toBeLessThan(300);
});
