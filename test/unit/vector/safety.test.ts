/** What keeps a record that is well-formed by itself inside its memory and its time. */
import { afterAll, describe, expect, it } from 'vitest';
import { STEP_BYTES, STEP_QUANTISER } from '../../../src/native/steps.generated.js';
import { Bench } from './bench.js';
import {
  expectRefusal,
  fieldOf,
  firstConsumer,
  ROWS,
  SEQUENCES,
  validRecords,
  WIDTH,
  withFields,
} from './valid.js';

const bench = new Bench();
afterAll(() => bench.native.close());

describe('indices', () => {
  const word = (off: number, value: number) => bench.view().setUint32(off, value, true);

  it.each(['ids_off', 'positions_off', 'types_off'])(
    'of %s beyond their table are refused, in any row',
    (field) => {
      for (const row of [0, ROWS - 1]) {
        const records = validRecords(bench, 'EMBED');
        for (const value of [7, 100, 2 ** 31, 2 ** 32 - 1]) {
          word(fieldOf(records, 0, field) + row * 4, value);
          expectRefusal(bench, records, `${field}[${row}] = ${value}`);
        }
      }
    },
  );

  it('of chosen rows beyond the matrix are refused, in any row', () => {
    for (const row of [0, ROWS - 1]) {
      const records = validRecords(bench, 'PICK');
      for (const value of [ROWS, 100, 2 ** 31, 2 ** 32 - 1]) {
        word(fieldOf(records, 0, 'index_off') + row * 4, value);
        expectRefusal(bench, records, `index_off[${row}] = ${value}`);
      }
    }
  });

  it.each([
    ['not from 0', [1, 2, ROWS]],
    ['not to the last row', [0, 2, ROWS - 1]],
    ['beyond the last row', [0, 2, ROWS + 1]],
    ['falling', [0, ROWS + 1, ROWS]],
    ['huge in between', [0, 2 ** 32 - 1, ROWS]],
  ])('of sequences: %s', (_, starts) => {
    for (const name of ['EMBED', 'AFFINE', 'NORM', 'PICK'] as const) {
      const records = validRecords(bench, name);
      const off = fieldOf(records, 0, 'starts_off');
      for (const [index, start] of starts.entries()) word(off + index * 4, start);
      expectRefusal(bench, records, `${name} with starts ${starts}`);
    }
  });

  it('are safe from what the step itself writes', () => {
    for (const [name, fields] of [
      ['EMBED', ['ids_off', 'positions_off', 'types_off', 'starts_off']],
      ['AFFINE', ['starts_off']],
      ['NORM', ['starts_off']],
      ['PICK', ['index_off', 'starts_off']],
    ] as const) {
      const records = validRecords(bench, name);
      const consumer = firstConsumer(records);
      for (const field of fields) {
        const off = fieldOf(records, 0, field);
        if (name !== 'PICK') {
          expectRefusal(bench, withFields(records, 0, { out_off: off }), `${name}: rows on ${field}`);
          expectRefusal(
            bench,
            withFields(records, 0, { out_off: off - ROWS * WIDTH * 4 + 4 }),
            `${name}: the last row on ${field}`,
          );
        }
        const stride = fieldOf(records, consumer, 'out_stride');
        for (const out_off of [off, off - (ROWS - 1) * stride])
          expectRefusal(bench, withFields(records, consumer, { out_off }), `${name}: planes on ${field}`);
        for (const kind of Object.values(STEP_QUANTISER).filter((value) => value >= 2)) {
          for (const found_off of [off, off - (SEQUENCES - 1) * 16]) {
            const found = withFields(records, consumer, { kind, found_off });
            expectRefusal(bench, found, `${name}: what is found by kind ${kind} on ${field}`);
          }
        }
      }
    }
  });
});

it('a step that would take hours is refused at once', () => {
  const producer = {
    rows: 2 ** 24,
    width: 32768,
    bias_off: 0,
    starts_off: 0,
    sequences: 1,
    out_off: 0,
    terms: 1,
    consumers: 0,
  };
  const term = {
    acc_stride: 0,
    scale_off: 0,
    found_a_off: 0,
    found_b_off: 0,
    sums_off: 0,
    row_sums_off: 0,
  };
  const records = withFields(validRecords(bench, 'AFFINE').slice(0, 2 * STEP_BYTES), 0, producer);
  const began = performance.now();
  expectRefusal(bench, withFields(records, 1, { ...term, block: 32768 }), 'rows that lie on one another');
  expectRefusal(
    bench,
    withFields(records, 1, { ...term, block: 1, block_stride: 0 }),
    'blocks that lie on one another',
  );
  const heads = { tokens: 1000, heads: 32768, acc_stride: 0, key_sums_off: 0 };
  expectRefusal(bench, withFields(validRecords(bench, 'SOFTMAX'), 0, heads), 'heads that lie on one another');
  expect(performance.now() - began).toBeLessThan(2000);
});

it('records beyond the end of the buffer are an error of the caller', () => {
  const records = validRecords(bench, 'DENSE');
  for (const [first, count] of [
    [0, 2],
    [1, 1],
    [-1, 1],
    [0, -1],
    [0.5, 1],
  ] as const) {
    expect(() => bench.native.vectorRun(records, first, count)).toThrow(RangeError);
  }
  expect(() => bench.native.vectorRun(records, 1, 0)).not.toThrow();
});
