/**
 * A small reader of `config.json` and `pytorch_model.bin` for the oracle alone, so that the importer under test is
 * not what feeds it. It trusts its input: tests read files that tests, or the official code, wrote.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { OracleTensor } from './quantisers.js';

export interface LoadedCheckpoint {
  config: Record<string, unknown>;
  tensors: Map<string, OracleTensor>;
}

/** Reads a checkpoint folder. Throws on anything but stored zip entries and contiguous float tensors. */
export function loadTensors(folder: string): LoadedCheckpoint {
  const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as Record<string, unknown>;
  return { config, tensors: readStateDict(readFileSync(join(folder, 'pytorch_model.bin'))) };
}

/** The tensors of a zip-format `torch.save(state_dict)`, in the file's order. */
export function readStateDict(file: Buffer): Map<string, OracleTensor> {
  const entries = readZip(file);
  const pickle = [...entries.keys()].find((name) => name.endsWith('/data.pkl'));
  if (pickle === undefined) throw new Error('oracle: no data.pkl in the zip file');
  const root = pickle.slice(0, -'data.pkl'.length);
  const state = new PickleMachine(entries.get(pickle)!, (key, type) =>
    storage(entries, `${root}data/${key}`, type),
  );
  const tensors = new Map<string, OracleTensor>();
  for (const [name, tensor] of state.run() as Map<string, OracleTensor>) tensors.set(name, tensor);
  return tensors;
}

function readZip(file: Buffer): Map<string, Buffer> {
  const end = file.lastIndexOf('PK\x05\x06', undefined, 'latin1');
  if (end < 0) throw new Error('oracle: not a zip file');
  const count = file.readUInt16LE(end + 10);
  let at = file.readUInt32LE(end + 16);
  const entries = new Map<string, Buffer>();
  for (let i = 0; i < count; i++) {
    if (file.readUInt32LE(at) !== 0x02014b50) throw new Error(`oracle: no central directory record at ${at}`);
    if (file.readUInt16LE(at + 10) !== 0) throw new Error('oracle: compressed zip entry');
    const size = file.readUInt32LE(at + 24);
    const nameLength = file.readUInt16LE(at + 28);
    const name = file.toString('utf8', at + 46, at + 46 + nameLength);
    const local = file.readUInt32LE(at + 42);
    const data = local + 30 + file.readUInt16LE(local + 26) + file.readUInt16LE(local + 28);
    entries.set(name, file.subarray(data, data + size));
    at += 46 + nameLength + file.readUInt16LE(at + 30) + file.readUInt16LE(at + 32);
  }
  return entries;
}

type FloatArray = Float32Array | Float64Array;

function storage(entries: Map<string, Buffer>, name: string, type: unknown): FloatArray {
  const bytes = entries.get(name);
  if (bytes === undefined) throw new Error(`oracle: the zip file has no ${name}`);
  const copy = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer;
  if (type === 'torch.FloatStorage') return new Float32Array(copy);
  if (type === 'torch.DoubleStorage') return new Float64Array(copy);
  throw new Error(`oracle: storage type ${String(type)}`);
}

const MARK = Symbol('mark');

/** The opcodes torch.save uses at protocol 2. A dictionary is a Map, a tuple an array, a global its dotted name. */
class PickleMachine {
  readonly #code: Buffer;
  readonly #load: (key: string, type: unknown) => FloatArray;
  readonly #stack: unknown[] = [];
  readonly #memo = new Map<number, unknown>();
  #at = 0;

  constructor(code: Buffer, load: (key: string, type: unknown) => FloatArray) {
    this.#code = code;
    this.#load = load;
  }

