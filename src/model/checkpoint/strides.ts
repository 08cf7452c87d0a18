// Strided views: torch stores a transposed or sliced tensor as its storage and a way to walk it.
import { allocating, elementCount } from './tensor.js';

/**
 * Elements from the first to the last that a view touches; 0 for an empty view.
 *
 * @param shape dimensions
 * @param strides elements to the next one along each dimension, not negative
 */
export function spanOf(shape: readonly number[], strides: readonly number[]): number {
  if (shape.includes(0)) return 0;
  return shape.reduce((span, dimension, axis) => span + (dimension - 1) * strides[axis]!, 1);
}

/** Whether walking row-major touches every element in turn. The stride of a dimension 1 does not matter. */
export function isContiguous(shape: readonly number[], strides: readonly number[]): boolean {
  let expected = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && strides[axis] !== expected) return false;
    expected *= shape[axis]!;
  }
  return true;
}

/**
 * The elements of a view in row-major order: `span` itself if it is in that order, else a new array.
 *
 * @param span elements that the view touches, see spanOf
 * @param file where they come from, for messages
 */
export function gatherStrided<T extends Float32Array | Float64Array>(
  span: T,
  shape: readonly number[],
  strides: readonly number[],
  file: string,
): T {
  const count = elementCount(shape);
  if (count === 0 || isContiguous(shape, strides)) return span;
  const make = span.constructor as new (length: number) => T;
  const result = allocating(file, count * span.BYTES_PER_ELEMENT, () => new make(count));
  const inner = shape.length - 1;
  const columns = shape[inner]!;
  const step = strides[inner]!;
  // An odometer over all dimensions but the last, which is a plain loop.
  const index = new Array<number>(inner).fill(0);
  let row = 0;
  for (let out = 0; out < count; ) {
    for (let column = 0; column < columns; column++) result[out++] = span[row + column * step]!;
    for (let axis = inner - 1; axis >= 0; axis--) {
      row += strides[axis]!;
      index[axis] = index[axis]! + 1;
      if (index[axis]! < shape[axis]!) break;
      row -= shape[axis]! * strides[axis]!;
      index[axis] = 0;
    }
  }
  return result;
}
