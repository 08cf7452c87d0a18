// What a restricted pickle can hold: scalars, plain containers, and references to tensors.
import type { CheckpointErrorCode } from './errors.js';
import type { Dtype } from './tensor.js';

/**
 * A Python value. Tuples are arrays, dicts are Maps (never objects: a key may be `__proto__`), integers
 * are numbers where exact and bigints beyond. Values may be shared or contain themselves: never walk
 * them recursively.
 */
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | readonly PickleValue[]
  | PickleList
  | Map<PickleValue, PickleValue>
  | Set<PickleValue>
  | AllowedGlobal
  | StorageRef
  | TensorRef;

/** A Python list; a class of its own because tuples are arrays. */
export class PickleList {
  readonly items: PickleValue[] = [];
}

/** collections.OrderedDict; told from a dict because only it may carry attributes (`_metadata`). */
export class OrderedDict extends Map<PickleValue, PickleValue> {}

/** frozenset; complete when made. */
export class FrozenSet extends Set<PickleValue> {}

/** A name on the allow-list: a storage type, or a constructor with its own implementation here. */
export class AllowedGlobal {
  readonly name: string;
  /** Element type, if this is a storage type. */
  readonly dtype: Dtype | undefined;
  /** What REDUCE does, if this can be called. */
  readonly call: ((args: readonly PickleValue[]) => PickleValue) | undefined;

  constructor(name: string, dtype: Dtype | undefined, call?: (args: readonly PickleValue[]) => PickleValue) {
    this.name = name;
    this.dtype = dtype;
    this.call = call;
  }
}

/** A storage named by the pickle; its bytes are another entry of the zip. */
export class StorageRef {
  /** Name of the entry after `data/`. */
  readonly key: string;
  readonly dtype: Dtype;
  readonly elements: number;

  constructor(key: string, dtype: Dtype, elements: number) {
    this.key = key;
    this.dtype = dtype;
    this.elements = elements;
  }
}

/** A strided view of a storage; checked to lie inside of it. All in elements. */
export class TensorRef {
  readonly storage: StorageRef;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];

  constructor(storage: StorageRef, offset: number, shape: readonly number[], strides: readonly number[]) {
    this.storage = storage;
    this.offset = offset;
    this.shape = shape;
    this.strides = strides;
  }
}

/** A refusal inside a pickle; unpickle() adds the file and the position. */
export class PickleProblem extends Error {
  readonly code: CheckpointErrorCode;
  /** Overrides the general advice for the code. */
  readonly fix: string | undefined;

  constructor(code: CheckpointErrorCode, what: string, fix?: string) {
    super(what);
    this.code = code;
    this.fix = fix;
  }
}

/** Python's word for the type of a value, for messages. */
export function typeName(value: PickleValue): string {
  if (value === null) return 'None';
  if (Array.isArray(value)) return 'tuple';
  if (value instanceof PickleList) return 'list';
  if (value instanceof OrderedDict) return 'OrderedDict';
  if (value instanceof Map) return 'dict';
  if (value instanceof Set) return 'set';
  if (value instanceof Uint8Array) return 'bytes';
  if (value instanceof AllowedGlobal) return value.name;
  if (value instanceof StorageRef) return 'storage';
  if (value instanceof TensorRef) return 'tensor';
  return { boolean: 'bool', number: 'number', bigint: 'int', string: 'str' }[typeof value as 'string'];
}