  run(): unknown {
    for (;;) {
      const opcode = String.fromCharCode(this.#code[this.#at]!);
      this.#at++;
      if (opcode === '.') return this.#stack.pop();
      this.#step(opcode);
    }
  }

  #step(opcode: string): void {
    const stack = this.#stack;
    switch (opcode) {
      case '\x80': // PROTO
        this.#at++;
        return;
      case 'c': // GLOBAL
        stack.push(`${this.#line()}.${this.#line()}`);
        return;
      case '(': // MARK
        stack.push(MARK);
        return;
      case 'X': // BINUNICODE
        stack.push(this.#text(this.#number(4)));
        return;
      case 'K': // BININT1
        stack.push(this.#number(1));
        return;
      case 'M': // BININT2
        stack.push(this.#number(2));
        return;
      case 'J': // BININT
        stack.push(this.#number(4) | 0);
        return;
      case '\x89': // NEWFALSE
        stack.push(false);
        return;
      case '\x88': // NEWTRUE
        stack.push(true);
        return;
      case ')': // EMPTY_TUPLE
        stack.push([]);
        return;
      case '\x85': // TUPLE1
      case '\x86': // TUPLE2
      case '\x87': // TUPLE3
        stack.push(stack.splice(-(opcode.charCodeAt(0) - 0x84)));
        return;
      case 't': // TUPLE
        stack.push(this.#sinceMark());
        return;
      case '}': // EMPTY_DICT
        stack.push(new Map());
        return;
      case 'q': // BINPUT
        this.#memo.set(this.#number(1), stack.at(-1));
        return;
      case 'r': // LONG_BINPUT
        this.#memo.set(this.#number(4), stack.at(-1));
        return;
      case 'h': // BINGET
        stack.push(this.#memo.get(this.#number(1)));
        return;
      case 'j': // LONG_BINGET
        stack.push(this.#memo.get(this.#number(4)));
        return;
      case 's': // SETITEM
        this.#setItems(stack.splice(-2));
        return;
      case 'u': // SETITEMS
        this.#setItems(this.#sinceMark());
        return;
      case 'Q': // BINPERSID
        stack.push(this.#persistent(stack.pop() as unknown[]));
        return;
      case 'R': // REDUCE
        this.#reduce();
        return;
      case 'b': // BUILD: the state_dict's _metadata attribute, of no use here
        stack.pop();
        return;
      default:
        throw new Error(`oracle: pickle opcode ${JSON.stringify(opcode)} at ${this.#at - 1}`);
    }
  }

  #persistent(id: unknown[]): FloatArray {
    const [, type, key] = id;
    return this.#load(key as string, type);
  }

  #reduce(): void {
    const args = this.#stack.pop() as unknown[];
    const callee = this.#stack.pop();
    if (callee === 'collections.OrderedDict') this.#stack.push(new Map());
    else if (callee === 'torch._utils._rebuild_tensor_v2') this.#stack.push(rebuildTensor(args));
    else throw new Error(`oracle: pickle calls ${String(callee)}`);
  }

  #setItems(items: unknown[]): void {
    const target = this.#stack.at(-1) as Map<unknown, unknown>;
    for (let i = 0; i < items.length; i += 2) target.set(items[i], items[i + 1]);
  }

  #sinceMark(): unknown[] {
    const items = this.#stack.splice(this.#stack.lastIndexOf(MARK));
    return items.slice(1);
  }

  #number(bytes: number): number {
    this.#at += bytes;
    return this.#code.readUIntLE(this.#at - bytes, bytes);
  }

  #text(bytes: number): string {
    this.#at += bytes;
    return this.#code.toString('utf8', this.#at - bytes, this.#at);
  }

  #line(): string {
    const text = this.#text(this.#code.indexOf('\n', this.#at) - this.#at);
    this.#at++;
    return text;
  }
}

function rebuildTensor(args: unknown[]): OracleTensor {
  const [values, offset, shape, strides] = args as [FloatArray, number, number[], number[]];
  const rowMajor = shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
  if (strides.join() !== rowMajor.join()) throw new Error(`oracle: tensor with strides [${strides}]`);
  const count = shape.reduce((a, b) => a * b, 1);
  return { shape, data: values.subarray(offset, offset + count) };
}
