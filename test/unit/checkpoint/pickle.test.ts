import { describe, expect, it } from 'vitest';
import { unpickle } from '../../../src/model/checkpoint/pickle.js';
import {
  OrderedDict,
  type PickleList,
  type PickleValue,
  type StorageRef,
  TensorRef,
} from '../../../src/model/checkpoint/pickle-values.js';
import {
  call,
  dict,
  global,
  list,
  Op,
  orderedDict,
  type Py,
  pickle,
  py,
  storage,
  tensor,
} from './build-pickle.js';
import { PLAIN_PICKLES, STATE_DICT_PICKLES } from './fixtures.js';
import { refusal } from './support.js';

const read = (bytes: Uint8Array): PickleValue => unpickle(bytes, 'net.bin');
const readPy = (value: Py): PickleValue => read(pickle(value));

/** Raw opcodes after a protocol 4 header. */
const raw = (...parts: (number | string | Uint8Array)[]): Buffer =>
  Buffer.concat([Buffer.of(0x80, 4), new Op(...parts).bytes]);

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
const u64 = (value: bigint): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
};

describe('what CPython writes', () => {
  it.each([2, 3, 4, 5] as const)('protocol %i: plain containers and scalars', (protocol) => {
    const top = read(PLAIN_PICKLES[protocol]) as Map<PickleValue, PickleValue>;
    expect(top).toBeInstanceOf(Map);
    expect(top.get('none')).toBe(null);
    expect([top.get('yes'), top.get('no')]).toEqual([true, false]);
    expect((top.get('ints') as PickleList).items).toEqual([
      0,
      255,
      256,
      65535,
      65536,
      -1,
      2 ** 31 - 1,
      -(2 ** 31),
      Number.MAX_SAFE_INTEGER,
      2n ** 64n,
      -(2n ** 70n),
    ]);
    expect(top.get('floats')).toEqual([0.5, -1e300, Number.POSITIVE_INFINITY]);
    expect(top.get('text')).toBe('grüße \u{1f600}');
    expect(top.get('long')).toBe('x'.repeat(300));
    const [inner, empty] = (top.get('nested') as Map<string, PickleValue>).get('a') as PickleValue[];
    expect((inner as Map<string, PickleList>).get('b')?.items).toEqual([]);
    expect(empty).toEqual([]);
    expect(top.get(7)).toBe('seven');
    const loop = top.get('loop') as PickleList;
    expect(loop.items[0]).toBe(1);
    expect(loop.items[1]).toBe(loop);
    if (protocol >= 3) expect(top.get('bytes')).toEqual(Uint8Array.of(0, 255, 0, 255));
    if (protocol >= 4) expect(top.get('set')).toEqual(new Set([1, 2]));
    if (protocol >= 4) expect([...(top.get('frozen') as Set<string>)]).toEqual(['x']);
    if (protocol >= 5) expect(top.get('array')).toEqual(Uint8Array.from(Buffer.from('ab')));
  });

  it.each([2, 3, 4, 5] as const)('protocol %i: a state dict', (protocol) => {
    const top = read(STATE_DICT_PICKLES[protocol]) as Map<string, TensorRef>;
    expect(top).toBeInstanceOf(OrderedDict);
    expect([...top.keys()]).toEqual(['w', 'w.T', 'ids']);
    const view = (name: string) => {
      const { storage: from, offset, shape, strides } = top.get(name)!;
      return [from.key, from.dtype, from.elements, offset, shape, strides];
    };
    expect(view('w')).toEqual(['0', 'F32', 6, 0, [2, 3], [3, 1]]);
    expect(view('w.T')).toEqual(['0', 'F32', 6, 0, [3, 2], [1, 3]]);
    expect(view('ids')).toEqual(['1', 'I64', 2, 1, [], []]);
  });
});

