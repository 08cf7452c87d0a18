// A thin layer over yauzl: the entries of a zip file, with everything checked that yauzl leaves to its
// caller (duplicates, overlaps, sizes, CRC-32), and synchronous reads by offset.
import { crc32, inflateRawSync } from 'node:zlib';
import { type Entry, fromRandomAccessReaderPromise, RandomAccessReader, type ZipFile } from 'yauzl';
import { CheckpointError, FETCH_AGAIN, quote } from './errors.js';
import type { BoundedFile } from './file.js';
import {
  FREE_INFLATED_BYTES,
  MAX_INFLATED_BYTES,
  MAX_INFLATION_RATIO,
  MAX_NAME_LENGTH,
  MAX_ZIP_ENTRIES,
} from './limits.js';

const STORED = 0;
const DEFLATED = 8;

/** zlib takes lengths of 32 bits. */
const CRC_CHUNK = 2 ** 30;

/** One file inside the zip. */
export interface ZipEntry {
  readonly name: string;
  /** Uncompressed bytes. */
  readonly size: number;
  /**
   * Uncompressed bytes [start, start + length) in a new buffer of its own. The first read checks the
   * CRC-32 of the whole entry.
   *
   * @throws CheckpointError `bad-crc`, `corrupt-zip`, `truncated`, `too-large`, `closed` or `unreadable`
   */
  read(start: number, length: number): Uint8Array<ArrayBuffer>;
}

/**
 * Lists a zip file. Nothing is decompressed yet.
 *
 * @returns entries by name
 * @throws CheckpointError `corrupt-zip`, `too-large`, `unsupported-format`, or as BoundedFile.read
 */
