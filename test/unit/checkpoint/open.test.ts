import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { BoundedFile } from '../../../src/model/checkpoint/file.js';
import { type Checkpoint, openCheckpoint } from '../../../src/model/checkpoint/open.js';
import { type BuildTensor, writeSafetensors, writeTorchCheckpoint } from './build.js';
import { refusal, temporaryFolder } from './support.js';

const root = temporaryFolder();
let count = 0;

/** A new folder with these files. */
function folderWith(files: Record<string, string | Uint8Array>): string {
  const folder = join(root, `${count++}`);
  mkdirSync(folder);
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
  return folder;
}

const tensors = (value: number) =>
  new Map<string, BuildTensor>([['w', { shape: [1, 2], data: Float32Array.of(value, value + 1) }]]);

/** Open descriptors of this process. */
const openFiles = () => readdirSync('/proc/self/fd').length;

let checkpoint: Checkpoint | undefined;
afterEach(() => checkpoint?.close());

async function open(path: string): Promise<Checkpoint> {
  await checkpoint?.close();
  checkpoint = await openCheckpoint(path);
  return checkpoint;
}

describe('openCheckpoint', () => {
  it('opens a folder with pytorch_model.bin', async () => {
    const folder = folderWith({ 'config.json': '{"hidden_size": 256, "id2label": {"0": "a"}}' });
    const file = join(folder, 'pytorch_model.bin');
    writeTorchCheckpoint(file, tensors(5));
    const result = await open(folder);
    expect(result).toMatchObject({ folder, file, format: 'torch' });
    expect({ ...result.config }).toEqual({ hidden_size: 256, id2label: { 0: 'a' } });
    expect(result.tensors.get('w')).toMatchObject({ name: 'w', dtype: 'F32', shape: [1, 2] });
    expect(result.tensors.get('w')!.values()).toEqual(Float32Array.of(5, 6));
    expect(result.sha256).toBe(createHash('sha256').update(readFileSync(file)).digest('hex'));
  });

  it('prefers model.safetensors', async () => {
    const folder = folderWith({ 'config.json': '{}' });
    writeTorchCheckpoint(join(folder, 'pytorch_model.bin'), tensors(5));
    writeSafetensors(join(folder, 'model.safetensors'), tensors(7), { format: 'pt' });
    const result = await open(folder);
    expect(result.format).toBe('safetensors');
    expect([...result.tensors.get('w')!.values()]).toEqual([7, 8]);
  });

  it('opens a weights file of any name beside a config.json, by its content', async () => {
    const folder = folderWith({ 'config.json': '{"a": 1}' });
    writeTorchCheckpoint(join(folder, 'best.pth'), tensors(1));
    writeSafetensors(join(folder, 'other.weights'), tensors(2));
    writeTorchCheckpoint(join(folder, 'really-torch.safetensors'), tensors(3));
    symlinkSync('best.pth', join(folder, 'link.bin'));
    expect((await open(join(folder, 'best.pth'))).config.a).toBe(1);
    expect([...(await open(join(folder, 'other.weights'))).tensors.get('w')!.values()]).toEqual([2, 3]);
    expect((await open(join(folder, 'really-torch.safetensors'))).format).toBe('torch');
    expect((await open(join(folder, 'link.bin'))).folder).toBe(folder);
  });

  it('hashes files larger than a chunk, of any length', async () => {
    for (const bytes of [0, 1, 4 * 2 ** 20, 4 * 2 ** 20 + 1]) {
      const content = Buffer.alloc(bytes, 'x');
      const file = BoundedFile.open(join(folderWith({ f: content }), 'f'), 2 ** 30);
      expect(await file.sha256()).toBe(createHash('sha256').update(content).digest('hex'));
      file.close();
    }
  });

  it('never reads, or makes room for, anything outside of the file', async () => {
    const file = BoundedFile.open(join(folderWith({ f: 'abcdef' }), 'f'), 10);
    expect(Buffer.from(file.read(2, 4)).toString()).toBe('cdef');
    expect(file.read(6, 0).length).toBe(0);
    const outside: [number, number][] = [
      [0, 7],
      [6, 1],
      [-1, 2],
      [0, -1],
      [0, 2 ** 50],
      [2 ** 63, 1],
      [0.5, 1],
    ];
    for (const [position, length] of outside) {
      await refusal('truncated', () => file.read(position, length));
      await refusal('truncated', () => file.readPieces(position, length, () => {}));
    }
    file.close();
  });

  it('leaves no file open, neither after close nor after a failure', async () => {
    const folder = folderWith({ 'config.json': '{}' });
    writeSafetensors(join(folder, 'model.safetensors'), tensors(1));
    const before = openFiles();
    const result = await openCheckpoint(folder);
    expect(openFiles()).toBe(before + 1);
    await result.close();
    await result.close();
    expect(openFiles()).toBe(before);
    const damaged = folderWith({ 'config.json': '{}', 'model.safetensors': 'x' });
    await refusal('truncated', () => openCheckpoint(damaged));
    await refusal('bad-config', () =>
      openCheckpoint(folderWith({ 'config.json': '', 'model.safetensors': 'x' })),
    );
    expect(openFiles()).toBe(before);
    await refusal('closed', () => result.tensors.get('w')!.values());
  });
});

