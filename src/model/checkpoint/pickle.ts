// A pickle machine that can build tensors and plain containers and nothing else. A pickle is a program;
// this executes the part of its instruction set that torch.save(state_dict) and plain containers need,
// with names resolved by an allow-list (pickle-torch.ts). There is no recursion and every resource is
// counted, so time and memory are linear in the size of the input.
import { CheckpointError, type CheckpointErrorCode, FETCH_AGAIN } from './errors.js';
import {
  MAX_PICKLE_BYTES,
  MAX_PICKLE_CONTAINERS,
  MAX_PICKLE_MARKS,
  MAX_PICKLE_MEMO,
  MAX_PICKLE_OPS,
  MAX_PICKLE_STACK,
} from './limits.js';
import { PickleInput } from './pickle-input.js';
import { FORBIDDEN, OP } from './pickle-opcodes.js';
import { allowedGlobal, persistentStorage } from './pickle-torch.js';
import {
  AllowedGlobal,
  FrozenSet,
  OrderedDict,
  PickleList,
  PickleProblem,
  type PickleValue,
  typeName,
} from './pickle-values.js';

const FIXES: Partial<Record<CheckpointErrorCode, string>> = {
  'forbidden-pickle':
    'Save only the weights, torch.save(model.state_dict(), file), or convert them to safetensors; such a file could run any program where it is loaded',
  'too-large': 'No real checkpoint needs this; get it from a source you trust',
};

/**
 * Executes a pickle of protocol 2 to 5.
 *
 * @param bytes the whole pickle
 * @param file where it comes from, for messages
 * @returns its value; may contain itself, see PickleValue
 * @throws CheckpointError `forbidden-pickle`, `bad-pickle`, `bad-tensor`, `too-large` or `unsupported-format`
 */
export function unpickle(bytes: Uint8Array, file: string): PickleValue {
  if (bytes.length > MAX_PICKLE_BYTES)
    throw new CheckpointError(
      'too-large',
      file,
      `its pickle has ${bytes.length} bytes, the limit is ${MAX_PICKLE_BYTES}`,
      FIXES['too-large']!,
    );
  const machine = new PickleMachine(bytes);
  try {
    return machine.run();
  } catch (error) {
    if (!(error instanceof PickleProblem)) throw error;
    throw new CheckpointError(
      error.code,
      file,
      `its pickle is refused: ${error.message} (at byte ${machine.position})`,
      error.fix ?? FIXES[error.code] ?? FETCH_AGAIN,
    );
  }
}

class PickleMachine {
  readonly #input: PickleInput;
  readonly #stack: PickleValue[] = [];
  /** Stack heights at the open marks. */
  readonly #marks: number[] = [];
  /** Map and not array: an index may be any 32-bit number. */
  readonly #memo = new Map<number, PickleValue>();
  #containers = 0;
  /** Offset of the current opcode. */
  position = 0;

  constructor(bytes: Uint8Array) {
    this.#input = new PickleInput(bytes);
  }

