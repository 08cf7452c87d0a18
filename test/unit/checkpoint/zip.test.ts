import { ftruncateSync, openSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { BoundedFile } from '../../../src/model/checkpoint/file.js';
import { openZip, type ZipEntry } from '../../../src/model/checkpoint/zip.js';
import { type ZipInput, type ZipOptions, zipBytes } from './build-zip.js';
import { ZIPS } from './fixtures.js';
import { refusal, temporaryFolder } from './support.js';

const path = join(temporaryFolder(), 'file.zip');
let file: BoundedFile | undefined;
afterEach(() => file?.close());

async function open(bytes: Uint8Array): Promise<Map<string, ZipEntry>> {
  writeFileSync(path, bytes);
  file?.close();
  file = BoundedFile.open(path, 2 ** 35);
  return openZip(file);
}

const build = (entries: ZipInput[], options?: ZipOptions) => open(zipBytes(entries, options));
const data = Uint8Array.from({ length: 1000 }, (_, i) => (i * i) % 251);
const readAll = (entry: ZipEntry) => [...entry.read(0, entry.size)];

describe('a well-formed zip', () => {
  it.each(Object.entries(ZIPS))('by CPython, %s', async (_, bytes) => {
    const entries = await open(bytes);
    expect([...entries.keys()]).toEqual(['net/data.pkl', 'net/data/0', 'net/data/1', 'net/version']);
    expect([...new Float32Array(entries.get('net/data/0')!.read(0, 24).buffer)]).toEqual([0, 1, 2, 3, 4, 5]);
    expect(entries.get('net/version')!.size).toBe(2);
    expect(Buffer.from(entries.get('net/version')!.read(0, 2)).toString()).toBe('3\n');
  });

  it.each<[string, ZipOptions]>([
    ['as torch writes it', {}],
    ['without zip64 records', { plainEnd: true }],
    ['with zip64 entries', { zip64Entries: true }],
  ])('%s', async (_, options) => {
    const entries = await build(
      [
        { name: 'a/stored', data },
        { name: 'a/deflated', data, deflate: true },
        { name: 'a/empty', data: new Uint8Array() },
        { name: 'a/empty-deflated', data: new Uint8Array(), deflate: true },
        { name: 'a/größe', data: data.subarray(0, 3) },
      ],
      options,
    );
    expect(readAll(entries.get('a/stored')!)).toEqual([...data]);
    expect(readAll(entries.get('a/deflated')!)).toEqual([...data]);
    expect(readAll(entries.get('a/empty')!)).toEqual([]);
    expect(readAll(entries.get('a/empty-deflated')!)).toEqual([]);
    expect(readAll(entries.get('a/größe')!)).toEqual([...data.subarray(0, 3)]);
  });

  it('gives any part of an entry, in a buffer of its own', async () => {
    const entries = await build([
      { name: 'stored', data },
      { name: 'deflated', data, deflate: true },
    ]);
    for (const entry of entries.values()) {
      expect([...entry.read(10, 5)]).toEqual([...data.subarray(10, 15)]);
      const again = entry.read(10, 5);
      expect([again.byteOffset, again.buffer.byteLength]).toEqual([0, 5]);
      await refusal('truncated', () => entry.read(999, 2));
      await refusal('truncated', () => entry.read(0, Number.MAX_SAFE_INTEGER));
    }
  });
});

describe('a damaged zip', () => {
  it('is refused when cut at any byte', async () => {
    const bytes = zipBytes([
      { name: 'a', data: data.subarray(0, 40) },
      { name: 'b', data: data.subarray(0, 40), deflate: true },
    ]);
    for (let length = 0; length < bytes.length; length++)
      await refusal('corrupt-zip', () => open(bytes.subarray(0, length)));
  });

  it('is refused with bytes behind its end', async () => {
    await refusal('corrupt-zip', () =>
      open(Buffer.concat([zipBytes([{ name: 'a', data }]), Buffer.alloc(3)])),
    );
  });

  it('is bad-crc with a wrong checksum, at the first read of any part', async () => {
    const entries = await build([
      { name: 'stored', data, crc: 1 },
      { name: 'deflated', data, deflate: true, crc: 1 },
    ]);
    for (const entry of entries.values()) {
      await refusal('bad-crc', () => entry.read(0, 1));
      await refusal('bad-crc', () => entry.read(0, 1000));
      const error = await refusal('bad-crc', () => entry.read(1000, 0));
      expect(error.message).toContain(entry.name);
    }
  });

  it('is corrupt-zip with an entry that does not inflate to its size', async () => {
    const small = await build([{ name: 'a', data, deflate: true, size: 999 }]);
    await refusal('corrupt-zip', () => small.get('a')!.read(0, 1));
    const large = await build([{ name: 'a', data, deflate: true, size: 1001 }]);
    await refusal('corrupt-zip', () => large.get('a')!.read(0, 1));
    // The lie is noticed after ten bytes, not after unpacking a hundred megabytes.
    const bomb = await build([{ name: 'a', data: new Uint8Array(10 ** 8), deflate: true, size: 10 }]);
    expect((await refusal('corrupt-zip', () => bomb.get('a')!.read(0, 1))).message).toContain(
      'cannot be inflated',
    );
    const noise = await build([{ name: 'a', data, method: 8 }]);
    await refusal('corrupt-zip', () => noise.get('a')!.read(0, 1));
  });
});

describe('a hostile zip', () => {
  it('with a name twice is corrupt-zip', async () => {
    const error = await refusal('corrupt-zip', () =>
      build([
        { name: 'archive/data/0', data },
        { name: 'archive/data/0', data: new Uint8Array(4) },
      ]),
    );
    expect(error.message).toContain('archive/data/0');
  });

  it('with names that climb out is corrupt-zip', async () => {
    for (const name of ['../a', '/etc/passwd', 'a/../../b', 'a\\b', 'C:x'])
      await refusal('corrupt-zip', () => build([{ name, data }]));
  });

  it('with entries that share bytes is corrupt-zip', async () => {
    await refusal('corrupt-zip', () =>
      build([
        { name: 'a', data },
        { name: 'b', data, offset: 0 },
      ]),
    );
    // "b" lies inside the data of "a".
    const inner = zipBytes([{ name: 'b', data }]);
    const outer = inner.subarray(0, 64 + 1000);
    await refusal('corrupt-zip', () =>
      build([
        { name: 'a', data: outer },
        { name: 'b', data, offset: 64 },
      ]),
    );
  });

  it('with offsets or sizes outside of the file is corrupt-zip', async () => {
    for (const offset of [10_000, 2 ** 32 - 2, 2 ** 33, Number.MAX_SAFE_INTEGER]) {
      expect((await refusal('corrupt-zip', () => build([{ name: 'a', data, offset }]))).message).toContain(
        'outside of the file',
      );
    }
    for (const size of [100_000, 2 ** 33, Number.MAX_SAFE_INTEGER])
      await refusal('corrupt-zip', () => build([{ name: 'a', data, size, packed: size }]));
    await refusal('corrupt-zip', () => build([{ name: 'a', data, size: 1001 }]));
  });

  it('with offsets above 2^53 is corrupt-zip', async () => {
    const bytes = zipBytes([{ name: 'a', data }], { zip64Entries: true });
    // The three 64-bit fields of the directory's extra field, and the directory's own offset.
    const extra = bytes.indexOf(Buffer.of(1, 0, 24, 0)) + 4;
    const end64 = bytes.indexOf(Buffer.from('PK\x06\x06', 'latin1'));
    const locator = bytes.indexOf(Buffer.from('PK\x06\x07', 'latin1'));
    for (const at of [extra, extra + 8, extra + 16, end64 + 48, locator + 8]) {
      const changed = Buffer.from(bytes);
      changed.fill(0xff, at, at + 8);
      await refusal('corrupt-zip', () => open(changed));
    }
  });

  it('with more entries announced than there are is corrupt-zip or too-large', async () => {
    await refusal('corrupt-zip', () => build([{ name: 'a', data }], { entryCount: 2 }));
    await refusal('corrupt-zip', () => build([{ name: 'a', data }], { entryCount: 2, plainEnd: true }));
    await refusal('too-large', () => build([{ name: 'a', data }], { entryCount: 2 ** 40 }));
  });

  it('with an encrypted entry or another compression is unsupported-format', async () => {
    await refusal('unsupported-format', () => build([{ name: 'a', data, flags: 0x0809, packed: 1012 }]));
    for (const method of [1, 9, 12, 14, 93, 0xffff])
      await refusal('unsupported-format', () => build([{ name: 'a', data, method }]));
  });

  it('with a name of 2000 characters is too-large', async () => {
    await refusal('too-large', () => build([{ name: 'n'.repeat(2000), data }]));
  });

  it('that unpacks to a thousand times its size is too-large, and is never unpacked', async () => {
    const zeros = new Uint8Array(2 ** 27);
    await refusal('too-large', () => build([{ name: 'a', data: zeros, deflate: true }]));
    await refusal('too-large', () => build([{ name: 'a', data, deflate: true, size: 2 ** 40 }]));
    // Twenty entries of 4 MiB each: only the sum is absurd.
    const one = { data: zeros.subarray(0, 2 ** 22), deflate: true };
    const many = Array.from({ length: 20 }, (_, i) => ({ name: `${i}`, ...one }));
    await refusal('too-large', () => build(many));
    expect((await build(many.slice(0, 16))).size).toBe(16);
  });

  it('of many gigabytes that is mostly a hole is refused without reading it', async () => {
    writeFileSync(path, zipBytes([{ name: 'a', data }]));
    truncateSync(path, 2 ** 34);
    file = BoundedFile.open(path, 2 ** 35);
    await refusal('corrupt-zip', () => openZip(file!));
    const fd = openSync(path, 'r+');
    const end = zipBytes([], { plainEnd: true });
    ftruncateSync(fd, 2 ** 34);
    writeSync(fd, end, 0, end.length, 2 ** 34);
    file.close();
    file = BoundedFile.open(path, 2 ** 35);
    expect((await openZip(file)).size).toBe(0);
  });
});