describe('a config.json', () => {
  const withConfig = (config: string | Uint8Array) => {
    const folder = folderWith({ 'config.json': config });
    writeSafetensors(join(folder, 'model.safetensors'), tensors(1));
    return folder;
  };

  it.each<[string, string | Uint8Array]>([
    ['empty', ''],
    ['no JSON', '{hidden_size: 1}'],
    ['an array', '[]'],
    ['null', 'null'],
    ['a string', '"x"'],
    ['not UTF-8', Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d)],
    ['nested without end', '{"a":'.repeat(300_000)],
  ])('that is %s is bad-config', async (_, config) => {
    const error = await refusal('bad-config', () => openCheckpoint(withConfig(config)));
    expect(error.file).toMatch(/config\.json$/);
  });

  it('of more than 4 MiB is too-large', async () => {
    await refusal('too-large', () => openCheckpoint(withConfig(`{"a":"${'x'.repeat(2 ** 22)}"}`)));
  });

  it('with a byte-order mark is read', async () => {
    expect((await open(withConfig('\ufeff{"a": 1}'))).config.a).toBe(1);
  });

  it('cannot reach prototypes', async () => {
    const { config } = await open(withConfig('{"__proto__": {"hidden_size": 1}}'));
    expect(config.hidden_size).toBe(undefined);
    expect(config.constructor).toBe(undefined);
    expect(Object.keys(config)).toEqual(['__proto__']);
    expect(({} as Record<string, unknown>).hidden_size).toBe(undefined);
  });
});

describe('a path that is refused', () => {
  const only = (name: string, content: string | Uint8Array) =>
    join(folderWith({ 'config.json': '{}', [name]: content }), name);

  it('does not exist, or has no weights or no config', async () => {
    await refusal('not-found', () => openCheckpoint(join(root, 'nowhere')));
    await refusal('not-found', () => openCheckpoint(join(only('a.bin', 'x'), 'below')));
    await refusal('not-found', () => openCheckpoint(folderWith({ 'config.json': '{}' })));
    const other = folderWith({ 'config.json': '{}', 'weights.pt': '' });
    expect((await refusal('not-found', () => openCheckpoint(other))).message).toContain('weights.pt');
    const bare = folderWith({});
    writeSafetensors(join(bare, 'model.safetensors'), tensors(1));
    expect((await refusal('not-found', () => openCheckpoint(bare))).message).toContain('config.json');
    await refusal('unreadable', () => openCheckpoint('a\0b'));
  });

  it('is split into several files', async () => {
    for (const name of ['model.safetensors.index.json', 'pytorch_model.bin.index.json']) {
      const folder = folderWith({ 'config.json': '{}', [name]: '{}' });
      const error = await refusal('unsupported-format', () => openCheckpoint(folder));
      expect(error.message).toContain('max_shard_size');
      await refusal('unsupported-format', () => openCheckpoint(join(folder, name)));
    }
  });

  it('is a config.json', async () => {
    await refusal('unsupported-format', () =>
      openCheckpoint(join(folderWith({ 'config.json': '{}' }), 'config.json')),
    );
  });

  it('is empty', async () => {
    await refusal('truncated', () => openCheckpoint(only('pytorch_model.bin', '')));
    await refusal('truncated', () => openCheckpoint(only('model.safetensors', '')));
  });

  it('is of a format that has a name of its own', async () => {
    const tar = Buffer.alloc(1024);
    tar.write('ustar', 257);
    const formats: [string, Uint8Array][] = [
      // torch.save before 1.6: protocol 2, LONG1 0x1950a86a20f9469cfc6c.
      ['torch before 1.6', Buffer.from('80028a0a6cfc9c46f9206aa850192e', 'hex')],
      ['bare pickle', Buffer.from('80027d2e', 'hex')],
      ['tar', tar],
      ['GGUF', Buffer.from('GGUF\x03\0\0\0')],
      ['HDF5', Buffer.from('\x89HDF\r\n\x1a\n', 'latin1')],
      ['gzip', Buffer.from('\x1f\x8b\x08', 'latin1')],
      ['Git LFS', Buffer.from('version https://git-lfs.github.com/spec/v1\n')],
    ];
    for (const [name, bytes] of formats)
      for (const file of ['pytorch_model.bin', 'model.safetensors']) {
        const error = await refusal('unsupported-format', () => openCheckpoint(only(file, bytes)));
        expect(error.message).toContain(name);
        expect(error.message).toContain('torch.save(model.state_dict()');
      }
    await refusal('unsupported-format', () => openCheckpoint(only('pytorch_model.bin', 'hello, world')));
  });

  it('is larger than 16 GiB', async () => {
    const file = only('pytorch_model.bin', 'PK\x03\x04');
    truncateSync(file, 2 ** 34 + 1);
    await refusal('too-large', () => openCheckpoint(file));
  });

  it('is a named pipe or a device, without waiting for it', async () => {
    const folder = folderWith({ 'config.json': '{}' });
    execFileSync('mkfifo', [join(folder, 'model.safetensors')]);
    await refusal('unreadable', () => openCheckpoint(folder));
    symlinkSync('/dev/zero', join(folder, 'pytorch_model.bin'));
    await refusal('unreadable', () => openCheckpoint(join(folder, 'pytorch_model.bin')));
  });

  // The superuser may read everything.
  it.skipIf(process.getuid?.() === 0)('may not be read', async () => {
    const file = only('pytorch_model.bin', 'PK\x03\x04');
    chmodSync(file, 0);
    await refusal('unreadable', () => openCheckpoint(file));
  });
});
