import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { BoundedFile } from '../../../src/model/checkpoint/file.js';
import { openSafetensors, parseSafetensorsHeader } from '../../../src/model/checkpoint/safetensors.js';
import { type RawTensor, random, safetensorsBytes, safetensorsRaw } from './build.js';
import { contents, refusal, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const path = join(folder, 'model.safetensors');
const parse = (bytes: Uint8Array) => parseSafetensorsHeader(bytes, bytes.length, path);

/** A header with this text for tensor "a" and `bytes` of data. */
const withTensor = (info: string, bytes: number) => safetensorsRaw(`{"a":${info}}`, new Uint8Array(bytes));

const f32 = (...values: number[]): RawTensor => ({
  dtype: 'F32',
  shape: [values.length],
  bytes: new Uint8Array(Float32Array.from(values).buffer),
});

describe('a well-formed file', () => {
  it('gives its metadata, tensors and values', async () => {
    const bytes = safetensorsBytes(
      new Map([
        ['scalar', { ...f32(2.5), shape: [] }],
        ['empty', { dtype: 'F16', shape: [4, 0], bytes: new Uint8Array() }],
        ['grüße "w"\n', { ...f32(1, 2, 3, 4, 5, 6), shape: [2, 3] }],
        ['__proto__', { dtype: 'BOOL', shape: [2], bytes: Uint8Array.of(1, 0) }],
      ]),
      { format: 'pt', __proto__2: 'x', 'a"\\': '\u{1f600}' },
    );
    expect(parse(bytes).metadata).toEqual(
      new Map([
        ['format', 'pt'],
        ['__proto__2', 'x'],
        ['a"\\', '\u{1f600}'],
      ]),
    );
    expect(await contents('safetensors', bytes, path)).toEqual(
      new Map([
        ['scalar', ['F32', [], [2.5]]],
        ['empty', ['F16', [4, 0], []]],
        ['grüße "w"\n', ['F32', [2, 3], [1, 2, 3, 4, 5, 6]]],
        ['__proto__', ['BOOL', [2], [1, 0]]],
      ]),
    );
  });

  it('may list tensors in any order, spaced in any JSON way and padded with spaces', async () => {
    const header = ` {"b" : {"data_offsets":[ 4,\t8 ],"shape":[1],"dtype":"F32"},\r\n"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}   `;
    const data = new Uint8Array(Float32Array.of(1, 2).buffer);
    expect(await contents('safetensors', safetensorsRaw(header.trimStart(), data), path)).toEqual(
      new Map([
        ['b', ['F32', [1], [2]]],
        ['a', ['F32', [], [1]]],
      ]),
    );
  });

  it('may have empty tensors anywhere, also where another one begins or all end', () => {
    const ranges = ['a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}'];
    for (const at of [0, 4]) ranges.push(`e${at}":{"dtype":"F64","shape":[0],"data_offsets":[${at},${at}]}`);
    const bytes = safetensorsRaw(`{${ranges.map((range) => `"${range}`)}}`, new Uint8Array(4));
    expect([...parse(bytes).tensors.keys()]).toEqual(['a', 'e0', 'e4']);
  });

  it('reads the bytes written by hand, byte by byte', () => {
    const text = '{"w":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}';
    const bytes = Uint8Array.of(text.length, 0, 0, 0, 0, 0, 0, 0, ...Buffer.from(text), 7, 8);
    const header = parse(bytes);
    expect(header.dataStart).toBe(8 + text.length);
    expect(header.tensors).toEqual(new Map([['w', { dtype: 'U8', shape: [2], begin: 0, end: 2 }]]));
  });

  it('round-trips random tensors of every dtype size', async () => {
    const next = random(11);
    const tensors = new Map<string, RawTensor>();
    for (let i = 0; i < 40; i++) {
      const shape = Array.from({ length: Math.floor(next() * 4) }, () => Math.floor(next() * 5));
      const count = shape.reduce((a, b) => a * b, 1);
      tensors.set(`t.${i}`, {
        dtype: 'F64',
        shape,
        bytes: new Uint8Array(Float64Array.from({ length: count }, next).buffer),
      });
    }
    const read = await contents('safetensors', safetensorsBytes(tensors), path);
    expect(read.size).toBe(40);
    for (const [name, { shape, bytes }] of tensors)
      expect(read.get(name)).toEqual(['F64', shape, [...new Float64Array(bytes.buffer)]]);
  });

  it('reads values only while the file is open, and only when asked', async () => {
    writeFileSync(path, safetensorsBytes(new Map([['a', f32(1)]])));
    const file = BoundedFile.open(path, 1000);
    const tensor = openSafetensors(file).get('a')!;
    expect(tensor.values()).toEqual(Float32Array.of(1));
    expect(tensor.values()).not.toBe(tensor.values());
    file.close();
    file.close();
    await refusal('closed', () => tensor.values());
  });
});

describe('a hostile header', () => {
  const good = '{"dtype":"F32","shape":[2],"data_offsets":[0,8]}';

  it.each([
    ['no header', '', 0],
    ['no object', '[]', 0],
    ['a leading space', ` {"a":${good}}`, 8],
    ['a byte-order mark', `\ufeff{"a":${good}}`, 8],
    ['text after the end', `{"a":${good}} x`, 8],
    ['a NUL after the end', `{"a":${good}}\0`, 8],
    ['a tensor twice', `{"a":${good},"a":${good}}`, 8],
    ['a tensor twice, spelled differently', `{"a":${good},"\\u0061":${good}}`, 8],
    ['__metadata__ twice', `{"__metadata__":{},"__metadata__":{},"a":${good}}`, 8],
    ['a metadata key twice', `{"__metadata__":{"k":"1","k":"2"},"a":${good}}`, 8],
    ['metadata that is no string', `{"__metadata__":{"k":1},"a":${good}}`, 8],
    ['metadata that is nested', `{"__metadata__":{"k":{"l":"m"}},"a":${good}}`, 8],
    ['metadata null', `{"__metadata__":null,"a":${good}}`, 8],
    ['a trailing comma', `{"a":${good},}`, 8],
    ['a missing colon', `{"a"${good}}`, 8],
    ['an unfinished string', '{"a', 0],
    ['an unfinished string behind a backslash', '{"a\\"', 0],
    ['a bad escape', `{"\\x":${good}}`, 8],
    ['a raw newline in a string', `{"a\nb":${good}}`, 8],
    ['a lone surrogate', `{"\\ud800":${good}}`, 8],
    ['a number for a tensor', '{"a":1}', 8],
    ['a name of 2000 characters', `{"${'n'.repeat(2000)}":${good}}`, 8],
    ['a field twice', '{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}', 8],
    ['an unknown field', '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}}', 8],
    ['a missing field', '{"a":{"dtype":"F32","shape":[2]}}', 8],
    ['one offset', '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}}', 8],
    ['three offsets', '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}}', 8],
    ['a negative dimension', '{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}', 8],
    ['a fractional dimension', '{"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}}', 8],
    ['an exponent', '{"a":{"dtype":"F32","shape":[2e0],"data_offsets":[0,8]}}', 8],
    ['a leading zero', '{"a":{"dtype":"F32","shape":[02],"data_offsets":[0,8]}}', 8],
    ['a number above 2^53', '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,9007199254740993]}}', 8],
    ['an endless number', `{"a":{"dtype":"F32","shape":[${'1'.repeat(5000)}],"data_offsets":[0,8]}}`, 8],
    ['65 dimensions', `{"a":{"dtype":"F32","shape":[${Array(65).fill(1)}],"data_offsets":[0,4]}}`, 4],
    ['deep nesting', `{"a":${'['.repeat(100_000)}`, 8],
    ['deep objects', '{"a":'.repeat(100_000), 8],
  ])('with %s is bad-header', async (_, header, bytes) => {
    const error = await refusal('bad-header', () => parse(safetensorsRaw(header, new Uint8Array(bytes))));
    expect(error.message).toContain(path);
    expect(error.message.length).toBeLessThan(600);
  });

  it('with bytes that are not UTF-8 is bad-header', async () => {
    await refusal('bad-header', () => parse(safetensorsRaw(Uint8Array.of(0x7b, 0xff, 0x7d))));
  });

  it('with a dtype it does not know is unsupported-format, by name', async () => {
    for (const dtype of ['F8_E4M3', 'constructor']) {
      const info = `{"dtype":"${dtype}","shape":[8],"data_offsets":[0,8]}`;
      const error = await refusal('unsupported-format', () => parse(withTensor(info, 8)));
      expect(error.message).toContain(dtype);
    }
  });

  it.each([
    ['a shape too large for its bytes', '{"dtype":"F32","shape":[3],"data_offsets":[0,8]}', 8],
    ['a shape too small for its bytes', '{"dtype":"F32","shape":[1],"data_offsets":[0,8]}', 8],
    ['a scalar of two elements', '{"dtype":"F32","shape":[],"data_offsets":[0,8]}', 8],
    ['an end before its begin', '{"dtype":"F32","shape":[2],"data_offsets":[8,0]}', 8],
    ['a hole in front', '{"dtype":"F32","shape":[1],"data_offsets":[4,8]}', 8],
  ])('with %s is bad-tensor', async (_, info, bytes) => {
    expect((await refusal('bad-tensor', () => parse(withTensor(info, bytes)))).message).toContain('"a"');
  });

  it('with overlapping tensors, or a hole between them, is bad-tensor', async () => {
    const two = (begin: number) =>
      safetensorsRaw(
        `{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[${begin},${begin + 4}]}}`,
        new Uint8Array(begin + 4),
      );
    expect((await refusal('bad-tensor', () => parse(two(3)))).message).toContain('overlaps');
    expect((await refusal('bad-tensor', () => parse(two(0)))).message).toContain('overlaps');
    expect((await refusal('bad-tensor', () => parse(two(5)))).message).toContain('hole');
    expect(parse(two(4)).tensors.size).toBe(2);
  });

  it('with data that no tensor owns is bad-header, with missing data truncated', async () => {
    const info = '{"dtype":"U8","shape":[4],"data_offsets":[0,4]}';
    await refusal('bad-header', () => parse(withTensor(info, 5)));
    await refusal('truncated', () => parse(withTensor(info, 3)));
    await refusal('bad-header', () => parse(safetensorsRaw('{}', new Uint8Array(1))));
  });

  it('with absurd sizes is too-large, before anything is allocated', async () => {
    const shapes = ['[268435457]', '[4294967296,4294967296]', '[9007199254740991,9007199254740991,3]'];
    for (const shape of shapes) {
      const info = `{"dtype":"F32","shape":${shape},"data_offsets":[0,0]}`;
      await refusal('too-large', () => parse(withTensor(info, 0)));
    }
    const many = Array.from(
      { length: 100_001 },
      (_, i) => `"${i}":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`,
    );
    await refusal('too-large', () => parse(safetensorsRaw(`{${many}}`)));
    const keys = Array.from({ length: 10_001 }, (_, i) => `"${i}":""`);
    await refusal('too-large', () => parse(safetensorsRaw(`{"__metadata__":{${keys}}}`)));
  });

  it('with an absurd length is too-large, and with one beyond the file truncated', async () => {
    const length = (value: bigint, fileSize: number) => () => {
      const bytes = Buffer.alloc(8);
      bytes.writeBigUInt64LE(value);
      return parseSafetensorsHeader(bytes, fileSize, path);
    };
    await refusal('too-large', length(2n ** 64n - 1n, 100));
    await refusal('too-large', length(100_000_001n, 2 ** 33));
    await refusal('truncated', length(93n, 100));
    // The caller did not pass the header that the file has.
    await refusal('truncated', length(92n, 100));
    await refusal('truncated', length(0n, 7));
  });

  it('reads a large header in linear time', () => {
    // 8 MB of escaped quotes would take hours if each search looked back over all of them.
    const value = '\\"'.repeat(4_000_000);
    const backslashes = '\\\\'.repeat(4_000_000);
    const started = performance.now();
    const { metadata } = parse(safetensorsRaw(`{"__metadata__":{"a":"${value}","b":"${backslashes}"}}`));
    expect(metadata.get('a')?.length).toBe(4_000_000);
    expect(metadata.get('b')?.length).toBe(4_000_000);
    expect(performance.now() - started).toBeLessThan(10_000);
  });
});

describe('a truncated file', () => {
  it('is refused at every length', async () => {
    const bytes = safetensorsBytes(
      new Map([
        ['a', f32(1, 2)],
        ['b', f32(3)],
      ]),
      { k: 'v' },
    );
    for (let length = 0; length < bytes.length; length++)
      await refusal('truncated', () => contents('safetensors', bytes.subarray(0, length), path));
    expect((await contents('safetensors', bytes, path)).size).toBe(2);
  });

  it('is refused when it shrinks after it was opened', async () => {
    const bytes = safetensorsBytes(new Map([['a', f32(1, 2, 3, 4)]]));
    writeFileSync(path, bytes);
    const file = BoundedFile.open(path, 1000);
    const tensor = openSafetensors(file).get('a')!;
    writeFileSync(path, bytes.subarray(0, bytes.length - 4));
    await refusal('truncated', () => tensor.values());
    file.close();
  });
});
