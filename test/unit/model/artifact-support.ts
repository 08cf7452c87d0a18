// Test support: one good artifact, files changed from it, and the one way in which the reader may refuse them.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { ArtifactError } from '../../../src/model/artifact/errors.js';
import { Artifact } from '../../../src/model/artifact/read.js';
import {
  buildArtifact,
  checkpointWith,
  imported,
  parseArtifact,
  type RawArtifact,
  saved,
  temporaryFolder,
} from './support.js';

/** A folder for one test file, removed at its end. */
export const folder = temporaryFolder();
const { file: good } = await imported(saved(folder, checkpointWith()));

/** The bytes of a good file; not to be changed in place. */
export const whole = readFileSync(good);

/** Where the changed files go, one over the other. */
export const file = join(folder, 'changed.beta');

/** The stable codes (docs/artifact.md). */
const CODES = [
  'not-found',
  'truncated',
  'bad-header',
  'too-large',
  'unsupported-format',
  'bad-plan',
  'bad-tensor',
  'bad-tokenizer',
  'newer-format',
  'damaged',
];

/** Opens and loads a file of these bytes; undefined where nothing is wrong with it. */
export function outcome(bytes: Uint8Array): ArtifactError | undefined {
  writeFileSync(file, bytes);
  try {
    const artifact = Artifact.open(file);
    artifact.load(new Uint8Array(artifact.dataBytes));
    return undefined;
  } catch (error) {
    if (!(error instanceof ArtifactError)) throw error;
    expect(CODES).toContain(error.code);
    expect(error.message.startsWith(`${file}: `)).toBe(true);
    expect(error.message.length).toBeLessThan(2000);
    return error;
  }
}

/** The same, where the reader must refuse it. */
export function refuses(bytes: Uint8Array, code: string, says: string | RegExp): void {
  const error = outcome(bytes);
  expect({ code: error?.code, message: error?.message }).toEqual({
    code,
    message: expect.stringMatching(says),
  });
}

/** A new file from changed parts. */
export function changed(
  change: (parts: { -readonly [Key in keyof RawArtifact]: RawArtifact[Key] }) => void,
): Buffer {
  const parts = parseArtifact(Buffer.from(whole));
  change(parts);
  return buildArtifact(parts);
}

/** Changes one JSON metadata entry. */
// biome-ignore lint/suspicious/noExplicitAny: a test that breaks every type rule of the value on purpose
export const changedEntry = (key: string, change: (value: any) => void) =>
  changed(({ metadata }) => {
    const value = JSON.parse(metadata[key]!);
    change(value);
    metadata[key] = JSON.stringify(value);
  });
