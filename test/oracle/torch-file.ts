/**
 * Writes `pytorch_model.bin` as torch.save(model.state_dict()) of torch 1.13 does, byte for byte: a zip file of
 * stored entries on 64-byte boundaries around a protocol-2 pickle. Readers are tested on files like the real ones.
 */
import { crc32 } from 'node:zlib';
import type { OracleTensor } from './quantisers.js';

/**
 * The file for one state_dict.
 *
 * @param tensors  float32 (FloatStorage) or float64 (DoubleStorage) tensors; those with the same `data` share a storage, as tied weights do
 * @param modules  the module names torch lists in `_metadata`, '' first
 * @param root     the folder inside the zip file: torch takes the file's name without its ending
 */
export function torchSave(
  tensors: Map<string, OracleTensor>,
  modules: string[],
  root = 'pytorch_model',
): Buffer {
  const entries = new Map([[`${root}/data.pkl`, pickleStateDict(tensors, modules)]]);
  const storages = storagesOf(tensors).map((data, i) => ({ key: String(i), data }));
  // torch 1.13 sorts the keys as strings.
  for (const { key, data } of storages.sort((a, b) => (a.key < b.key ? -1 : 1))) {
    entries.set(`${root}/data/${key}`, Buffer.from(data.buffer, data.byteOffset, data.byteLength));
  }
  entries.set(`${root}/version`, Buffer.from('3\n'));
  return zip(entries);
}

/** Every module of BiT's BertForSequenceClassification, in the order torch walks them. */
export function bitModules(layers: number): string[] {
  const linear = (name: string): string[] => [name, `${name}.move`];
  const children = (name: string, parts: string[]): string[] => [
    name,
    ...parts.map((part) => `${name}.${part}`),
  ];
  const layer = (name: string): string[] => {
    const self = `${name}.attention.self`;
    return [
      name,
      `${name}.attention`,
      self,
      ...['query', 'key', 'value'].flatMap((part) => linear(`${self}.${part}`)),
      ...['move_q', 'move_k', 'move_v', 'dropout'].map((part) => `${self}.${part}`),
      `${name}.attention.output`,
      ...linear(`${name}.attention.output.dense`),
      `${name}.attention.output.LayerNorm`,
      `${name}.attention.output.dropout`,
      `${name}.intermediate`,
      ...linear(`${name}.intermediate.dense`),
      `${name}.output`,
      ...linear(`${name}.output.dense`),
      `${name}.output.LayerNorm`,
      `${name}.output.dropout`,
    ];
  };
  return [
    '',
    'bert',
    ...children('bert.embeddings', [
      'word_embeddings',
      'position_embeddings',
      'token_type_embeddings',
      'LayerNorm',
      'dropout',
    ]),
    'bert.encoder',
    'bert.encoder.layer',
    ...Array.from({ length: layers }, (_, l) => layer(`bert.encoder.layer.${l}`)).flat(),
    'bert.pooler',
    ...linear('bert.pooler.dense'),
    'bert.pooler.activation',
    'dropout',
    'classifier',
  ];
}

/** The storages, in the order in which their first tensors come. */
function storagesOf(tensors: Map<string, OracleTensor>): OracleTensor['data'][] {
  return [...new Set([...tensors.values()].map(({ data }) => data))];
}

function pickleStateDict(tensors: Map<string, OracleTensor>, modules: string[]): Buffer {
  const pickle = new Pickle();
  const keys = new Map(storagesOf(tensors).map((data, i) => [data, String(i)]));
  pickle.emptyOrderedDict();
  pickle.items([...tensors], ([name, { shape, data }]) => {
    pickle.text(name);
    pickle.shared('global:rebuild', () => pickle.global('torch._utils', '_rebuild_tensor_v2'));
    pickle.op('(');
    const storage = data instanceof Float32Array ? 'FloatStorage' : 'DoubleStorage';
    pickle.op('(');
    pickle.shared('storage', () => pickle.string('storage'));
    pickle.shared(`global:${storage}`, () => pickle.global('torch', storage));
    const key = keys.get(data)!;
    pickle.shared(`key:${key}`, () => pickle.string(key));
    pickle.shared('cpu', () => pickle.string('cpu'));
    pickle.integer(data.length);
    pickle.op('t').remember().op('Q');
    pickle.integer(0); // offset in the storage
    pickle.tuple(shape);
    pickle.tuple(shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1)));
    pickle.op('\x89'); // requires_grad
    pickle.emptyOrderedDict(); // backward hooks
    pickle.op('t').remember().op('R').remember();
  });
  pickle.op('}').remember();
  pickle.text('_metadata');
  pickle.emptyOrderedDict();
  pickle.items(modules, (name) => {
    pickle.text(name);
    pickle.op('}').remember();
    pickle.shared('version', () => pickle.string('version'));
    pickle.integer(1);
    pickle.op('s');
  });
  pickle.op('s').op('b').op('.');
  return pickle.bytes();
}

/** Protocol-2 opcodes in the order of CPython's pickler, which numbers every object it may meet again. */
class Pickle {
  readonly #parts: Buffer[] = [Buffer.from([0x80, 2])];
  readonly #known = new Map<string, number>();
  #remembered = 0;

