// safetensors: 8 bytes header length (little-endian), a JSON header, then the tensors' bytes.
// https://github.com/huggingface/safetensors#format; read as strictly as that page words it.
import { CheckpointError, FETCH_AGAIN, quote } from './errors.js';
import type { BoundedFile } from './file.js';
import { MAX_HEADER_BYTES, MAX_TENSOR_ELEMENTS } from './limits.js';
import { HeaderSyntaxError, type HeaderText, scanHeader } from './safetensors-json.js';
import {
  DTYPE_BYTES,
  type Dtype,
  decodeElements,
  elementCount,
  isDtype,
  type SourceTensor,
} from './tensor.js';

/** Bytes of the length in front of the header. */
export const LENGTH_BYTES = 8;

/** Where one tensor lies: bytes [begin, end) counted from the header's `dataStart`. */
export interface TensorInfo {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

/** A header that agrees with the size of its file. */
export interface SafetensorsHeader {
  /** `__metadata__`; empty if there is none. */
  readonly metadata: Map<string, string>;
  /** In the order of the header. */
  readonly tensors: Map<string, TensorInfo>;
  /** Offset in the file of the first data byte. */
  readonly dataStart: number;
}

/**
 * Length of the JSON header, checked against the file.
 *
 * @param bytes at least the first 8 bytes of the file
 * @param fileSize bytes of the whole file
 * @throws CheckpointError `truncated`, `bad-header` or `too-large`
 */
export function safetensorsHeaderLength(bytes: Uint8Array, fileSize: number, file: string): number {
  if (bytes.length < LENGTH_BYTES || fileSize < LENGTH_BYTES)
    throw new CheckpointError(
      'truncated',
      file,
      `it has only ${fileSize} bytes, too few for a header`,
      FETCH_AGAIN,
    );
  const length = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER_BYTES))
    throw new CheckpointError(
      'too-large',
      file,
      `it announces a safetensors header of ${length} bytes, the limit is ${MAX_HEADER_BYTES}`,
      'Check that it is a safetensors file; fetch it again if it is',
    );
  const needed = LENGTH_BYTES + Number(length);
  if (needed > fileSize)
    throw new CheckpointError(
      'truncated',
      file,
      `its header ends at byte ${needed}, the file at ${fileSize}`,
      FETCH_AGAIN,
    );
  return Number(length);
}

/**
 * Parses and checks a whole header: known dtypes, shapes that fit their byte ranges, and ranges that
 * cover the data exactly, without overlap or hole.
 *
 * @param bytes the file from its first byte, at least to the end of the header
 * @param fileSize bytes of the whole file
 * @param file its name, for messages
 * @throws CheckpointError `truncated`, `too-large`, `bad-header`, `bad-tensor` or `unsupported-format`
 */
export function parseSafetensorsHeader(bytes: Uint8Array, fileSize: number, file: string): SafetensorsHeader {
  const dataStart = LENGTH_BYTES + safetensorsHeaderLength(bytes, fileSize, file);
  if (bytes.length < dataStart)
    throw new CheckpointError(
      'truncated',
      file,
      `${bytes.length} bytes were read, its header needs ${dataStart}`,
      FETCH_AGAIN,
    );
  const { metadata, tensors: entries } = headerText(bytes.subarray(LENGTH_BYTES, dataStart), file);
  const tensors = new Map<string, TensorInfo>();
  for (const [name, entry] of entries) {
    const { dtype, shape, begin, end } = entry;
    if (!isDtype(dtype))
      throw new CheckpointError(
        'unsupported-format',
        file,
        `tensor ${quote(name)} has dtype ${quote(dtype)}`,
        `Convert it to one of ${Object.keys(DTYPE_BYTES).join(', ')}`,
      );
    const count = elementCount(shape);
    if (count > MAX_TENSOR_ELEMENTS)
      throw new CheckpointError(
        'too-large',
        file,
        `tensor ${quote(name)} of shape [${shape}] has more than ${MAX_TENSOR_ELEMENTS} elements`,
        'No model this program runs has such a tensor; check the file',
      );
    if (end - begin !== count * DTYPE_BYTES[dtype])
      throw new CheckpointError(
        'bad-tensor',
        file,
        `tensor ${quote(name)} is ${dtype} [${shape}], ${count * DTYPE_BYTES[dtype]} bytes, but its data_offsets are ${begin} to ${end}`,
        FETCH_AGAIN,
      );
    tensors.set(name, { dtype, shape, begin, end });
  }
  checkCoverage(tensors, fileSize - dataStart, file);
  return { metadata, tensors, dataStart };
}

function headerText(bytes: Uint8Array, file: string): HeaderText {
  try {
    // A byte-order mark is not skipped: the first byte must be a brace.
    return scanHeader(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch (cause) {
    if (cause instanceof HeaderSyntaxError)
      throw new CheckpointError(
        cause.tooLarge ? 'too-large' : 'bad-header',
        file,
        cause.message,
        FETCH_AGAIN,
      );
    if (cause instanceof TypeError)
      throw new CheckpointError('bad-header', file, 'its header is not UTF-8', FETCH_AGAIN, { cause });
    throw cause;
  }
}

/** Every data byte belongs to exactly one tensor, so that nothing can hide in a file. */
function checkCoverage(tensors: ReadonlyMap<string, TensorInfo>, dataBytes: number, file: string): void {
  // Empty tensors sort before the one that begins at the same byte.
  const inOrder = [...tensors].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let covered = 0;
  for (const [name, { begin, end }] of inOrder) {
    if (begin !== covered) {
      const what = begin < covered ? 'overlaps another tensor' : 'leaves a hole before it';
      throw new CheckpointError(
        'bad-tensor',
        file,
        `tensor ${quote(name)} at data bytes ${begin} to ${end} ${what} (expected begin ${covered})`,
        FETCH_AGAIN,
      );
    }
    covered = end;
  }
  if (covered > dataBytes)
    throw new CheckpointError(
      'truncated',
      file,
      `its tensors need ${covered} data bytes, the file has ${dataBytes}`,
      FETCH_AGAIN,
    );
  if (covered < dataBytes)
    throw new CheckpointError(
      'bad-header',
      file,
      `${dataBytes - covered} bytes after the last tensor belong to nothing`,
      FETCH_AGAIN,
    );
}

/** Reads and checks the header of an open file. */
export function readSafetensorsHeader(file: BoundedFile): SafetensorsHeader {
  const first = file.read(0, Math.min(LENGTH_BYTES, file.size));
  const length = safetensorsHeaderLength(first, file.size, file.path);
  return parseSafetensorsHeader(file.read(0, LENGTH_BYTES + length), file.size, file.path);
}

/**
 * The tensors of an open safetensors file; values are read when asked for.
 *
 * @throws CheckpointError as parseSafetensorsHeader
 */
export function openSafetensors(file: BoundedFile): Map<string, SourceTensor> {
  const { tensors, dataStart } = readSafetensorsHeader(file);
  const result = new Map<string, SourceTensor>();
  for (const [name, { dtype, shape, begin, end }] of tensors)
    result.set(name, {
      name,
      dtype,
      shape,
      values: () => decodeElements(dtype, file.read(dataStart + begin, end - begin), file.path),
    });
  return result;
}
