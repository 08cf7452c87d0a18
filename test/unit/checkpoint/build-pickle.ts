// Test support: a pickle writer for what torch.save writes, and for what it never would. See build.ts.

/** What the pickle writer can say; `Op` is raw bytes in between. */
export type Py = null | boolean | number | string | readonly Py[] | Op;

export class Op {
  readonly bytes: Buffer;
  constructor(...parts: (number | string | Uint8Array)[]) {
    this.bytes = Buffer.concat(
      parts.map((part) =>
        typeof part === 'number'
          ? Buffer.of(part)
          : typeof part === 'string'
            ? Buffer.from(part)
            : Buffer.from(part),
      ),
    );
  }
}

/** A value in pickle protocol 2; arrays are tuples. */
export function py(value: Py): Buffer {
  if (value instanceof Op) return value.bytes;
  if (value === null) return Buffer.from('N');
  if (typeof value === 'boolean') return Buffer.of(value ? 0x88 : 0x89);
  if (typeof value === 'string') {
    const text = Buffer.from(value);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(text.length);
    return Buffer.concat([Buffer.from('X'), length, text]);
  }
  if (typeof value === 'number') return pyNumber(value);
  return Buffer.concat([Buffer.from('('), ...value.map(py), Buffer.from('t')]);
}

function pyNumber(value: number): Buffer {
  if (Number.isInteger(value) && Math.abs(value) < 2 ** 31) {
    const bytes = Buffer.alloc(5, 'J');
    bytes.writeInt32LE(value, 1);
    return bytes;
  }
  if (Number.isSafeInteger(value)) {
    const bytes = Buffer.alloc(10);
    bytes[0] = 0x8a;
    bytes[1] = 8;
    bytes.writeBigInt64LE(BigInt(value), 2);
    return bytes;
  }
  const bytes = Buffer.alloc(9, 'G');
  bytes.writeDoubleBE(value, 1);
  return bytes;
}

export const global = (module: string, name: string): Op => new Op(`c${module}\n${name}\n`);
export const call = (callable: Op, args: readonly Py[]): Op => new Op(callable.bytes, py(args), 'R');
export const orderedDict = (): Op => new Op(global('collections', 'OrderedDict').bytes, ')R');

/** A dict (or what `make` makes) with these items. */
export function dict(items: readonly (readonly [Py, Py])[], make: Op = new Op('}')): Op {
  return new Op(make.bytes, '(', ...items.flatMap(([key, value]) => [py(key), py(value)]), 'u');
}

export const list = (items: readonly Py[]): Op => new Op('](', ...items.map(py), 'e');

/** torch's persistent id of a storage. */
export function storage(key: Py, elements: Py, type: Py = global('torch', 'FloatStorage')): Op {
  return new Op(py(['storage', type, key, 'cpu', elements]), 'Q');
}

/** A tensor as torch pickles it. */
export function tensor(from: Py, offset: Py, shape: Py, strides: Py, ...more: Py[]): Op {
  return call(global('torch._utils', '_rebuild_tensor_v2'), [
    from,
    offset,
    shape,
    strides,
    false,
    orderedDict(),
    ...more,
  ]);
}

/** A whole pickle. */
export const pickle = (value: Py, protocol = 2): Buffer =>
  Buffer.concat([Buffer.of(0x80, protocol), py(value), Buffer.from('.')]);