describe('opcodes that CPython seldom writes', () => {
  it('executes LIST, DICT, POP, POP_MARK, SETITEM, APPEND, LONG4, BINUNICODE8, BINBYTES8', () => {
    expect((read(raw('(K', 1, 'K', 2, 'l.')) as PickleList).items).toEqual([1, 2]);
    expect(read(raw('(K', 1, 'K', 2, 'd.'))).toEqual(new Map([[1, 2]]));
    expect(read(raw('K', 1, 'K', 2, '0.'))).toBe(1);
    // POP takes away an empty mark, POP_MARK all down to the mark.
    expect(read(raw('K', 1, '(0.'))).toBe(1);
    expect(read(raw('K', 1, '(K', 2, 'K', 3, '1.'))).toBe(1);
    expect(read(raw('}K', 1, 'K', 2, 's.'))).toEqual(new Map([[1, 2]]));
    expect((read(raw(']K', 1, 'a.')) as PickleList).items).toEqual([1]);
    expect(read(raw(0x8b, u32(2), 0x00, 0x80, '.'))).toBe(-32768);
    expect(read(raw(0x8a, 0, '.'))).toBe(0);
    expect(read(raw(0x8d, u64(2n), 'hi.'))).toBe('hi');
    expect(read(raw(0x8e, u64(2n), 'hi.'))).toEqual(Uint8Array.from(Buffer.from('hi')));
    expect(read(raw('B', u32(2), 'hi.'))).toEqual(Uint8Array.from(Buffer.from('hi')));
  });

  it('keeps the byte-order mark and __proto__ as ordinary text', () => {
    const value = readPy(dict([['__proto__', '\ufeffa']])) as Map<string, string>;
    expect([...value]).toEqual([['__proto__', '\ufeffa']]);
    expect(Object.getPrototypeOf(value)).toBe(Map.prototype);
  });

  it('refuses what is not hashable as a key, and the same key twice', async () => {
    for (const key of [new Op(']'), new Op('}'), new Op(0x8f), new Op('C', 1, 'x')])
      await refusal('bad-pickle', () => readPy(dict([[key, 1]])));
    await refusal('bad-pickle', () =>
      readPy(
        dict([
          ['a', 1],
          ['a', 2],
        ]),
      ),
    );
    expect((readPy(dict([[[1, 'x'], 1]])) as Map<PickleValue, PickleValue>).size).toBe(1);
  });
});

describe('a pickle that asks for code', () => {
  const evil: [string, Buffer][] = [
    ['os.system', pickle(call(global('os', 'system'), ['echo']))],
    ['posix.system', pickle(call(global('posix', 'system'), ['echo']))],
    ['builtins.eval', pickle(call(global('builtins', 'eval'), ['1']))],
    ['__main__.Model', pickle(global('__main__', 'Model'))],
    ['torch.nn.modules.linear.Linear', pickle(global('torch.nn.modules.linear', 'Linear'))],
    ['torch.load', pickle(call(global('torch', 'load'), ['x']))],
    ['collections.OrderedDict.fromkeys', pickle(global('collections', 'OrderedDict.fromkeys'))],
    ['torch._utils', pickle(global('torch', '_utils'))],
    ['numpy.core.multiarray._reconstruct', pickle(global('numpy.core.multiarray', '_reconstruct'))],
    ['os.system', raw(0x8c, 2, 'os', 0x8c, 6, 'system', 0x93, '.')],
    ['constructor.constructor', pickle(global('constructor', 'constructor'))],
  ];
  it.each(evil)('names %s and advises safetensors', async (name, bytes) => {
    const error = await refusal('forbidden-pickle', () => read(bytes));
    expect(error.message).toContain(`"${name}"`);
    expect(error.message).toContain('safetensors');
    expect(error.file).toBe('net.bin');
  });

  it('is refused for calling or building anything but the allowed constructors', async () => {
    await refusal('forbidden-pickle', () => readPy(call(global('torch', 'FloatStorage'), [])));
    await refusal('forbidden-pickle', () => readPy(new Op(py('x'), ')R')));
    await refusal('forbidden-pickle', () => readPy(new Op('})R')));
    // State for a dict, a tensor, a class.
    await refusal('forbidden-pickle', () => readPy(new Op('}}b')));
    await refusal('forbidden-pickle', () => readPy(new Op(tensor(storage('0', 1), 0, [], []).bytes, '}b')));
    await refusal('forbidden-pickle', () => readPy(new Op(global('torch', 'Size').bytes, '}b')));
  });

  it('is refused for NEWOBJ, INST, OBJ, EXT and the like', async () => {
    const make: [string, Buffer][] = [
      ['NEWOBJ', raw('N)', 0x81, '.')],
      ['NEWOBJ_EX', raw('N)}', 0x92, '.')],
      ['INST', raw('(ios\nsystem\n.')],
      ['OBJ', raw('(No.')],
      ['EXT1', raw(0x82, 1, '.')],
      ['EXT2', raw(0x83, 1, 0, '.')],
      ['EXT4', raw(0x84, u32(1), '.')],
      ['PERSID', raw('Pid\n.')],
    ];
    for (const [name, bytes] of make)
      expect((await refusal('forbidden-pickle', () => read(bytes))).message).toContain(name);
  });

  it('cannot smuggle terminal control characters into the message', async () => {
    const error = await refusal('forbidden-pickle', () =>
      readPy(global('os\u001b[2J\u009b1m\u202e', 'x'.repeat(300))),
    );
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is looked for
    expect(error.message).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202e]/);
    expect(error.message.length).toBeLessThan(700);
  });
});