  run(): PickleValue {
    if (this.#input.u8() !== OP.PROTO)
      throw new PickleProblem('bad-pickle', 'it does not begin with a protocol');
    const protocol = this.#input.u8();
    if (protocol < 2 || protocol > 5)
      throw new PickleProblem('bad-pickle', `its protocol is ${protocol}, not 2 to 5`);
    const instructions = this.#instructions();
    for (let ops = 0; ops < MAX_PICKLE_OPS; ops++) {
      this.position = this.#input.position;
      const op = this.#input.u8();
      if (op === OP.STOP) return this.#result();
      const execute = instructions.get(op);
      if (execute === undefined) throw refusal(op);
      execute();
      if (this.#stack.length > MAX_PICKLE_STACK)
        throw new PickleProblem('too-large', `it stacks more than ${MAX_PICKLE_STACK} values`);
    }
    throw new PickleProblem('too-large', `it has more than ${MAX_PICKLE_OPS} opcodes`);
  }

  #result(): PickleValue {
    const value = this.#pop();
    if (this.#stack.length > 0 || this.#marks.length > 0)
      throw new PickleProblem('bad-pickle', 'it stops in the middle of a value');
    if (!this.#input.ended) throw new PickleProblem('bad-pickle', 'bytes follow its end');
    return value;
  }

  /** What each opcode does; one that is not here is refused. */
  #instructions(): ReadonlyMap<number, () => void> {
    const input = this.#input;
    return new Map<number, () => void>([
      [OP.NONE, () => this.#push(null)],
      [OP.NEWTRUE, () => this.#push(true)],
      [OP.NEWFALSE, () => this.#push(false)],
      [OP.BININT, () => this.#push(input.i32())],
      [OP.BININT1, () => this.#push(input.u8())],
      [OP.BININT2, () => this.#push(input.u16())],
      [OP.LONG1, () => this.#push(input.long(input.u8()))],
      [OP.LONG4, () => this.#push(input.long(input.i32()))],
      [OP.BINFLOAT, () => this.#push(input.f64())],
      [OP.SHORT_BINUNICODE, () => this.#push(input.text(input.u8()))],
      [OP.BINUNICODE, () => this.#push(input.text(input.u32()))],
      [OP.BINUNICODE8, () => this.#push(input.text(input.length64()))],
      [OP.SHORT_BINBYTES, () => this.#push(input.bytes(input.u8()))],
      [OP.BINBYTES, () => this.#push(input.bytes(input.u32()))],
      [OP.BINBYTES8, () => this.#push(input.bytes(input.length64()))],
      [OP.BYTEARRAY8, () => this.#push(input.bytes(input.length64()))],

      [OP.EMPTY_TUPLE, () => this.#make([])],
      [OP.TUPLE1, () => this.#make(this.#popMany(1))],
      [OP.TUPLE2, () => this.#make(this.#popMany(2))],
      [OP.TUPLE3, () => this.#make(this.#popMany(3))],
      [OP.TUPLE, () => this.#make(this.#popMark())],
      [OP.EMPTY_LIST, () => this.#make(new PickleList())],
      [OP.LIST, () => this.#append(this.#popMark(), new PickleList())],
      [OP.APPEND, () => this.#append(this.#popMany(1))],
      [OP.APPENDS, () => this.#append(this.#popMark())],
      [OP.EMPTY_DICT, () => this.#make(new Map())],
      [OP.DICT, () => this.#setItems(this.#popMark(), new Map())],
      [OP.SETITEM, () => this.#setItems(this.#popMany(2))],
      [OP.SETITEMS, () => this.#setItems(this.#popMark())],
      [OP.EMPTY_SET, () => this.#make(new Set())],
      [OP.FROZENSET, () => this.#addItems(this.#popMark(), new FrozenSet())],
      [OP.ADDITEMS, () => this.#addItems(this.#popMark())],

      [OP.MARK, () => this.#mark()],
      [OP.POP, () => this.#discard()],
      [OP.POP_MARK, () => this.#popMark()],
      [OP.BINPUT, () => this.#memoize(input.u8())],
      [OP.LONG_BINPUT, () => this.#memoize(input.u32())],
      [OP.MEMOIZE, () => this.#memoize(this.#memo.size)],
      [OP.BINGET, () => this.#recall(input.u8())],
      [OP.LONG_BINGET, () => this.#recall(input.u32())],
      // Frames only group reads; the length must still be true.
      [OP.FRAME, () => input.length64()],

      [OP.GLOBAL, () => this.#push(allowedGlobal(input.line(), input.line()))],
      [OP.STACK_GLOBAL, () => this.#stackGlobal()],
      [OP.BINPERSID, () => this.#push(persistentStorage(this.#pop()))],
      [OP.REDUCE, () => this.#reduce()],
      [OP.BUILD, () => this.#build()],
    ]);
  }

  #mark(): void {
    if (this.#marks.length >= MAX_PICKLE_MARKS)
      throw new PickleProblem('too-large', `it nests more than ${MAX_PICKLE_MARKS} containers`);
    this.#marks.push(this.#stack.length);
  }

  /** POP; as in Python it removes the mark if nothing lies on it. */
  #discard(): void {
    if (this.#stack.length === this.#floor() && this.#marks.length > 0) this.#marks.pop();
    else this.#pop();
  }

  #stackGlobal(): void {
    const [module, name] = this.#popMany(2);
    if (typeof module !== 'string' || typeof name !== 'string')
      throw new PickleProblem('bad-pickle', 'it asks for a name that is not a string');
    this.#push(allowedGlobal(module, name));
  }

  #reduce(): void {
    const [callable, args] = this.#popMany(2);
    if (!(callable instanceof AllowedGlobal) || callable.call === undefined)
      throw new PickleProblem('forbidden-pickle', `it calls a ${typeName(callable!)}`);
    if (!Array.isArray(args)) throw new PickleProblem('bad-pickle', 'it calls without a tuple of arguments');
    this.#make(callable.call(args as readonly PickleValue[]));
  }

  /** An OrderedDict's attributes (`_metadata`: version numbers of modules) do not matter; nothing else has any. */
  #build(): void {
    this.#pop();
    const target = this.#top();
    if (!(target instanceof OrderedDict))
      throw new PickleProblem('forbidden-pickle', `it sets the state of a ${typeName(target)}`);
  }

  #append(items: readonly PickleValue[], made?: PickleList): void {
    if (made !== undefined) this.#make(made);
    const list = this.#top();
    if (!(list instanceof PickleList))
      throw new PickleProblem('bad-pickle', `it appends to a ${typeName(list)}`);
    for (const item of items) list.items.push(item);
  }

  #setItems(items: readonly PickleValue[], made?: Map<PickleValue, PickleValue>): void {
    if (made !== undefined) this.#make(made);
    const dict = this.#top();
    if (!(dict instanceof Map))
      throw new PickleProblem('bad-pickle', `it sets an item of a ${typeName(dict)}`);
    if (items.length % 2 !== 0) throw new PickleProblem('bad-pickle', 'a dict has a key without a value');
    for (let i = 0; i < items.length; i += 2) {
      const key = hashable(items[i]!);
      // Python would keep the last; no pickler writes a key twice, and two readers could differ.
      if (dict.has(key)) throw new PickleProblem('bad-pickle', 'a dict has the same key twice');
      dict.set(key, items[i + 1]!);
    }
  }

  #addItems(items: readonly PickleValue[], made?: FrozenSet): void {
    if (made !== undefined) this.#make(made);
    const set = this.#top();
    if (!(set instanceof Set) || (set instanceof FrozenSet && set !== made))
      throw new PickleProblem('bad-pickle', `it adds to a ${typeName(set)}`);
    for (const item of items) set.add(hashable(item));
  }

  #memoize(index: number): void {
    if (this.#memo.size >= MAX_PICKLE_MEMO)
      throw new PickleProblem('too-large', `it remembers more than ${MAX_PICKLE_MEMO} values`);
    this.#memo.set(index, this.#top());
  }

  #recall(index: number): void {
    const value = this.#memo.get(index);
    if (value === undefined) throw new PickleProblem('bad-pickle', `memo entry ${index} does not exist`);
    this.#push(value);
  }

  /** Pushes something that costs memory of its own. */
  #make(value: PickleValue): void {
    if (++this.#containers > MAX_PICKLE_CONTAINERS)
      throw new PickleProblem('too-large', `it makes more than ${MAX_PICKLE_CONTAINERS} containers`);
    this.#stack.push(value);
  }

  #push(value: PickleValue): void {
    this.#stack.push(value);
  }

  /** Values below the innermost mark are out of reach. */
  #floor(): number {
    return this.#marks.at(-1) ?? 0;
  }

  #top(): PickleValue {
    if (this.#stack.length <= this.#floor()) throw new PickleProblem('bad-pickle', 'its stack is empty');
    return this.#stack.at(-1)!;
  }

  #pop(): PickleValue {
    const value = this.#top();
    this.#stack.pop();
    return value;
  }

  #popMany(count: number): PickleValue[] {
    if (this.#stack.length - count < this.#floor())
      throw new PickleProblem('bad-pickle', 'its stack is empty');
    return this.#stack.splice(-count);
  }

  #popMark(): PickleValue[] {
    const start = this.#marks.pop();
    if (start === undefined)
      throw new PickleProblem('bad-pickle', 'it closes a container that it did not open');
    return this.#stack.splice(start);
  }
}

/** Why an opcode is not executed. */
function refusal(op: number): PickleProblem {
  const name = FORBIDDEN.get(op);
  if (name !== undefined) return new PickleProblem('forbidden-pickle', `it makes an object by ${name}`);
  const hex = op.toString(16).padStart(2, '0');
  return new PickleProblem('bad-pickle', `opcode 0x${hex} is not one that torch writes`);
}

/** Keys and set members; Python has no others, and mutable ones would have no meaning. */
function hashable(value: PickleValue): PickleValue {
  if (
    value instanceof PickleList ||
    value instanceof Uint8Array ||
    value instanceof Map ||
    (value instanceof Set && !(value instanceof FrozenSet))
  )
    throw new PickleProblem('bad-pickle', `a ${typeName(value)} is used as a key`);
  return value;
}
