// From a path to a checkpoint: config.json beside one file of weights.
import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { CheckpointError, quote } from './errors.js';
import { BoundedFile, openError } from './file.js';
import { detectFormat, type WeightsFormat } from './format.js';
import { MAX_CONFIG_BYTES, MAX_FILE_BYTES } from './limits.js';
import { openSafetensors } from './safetensors.js';
import type { SourceTensor } from './tensor.js';
import { openTorch } from './torch.js';

/** Weights files looked for in a folder, the preferred one first. */
const WEIGHTS_NAMES = ['model.safetensors', 'pytorch_model.bin'];

const CONFIG_NAME = 'config.json';

/** An open checkpoint. Values are read from the open file: close it when done. */
export interface Checkpoint {
  /** Absolute path of the folder. */
  readonly folder: string;
  /** Absolute path of the weights file. */
  readonly file: string;
  readonly format: WeightsFormat;
  /** config.json, a JSON object without a prototype: every key is the file's own. */
  readonly config: Readonly<Record<string, unknown>>;
  /** By name, in file order. Values are not checked for NaN or infinities. */
  readonly tensors: ReadonlyMap<string, SourceTensor>;
  /** SHA-256 of the weights file, lower-case hex. */
  readonly sha256: string;
  /** Closes the weights file; harmless when repeated. */
  close(): Promise<void>;
}

/**
 * Opens a checkpoint as Hugging Face and torch write it. Everything but the tensors' values is read and
 * checked here; the weights file is hashed once.
 *
 * @param path a folder with config.json and model.safetensors (preferred) or pytorch_model.bin, or a
 *   weights file of any name beside a config.json
 * @throws CheckpointError
 */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  const file = findWeights(resolve(path));
  const folder = dirname(file);
  const config = readConfig(join(folder, CONFIG_NAME));
  const weights = BoundedFile.open(file, MAX_FILE_BYTES);
  try {
    const format = detectFormat(weights);
    const tensors = format === 'safetensors' ? openSafetensors(weights) : await openTorch(weights);
    const sha256 = await weights.sha256();
    return { folder, file, format, config, tensors, sha256, close: async () => weights.close() };
  } catch (error) {
    weights.close();
    throw error;
  }
}

/** The weights file that a path stands for. */
function findWeights(path: string): string {
  let names: string[];
  try {
    if (!statSync(path).isDirectory()) return notAnIndex(path);
    names = readdirSync(path);
  } catch (cause) {
    if (cause instanceof CheckpointError) throw cause;
    throw openError(path, cause);
  }
  for (const name of WEIGHTS_NAMES) if (names.includes(name)) return join(path, name);
  const index = names.find(isIndex);
  if (index !== undefined) notAnIndex(join(path, index));
  const others = names.filter((name) => /\.(safetensors|bin|pt|pth)$/.test(name)).slice(0, 5);
  throw new CheckpointError(
    'not-found',
    path,
    `the folder has no ${WEIGHTS_NAMES.join(' and no ')}`,
    others.length > 0
      ? `Name the weights file itself, for example ${quote(join(path, others[0]!))}`
      : 'Give the folder that the training program saved',
  );
}

function isIndex(name: string): boolean {
  return name.endsWith('.index.json');
}

/** Passes a file on, unless it is (or stands for) a checkpoint in several parts, or no weights at all. */
function notAnIndex(path: string): string {
  if (isIndex(path))
    throw new CheckpointError(
      'unsupported-format',
      path,
      'the checkpoint is split into several files',
      'Save it as one: model.save_pretrained(folder, max_shard_size="16GB")',
    );
  if (basename(path) === CONFIG_NAME)
    throw new CheckpointError(
      'unsupported-format',
      path,
      'it has no weights',
      'Give its folder, or the weights file',
    );
  return path;
}

/** config.json as a JSON object. */
function readConfig(path: string): Readonly<Record<string, unknown>> {
  if (!existsSync(path))
    throw new CheckpointError(
      'not-found',
      path,
      'the weights have no config.json beside them',
      "Put the model's config.json into the same folder",
    );
  const file = BoundedFile.open(path, MAX_CONFIG_BYTES);
  let bytes: Uint8Array;
  try {
    bytes = file.read(0, file.size);
  } finally {
    file.close();
  }
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new CheckpointError(
      'bad-config',
      path,
      `it is not valid JSON (${reason})`,
      'Correct or fetch it again',
      {
        cause,
      },
    );
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new CheckpointError(
      'bad-config',
      path,
      'it is not a JSON object',
      "Use the model's own config.json",
    );
  // Without a prototype, `config.constructor` is what the file says or undefined, and `__proto__` is a key like any other.
  return Object.assign(Object.create(null) as Record<string, unknown>, value);
}