describe('a malformed pickle', () => {
  it.each<[string, Buffer]>([
    ['nothing', Buffer.alloc(0)],
    ['no protocol', Buffer.from('N.')],
    ['protocol 1', Buffer.from([0x80, 1, 0x4e, 0x2e])],
    ['protocol 6', Buffer.from([0x80, 6, 0x4e, 0x2e])],
    ['a second protocol', raw(0x80, 4, 'N.')],
    ['no end', raw('N')],
    ['an empty stack at the end', raw('.')],
    ['two values at the end', raw('NN.')],
    ['an open mark at the end', raw('(N.')],
    ['bytes after the end', raw('N.N')],
    ['a text opcode', raw('I1\n.')],
    ['an unknown opcode', raw(0xff, '.')],
    ['a string beyond the end', raw('X', u32(0xffffffff), 'abc.')],
    ['a short string beyond the end', raw(0x8c, 9, 'abc.')],
    ['a 64-bit string beyond the end', raw(0x8d, u64(2n ** 63n), 'abc.')],
    ['a 64-bit bytes object beyond the end', raw(0x8e, u64(2n ** 64n - 1n), '.')],
    ['a frame beyond the end', raw(0x95, u64(100n), 'N.')],
    ['a string that is not UTF-8', raw(0x8c, 2, 0xc3, 0x28, '.')],
    ['a lone surrogate', raw(0x8c, 3, 0xed, 0xa0, 0x80, '.')],
    ['a global without an end', raw('ccollections')],
    ['a global with an endless name', raw('c', 'x'.repeat(5000), '\nb\n.')],
    ['a global made of numbers', raw('K', 1, 'K', 2, 0x93, '.')],
    ['a memo entry that is not there', raw('h', 3, '.')],
    ['remembering nothing', raw(0x94, '.')],
    ['a tuple without a mark', raw('t.')],
    ['TUPLE2 of one', raw('N', 0x86, '.')],
    ['TUPLE2 across a mark', raw('N(N', 0x86, '.')],
    ['POP of nothing', raw('0N.')],
    ['a dict with an odd item', raw('}(K', 1, 'u.')],
    ['an item for a list', raw(']K', 1, 'K', 2, 's.')],
    ['an append to a dict', raw('}K', 1, 'a.')],
    ['an append to a tuple', raw(')K', 1, 'a.')],
    ['an append below a mark', raw('](N(e.')],
    ['an addition to a frozenset', raw('(', 0x91, '(K', 1, 0x90, '.')],
    ['a call without a tuple', pickle(new Op(global('collections', 'OrderedDict').bytes, 'NR'))],
    ['an OrderedDict with arguments', pickle(call(global('collections', 'OrderedDict'), [[]]))],
    ['a Size without arguments', pickle(call(global('torch', 'Size'), []))],
    ['a Size of a number', pickle(call(global('torch', 'Size'), [3]))],
    [
      'a parameter of a number',
      pickle(call(global('torch._utils', '_rebuild_parameter'), [1, true, orderedDict()])),
    ],
    ['a storage of another kind', pickle(new Op(py(['module', 1, 2, 3, 4]), 'Q'))],
    ['a storage id that is no tuple', pickle(new Op(py('0'), 'Q'))],
    ['a storage with a type that is none', pickle(storage('0', 1, null))],
    ['a storage with a function for its type', pickle(storage('0', 1, global('torch', 'Size')))],
    ['a storage with a number for its key', pickle(storage(0, 1))],
    ['a tensor of nothing', pickle(tensor(null, 0, [], []))],
    ['a tensor with too many arguments', pickle(tensor(storage('0', 1), 0, [], [], null, null))],
  ])('with %s is bad-pickle', async (_, bytes) => {
    const error = await refusal('bad-pickle', () => read(bytes));
    expect(error.message).toContain('net.bin: its pickle is refused');
  });

  it('is refused when cut at any byte', async () => {
    for (const bytes of [PLAIN_PICKLES[2], PLAIN_PICKLES[5], STATE_DICT_PICKLES[4]])
      for (let length = 0; length < bytes.length; length++)
        await refusal('bad-pickle', () => read(bytes.subarray(0, length)));
  });
});

