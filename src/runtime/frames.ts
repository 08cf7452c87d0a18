/**
 * Messages between the daemon and its engine process, over one socket pair: a JSON header and a body of raw numbers. The daemon reads
 * them as they come; the engine process blocks on the next one, which wakes it sooner than an event loop would.
 */
import { readSync, writeSync } from 'node:fs';

/** A header of any shape, and the numbers that belong to it; the body begins at its own ArrayBuffer, so any typed array can view it. */
export interface Frame {
  readonly header: unknown;
  readonly body: Uint8Array<ArrayBuffer>;
}

/** Two u32: bytes of the header, bytes of the body. */
const PREFIX = 8;
/** A frame can hold what the largest request makes; more is a fault of this program. */
const MAX_HEADER = 2 ** 26;
const MAX_BODY = 2 ** 30;

/** A message as the bytes that go over the socket; the bodies follow one another. */
export function encodeFrame(header: unknown, ...bodies: readonly Uint8Array[]): Buffer {
  const text = JSON.stringify(header);
  const textBytes = Buffer.byteLength(text);
  const bodyBytes = bodies.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const frame = Buffer.allocUnsafe(PREFIX + textBytes + bodyBytes);
  frame.writeUInt32LE(textBytes, 0);
  frame.writeUInt32LE(bodyBytes, 4);
  frame.write(text, PREFIX);
  let at = PREFIX + textBytes;
  for (const body of bodies) {
    frame.set(body, at);
    at += body.byteLength;
  }
  return frame;
}

/** The bytes of a typed array. */
export const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView) =>
  new Uint8Array(buffer, byteOffset, byteLength);

/** Puts frames together from pieces as a stream delivers them; every byte is copied once. */
export class FrameReader {
  readonly #prefix = Buffer.alloc(PREFIX);
  #filled = 0;
  #header: Buffer | undefined;
  #body = new Uint8Array(0);

  /** The frames that are complete with this piece. Throws on a length that no frame has. */
  *push(piece: Uint8Array): Generator<Frame> {
    let rest = piece;
    const fill = (target: Uint8Array, at: number): number => {
      const count = Math.min(target.byteLength - at, rest.byteLength);
      target.set(rest.subarray(0, count), at);
      rest = rest.subarray(count);
      this.#filled += count;
      return count;
    };
    while (rest.byteLength > 0 || this.#complete) {
      if (this.#filled < PREFIX) {
        fill(this.#prefix, this.#filled);
        if (this.#filled < PREFIX) return;
        const [headerBytes, bodyBytes] = lengths(this.#prefix);
        this.#header = Buffer.allocUnsafe(headerBytes);
        this.#body = new Uint8Array(bodyBytes);
      }
      const header = this.#header!;
      if (this.#filled < PREFIX + header.byteLength) fill(header, this.#filled - PREFIX);
      if (this.#filled >= PREFIX + header.byteLength)
        fill(this.#body, this.#filled - PREFIX - header.byteLength);
      if (!this.#complete) return;
      const frame = { header: JSON.parse(header.toString('utf8')), body: this.#body };
      this.#header = undefined;
      this.#filled = 0;
      yield frame;
    }
  }

  get #complete(): boolean {
    return (
      this.#header !== undefined && this.#filled === PREFIX + this.#header.byteLength + this.#body.byteLength
    );
  }
}

function lengths(prefix: Buffer): [number, number] {
  const header = prefix.readUInt32LE(0);
  const body = prefix.readUInt32LE(4);
  if (header > MAX_HEADER || body > MAX_BODY) throw new Error(`a frame of ${header} + ${body} bytes is none`);
  return [header, body];
}

/** Reads what one call of the system brings: a frame of a batch, as a rule. */
const PIECE_BYTES = 65_536;

/** Frames from a blocking descriptor, one after another; ends when the other side is gone. */
export function* readFrames(fd: number): Generator<Frame> {
  const reader = new FrameReader();
  const piece = Buffer.alloc(PIECE_BYTES);
  for (;;) {
    const count = readSync(fd, piece, 0, PIECE_BYTES, null);
    if (count === 0) return;
    yield* reader.push(piece.subarray(0, count));
  }
}

/** Writes a frame whole to a blocking descriptor. Throws EPIPE when the other side is gone. */
export function writeFrame(fd: number, header: unknown, ...bodies: readonly Uint8Array[]): void {
  const frame = encodeFrame(header, ...bodies);
  for (let at = 0; at < frame.byteLength; ) at += writeSync(fd, frame, at, frame.byteLength - at);
}
