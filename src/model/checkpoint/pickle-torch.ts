// The only things a pickle may ask for by name, each with an implementation of its own here: nothing is
// ever looked up in the program or the system. Semantics: torch/_utils.py and torch/serialization.py.
import { quote } from './errors.js';
import { MAX_EXPANDED_ELEMENTS, MAX_FILE_BYTES, MAX_RANK, MAX_TENSOR_ELEMENTS } from './limits.js';
import {
  AllowedGlobal,
  OrderedDict,
  PickleProblem,
  type PickleValue,
  StorageRef,
  TensorRef,
  typeName,
} from './pickle-values.js';
import { spanOf } from './strides.js';
import { type Dtype, elementCount } from './tensor.js';

const STORAGE_DTYPES: Readonly<Record<string, Dtype>> = {
  DoubleStorage: 'F64',
  FloatStorage: 'F32',
  HalfStorage: 'F16',
  BFloat16Storage: 'BF16',
  LongStorage: 'I64',
  IntStorage: 'I32',
  ShortStorage: 'I16',
  CharStorage: 'I8',
  ByteStorage: 'U8',
  BoolStorage: 'BOOL',
};

/** Keys are "module name", as GLOBAL spells them. */
const ALLOWED: ReadonlyMap<string, AllowedGlobal> = new Map(
  [
    new AllowedGlobal('collections OrderedDict', undefined, orderedDict),
    new AllowedGlobal('torch Size', undefined, size),
    new AllowedGlobal('torch._utils _rebuild_tensor_v2', undefined, rebuildTensor),
    new AllowedGlobal('torch._utils _rebuild_parameter', undefined, rebuildParameter),
    ...Object.entries(STORAGE_DTYPES).map(([type, dtype]) => new AllowedGlobal(`torch ${type}`, dtype)),
  ].map((global) => [global.name, global]),
);

/**
 * The allow-list.
 *
 * @throws PickleProblem `forbidden-pickle` that names everything else
 */
export function allowedGlobal(module: string, name: string): AllowedGlobal {
  const global = ALLOWED.get(`${module} ${name}`);
  if (global === undefined)
    throw new PickleProblem(
      'forbidden-pickle',
      `it asks for ${quote(`${module}.${name}`)}, which is not a tensor or a plain container`,
    );
  return global;
}

/**
 * BINPERSID: torch names storages ('storage', type, key, location, elements). The location (cpu, cuda:0)
 * says where the writer had it and does not matter.
 */
export function persistentStorage(id: PickleValue): StorageRef {
  if (!Array.isArray(id) || id.length !== 5 || id[0] !== 'storage')
    throw new PickleProblem('bad-pickle', 'it names a storage in a way torch does not write');
  const [, type, key, location, elements] = id as readonly PickleValue[];
  if (!(type instanceof AllowedGlobal) || type.dtype === undefined)
    throw new PickleProblem('bad-pickle', `a storage has ${typeName(type ?? null)} for its type`);
  if (typeof key !== 'string' || typeof location !== 'string')
    throw new PickleProblem('bad-pickle', 'the key or location of a storage is not a string');
  const count = integer(elements);
  if (count === undefined || count > MAX_FILE_BYTES)
    throw new PickleProblem('bad-tensor', `storage ${quote(key)} has an impossible number of elements`);
  return new StorageRef(key, type.dtype, count);
}

/** OrderedDict(): always empty, items follow as SETITEMS. */
function orderedDict(args: readonly PickleValue[]): PickleValue {
  if (args.length > 0)
    throw new PickleProblem(
      'bad-pickle',
      'an OrderedDict is made with arguments, which Python 3 does not write',
    );
  return new OrderedDict();
}

/** torch.Size((a, b, ...)): a tuple. */
function size(args: readonly PickleValue[]): PickleValue {
  const [dimensions] = args;
  if (args.length !== 1 || !Array.isArray(dimensions))
    throw new PickleProblem('bad-pickle', 'a torch.Size is not made from one tuple');
  return dimensions as readonly PickleValue[];
}