describe('a tensor that cannot be', () => {
  const one = (offset: Py, shape: Py, strides: Py, ...more: Py[]) =>
    readPy(tensor(storage('0', 24), offset, shape, strides, ...more));

  it('is bad-tensor when it reaches outside of its storage', async () => {
    const outside: [number, number[], number[]][] = [
      [0, [25], [1]],
      [1, [24], [1]],
      [25, [0], [1]],
      [24, [], []],
      [0, [4, 6], [7, 1]],
      [0, [2], [24]],
      [0, [2], [Number.MAX_SAFE_INTEGER]],
      [Number.MAX_SAFE_INTEGER, [2], [1]],
      [0, [2 ** 20, 1], [2 ** 44, 1]],
      [0, [3, 3], [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER]],
    ];
    for (const view of outside) await refusal('bad-tensor', () => one(...view));
  });

  it('is accepted up to the last element', () => {
    const inside: [number, number[], number[]][] = [
      [0, [24], [1]],
      [0, [4, 6], [6, 1]],
      [0, [6, 4], [1, 6]],
      [23, [], []],
      [23, [1, 1], [999, 5]],
      [24, [0, 3], [3, 1]],
      [1, [3, 4], [0, 7]],
    ];
    for (const [offset, shape, strides] of inside)
      expect(one(offset, shape, strides)).toMatchObject({ offset, shape, strides });
  });

  it('is bad-tensor with negative, fractional, boolean or unequal numbers', async () => {
    const wrong: [Py, Py, Py][] = [
      [-1, [1], [1]],
      [0, [-1], [1]],
      [0, [2], [-1]],
      [0, [1.5], [1]],
      [0, [new Op('G', 0x80, Buffer.alloc(7))], [1]],
      [0, [true], [1]],
      [0, ['2'], [1]],
      [0, [1], null],
      [null, [1], [1]],
      [0, list([2]), [1]],
      [0, [new Op(0x8a, 9, Buffer.alloc(8), 1)], [1]],
      [0, [2, 2], [1]],
      [0, Array(65).fill(1), Array(65).fill(1)],
    ];
    for (const [offset, shape, strides] of wrong)
      await refusal('bad-tensor', () => one(offset, shape, strides));
    for (const elements of [-1, 0.5, '3', 2 ** 40])
      await refusal('bad-tensor', () => readPy(storage('0', elements)));
  });

  it('is too-large with an absurd number of elements, and when it unfolds a small storage', async () => {
    await refusal('too-large', () => one(0, [2 ** 30, 2 ** 30], [0, 0]));
    await refusal('too-large', () => one(0, [2 ** 20 + 1], [0]));
    expect(one(0, [2 ** 20], [0])).toBeInstanceOf(TensorRef);
    // Two elements with half a gigabyte between them.
    await refusal('too-large', () => readPy(tensor(storage('0', 2 ** 33), 0, [2], [2 ** 28])));
  });

  it('is unsupported-format when its values are stored negated', async () => {
    const flags = (flag: string) => dict([[flag, true]]);
    await refusal('unsupported-format', () => one(0, [1], [1], flags('neg')));
    expect(one(0, [1], [1], null)).toBeInstanceOf(TensorRef);
    expect(one(0, [1], [1], new Op('}'))).toBeInstanceOf(TensorRef);
  });

  it('keeps the storage key as text, whatever it looks like', () => {
    const { storage: from } = readPy(tensor(storage('../../x', 1), 0, [], [])) as { storage: StorageRef };
    expect(from.key).toBe('../../x');
  });
});