export async function openZip(file: BoundedFile): Promise<Map<string, ZipEntry>> {
  const extents: Extent[] = [];
  const entries = new Map<string, ZipEntry>();
  let zip: ZipFile | undefined;
  try {
    zip = await fromRandomAccessReaderPromise(new FileReader(file), file.size, {
      autoClose: false,
      // Refuse, do not rewrite, names that climb out of the archive.
      strictFileNames: true,
    });
    // An 'error' event without a listener would end the process.
    zip.on('error', () => {});
    if (zip.entryCount > MAX_ZIP_ENTRIES)
      throw new CheckpointError(
        'too-large',
        file.path,
        `it announces ${zip.entryCount} zip entries, the limit is ${MAX_ZIP_ENTRIES}`,
        FETCH_AGAIN,
      );
    for await (const entry of zip.eachEntry()) {
      checkEntry(entry, file.path);
      if (entries.has(entry.fileName))
        throw new CheckpointError(
          'corrupt-zip',
          file.path,
          `it has two entries named ${quote(entry.fileName)}`,
          FETCH_AGAIN,
        );
      const { fileDataStart } = await zip.readLocalFileHeaderPromise(entry, { minimal: true });
      extents.push({
        name: entry.fileName,
        begin: entry.relativeOffsetOfLocalHeader,
        end: fileDataStart + entry.compressedSize,
      });
      entries.set(entry.fileName, new CheckedEntry(file, entry, fileDataStart));
    }
  } catch (cause) {
    if (cause instanceof CheckpointError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new CheckpointError(
      'corrupt-zip',
      file.path,
      `it is not a complete zip file (${reason})`,
      'It is damaged or cut short: fetch or save it again',
      { cause },
    );
  } finally {
    zip?.close();
  }
  checkSizes(entries, file);
  checkOverlaps(extents, file.path);
  return entries;
}

/** Lets yauzl read from our open file, and never outside of it: positions come from the file itself. */
class FileReader extends RandomAccessReader {
  readonly #file: BoundedFile;

  constructor(file: BoundedFile) {
    super();
    this.#file = file;
  }

  override read(
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
    callback: (error: Error | null) => void,
  ): void {
    let error: Error | null = null;
    try {
      if (position + length > this.#file.size) throw new Error('its directory points outside of the file');
      buffer.set(this.#file.read(position, length), offset);
    } catch (cause) {
      error = cause instanceof Error ? cause : new Error(String(cause));
    }
    // yauzl expects its answer later, not within the call.
    setImmediate(callback, error);
  }
}

interface Extent {
  readonly name: string;
  /** Offset of the local header. */
  readonly begin: number;
  /** Offset after the last byte of data. */
  readonly end: number;
}

function checkEntry(entry: Entry, file: string): void {
  const name = quote(entry.fileName);
  if (entry.fileName.length > MAX_NAME_LENGTH)
    throw new CheckpointError(
      'too-large',
      file,
      `zip entry ${name} has a name of more than ${MAX_NAME_LENGTH} characters`,
      FETCH_AGAIN,
    );
  if (entry.isEncrypted() || (entry.compressionMethod !== STORED && entry.compressionMethod !== DEFLATED))
    throw new CheckpointError(
      'unsupported-format',
      file,
      `zip entry ${name} is encrypted or uses compression method ${entry.compressionMethod}`,
      'Save the checkpoint with torch.save, which only stores',
    );
  if (!Number.isSafeInteger(entry.uncompressedSize) || !Number.isSafeInteger(entry.compressedSize))
    throw new CheckpointError('corrupt-zip', file, `zip entry ${name} has an impossible size`, FETCH_AGAIN);
  if (entry.compressionMethod === DEFLATED && entry.uncompressedSize > MAX_INFLATED_BYTES)
    throw new CheckpointError(
      'too-large',
      file,
      `compressed zip entry ${name} has ${entry.uncompressedSize} bytes, the limit is ${MAX_INFLATED_BYTES}`,
      'Save the checkpoint with torch.save, which does not compress',
    );
}

/** Against compression bombs. The sum cannot be inexact: it is compared after every entry. */
function checkSizes(entries: ReadonlyMap<string, ZipEntry>, file: BoundedFile): void {
  const limit = Math.max(FREE_INFLATED_BYTES, file.size * MAX_INFLATION_RATIO);
  let sum = 0;
  for (const { size } of entries.values()) {
    sum += size;
    if (sum > limit)
      throw new CheckpointError(
        'too-large',
        file.path,
        `its zip entries unpack to more than ${limit} bytes from ${file.size}`,
        'No real checkpoint compresses so well; get it from a source you trust',
      );
  }
}

/** Two entries that share bytes are the mark of a bomb or of a damaged directory. */
function checkOverlaps(extents: Extent[], file: string): void {
  extents.sort((a, b) => a.begin - b.begin);
  let previous: Extent | undefined;
  for (const extent of extents) {
    if (previous !== undefined && extent.begin < previous.end)
      throw new CheckpointError(
        'corrupt-zip',
        file,
        `zip entries ${quote(previous.name)} and ${quote(extent.name)} overlap`,
        FETCH_AGAIN,
      );
    previous = extent;
  }
}

class CheckedEntry implements ZipEntry {
  readonly name: string;
  readonly size: number;
  readonly #file: BoundedFile;
  readonly #dataStart: number;
  readonly #packedSize: number;
  readonly #deflated: boolean;
  readonly #crc: number;
  #verified = false;

  constructor(file: BoundedFile, entry: Entry, dataStart: number) {
    this.name = entry.fileName;
    this.size = entry.uncompressedSize;
    this.#file = file;
    this.#dataStart = dataStart;
    this.#packedSize = entry.compressedSize;
    this.#deflated = entry.compressionMethod === DEFLATED;
    this.#crc = entry.crc32;
  }

  read(start: number, length: number): Uint8Array<ArrayBuffer> {
    if (start + length > this.size)
      throw new CheckpointError(
        'truncated',
        this.#file.path,
        `zip entry ${quote(this.name)} has ${this.size} bytes, ${start + length} are needed`,
        FETCH_AGAIN,
      );
    // Copied: the inflated buffer may be shared, and a part must not keep the whole alive.
    if (this.#deflated) return new Uint8Array(this.#inflate().subarray(start, start + length));
    const whole = start === 0 && length === this.size;
    if (!this.#verified && !whole) {
      let crc = 0;
      this.#file.readPieces(this.#dataStart, this.size, (piece) => {
        crc = crc32(piece, crc);
      });
      this.#verify(crc);
    }
    const bytes = this.#file.read(this.#dataStart + start, length);
    if (!this.#verified) this.#verify(crcOf(bytes));
    return bytes;
  }

  /** Inflated anew on every read: torch never deflates, so this path need not be fast. */
  #inflate(): Buffer {
    const packed = this.#file.read(this.#dataStart, this.#packedSize);
    let bytes: Buffer;
    try {
      // Stops as soon as more comes out than the directory announced.
      bytes = inflateRawSync(packed, { maxOutputLength: Math.max(1, this.size) });
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new CheckpointError(
        'corrupt-zip',
        this.#file.path,
        `zip entry ${quote(this.name)} cannot be inflated (${reason})`,
        FETCH_AGAIN,
        { cause },
      );
    }
    if (bytes.length !== this.size)
      throw new CheckpointError(
        'corrupt-zip',
        this.#file.path,
        `zip entry ${quote(this.name)} inflates to ${bytes.length} bytes, ${this.size} were announced`,
        FETCH_AGAIN,
      );
    if (!this.#verified) this.#verify(crcOf(bytes));
    return bytes;
  }

  #verify(crc: number): void {
    if (crc !== this.#crc)
      throw new CheckpointError(
        'bad-crc',
        this.#file.path,
        `zip entry ${quote(this.name)} has CRC-32 ${hex(crc)}, the directory says ${hex(this.#crc)}`,
        FETCH_AGAIN,
      );
    this.#verified = true;
  }
}

function crcOf(bytes: Uint8Array): number {
  let crc = 0;
  for (let at = 0; at < bytes.length; at += CRC_CHUNK) crc = crc32(bytes.subarray(at, at + CRC_CHUNK), crc);
  return crc;
}

function hex(crc: number): string {
  return crc.toString(16).padStart(8, '0');
}
