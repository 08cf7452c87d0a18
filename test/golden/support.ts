/** What golden tests share: a checkpoint on disk, imported, loaded on the emulator. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ImportOptions, importCheckpoint } from '../../src/cli/import-model.js';
import { Device } from '../../src/device/device.js';
import { Artifact } from '../../src/model/artifact/read.js';
import { Session } from '../../src/runtime/session.js';

/** Runs `use` with a folder that is gone afterwards. */
export async function withFolder<T>(use: (folder: string) => Promise<T> | T): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'beta-golden-'));
  try {
    return await use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export interface Imported {
  readonly artifact: Artifact;
  readonly session: Session;
  readonly warnings: readonly string[];
}

/** Imports a checkpoint folder and runs `use` with a session on the emulator. */
export async function withModel<T>(
  source: string,
  use: (imported: Imported) => Promise<T> | T,
  options: ImportOptions = {},
  device = 'emu:',
): Promise<T> {
  return withFolder(async (folder) => {
    const warnings: string[] = [];
    const file = join(folder, 'model.beta');
    await importCheckpoint(source, file, options, {
      warn: (message) => warnings.push(message),
      progress: () => undefined,
    });
    const engine = Device.open(device);
    try {
      const artifact = Artifact.open(file);
      return await use({ artifact, session: new Session(engine, artifact), warnings });
    } finally {
      engine.close();
    }
  });
}

/** Largest |a - b|. A NaN anywhere gives NaN, which no bound accepts. */
export function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.NaN;
  let largest = 0;
  for (let i = 0; i < a.length; i++) largest = Math.max(largest, Math.abs(a[i]! - b[i]!));
  return largest;
}

export function argmax(values: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}

/** Bytes of a Float32Array, for comparisons that allow no difference at all. */
export function bytesOf(values: Float32Array): string {
  return Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('hex');
}