describe('a pickle bomb', () => {
  it('with billions of laughs stays small, because values are shared', () => {
    // x = (x, x), sixty times: 2^60 leaves.
    let value = new Op('K', 1, 0x94).bytes;
    for (let i = 0; i < 60; i++) value = Buffer.concat([value, new Op('h', i, 0x86, 0x94).bytes]);
    expect(read(raw(value, '.'))).toHaveLength(2);
  });

  it('with deep nesting is read without recursion, or refused by a cap', async () => {
    let value = read(raw(')', Buffer.alloc(500_000, 0x85), '.'));
    let depth = 0;
    while (Array.isArray(value) && value.length > 0) {
      value = value[0]!;
      depth++;
    }
    expect(depth).toBe(500_000);
    await refusal('too-large', () => read(raw('('.repeat(1001))));
    await refusal('too-large', () => read(raw(']'.repeat(200_001))));
    await refusal('too-large', () => read(raw(')', Buffer.alloc(1_000_001, 0x85), '.')));
  });

  it('with too many containers, values, opcodes, memo entries or bytes is too-large', async () => {
    await refusal('too-large', () => read(raw(Buffer.from(')0'.repeat(1_000_001)))));
    await refusal('too-large', () => read(raw(Buffer.alloc(200_001, 'N'))));
    await refusal('too-large', () => read(raw(Buffer.from('N0'.repeat(4_000_001)))));
    await refusal('too-large', () => read(raw('N', Buffer.alloc(2_000_001, 0x94))));
    await refusal('too-large', () => read(Buffer.alloc(2 ** 25 + 1)));
    await refusal('too-large', () => read(raw(0x8b, u32(100_000), Buffer.alloc(100_000, 0x7f), '.')));
    await refusal('too-large', () => read(raw(0x8b, u32(0xffffffff), '.')));
  });

  it('with the largest memo index costs one entry', () => {
    expect(read(raw('Nr', u32(0xffffffff), 'j', u32(0xffffffff), 0x86, '.'))).toEqual([null, null]);
  });

  it('that contains itself is read and left alone', () => {
    const value = read(raw(']', 0x94, 'h', 0, 'a}', 0x94, 'K', 7, 'h', 1, 's', 0x86, '.')) as PickleValue[];
    const [loop, back] = value as [PickleList, Map<PickleValue, PickleValue>];
    expect(loop.items[0]).toBe(loop);
    expect(back.get(7)).toBe(back);
  });
});
