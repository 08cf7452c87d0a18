import { Duplex } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { gatherWrites } from '../../../src/client/gathering.js';

/** A stream that keeps what it was given, write by write, and takes it at once or when told to. */
function sink(highWaterMark = 16_384) {
  const writes: Buffer[] = [];
  let held: (() => void) | undefined;
  let hold = false;
  const stream = new Duplex({
    highWaterMark,
    read() {},
    write(piece: Buffer, _encoding, done) {
      writes.push(Buffer.from(piece));
      if (hold) held = done;
      else done();
    },
  });
  gatherWrites(stream);
  return {
    stream,
    writes,
    get all() {
      return Buffer.concat(writes);
    },
    hold: () => {
      hold = true;
    },
    release: () => {
      hold = false;
      held?.();
    },
  };
}

describe('gathered writes', () => {
  it('of one turn are one write, in their order, and do not see later changes of the pieces', async () => {
    const { stream, writes } = sink();
    const number = Buffer.from([0, 7]);
    stream.write('topic');
    stream.write(number);
    number[1] = 9;
    stream.write(number);
    expect(writes).toEqual([]);
    await turn();
    expect(writes.map(String)).toEqual(['topic\0\x07\0\x09']);
    stream.write('next');
    await turn();
    expect(writes).toHaveLength(2);
  });

  it('bring every byte of any pieces, at whatever turn they come', async () => {
    const piece = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 40 }),
      fc.uint8Array({ maxLength: 300 }),
      fc.integer({ min: 1000, max: 200_000 }).map((length) => 'ä'.repeat(length)),
      fc.integer({ min: 1000, max: 200_000 }).map((length) => new Uint8Array(length).fill(length)),
    );
    const pieces = fc.array(fc.tuple(piece, fc.boolean()), { maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(pieces, async (list) => {
        const target = sink();
        for (const [each, pause] of list) {
          target.stream.write(each);
          if (pause) await turn();
        }
        await turn();
        const expected = Buffer.concat(list.map(([each]) => Buffer.from(each as Uint8Array)));
        expect(target.all.equals(expected)).toBe(true);
      }),
      { seed: 5, numRuns: 60 },
    );
  });

  it('say when the stream is full, and it tells when it is not any more', async () => {
    const target = sink(8);
    target.hold();
    target.stream.write('more than eight bytes');
    await turn();
    expect(target.stream.write('full')).toBe(false);
    const drained = new Promise((resolve) => target.stream.once('drain', resolve));
    target.release();
    await drained;
    await turn();
    expect(target.all.toString()).toBe('more than eight bytesfull');
    expect(target.stream.write('free')).toBe(true);
  });

  it('are handed over before the end', async () => {
    const target = sink();
    target.stream.write('last words');
    const ended = new Promise<void>((resolve) => target.stream.end(resolve));
    await ended;
    expect(target.all.toString()).toBe('last words');
  });

  it('of a stream that is destroyed meanwhile go nowhere', async () => {
    const { stream, writes } = sink();
    stream.write('too late');
    stream.destroy();
    await turn();
    expect(writes).toEqual([]);
  });
});
