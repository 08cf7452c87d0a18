// Which reader a weights file needs, by its first bytes and not by its name.
import { CheckpointError } from './errors.js';
import type { BoundedFile } from './file.js';

/** The two formats that are read. */
export type WeightsFormat = 'safetensors' | 'torch';

/** Enough for every magic below; a tar file has its own at byte 257. */
const HEAD_BYTES = 512;

const CONVERT =
  'Load it with the program that wrote it and save it with torch.save(model.state_dict(), file), torch 1.6 or later, or as safetensors';

/** Formats that people try, and which therefore deserve their names in the message. */
const OTHERS: readonly { magic: string; at: number; name: string }[] = [
  // A pickle of protocol 2 that begins with torch's magic number 0x1950a86a20f9469cfc6c.
  { magic: '\x80\x02\x8a\x0a\x6c\xfc\x9c\x46', at: 0, name: 'the stream format of torch before 1.6' },
  { magic: '\x80', at: 0, name: 'a bare pickle, not a torch zip file' },
  { magic: 'ustar', at: 257, name: 'a tar file, as torch before 0.2 and NeMo write' },
  { magic: 'GGUF', at: 0, name: 'a GGUF file' },
  { magic: '\x89HDF', at: 0, name: 'an HDF5 (Keras) file' },
  { magic: '\x1f\x8b', at: 0, name: 'a gzip file' },
  { magic: 'version https://git-lfs', at: 0, name: 'a Git LFS pointer, not the file it stands for' },
];

/**
 * @throws CheckpointError `truncated` for an empty file, `unsupported-format` for what is neither
 */
export function detectFormat(file: BoundedFile): WeightsFormat {
  const head = Buffer.from(file.read(0, Math.min(HEAD_BYTES, file.size))).toString('latin1');
  if (head === '')
    throw new CheckpointError('truncated', file.path, 'the file is empty', 'Fetch or save it again');
  // Read as a safetensors length this would announce a header of 67 MB.
  if (head.startsWith('PK\x03\x04')) return 'torch';
  // The ninth byte of every safetensors file.
  if (head[8] === '{') return 'safetensors';
  const other = OTHERS.find(({ magic, at }) => head.startsWith(magic, at));
  if (other !== undefined)
    throw new CheckpointError('unsupported-format', file.path, `it is ${other.name}`, CONVERT);
  // The reader can say better than we what is wrong with a safetensors file.
  if (file.path.endsWith('.safetensors')) return 'safetensors';
  throw new CheckpointError(
    'unsupported-format',
    file.path,
    'it is neither a safetensors file nor a torch zip file',
    CONVERT,
  );
}
