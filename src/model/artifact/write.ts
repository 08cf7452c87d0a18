/** Writes artifacts. The file appears whole or not at all. */
import { createHash, randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { z } from 'zod';
import { type CompiledModel, planSchema } from '../plan.js';
import { type TokenizerSettings, tokenizerSchema } from '../tokenizer.js';
import { PlanChecker } from './check.js';
import { ArtifactError } from './errors.js';
import {
  ARTIFACT_FORMAT,
  FILE_BYTES_MAX,
  KEY,
  type Provenance,
  paddedBytes,
  provenanceSchema,
  TENSOR_ALIGN,
} from './format.js';

export interface ArtifactContents extends CompiledModel {
  readonly tokenizer: TokenizerSettings;
  readonly provenance: Provenance;
  /** Name of the model where the file's own should not be it. */
  readonly name?: string;
}

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.byteLength; ) done += writeSync(fd, bytes, done);
}

function padded(bytes: Uint8Array): Uint8Array {
  const size = paddedBytes(bytes.byteLength);
  if (size === bytes.byteLength) return bytes;
  const copy = new Uint8Array(size);
  copy.set(bytes);
  return copy;
}

/** The safetensors header: length, JSON, spaces up to the alignment of the data. */
function encodeHeader(contents: ArtifactContents, dataSha256: string): Uint8Array {
  const header: Record<string, unknown> = {
    __metadata__: {
      format: 'beta',
      [KEY.format]: String(ARTIFACT_FORMAT),
      ...(contents.name !== undefined && { [KEY.name]: contents.name }),
      [KEY.plan]: JSON.stringify(contents.plan),
      [KEY.tokenizer]: JSON.stringify(contents.tokenizer),
      [KEY.provenance]: JSON.stringify(contents.provenance),
      [KEY.data]: dataSha256,
    },
  };
  let begin = 0;
  for (const [name, bytes] of contents.tensors) {
    const end = begin + paddedBytes(bytes.byteLength);
    header[name] = { dtype: 'U8', shape: [end - begin], data_offsets: [begin, end] };
    begin = end;
  }
  const json = Buffer.from(JSON.stringify(header), 'utf8');
  const length = Math.ceil((8 + json.byteLength) / TENSOR_ALIGN) * TENSOR_ALIGN - 8;
  const out = Buffer.alloc(8 + length, ' ');
  out.writeBigUInt64LE(BigInt(length), 0);
  json.copy(out, 8);
  return out;
}

/** Refuses what a reader would refuse: an artifact that cannot be opened must not be written. */
function check(file: string, { plan, tensors, tokenizer, provenance }: ArtifactContents): void {
  for (const [code, schema, value] of [
    ['bad-plan', planSchema, plan],
    ['bad-tokenizer', tokenizerSchema, tokenizer],
    ['bad-header', provenanceSchema, provenance],
  ] as const) {
    const { error } = schema.safeParse(value);
    if (error)
      throw new ArtifactError(code, file, `it would be of no use: ${z.prettifyError(error).slice(0, 1000)}`);
  }
  const sizes = [...tensors].map(([name, { byteLength }]) => [name, paddedBytes(byteLength)] as const);
  try {
    new PlanChecker(new Map(sizes)).check(plan);
  } catch (error) {
    throw new ArtifactError('bad-plan', file, `it would be of no use: ${(error as Error).message}`);
  }
  const bytes = sizes.reduce((sum, [, size]) => sum + size, 0);
  if (bytes > FILE_BYTES_MAX)
    throw new ArtifactError('too-large', file, `${bytes} bytes are more than a DMA window can hold`);
}

/**
 * Writes an artifact and returns its size in bytes. On failure nothing is left behind and an older file stays as it was.
 * Throws ArtifactError for contents that no reader would take, and the system's error where it cannot be written.
 */
export function writeArtifact(file: string, contents: ArtifactContents): number {
  check(file, contents);
  const blobs = [...contents.tensors.values()].map(padded);
  const hash = createHash('sha256');
  for (const blob of blobs) hash.update(blob);
  const header = encodeHeader(contents, hash.digest('hex'));
  const temporary = `${file}.${randomBytes(6).toString('hex')}.part`;
  const fd = openSync(temporary, 'wx', 0o644);
  try {
    try {
      writeAll(fd, header);
      for (const blob of blobs) writeAll(fd, blob);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, file);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
  return header.byteLength + blobs.reduce((sum, blob) => sum + blob.byteLength, 0);
}
