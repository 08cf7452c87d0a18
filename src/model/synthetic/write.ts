/** Writes a synthetic checkpoint: a folder with config.json, model.safetensors and vocab.txt, tensor after tensor. */
import { closeSync, existsSync, mkdirSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import {
  type SyntheticBits,
  type SyntheticTensor,
  syntheticConfig,
  syntheticTensors,
  syntheticVocabulary,
} from './bit.js';
import type { SyntheticShape } from './shape.js';

export interface SyntheticOptions {
  readonly shape: SyntheticShape;
  readonly bits: SyntheticBits;
  readonly seed: number;
  /** Entries of vocab.txt where they are not to be synthetic: as many as `shape.vocab`. */
  readonly vocabulary?: readonly string[];
  readonly progress: (done: number, total: number) => void;
}

const FILES = ['config.json', 'model.safetensors', 'vocab.txt'] as const;

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.byteLength; ) done += writeSync(fd, bytes, done);
}

/** Length, JSON, spaces to a multiple of 8. */
function header(tensors: readonly SyntheticTensor[]): Uint8Array {
  const entries: Record<string, unknown> = {};
  let begin = 0;
  for (const { name, shape } of tensors) {
    const end = begin + 4 * shape.reduce((a, b) => a * b, 1);
    entries[name] = { dtype: 'F32', shape, data_offsets: [begin, end] };
    begin = end;
  }
  const json = Buffer.from(JSON.stringify(entries), 'utf8');
  const out = Buffer.alloc(8 + Math.ceil(json.byteLength / 8) * 8, ' ');
  out.writeBigUInt64LE(BigInt(out.byteLength - 8), 0);
  json.copy(out, 8);
  return out;
}

/** Writes the checkpoint and returns the bytes of its weights. Refuses to write over one. Whole or not at all. */
export function writeSynthetic(folder: string, options: SyntheticOptions): number {
  const { shape, bits, seed, vocabulary = syntheticVocabulary(shape.vocab), progress } = options;
  const taken = FILES.find((name) => existsSync(join(folder, name)));
  if (taken !== undefined)
    throw new Error(`${folder} has a ${taken} already; choose another folder, or remove it`);
  mkdirSync(folder, { recursive: true });
  const tensors = syntheticTensors(shape, bits, seed);
  let bytes = 0;
  try {
    const fd = openSync(join(folder, 'model.safetensors'), 'wx', 0o644);
    try {
      writeAll(fd, header(tensors));
      tensors.forEach(({ make }, index) => {
        const values = make();
        bytes += values.byteLength;
        writeAll(fd, new Uint8Array(values.buffer));
        progress(index + 1, tensors.length);
      });
    } finally {
      closeSync(fd);
    }
    writeFileSync(join(folder, 'config.json'), `${JSON.stringify(syntheticConfig(shape, bits), null, 2)}\n`);
    writeFileSync(join(folder, 'vocab.txt'), `${vocabulary.join('\n')}\n`);
  } catch (error) {
    for (const name of FILES) rmSync(join(folder, name), { force: true });
    throw error;
  }
  return bytes;
}
