// Test support: temporary folders and the one way in which a reader may fail.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect } from 'vitest';
import { CheckpointError, type CheckpointErrorCode } from '../../../src/model/checkpoint/errors.js';
import { BoundedFile } from '../../../src/model/checkpoint/file.js';
import { openSafetensors } from '../../../src/model/checkpoint/safetensors.js';
import type { SourceTensor } from '../../../src/model/checkpoint/tensor.js';
import { openTorch } from '../../../src/model/checkpoint/torch.js';

/** A folder for one test file, removed at its end. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'beta-checkpoint-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Runs something that must fail with a CheckpointError of this code, and returns the error. */
export async function refusal(code: CheckpointErrorCode, run: () => unknown): Promise<CheckpointError> {
  let caught: unknown;
  try {
    await run();
  } catch (error) {
    caught = error;
  }
  expect(caught).toBeInstanceOf(CheckpointError);
  const error = caught as CheckpointError;
  expect({ code: error.code, message: error.message }).toEqual({ code, message: error.message });
  return error;
}

/** All values of a file, as [dtype, shape, values] by name; the file is closed on every way out. */
export type Contents = Map<string, [dtype: string, shape: readonly number[], values: number[]]>;

/** Writes bytes to a file and reads every tensor in it. */
export async function contents(
  format: 'torch' | 'safetensors',
  bytes: Uint8Array,
  path: string,
): Promise<Contents> {
  writeFileSync(path, bytes);
  const file = BoundedFile.open(path, 2 ** 30);
  try {
    const tensors: ReadonlyMap<string, SourceTensor> =
      format === 'torch' ? await openTorch(file) : openSafetensors(file);
    return new Map([...tensors].map(([name, t]) => [name, [t.dtype, t.shape, [...t.values()]]]));
  } finally {
    file.close();
  }
}
