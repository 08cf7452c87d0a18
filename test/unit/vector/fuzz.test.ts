/**
 * Records with random damage: each either runs or is refused, and the process lives. The window lies between inaccessible pages, so
 * an access outside of it ends the test run. native/test/vector.c does the same under the sanitizers.
 */
import { afterAll, expect, it } from 'vitest';
import { NativeError } from '../../../src/native/device.js';
import { STEP_BYTES } from '../../../src/native/steps.generated.js';
import { Bench, Draw } from './bench.js';
import { PRODUCERS, validRecords } from './valid.js';

const bench = new Bench();
afterAll(() => bench.native.close());

const RECORDS = 10_000;
const INTERESTING = [
  0,
  1,
  2,
  3,
  8,
  16,
  64,
  127,
  128,
  255,
  256,
  4096,
  0x1_0000,
  0xf_fff0,
  0x10_0000,
  2 ** 31,
  2 ** 32 - 16,
  2 ** 32 - 1,
];

/** A word of the record becomes an interesting number, another word of the record, or noise; or one bit flips. */
function damage(draw: Draw, records: Uint8Array): void {
  const view = new DataView(records.buffer, records.byteOffset, records.byteLength);
  const start = draw.int(0, records.byteLength / STEP_BYTES - 1) * STEP_BYTES;
  // Fields are in the first 80 bytes.
  const at = start + 4 * draw.int(0, 19);
  switch (draw.int(0, 4)) {
    case 0:
      view.setUint32(at, draw.pick(INTERESTING), true);
      break;
    case 1:
      view.setUint32(
        at,
        view.getUint32(start + 4 * draw.int(0, 19), true) + draw.pick([0, 4, 16, -4, -16, 64]),
        true,
      );
      break;
    case 2:
      view.setUint32(at, draw.int(0, 2 ** 20), true);
      break;
    case 3:
      records[at + draw.int(0, 3)]! ^= 1 << draw.int(0, 7);
      break;
    default:
      view.setUint8(start + draw.int(0, 4), draw.int(0, 10));
  }
}

it(`${RECORDS} damaged records run or are refused`, () => {
  const outcome = { ran: 0, refused: 0 };
  for (const [index, name] of PRODUCERS.entries()) {
    const valid = validRecords(bench, name);
    const sane = bench.window.slice();
    const draw = new Draw(7000 + index);
    for (let i = 0; i < RECORDS / PRODUCERS.length; i++) {
      if (i % 50 === 0) bench.window.set(sane); // Runs leave things behind; without this soon nothing would be valid.
      const records = valid.slice();
      for (let n = draw.int(1, 3); n > 0; n--) damage(draw, records);
      try {
        bench.native.vectorRun(records, 0, records.byteLength / STEP_BYTES);
        outcome.ran++;
      } catch (error) {
        expect(error).toBeInstanceOf(NativeError);
        outcome.refused++;
      }
    }
  }
  // Both must happen often, or the damage is too heavy or too light to find anything.
  expect(outcome.ran).toBeGreaterThan(RECORDS / 10);
  expect(outcome.refused).toBeGreaterThan(RECORDS / 10);
});

it('noise is refused', () => {
  const draw = new Draw(1);
  for (let i = 0; i < 2000; i++) {
    const records = Uint8Array.from({ length: draw.int(1, 5) * STEP_BYTES }, () => draw.int(0, 255));
    records[0] = draw.int(0, 10);
    expect(() => bench.native.vectorRun(records, 0, records.byteLength / STEP_BYTES)).toThrow(NativeError);
  }
});
