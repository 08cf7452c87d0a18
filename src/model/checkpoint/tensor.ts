// One tensor of a checkpoint, whatever file it comes from, and the conversion of its bytes to numbers.
import { CheckpointError } from './errors.js';
import { MAX_TENSOR_ELEMENTS } from './limits.js';

/** Element types, in safetensors' names. */
export type Dtype = 'F64' | 'F32' | 'F16' | 'BF16' | 'I64' | 'I32' | 'I16' | 'I8' | 'U8' | 'BOOL';

/** Bytes of one element. */
export const DTYPE_BYTES: Readonly<Record<Dtype, number>> = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
};

/** Whether `text` names an element type of this reader. */
export function isDtype(text: string): text is Dtype {
  return Object.hasOwn(DTYPE_BYTES, text);
}

/** A named tensor whose values are read when asked for. */
export interface SourceTensor {
  /** As in the checkpoint. */
  readonly name: string;
  readonly dtype: Dtype;
  /** Row-major dimensions; `[]` is a scalar with one element. */
  readonly shape: readonly number[];
  /**
   * All elements, row-major and contiguous, in a new array of the caller's own. F32, F16 and BF16 give a
   * Float32Array with exactly the stored values; F64 a Float64Array; integers and BOOL (0 or 1) a
   * Float64Array (I64 beyond 2^53 is rounded). NaN and infinities are passed on.
   *
   * Reads the file on every call: keep the result if it is needed twice.
   *
   * @throws CheckpointError `closed`, `truncated`, `bad-crc`, `corrupt-zip`, `unreadable` or `too-large`
   */
  values(): Float32Array | Float64Array;
}

/**
 * Number of elements of a shape of non-negative integers; Infinity if it is above MAX_TENSOR_ELEMENTS,
 * so that the product is never inexact. Any dimension 0 gives 0.
 */
export function elementCount(shape: readonly number[]): number {
  if (shape.includes(0)) return 0;
  let count = 1;
  for (const dimension of shape) {
    if (dimension > MAX_TENSOR_ELEMENTS / count) return Number.POSITIVE_INFINITY;
    count *= dimension;
  }
  return count;
}

/** Runs an allocation; running out of memory becomes an error that says so. */
export function allocating<T>(file: string, bytes: number, allocate: () => T): T {
  try {
    return allocate();
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new CheckpointError(
      'too-large',
      file,
      `there is no memory for up to ${bytes} bytes of it`,
      'Use a machine with more memory, or a smaller model',
      { cause },
    );
  }
}

/**
 * Little-endian elements to numbers. `bytes` must be the caller's own: floats are viewed in place where
 * possible, not copied. Both processor families of this project are little-endian.
 *
 * @param bytes whole elements, in a buffer that is used for nothing else
 * @param file where they come from, for messages
 */
export function decodeElements(
  dtype: Dtype,
  bytes: Uint8Array<ArrayBuffer>,
  file: string,
): Float32Array | Float64Array {
  // No dtype grows by more than eight times (U8 to float64).
  return allocating(file, bytes.length * 8, () => decode(dtype, bytes));
}

function decode(dtype: Dtype, bytes: Uint8Array<ArrayBuffer>): Float32Array | Float64Array {
  const count = bytes.length / DTYPE_BYTES[dtype];
  const { buffer, byteOffset: at } = aligned(bytes);
  switch (dtype) {
    case 'F64':
      return new Float64Array(buffer, at, count);
    case 'F32':
      return new Float32Array(buffer, at, count);
    case 'F16':
      return fromHalf(new Uint16Array(buffer, at, count));
    case 'BF16':
      return fromBfloat(new Uint16Array(buffer, at, count));
    case 'I64':
      return fromBigints(new BigInt64Array(buffer, at, count));
    case 'I32':
      return new Float64Array(new Int32Array(buffer, at, count));
    case 'I16':
      return new Float64Array(new Int16Array(buffer, at, count));
    case 'I8':
      return new Float64Array(new Int8Array(buffer, at, count));
    case 'U8':
      return new Float64Array(bytes);
    case 'BOOL':
      return fromBooleans(bytes);
  }
}

/** Typed arrays want their offset aligned to the element; 8 suits all of them. */
function aligned(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return bytes.byteOffset % 8 === 0 ? bytes : new Uint8Array(bytes);
}

// Plain loops: TypedArray.from would first collect everything into a list.

function fromBigints(source: BigInt64Array): Float64Array {
  const result = new Float64Array(source.length);
  for (let i = 0; i < source.length; i++) result[i] = Number(source[i]);
  return result;
}

function fromBooleans(source: Uint8Array): Float64Array {
  const result = new Float64Array(source.length);
  for (let i = 0; i < source.length; i++) result[i] = source[i] === 0 ? 0 : 1;
  return result;
}

/** bfloat16 is the upper half of a float32. */
function fromBfloat(source: Uint16Array): Float32Array {
  const bits = new Uint32Array(source.length);
  for (let i = 0; i < source.length; i++) bits[i] = source[i]! << 16;
  return new Float32Array(bits.buffer);
}

/** IEEE 754 binary16: 1 sign bit, 5 exponent bits (bias 15), 10 fraction bits. Every value is a float32. */
function fromHalf(source: Uint16Array): Float32Array {
  const result = new Float32Array(source.length);
  for (let i = 0; i < source.length; i++) {
    const half = source[i]!;
    const sign = half & 0x8000 ? -1 : 1;
    const exponent = (half >> 10) & 0x1f;
    const fraction = half & 0x3ff;
    if (exponent === 0) result[i] = sign * fraction * 2 ** -24;
    else if (exponent === 31) result[i] = fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
    else result[i] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }
  return result;
}
