import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type BuildTensor, type RawTensor, random, stateDict, torchBytes, torchEntries } from './build.js';
import {
  call,
  dict,
  global,
  list,
  Op,
  orderedDict,
  type Py,
  pickle,
  storage,
  tensor,
} from './build-pickle.js';
import { zipBytes } from './build-zip.js';
import { STATE_DICT_PICKLES, ZIPS } from './fixtures.js';
import { contents, refusal, temporaryFolder } from './support.js';

const path = join(temporaryFolder(), 'pytorch_model.bin');
const read = (bytes: Uint8Array) => contents('torch', bytes, path);

const floats = (...values: number[]) => new Uint8Array(Float32Array.from(values).buffer);

/** A torch file around a pickle and float32 storages. */
const around = (value: Py, ...storages: Uint8Array[]) => zipBytes(torchEntries(pickle(value), storages));

const one: [Py, Py] = ['w', tensor(storage('0', 2), 0, [2], [1])];

describe('a torch checkpoint', () => {
  it.each(Object.entries(ZIPS))('zipped by CPython (%s) gives its tensors', async (_, bytes) => {
    expect(await read(bytes)).toEqual(
      new Map([
        ['w', ['F32', [2, 3], [0, 1, 2, 3, 4, 5]]],
        ['w.T', ['F32', [3, 2], [0, 3, 1, 4, 2, 5]]],
        ['ids', ['I64', [], [9]]],
      ]),
    );
  });

  it('pickled by CPython in protocol 5 gives its tensors', async () => {
    const ids = new Uint8Array(BigInt64Array.of(-7n, 9n).buffer);
    const bytes = zipBytes(torchEntries(STATE_DICT_PICKLES[5], [floats(0, 1, 2, 3, 4, 5), ids], 'any name'));
    expect((await read(bytes)).get('w.T')).toEqual(['F32', [3, 2], [0, 3, 1, 4, 2, 5]]);
  });

  it('round-trips random float32 and float64 tensors', async () => {
    const next = random(3);
    const tensors = new Map<string, BuildTensor>();
    for (let i = 0; i < 60; i++) {
      const shape = Array.from({ length: Math.floor(next() * 4) }, () => Math.floor(next() * 6));
      const length = shape.reduce((a, b) => a * b, 1);
      const numbers = Array.from({ length }, () => next() - 0.5);
      const data = i % 2 === 0 ? Float32Array.from(numbers) : Float64Array.from(numbers);
      tensors.set(`bert.layer.${i}.weight`, { shape, data });
    }
    const result = await read(torchBytes(tensors));
    expect([...result.keys()]).toEqual([...tensors.keys()]);
    for (const [name, { shape, data }] of tensors)
      expect(result.get(name)).toEqual([data instanceof Float32Array ? 'F32' : 'F64', shape, [...data]]);
  });

  it('reads every storage type', async () => {
    const raw = (dtype: string, array: ArrayBufferView, length: number): RawTensor => ({
      dtype,
      shape: [length],
      bytes: new Uint8Array(array.buffer.slice(0)),
    });
    const tensors = new Map([
      ['f64', raw('F64', Float64Array.of(0.1), 1)],
      ['f32', raw('F32', Float32Array.of(0.5, -2), 2)],
      ['f16', raw('F16', Uint16Array.of(0x3c00), 1)],
      ['bf16', raw('BF16', Uint16Array.of(0x3f80), 1)],
      ['i64', raw('I64', BigInt64Array.of(-5n), 1)],
      ['i32', raw('I32', Int32Array.of(-5), 1)],
      ['i16', raw('I16', Int16Array.of(-5), 1)],
      ['i8', raw('I8', Int8Array.of(-5), 1)],
      ['u8', raw('U8', Uint8Array.of(251), 1)],
      ['bool', raw('BOOL', Uint8Array.of(1, 0), 2)],
    ]);
    const bytes = zipBytes(
      torchEntries(
        pickle(stateDict(tensors)),
        [...tensors.values()].map((each) => each.bytes),
      ),
    );
    expect([...(await read(bytes))].map(([name, [dtype, , values]]) => [name, dtype, values])).toEqual([
      ['f64', 'F64', [0.1]],
      ['f32', 'F32', [0.5, -2]],
      ['f16', 'F16', [1]],
      ['bf16', 'BF16', [1]],
      ['i64', 'I64', [-5]],
      ['i32', 'I32', [-5]],
      ['i16', 'I16', [-5]],
      ['i8', 'I8', [-5]],
      ['u8', 'U8', [251]],
      ['bool', 'BOOL', [1, 0]],
    ]);
  });

  it('reads views: slices, transposes, broadcasts, shared storages, out of one stored or deflated entry', async () => {
    const base = storage('0', 6);
    const value = dict([
      ['row', tensor(base, 3, [3], [1])],
      ['column', tensor(base, 1, [2], [3])],
      ['transposed', tensor(base, 0, [3, 2], [1, 3])],
      ['window', tensor(base, 1, [2, 2], [3, 1])],
      ['broadcast', tensor(base, 4, [2, 3], [0, 0])],
      ['scalar', tensor(base, 5, [], [])],
      ['empty', tensor(base, 6, [0, 3], [3, 1])],
    ]);
    const entries = torchEntries(pickle(value), [floats(0, 1, 2, 3, 4, 5)]);
    for (const deflate of [false, true]) {
      const bytes = zipBytes(entries.map((entry) => ({ ...entry, deflate })));
      const values = [...(await read(bytes))].map(([name, [, shape, numbers]]) => [name, shape, numbers]);
      expect(values).toEqual([
        ['row', [3], [3, 4, 5]],
        ['column', [2], [1, 4]],
        ['transposed', [3, 2], [0, 3, 1, 4, 2, 5]],
        ['window', [2, 2], [1, 2, 4, 5]],
        ['broadcast', [2, 3], [4, 4, 4, 4, 4, 4]],
        ['scalar', [], [5]],
        ['empty', [0, 3], []],
      ]);
    }
  });

  it.each(['state_dict', 'model'])('may wrap its state dict as %s, beside other things', async (key) => {
    const inner = dict([one], orderedDict());
    const bytes = around(
      dict([
        ['epoch', 3],
        [key, inner],
        ['losses', list([0.5, 0.25])],
      ]),
      floats(1, 2),
    );
    expect(await read(bytes)).toEqual(new Map([['w', ['F32', [2], [1, 2]]]]));
  });

  it('may hold extra state that is no tensor, and a tensor named like a wrapper', async () => {
    const value = dict([
      ['model', one[1]],
      ['_extra_state', null],
      ['n', 1],
      [5, 'x'],
    ]);
    expect([...(await read(around(value, floats(1, 2)))).keys()]).toEqual(['model']);
  });

  it('keeps names that are special in JavaScript', async () => {
    const value = dict(['__proto__', 'constructor', ''].map((name): [Py, Py] => [name, one[1]]));
    expect([...(await read(around(value, floats(1, 2)))).keys()]).toEqual(['__proto__', 'constructor', '']);
  });
});

