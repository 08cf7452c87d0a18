/** What tests of the runtime share: small random models as artifacts, and the device they run on. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { importCheckpoint } from '../../../src/cli/import-model.js';
import type { RandomBitOptions } from '../../oracle/random.js';
import { bit, type Writer } from '../compiler/models.js';

/** A folder for artifacts. */
export function temporaryFolder(): string {
  return mkdtempSync(join(tmpdir(), 'beta-runtime-'));
}

export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
}

/** Imports a checkpoint as FOLDER/NAME.beta and returns that path. */
export async function artifactOf(folder: string, name: string, write: Writer): Promise<string> {
  const source = join(folder, `${name}-source`);
  write(source);
  const file = join(folder, `${name}.beta`);
  await importCheckpoint(source, file, {}, { warn: () => undefined, progress: () => undefined });
  return file;
}

/** The same of a random BiT checkpoint. */
export const randomArtifact = (folder: string, name: string, changes: Partial<RandomBitOptions> = {}) =>
  artifactOf(folder, name, bit(changes));

/** Sequences of the given lengths, their ids a fixed function of `seed`. */
export function sequencesOf(
  lengths: readonly number[],
  seed = 1,
  vocab = 100,
): { readonly ids: Uint32Array }[] {
  let state = seed;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * vocab);
  };
  return lengths.map((length) => ({ ids: Uint32Array.from({ length }, next) }));
}

/** What a call throws; fails where it does not. */
export function thrown(call: () => unknown): Error & { readonly code?: string } {
  try {
    call();
  } catch (error) {
    return error as Error;
  }
  throw new Error('the call did not throw');
}
