// Test support: writers of checkpoints, written from the formats' descriptions and sharing nothing with the
// readers, so that both can disagree. Every field can be overridden to make hostile files.
import { writeFileSync } from 'node:fs';
import { dict, global, Op, orderedDict, type Py, pickle, storage, tensor } from './build-pickle.js';
import { type ZipInput, type ZipOptions, zipBytes } from './build-zip.js';

/** A tensor to write: float32 or float64 by the array's type. Row-major, `[]` for a scalar. */
export interface BuildTensor {
  shape: number[];
  data: Float32Array | Float64Array;
}

/** Any dtype, as bytes. */
export interface RawTensor {
  dtype: string;
  shape: number[];
  bytes: Uint8Array;
}

export function rawTensor({ shape, data }: BuildTensor): RawTensor {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return { dtype: data instanceof Float32Array ? 'F32' : 'F64', shape, bytes };
}

/** Writes pytorch_model.bin as torch.save(state_dict) does. */
export function writeTorchCheckpoint(file: string, tensors: ReadonlyMap<string, BuildTensor>): void {
  writeFileSync(file, torchBytes(tensors));
}

/** Writes model.safetensors. */
export function writeSafetensors(
  file: string,
  tensors: ReadonlyMap<string, BuildTensor>,
  metadata?: Record<string, string>,
): void {
  writeFileSync(file, safetensorsBytes(new Map([...tensors].map(([k, v]) => [k, rawTensor(v)])), metadata));
}

/** A small deterministic generator (mulberry32), uniform in [0, 1). */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

// ---------------------------------------------------------------- safetensors

/** A file with any header text, well-formed or not. */
export function safetensorsRaw(header: string | Uint8Array, data: Uint8Array = new Uint8Array()): Buffer {
  const text = Buffer.from(header);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, data]);
}

export function safetensorsBytes(
  tensors: ReadonlyMap<string, RawTensor>,
  metadata?: Record<string, string>,
): Buffer {
  const fields: string[] = [];
  if (metadata !== undefined) fields.push(`"__metadata__":${JSON.stringify(metadata)}`);
  let offset = 0;
  for (const [name, { dtype, shape, bytes }] of tensors) {
    const end = offset + bytes.length;
    fields.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [offset, end] })}`);
    offset = end;
  }
  const header = `{${fields.join(',')}}`;
  // The reference writer pads the header with spaces so that the data is 8-byte aligned.
  const padded = header.padEnd(
    Math.ceil(Buffer.byteLength(header) / 8) * 8 - Buffer.byteLength(header) + header.length,
  );
  return safetensorsRaw(padded, Buffer.concat([...tensors.values()].map(({ bytes }) => bytes)));
}

// ---------------------------------------------------------------------- torch

const STORAGE_TYPES: Record<string, string> = {
  F64: 'DoubleStorage',
  F32: 'FloatStorage',
  F16: 'HalfStorage',
  BF16: 'BFloat16Storage',
  I64: 'LongStorage',
  I32: 'IntStorage',
  I16: 'ShortStorage',
  I8: 'CharStorage',
  U8: 'ByteStorage',
  BOOL: 'BoolStorage',
};

/** Row-major strides. */
export function stridesOf(shape: readonly number[]): number[] {
  const strides: number[] = [];
  let step = 1;
  for (const dimension of [...shape].reverse()) {
    strides.unshift(step);
    step *= dimension;
  }
  return strides;
}

/** A state dict's pickle: contiguous tensors, storage keys "0", "1", ... */
export function stateDict(tensors: ReadonlyMap<string, RawTensor>): Op {
  const items = [...tensors].map(([name, { dtype, shape, bytes }], key): [Py, Py] => {
    const elements = bytes.length / ({ F64: 8, I64: 8, F32: 4, I32: 4, F16: 2, BF16: 2, I16: 2 }[dtype] ?? 1);
    const type = global('torch', STORAGE_TYPES[dtype]!);
    return [name, tensor(storage(String(key), elements, type), 0, shape, stridesOf(shape))];
  });
  // torch's modules attach version numbers to the dict.
  const metadata = dict([['_metadata', dict([['', dict([['version', 1]])]], orderedDict())]]);
  return new Op(dict(items, orderedDict()).bytes, metadata.bytes, 'b');
}

/** The entries of a torch file around any pickle. */
export function torchEntries(
  pkl: Uint8Array,
  storages: readonly Uint8Array[],
  prefix = 'archive',
): ZipInput[] {
  return [
    { name: `${prefix}/data.pkl`, data: pkl },
    { name: `${prefix}/byteorder`, data: Buffer.from('little') },
    ...storages.map((data, key) => ({ name: `${prefix}/data/${key}`, data })),
    { name: `${prefix}/version`, data: Buffer.from('3\n') },
  ];
}

export function torchBytes(tensors: ReadonlyMap<string, BuildTensor>, options?: ZipOptions): Buffer {
  const raw = new Map([...tensors].map(([name, each]) => [name, rawTensor(each)]));
  return zipBytes(
    torchEntries(
      pickle(stateDict(raw)),
      [...raw.values()].map(({ bytes }) => bytes),
    ),
    options,
  );
}
