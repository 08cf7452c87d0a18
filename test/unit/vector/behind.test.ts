/** What stands behind a producer, terms, word tables and consumers: how many there may be, and what is refused in them. */
import { afterAll, describe, expect, it } from 'vitest';
import { STEP, STEP_BYTES } from '../../../src/native/steps.generated.js';
import { Bench } from './bench.js';
import { expectRefusal, fieldOf, firstConsumer, ROWS, validRecords, WIDTH, withFields } from './valid.js';

const bench = new Bench();
const WINDOW = bench.window.byteLength;
afterAll(() => bench.native.close());

type Fields = Readonly<Record<string, number>>;

describe('what follows a producer', () => {
  /** Records with `inserted` before number `index`, and the producer's count of them changed. */
  const grown = (records: Uint8Array, index: number, inserted: Uint8Array, count: Fields) =>
    withFields(
      Buffer.concat([
        records.subarray(0, index * STEP_BYTES),
        inserted,
        records.subarray(index * STEP_BYTES),
      ]),
      0,
      count,
    );
  const record = (records: Uint8Array, index: number) =>
    records.slice(index * STEP_BYTES, (index + 1) * STEP_BYTES);

  it.each(['EMBED', 'AFFINE', 'NORM'] as const)('%s: one or two of what it adds up', (name) => {
    const records = validRecords(bench, name);
    const first = record(records, 1);
    const without = (terms: number) =>
      withFields(Buffer.concat([record(records, 0), records.subarray((3 - terms) * STEP_BYTES)]), 0, {
        terms,
      });
    expect(() => bench.native.vectorRun(without(1), 0, 4)).not.toThrow();
    const fresh = validRecords(bench, name);
    expectRefusal(bench, without(0), 'none');
    expectRefusal(bench, grown(fresh, 1, first, { terms: 3 }), 'three');
  });

  it.each(['SOFTMAX', 'DENSE', 'PICK'] as const)('%s: nothing to add up', (name) => {
    const term = record(validRecords(bench, 'AFFINE'), 1);
    expectRefusal(bench, grown(validRecords(bench, name), 1, term, { terms: 1 }), name);
  });

  it('up to eight consumers', () => {
    const records = validRecords(bench, 'NORM');
    const consumer = record(records, firstConsumer(records));
    const many = (consumers: number) =>
      grown(
        records,
        firstConsumer(records),
        Buffer.concat(Array.from({ length: consumers - 2 }, () => consumer)),
        { consumers },
      );
    expect(() => bench.native.vectorRun(many(8), 0, 11)).not.toThrow();
    validRecords(bench, 'NORM');
    expectRefusal(bench, many(9), 'nine');
  });
});

