/**
 * What is written in one turn of the event loop goes to the system in one write. MQTT.js writes a packet in a dozen pieces, and sends an
 * acknowledgement for every message: a system call and a TCP segment each, which also wakes the broker each time. Here the pieces are
 * copied behind one another and handed over when the turn is through, which is before the loop waits for anything.
 */
import type { Duplex } from 'node:stream';

/** Room for some hundred messages; a piece that is larger gets a buffer of its own. */
const CHUNK_BYTES = 65_536;

/** Writers of this stream, `write` and `end` in their common forms, gather from now on. */
export function gatherWrites(stream: Duplex): void {
  const write = stream.write.bind(stream) as (piece: Uint8Array) => boolean;
  const end = stream.end.bind(stream) as (callback?: () => void) => Duplex;
  // Never written to twice: the system may still read what it was given.
  let chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  let begin = 0;
  let at = 0;
  let due = false;
  const flush = () => {
    due = false;
    if (at === begin) return;
    const gathered = chunk.subarray(begin, at);
    begin = at;
    if (!stream.destroyed) write(gathered);
  };
  const reserve = (bytes: number) => {
    if (at + bytes > chunk.length) {
      flush();
      chunk = Buffer.allocUnsafe(Math.max(CHUNK_BYTES, bytes));
      begin = 0;
      at = 0;
    }
    if (due) return;
    due = true;
    setImmediate(flush);
  };
  const put = (piece: string | Uint8Array): boolean => {
    if (typeof piece === 'string') {
      // A UTF-16 unit takes at most three bytes; the exact length is only worth counting for long strings.
      reserve(piece.length < 1024 ? piece.length * 3 : Buffer.byteLength(piece));
      at += chunk.write(piece, at);
    } else {
      reserve(piece.byteLength);
      chunk.set(piece, at);
      at += piece.byteLength;
    }
    // 'drain' follows where this says that the stream is full.
    return !stream.writableNeedDrain;
  };
  stream.write = put as Duplex['write'];
  stream.end = ((callback?: () => void) => {
    flush();
    return end(callback);
  }) as Duplex['end'];
}
