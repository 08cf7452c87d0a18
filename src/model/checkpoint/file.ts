// Bounded, positional reads from one open file.
import { createHash } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, read, readSync } from 'node:fs';
import { promisify } from 'node:util';
import { CheckpointError } from './errors.js';
import { allocating } from './tensor.js';

const readAsync = promisify(read);

/** Linux transfers at most 2 GiB less a page in one read; this is far below. */
const READ_CHUNK = 64 * 2 ** 20;

/** Chunk of the streamed hash: the event loop runs between two. */
const HASH_CHUNK = 4 * 2 ** 20;

/**
 * A regular file kept open, so that the checked, hashed and later read bytes belong to one inode even if
 * the path is replaced meanwhile.
 */
export class BoundedFile {
  readonly path: string;
  /** Bytes, when it was opened. */
  readonly size: number;
  #fd: number;

  private constructor(path: string, fd: number, size: number) {
    this.path = path;
    this.#fd = fd;
    this.size = size;
  }

  /**
   * @param path a regular file (or a link to one)
   * @param maxBytes larger files are refused
   * @throws CheckpointError `not-found`, `unreadable` or `too-large`
   */
  static open(path: string, maxBytes: number): BoundedFile {
    let fd: number;
    try {
      // Non-blocking: opening a named pipe must not wait for a writer that never comes.
      fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    } catch (cause) {
      throw openError(path, cause);
    }
    try {
      const stat = fstatSync(fd);
      if (!stat.isFile())
        throw new CheckpointError('unreadable', path, 'it is not a regular file', 'Give a file on disk');
      if (stat.size > maxBytes)
        throw new CheckpointError(
          'too-large',
          path,
          `it has ${stat.size} bytes, the limit is ${maxBytes}`,
          'Check that this is the file you mean',
        );
      return new BoundedFile(path, fd, stat.size);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  /**
   * Bytes [position, position + length) in a new buffer of its own.
   *
   * @throws CheckpointError `truncated` if the range is not inside the file, `closed`, `unreadable`, `too-large`
   */
  read(position: number, length: number): Uint8Array<ArrayBuffer> {
    this.#check(position, length);
    const bytes = allocating(this.path, length, () => new Uint8Array(length));
    this.#fill(bytes, position);
    return bytes;
  }

  /** Calls `use` with each piece of a range in turn; the piece is only valid during the call. */
  readPieces(position: number, length: number, use: (piece: Uint8Array) => void): void {
    this.#check(position, length);
    const piece = new Uint8Array(Math.min(length, HASH_CHUNK));
    for (let done = 0; done < length; done += piece.length) {
      const part = piece.subarray(0, Math.min(piece.length, length - done));
      this.#fill(part, position + done);
      use(part);
    }
  }

  /** SHA-256 of the whole file, lower-case hex, read in chunks without blocking the event loop. */
  async sha256(): Promise<string> {
    const hash = createHash('sha256');
    const chunk = new Uint8Array(Math.max(1, Math.min(this.size, HASH_CHUNK)));
    let position = 0;
    while (position < this.size) {
      this.#check(position, 0);
      const { bytesRead } = await readAsync(this.#fd, chunk, 0, chunk.length, position).catch((cause) => {
        throw openError(this.path, cause);
      });
      if (bytesRead === 0) throw this.#shrunk();
      hash.update(chunk.subarray(0, bytesRead));
      position += bytesRead;
    }
    return hash.digest('hex');
  }

  /** Closes the file; harmless when repeated. */
  close(): void {
    if (this.#fd < 0) return;
    closeSync(this.#fd);
    this.#fd = -1;
  }

  #check(position: number, length: number): void {
    if (this.#fd < 0)
      throw new CheckpointError(
        'closed',
        this.path,
        'the checkpoint was closed before its values were read',
        'Read tensors before close()',
      );
    if (
      !Number.isSafeInteger(position) ||
      !Number.isSafeInteger(length) ||
      position < 0 ||
      length < 0 ||
      position + length > this.size
    )
      throw new CheckpointError(
        'truncated',
        this.path,
        `${length} bytes at offset ${position} are needed, the file has ${this.size}`,
        'Fetch or save the file again',
      );
  }

  #fill(bytes: Uint8Array, position: number): void {
    let done = 0;
    while (done < bytes.length) {
      const length = Math.min(READ_CHUNK, bytes.length - done);
      let got: number;
      try {
        got = readSync(this.#fd, bytes, done, length, position + done);
      } catch (cause) {
        throw openError(this.path, cause);
      }
      if (got === 0) throw this.#shrunk();
      done += got;
    }
  }

  #shrunk(): CheckpointError {
    return new CheckpointError(
      'truncated',
      this.path,
      'the file became shorter while it was read',
      'Wait until nothing writes to it and try again',
    );
  }
}

/** The system's refusal to open, stat or read a path, as a checkpoint error. */
export function openError(path: string, cause: unknown): CheckpointError {
  const code = (cause as NodeJS.ErrnoException | undefined)?.code;
  if (code === 'ENOENT' || code === 'ENOTDIR')
    return new CheckpointError('not-found', path, 'it does not exist', 'Check the path', { cause });
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new CheckpointError('unreadable', path, `it cannot be read (${reason})`, 'Check its permissions', {
    cause,
  });
}