describe('a term', () => {
  it.each<Fields>([
    { op: 0 },
    { op: STEP.TABLE.op },
    { op: STEP.QUANTISE.op },
    { block: 0 },
    { block: 64 },
    { block: 131 },
    { block: 2 ** 31 },
    { sums_stride: 2 },
    { acc_int16: 2 },
    { acc_int16: 255 },
    { sums_stride: 2 ** 31 },
  ])('is refused with %o, and its producer with it', (fields) => {
    for (const name of ['AFFINE', 'NORM'] as const) {
      for (const index of [1, 2]) {
        const records = withFields(validRecords(bench, name), index, fields);
        expectRefusal(bench, records, `${name}, term ${index}: ${JSON.stringify(fields)}`);
      }
    }
  });

  it('may have int16 accumulators, at even addresses', () => {
    const short = (fields: Fields) => withFields(validRecords(bench, 'NORM'), 1, { acc_int16: 1, ...fields });
    const count = short({}).byteLength / STEP_BYTES;
    const acc = fieldOf(validRecords(bench, 'NORM'), 1, 'acc_off');
    const stride = fieldOf(validRecords(bench, 'NORM'), 1, 'acc_stride');
    const moved = { acc_off: acc + 2, acc_stride: stride - 2, block_stride: stride / 2 - 2 };
    expect(() => bench.native.vectorRun(short(moved), 0, count)).not.toThrow();
    expectRefusal(bench, short({ ...moved, acc_int16: 0 }), 'int32 at even addresses');
    for (const [field, value] of Object.entries(moved))
      expectRefusal(bench, short({ [field]: value - 1 }), `odd ${field}`);
    // The last row ends with the window: rows of half the bytes begin later.
    const last = WINDOW - (ROWS - 1) * stride;
    const ends = (bytes: number) => ({ block_stride: (WIDTH / 2) * bytes, acc_off: last - WIDTH * bytes });
    expect(() => bench.native.vectorRun(short(ends(2)), 0, count)).not.toThrow();
    expectRefusal(bench, short({ ...ends(2), acc_off: ends(2).acc_off + 2 }), 'a row past the end');
    expectRefusal(bench, short({ ...ends(2), acc_int16: 0 }), 'int32 past the end');
  });

  it('needs a found entry for every sequence', () => {
    // One fits there, a second does not.
    for (const field of ['found_a_off', 'found_b_off']) {
      const records = withFields(validRecords(bench, 'NORM'), 1, { [field]: WINDOW - 16 });
      expectRefusal(bench, records, field);
    }
  });

  it('has no sums by sequence in a transposed product, where they would be of rows', () => {
    const byRow = withFields(validRecords(bench, 'AFFINE'), 0, { by_row: 1 });
    expectRefusal(bench, byRow, 'sums_stride');
    const count = byRow.byteLength / STEP_BYTES;
    const fixed = withFields(byRow, 1, { sums_stride: 0 });
    expect(() => bench.native.vectorRun(fixed, 0, count)).not.toThrow();
  });

  it('has scales and sums for all rows of a transposed product', () => {
    const rows = 200;
    const records = withFields(validRecords(bench, 'AFFINE'), 0, { terms: 1, consumers: 0, by_row: 1 });
    bench.view().setUint32(fieldOf(records, 0, 'starts_off') + 8, rows, true);
    const tall = (fields: Fields) =>
      withFields(withFields(records.slice(0, 2 * STEP_BYTES), 0, { rows, out_off: 0, bias_off: 0 }), 1, {
        acc_stride: 4,
        sums_stride: 0,
        ...fields,
      });
    // Enough for the columns, 130 doubles, but not for the rows.
    const short = WINDOW - 8 * 190;
    expectRefusal(bench, tall({ scale_off: short }), 'scale_off');
    expectRefusal(bench, tall({ sums_off: short }), 'sums_off');
    const long = WINDOW - 8 * rows;
    expect(() => bench.native.vectorRun(tall({ scale_off: long, sums_off: long }), 0, 2)).not.toThrow();
  });
});

describe('a word table', () => {
  const both = (fields: Fields) => {
    for (const index of [1, 2]) {
      const records = withFields(validRecords(bench, 'EMBED'), index, fields);
      expectRefusal(bench, records, `table ${index}: ${JSON.stringify(fields)}`);
    }
  };

  it.each([0x00, 0x10, 0x21, 0x12, 0x22, 0x120, 0x31, 2 ** 32 - 1])(
    'is refused with format %i',
    (word_format) => both({ word_format }),
  );

  it.each<Fields>([
    { op: 0 },
    { op: STEP.TERM.op },
    { op: STEP.QUANTISE.op },
    { word_stride: 0 },
    { word_stride: 16 },
  ])('is refused with %o', both);

  it('of two planes needs room for both', () => {
    const binary = 2;
    const ternary = withFields(validRecords(bench, 'EMBED'), 1, { word_stride: 48 });
    expectRefusal(bench, ternary, 'ternary rows of 48 bytes');
    const turned = withFields(validRecords(bench, 'EMBED'), binary, { word_format: 0x11 });
    expectRefusal(bench, turned, 'ternary rows of 32 bytes');
  });
});