/** _rebuild_parameter(tensor, requires_grad, backward_hooks): the tensor. */
function rebuildParameter(args: readonly PickleValue[]): PickleValue {
  const [tensor] = args;
  if (args.length !== 3 || !(tensor instanceof TensorRef))
    throw new PickleProblem('bad-pickle', 'a parameter is not made from a tensor');
  return tensor;
}

/** _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, backward_hooks[, metadata]). */
function rebuildTensor(args: readonly PickleValue[]): PickleValue {
  const [storage, offset, shape, strides] = args;
  if ((args.length !== 6 && args.length !== 7) || !(storage instanceof StorageRef))
    throw new PickleProblem('bad-pickle', 'a tensor is not made from a storage');
  const where = `a tensor in storage ${quote(storage.key)}`;
  const metadata = args[6] ?? null;
  // {'neg': True} and {'conj': True} mean that the stored values are not the tensor's values.
  if (metadata !== null && !(metadata instanceof Map && metadata.size === 0))
    throw new PickleProblem(
      'unsupported-format',
      `${where} has view flags (negated or conjugated)`,
      'Save it after tensor.resolve_neg()',
    );
  const first = integer(offset);
  const dimensions = integers(shape);
  const steps = integers(strides);
  if (first === undefined || dimensions === undefined || steps === undefined)
    throw new PickleProblem(
      'bad-tensor',
      `${where} has an offset, shape or stride that is not a whole number from 0`,
    );
  if (dimensions.length !== steps.length || dimensions.length > MAX_RANK)
    throw new PickleProblem(
      'bad-tensor',
      `${where} has ${dimensions.length} dimensions and ${steps.length} strides, at most ${MAX_RANK} of each are possible`,
    );
  checkExtent(where, storage.elements, first, dimensions, steps);
  return new TensorRef(storage, first, dimensions, steps);
}

/** Every element of the view must lie in the storage, and the view must not be a bomb. */
function checkExtent(
  where: string,
  elements: number,
  offset: number,
  shape: readonly number[],
  strides: readonly number[],
): void {
  const count = elementCount(shape);
  if (count > MAX_TENSOR_ELEMENTS)
    throw new PickleProblem(
      'too-large',
      `${where} of shape [${shape}] has more than ${MAX_TENSOR_ELEMENTS} elements`,
    );
  if (count > Math.max(elements, MAX_EXPANDED_ELEMENTS))
    throw new PickleProblem(
      'too-large',
      `${where} of shape [${shape}] is larger than its storage of ${elements}`,
      'Save it after tensor.contiguous()',
    );
  // Sums and products above 2^53 are inexact, but certainly above any storage: all terms are positive.
  const span = spanOf(shape, strides);
  if (offset + span > elements)
    throw new PickleProblem(
      'bad-tensor',
      `${where} of ${elements} elements reaches outside: offset ${offset}, shape [${shape}], strides [${strides}]`,
    );
  if (span > MAX_TENSOR_ELEMENTS)
    throw new PickleProblem(
      'too-large',
      `${where} is spread over ${span} elements, the limit is ${MAX_TENSOR_ELEMENTS}`,
      'Save it after tensor.clone().contiguous()',
    );
}

/** A whole number from 0 that is exact, or undefined. Python's 3.0 and 3 look the same here; -0.0 is refused. */
function integer(value: PickleValue | undefined): number | undefined {
  return Number.isSafeInteger(value) && (value as number) >= 0 && !Object.is(value, -0)
    ? (value as number)
    : undefined;
}

function integers(value: PickleValue | undefined): readonly number[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const numbers = value as readonly PickleValue[];
  return numbers.every((each) => integer(each) !== undefined) ? (numbers as readonly number[]) : undefined;
}
