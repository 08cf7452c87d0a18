// Test support: small checkpoints with chosen tensors, imported into memory or into a file, and the ways an import may fail.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect } from 'vitest';
import { type ImportOptions, type ImportSummary, importCheckpoint } from '../../../src/cli/import-model.js';
import { openCheckpoint } from '../../../src/model/checkpoint/open.js';
import type { ModelDescription } from '../../../src/model/description.js';
import { importModel } from '../../../src/model/import.js';
import {
  type RandomBitCheckpoint,
  type RandomBitOptions,
  randomBitCheckpoint,
  writeCheckpoint,
} from '../../oracle/random.js';

/** As small as a model can be that still has two heads and more than one word a row. */
const SMALL: RandomBitOptions = {
  seed: 5,
  layers: 1,
  hidden: 16,
  heads: 2,
  intermediate: 24,
  vocab: 90,
  positions: 12,
  labels: 3,
  bits: 1,
};

/** A folder for one test file, removed at its end. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'beta-model-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A small random checkpoint that `change` may alter. */
export function checkpointWith(
  change: (checkpoint: RandomBitCheckpoint) => void = () => undefined,
  options: Partial<RandomBitOptions> = {},
): RandomBitCheckpoint {
  const checkpoint = randomBitCheckpoint({ ...SMALL, ...options });
  change(checkpoint);
  return checkpoint;
}

/** Values of a tensor, to be changed in place. */
export function values(checkpoint: RandomBitCheckpoint, name: string): Float32Array | Float64Array {
  const tensor = checkpoint.tensors.get(name);
  if (tensor === undefined) throw new Error(`test: the checkpoint has no ${name}`);
  return tensor.data;
}

export interface Described {
  readonly description: ModelDescription;
  readonly warnings: readonly string[];
}

/** A new folder inside `parent` that holds the checkpoint. */
export function saved(parent: string, checkpoint: RandomBitCheckpoint): string {
  const { config, tensors } = checkpoint;
  const folder = mkdtempSync(join(parent, 'source-'));
  // The writer goes by some of the sizes, which a test may have made absurd.
  const { num_hidden_layers, vocab_size } = checkpointWith().config;
  writeCheckpoint(folder, { config: { ...config, num_hidden_layers, vocab_size }, tensors });
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  return folder;
}

/** What the importer makes of a checkpoint folder. */
export async function described(folder: string): Promise<Described> {
  const warnings: string[] = [];
  const checkpoint = await openCheckpoint(folder);
  try {
    const description = importModel(checkpoint, {
      warn: (message) => warnings.push(message),
      progress: () => undefined,
    });
    return { description, warnings };
  } finally {
    await checkpoint.close();
  }
}

export interface ImportedFile extends ImportSummary {
  readonly file: string;
  readonly warnings: readonly string[];
}

/** Imports a checkpoint folder into a file of its own folder. */
export async function imported(folder: string, options: ImportOptions = {}): Promise<ImportedFile> {
  const warnings: string[] = [];
  const file = join(mkdtempSync(join(folder, 'out-')), 'model.beta');
  const summary = await importCheckpoint(folder, file, options, {
    warn: (message) => warnings.push(message),
    progress: () => undefined,
  });
  return { ...summary, file, warnings };
}

/** An artifact's parts, read without the code under test. */
export interface RawArtifact {
  readonly metadata: Record<string, string>;
  readonly tensors: Map<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>;
  /** Bytes before the data: length and JSON header with its padding. */
  readonly headerBytes: number;
  readonly data: Buffer;
}

export function parseArtifact(bytes: Buffer): RawArtifact {
  const length = Number(bytes.readBigUInt64LE(0));
  const { __metadata__: metadata, ...tensors } = JSON.parse(bytes.toString('utf8', 8, 8 + length));
  return {
    metadata,
    tensors: new Map(Object.entries(tensors)) as RawArtifact['tensors'],
    headerBytes: 8 + length,
    data: bytes.subarray(8 + length),
  };
}

/** Plan and data of the artifact of a checkpoint; what differs between sources, the provenance, is left out. */
export async function compiled(parent: string, checkpoint: RandomBitCheckpoint): Promise<unknown> {
  const { file } = await imported(saved(parent, checkpoint));
  const { metadata, tensors, data } = parseArtifact(readFileSync(file));
  return { plan: metadata['beta.plan'], tensors: [...tensors], data: data.toString('hex') };
}

/** A file of these parts: the header padded so that the data starts at a multiple of 64, unless `padding` says otherwise. */
export function buildArtifact(
  { metadata, tensors, data }: Omit<RawArtifact, 'headerBytes'>,
  padding: (bytes: number) => number = (bytes) => (64 - ((8 + bytes) % 64)) % 64,
): Buffer {
  const json = Buffer.from(JSON.stringify({ __metadata__: metadata, ...Object.fromEntries(tensors) }));
  const header = Buffer.concat([json, Buffer.alloc(padding(json.length), ' ')]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([length, header, data]);
}

/**
 * Imports a checkpoint that must be refused, to a new path and over an older file: neither may leave anything behind.
 * The error must have `code`, and its message every part of `says`.
 */
export async function refusedImport(
  parent: string,
  folder: string,
  code: string,
  says: readonly (string | RegExp)[],
  options: ImportOptions = {},
): Promise<Error> {
  const target = mkdtempSync(join(parent, 'refused-'));
  const file = join(target, 'model.beta');
  const silent = { warn: () => undefined, progress: () => undefined };
  const attempt = () =>
    importCheckpoint(folder, file, options, silent).then(
      () => undefined,
      (error: unknown) => error,
    );
  const error = (await attempt()) as Error & { code?: string };
  expect(error, 'the import was not refused').toBeInstanceOf(Error);
  expect({ code: error.code, message: error.message }).toEqual({ code, message: error.message });
  for (const part of says) expect(error.message).toMatch(part);
  expect(readdirSync(target), 'something was left behind').toEqual([]);

  writeFileSync(file, 'an older artifact');
  expect(await attempt()).toBeInstanceOf(Error);
  expect(readdirSync(target), 'something was left behind').toEqual(['model.beta']);
  expect(readFileSync(file, 'utf8'), 'the older file was changed').toBe('an older artifact');
  return error;
}