  bytes(): Buffer {
    return Buffer.concat(this.#parts);
  }

  op(code: string): this {
    this.#parts.push(Buffer.from(code, 'latin1'));
    return this;
  }

  /** Gives the object on top of the stack the next number: BINPUT or LONG_BINPUT. */
  remember(): this {
    return this.#numbered('q', 'r', this.#remembered++);
  }

  /** Writes and remembers an object the first time, refers to it afterwards: BINGET or LONG_BINGET. */
  shared(identity: string, write: () => void): void {
    const known = this.#known.get(identity);
    if (known !== undefined) {
      this.#numbered('h', 'j', known);
      return;
    }
    this.#known.set(identity, this.#remembered);
    write();
    this.remember();
  }

  string(value: string): this {
    const bytes = Buffer.from(value);
    this.#parts.push(unsigned('X', bytes.length, 4), bytes);
    return this;
  }

  /** A string that occurs once. */
  text(value: string): void {
    this.string(value).remember();
  }

  global(module: string, name: string): void {
    this.op(`c${module}\n${name}\n`);
  }

  emptyOrderedDict(): void {
    this.shared('global:OrderedDict', () => this.global('collections', 'OrderedDict'));
    this.op(')R').remember();
  }

  integer(value: number): void {
    if (value < 0x100) this.#parts.push(unsigned('K', value, 1));
    else if (value < 0x10000) this.#parts.push(unsigned('M', value, 2));
    else this.#parts.push(unsigned('J', value, 4));
  }

  /** A tuple of whole numbers; the empty one is a constant of its own and not remembered. */
  tuple(values: number[]): void {
    if (values.length === 0) {
      this.op(')');
      return;
    }
    if (values.length > 3) this.op('(');
    for (const value of values) this.integer(value);
    this.op(['', '\x85', '\x86', '\x87'][values.length] ?? 't').remember();
  }

  /** Items of a dictionary: SETITEMS in batches of 1000, SETITEM for a batch of one. */
  items<T>(values: T[], write: (value: T, index: number) => void): void {
    for (let from = 0; from < values.length; from += 1000) {
      const batch = values.slice(from, from + 1000);
      if (batch.length > 1) this.op('(');
      for (const [i, value] of batch.entries()) write(value, from + i);
      this.op(batch.length > 1 ? 'u' : 's');
    }
  }

  #numbered(short: string, long: string, number: number): this {
    this.#parts.push(number < 0x100 ? unsigned(short, number, 1) : unsigned(long, number, 4));
    return this;
  }
}

function unsigned(opcode: string, value: number, bytes: number): Buffer {
  const buffer = Buffer.alloc(1 + bytes);
  buffer.write(opcode, 'latin1');
  buffer.writeUIntLE(value, 1, bytes);
  return buffer;
}

/** "Bit 3: sizes follow the data" and "bit 11: names are UTF-8"; what torch's writer sets. */
const FLAGS = 0x0808;
const ALIGNMENT = 64;

function zip(entries: Map<string, Buffer>): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  for (const [name, data] of entries) {
    const nameBytes = Buffer.from(name);
    const sum = crc32(data);
    // torch pads with an extra field 'FB' so that the data starts on a multiple of 64.
    const unpadded = at + 30 + nameBytes.length + 4;
    const padding = (ALIGNMENT - (unpadded % ALIGNMENT)) % ALIGNMENT;
    const extra = Buffer.alloc(4 + padding, 'Z');
    extra.write('FB', 'latin1');
    extra.writeUInt16LE(padding, 2);
    const local = record(30, {
      0: [0x04034b50, 4],
      6: [FLAGS, 2],
      26: [nameBytes.length, 2],
      28: [extra.length, 2],
    });
    const descriptor = record(16, {
      0: [0x08074b50, 4],
      4: [sum, 4],
      8: [data.length, 4],
      12: [data.length, 4],
    });
    parts.push(local, nameBytes, extra, data, descriptor);
    directory.push(
      record(46, {
        0: [0x02014b50, 4],
        8: [FLAGS, 2],
        16: [sum, 4],
        20: [data.length, 4],
        24: [data.length, 4],
        28: [nameBytes.length, 2],
        42: [at, 4],
      }),
      nameBytes,
    );
    at = unpadded + padding + data.length + descriptor.length;
  }
  const length = directory.reduce((sum, part) => sum + part.length, 0);
  const count = entries.size;
  // torch always writes the 64-bit end records too.
  const end64 = record(56, {
    0: [0x06064b50, 4],
    4: [44, 6],
    12: [0x031e, 2],
    14: [45, 2],
    24: [count, 6],
    32: [count, 6],
    40: [length, 6],
    48: [at, 6],
  });
  const locator = record(20, { 0: [0x07064b50, 4], 8: [at + length, 6], 16: [1, 4] });
  const end = record(22, { 0: [0x06054b50, 4], 8: [count, 2], 10: [count, 2], 12: [length, 4], 16: [at, 4] });
  return Buffer.concat([...parts, ...directory, end64, locator, end]);
}

/** A record of `size` zero bytes with little-endian [value, bytes] at the given offsets. */
function record(size: number, fields: Record<number, [number, number]>): Buffer {
  const buffer = Buffer.alloc(size);
  for (const [at, [value, bytes]] of Object.entries(fields)) buffer.writeUIntLE(value, Number(at), bytes);
  return buffer;
}
