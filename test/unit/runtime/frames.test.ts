/** Frames between the daemon and its engine process, however a stream cuts them. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bytesOf, encodeFrame, FrameReader } from '../../../src/runtime/frames.js';

const frame = fc.record({
  header: fc.oneof(fc.jsonValue(), fc.constant({ kind: 'run', text: 'ÄÖ\u{1f600}' })),
  bodies: fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 3 }),
});

describe('frames', () => {
  it('come out as they went in, whatever the pieces', () => {
    fc.assert(
      fc.property(
        fc.array(frame, { maxLength: 6 }),
        fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 }),
        (frames, cuts) => {
          const stream = Buffer.concat(frames.map(({ header, bodies }) => encodeFrame(header, ...bodies)));
          const reader = new FrameReader();
          const found = [];
          for (let at = 0, i = 0; at < stream.length; i++) {
            const end = at + cuts[i % cuts.length]!;
            found.push(...reader.push(stream.subarray(at, end)));
            at = end;
          }
          expect(found.map(({ header, body }) => [JSON.stringify(header), [...body]])).toEqual(
            frames.map(({ header, bodies }) => [JSON.stringify(header), bodies.flatMap((body) => [...body])]),
          );
        },
      ),
    );
  });

  it('have a body that any typed array can view', () => {
    const [only] = [...new FrameReader().push(encodeFrame({}, bytesOf(Float32Array.of(1.5, -2))))];
    expect(new Float32Array(only!.body.buffer)).toEqual(Float32Array.of(1.5, -2));
  });

  it('are refused where a length is none, before anything is allocated', () => {
    const prefix = Buffer.alloc(8);
    prefix.writeUInt32LE(0xffff_ffff, 4);
    expect(() => [...new FrameReader().push(prefix)]).toThrow('is none');
  });
});