describe('a torch checkpoint that is refused', () => {
  it('asks for code', async () => {
    const value = dict([one, ['x', call(global('os', 'system'), ['true'])]]);
    const error = await refusal('forbidden-pickle', () => read(around(value, floats(1, 2))));
    expect(error.message).toContain('"os.system"');
    expect(error.message).toContain(path);
  });

  it('is a whole module instead of its state dict', async () => {
    await refusal('forbidden-pickle', () =>
      read(around(new Op(global('transformer.modeling', 'Bert').bytes, ')', 0x81, '}b'))),
    );
  });

  it('holds no dict, no tensors, or tensors without names', async () => {
    await refusal('unsupported-format', () => read(around(list([]))));
    await refusal('unsupported-format', () => read(around(one[1], floats(1, 2))));
    await refusal('unsupported-format', () => read(around(dict([['epoch', 1]]))));
    // Only one level of wrapping is taken.
    const deep = dict([['model', dict([['model', dict([['model', dict([one])]])]])]]);
    await refusal('unsupported-format', () => read(around(deep, floats(1, 2))));
    await refusal('bad-tensor', () => read(around(dict([[7, one[1]]]), floats(1, 2))));
    await refusal('bad-tensor', () => read(around(dict([['n'.repeat(1025), one[1]]]), floats(1, 2))));
  });

  it('has a storage that is missing or of another size', async () => {
    expect((await refusal('bad-tensor', () => read(around(dict([one]))))).message).toContain('"w"');
    await refusal('bad-tensor', () => read(around(dict([one]), floats(1))));
    await refusal('bad-tensor', () => read(around(dict([one]), floats(1, 2, 3))));
    // The same bytes under two types: sizes cannot both be right.
    const twice = dict([one, ['d', tensor(storage('0', 2, global('torch', 'DoubleStorage')), 0, [2], [1])]]);
    await refusal('bad-tensor', () => read(around(twice, floats(1, 2))));
  });

  it('names a storage outside of its folder', async () => {
    for (const key of ['../data.pkl', '../../etc/passwd', '/etc/passwd', '']) {
      const value = dict([['w', tensor(storage(key, 2), 0, [2], [1])]]);
      await refusal('bad-tensor', () => read(around(value, floats(1, 2))));
    }
  });

  it('is big-endian', async () => {
    const entries = torchEntries(pickle(dict([one])), [floats(1, 2)]);
    const big = entries.map((entry) =>
      entry.name.endsWith('byteorder') ? { ...entry, data: Buffer.from('big') } : entry,
    );
    expect((await refusal('unsupported-format', () => read(zipBytes(big)))).message).toContain('"big"');
    // Files before torch 2.1 do not say.
    const silent = entries.filter((entry) => !entry.name.endsWith('byteorder'));
    expect((await read(zipBytes(silent))).size).toBe(1);
  });

  it('is a zip of something else', async () => {
    const pkl = pickle(dict([one]));
    const data = floats(1, 2);
    const zips = [
      [{ name: 'readme.txt', data }],
      [{ name: 'data.pkl', data: pkl }],
      [{ name: 'a/b/data.pkl', data: pkl }],
      [...torchEntries(pkl, [data], 'a'), ...torchEntries(pkl, [data], 'b')],
      [...torchEntries(pkl, [data], 'a'), { name: 'a/constants.pkl', data: pkl }],
    ];
    for (const entries of zips) await refusal('unsupported-format', () => read(zipBytes(entries)));
    await refusal('unsupported-format', () => read(zipBytes([])));
  });

  it('has a pickle of absurd size', async () => {
    const entries = torchEntries(new Uint8Array(2 ** 25 + 1), []);
    await refusal('too-large', () => read(zipBytes(entries)));
  });

  it('has more than 100,000 tensors', async () => {
    const items = Array.from({ length: 100_001 }, (_, i): [Py, Py] => [`${i}`, new Op('h', 0)]);
    // One tensor in the memo, named again and again, in batches as the pickler writes them.
    const parts: Buffer[] = [];
    for (let i = 0; i < items.length; i += 1000) {
      const batch = dict(items.slice(i, i + 1000)).bytes;
      parts.push(batch.subarray(1));
    }
    const value = new Op(one[1] instanceof Op ? one[1].bytes : '', 'q', 0, '0}', ...parts);
    await refusal('too-large', () => read(around(value, floats(1, 2))));
  });

  it('has a tensor whose bytes were changed', async () => {
    const entries = torchEntries(pickle(dict([one])), [floats(1, 2)]);
    const bytes = zipBytes(entries);
    bytes[bytes.indexOf(Buffer.from(floats(1, 2)))]! ^= 1;
    const error = await refusal('bad-crc', () => read(bytes));
    expect(error.message).toContain('archive/data/0');
  });

  it('is cut anywhere', async () => {
    const bytes = around(dict([one], orderedDict()), floats(1, 2));
    for (let length = 0; length < bytes.length; length += 7)
      await refusal('corrupt-zip', () => read(bytes.subarray(0, length)));
  });
});
