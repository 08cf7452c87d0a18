/** A step computed in parts, by first_row and end_row, leaves what it leaves whole; and which parts are refused. */
import { afterAll, describe, expect, it } from 'vitest';
import { STEP_BYTES } from '../../../src/native/steps.generated.js';
import { Bench, Draw } from './bench.js';
import { expectRefusal, fieldOf, firstConsumer, HEADS, ROWS, validRecords, withFields } from './valid.js';

const bench = new Bench();
afterAll(() => bench.native.close());

const SPLIT = ['EMBED', 'AFFINE', 'NORM', 'SOFTMAX'] as const;
const ROUND = { kind: 1, step: 0.01 };

/** Records of which every row can be computed alone: no quantiser takes a range. */
function fixedRecords(name: (typeof SPLIT)[number]): Uint8Array {
  const records = validRecords(bench, name);
  let fixed = records;
  for (let index = firstConsumer(records); index < records.byteLength / STEP_BYTES; index++) {
    if (new DataView(records.buffer).getUint8(index * STEP_BYTES + 4) >= 2)
      fixed = withFields(fixed, index, ROUND);
  }
  return fixed;
}

const rowsOf = (name: (typeof SPLIT)[number]) => (name === 'SOFTMAX' ? HEADS * ROWS : ROWS);

function run(records: Uint8Array): void {
  bench.native.vectorRun(records, 0, records.byteLength / STEP_BYTES);
}

describe.each(SPLIT)('%s', (name) => {
  it('in parts, in any order, leaves the same bytes as whole', () => {
    const draw = new Draw(31);
    const records = fixedRecords(name);
    const before = bench.window.slice();
    run(records);
    const whole = bench.window.slice();
    expect(Buffer.compare(whole, before)).not.toBe(0);
    const rows = rowsOf(name);
    for (let round = 0; round < 20; round++) {
      bench.window.set(before);
      const cuts = [0, ...draw.starts(3, rows)].sort((a, b) => a - b);
      const parts = cuts.slice(1).map((end, i) => ({ first_row: cuts[i]!, end_row: end }));
      for (const part of parts.filter((each) => each.first_row < each.end_row).reverse())
        run(withFields(records, 0, part));
      expect(Buffer.compare(bench.window, whole), `cut at ${cuts}`).toBe(0);
    }
  });

  it('end_row 0 is the last row', () => {
    const records = fixedRecords(name);
    const before = bench.window.slice();
    run(withFields(records, 0, { first_row: 1, end_row: rowsOf(name) }));
    const rest = bench.window.slice();
    bench.window.set(before);
    run(withFields(records, 0, { first_row: 1 }));
    expect(Buffer.compare(bench.window, rest)).toBe(0);
  });

  it('refuses parts that are empty or beyond the rows', () => {
    const records = fixedRecords(name);
    const rows = rowsOf(name);
    for (const [first_row, end_row] of [
      [2, 2],
      [2, 1],
      [rows, 0],
      [0, rows + 1],
      [2 ** 32 - 1, 0],
      [0, 2 ** 32 - 1],
    ] as const)
      expectRefusal(bench, withFields(records, 0, { first_row, end_row }), `${first_row} to ${end_row}`);
  });
});

describe('a quantiser that takes a range', () => {
  it('lets a step be cut between sequences alone', () => {
    const records = validRecords(bench, 'NORM');
    const before = bench.window.slice();
    run(records);
    const whole = bench.window.slice();
    bench.window.set(before);
    const cut = bench.view().getUint32(fieldOf(records, 0, 'starts_off') + 4, true);
    run(withFields(records, 0, { first_row: cut }));
    run(withFields(records, 0, { end_row: cut }));
    expect(Buffer.compare(bench.window, whole)).toBe(0);
    const fresh = validRecords(bench, 'NORM');
    for (const row of [1, cut + 1]) {
      expectRefusal(bench, withFields(fresh, 0, { first_row: row }), `from ${row}`);
      expectRefusal(bench, withFields(fresh, 0, { end_row: row }), `to ${row}`);
    }
  });

  it('keeps the heads of a softmax together', () => {
    const records = validRecords(bench, 'SOFTMAX');
    expectRefusal(bench, withFields(records, 0, { first_row: ROWS }), 'the second head on');
    expectRefusal(bench, withFields(records, 0, { end_row: ROWS }), 'the first head');
  });
});
