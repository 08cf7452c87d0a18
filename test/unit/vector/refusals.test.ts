/** Records that are malformed in any one field are refused by number, before a byte of the window changes. */
import { afterAll, describe, expect, it } from 'vitest';
import { STEP, STEP_BYTES } from '../../../src/native/steps.generated.js';
import { Bench } from './bench.js';
import { expectRefusal, fieldOf, PRODUCERS, type Producer, ROWS, validRecords, withFields } from './valid.js';

const bench = new Bench();
const WINDOW = bench.window.byteLength;
afterAll(() => bench.native.close());

type Fields = Readonly<Record<string, number>>;

/** Addresses that may be 0, because the operand is optional. */
const OPTIONAL: Readonly<Record<string, readonly string[]>> = {
  EMBED: ['out_off'],
  AFFINE: ['scale_off', 'bias_off', 't_off', 'out_off'],
  NORM: ['scale_off', 'bias_off', 't_off'],
  SOFTMAX: [],
  DENSE: ['bias_off'],
  QUANTISE: ['shift_off'],
};

/** Bad values of a field by its name: addresses, strides and sizes are the same everywhere. */
function badValues(name: string, field: string, now: number): number[] {
  if (field.endsWith('_off')) {
    const outside = [now + 1, now + 2, WINDOW - 8, WINDOW, 2 ** 32 - 64, 2 ** 32 - 1];
    return OPTIONAL[name]!.includes(field) ? outside : [0, ...outside];
  }
  if (field.endsWith('_stride')) return [now + 1, now + 2, 2 ** 32 - 4, 2 ** 31];
  if (['rows', 'width', 'out_width', 'tokens', 'heads', 'sequences'].includes(field))
    return [0, now + 2 ** 20, 2 ** 24 + 1, 2 ** 31, 2 ** 32 - 1];
  return [];
}

describe.each(PRODUCERS)('%s', (name) => {
  it('is taken as it is', () => {
    validRecords(bench, name);
    expect(() => bench.run()).not.toThrow();
  });

  it('is refused with any address, stride or size that is wrong, of its own or of a consumer', () => {
    const records = validRecords(bench, name);
    for (let index = 0; index * STEP_BYTES < records.byteLength; index++) {
      const step = index === 0 ? name : 'QUANTISE';
      for (const field of Object.keys(STEP[step].fields)) {
        // Minima are only looked at where they are asked for, distances of heads only where there are several.
        if (field === 'found_off' && records[index * STEP_BYTES + 3] !== 2) continue;
        if (field === 'out_head_stride' && name !== 'SOFTMAX') continue;
        const now = fieldOf(records, index, step, field);
        for (const value of badValues(step, field, now)) {
          // One minimum for all heads is 8 bytes: there it fits.
          if (name === 'SOFTMAX' && field === 'found_off' && value === WINDOW - 8) continue;
          expectRefusal(
            bench,
            withFields(records, index, step, { [field]: value }),
            `${step}.${field} = ${value}`,
          );
        }
      }
    }
  });

  const only = (steps: readonly Producer[], fields: Fields[]): [Producer, Fields][] =>
    steps.flatMap((step) => fields.map((value): [Producer, Fields] => [step, value]));
  const own: [Producer, Fields][] = [
    ...only(
      ['EMBED', 'AFFINE', 'NORM'],
      [{ width: 32769 }, { consumers: 3 }, { consumers: 5 }, { consumers: 255 }],
    ),
    ...only(['EMBED', 'NORM'], [{ epsilon: -1 }, { epsilon: Number.NaN }, { epsilon: Infinity }]),
    ...only(
      ['EMBED'],
      [
        { words: 6 },
        { positions: 4 },
        { types: 1 },
        { words: 0 },
        { positions: 0 },
        { types: 0 },
        { words: 2 ** 31 },
        { positions: 2 ** 31 },
      ],
    ),
    ...only(
      ['EMBED'],
      [0x00, 0x10, 0x21, 0x12, 0x22, 0x120, 0x31, 2 ** 32 - 1].map((word_format) => ({ word_format })),
    ),
    ...only(['EMBED'], [{ word_stride: 48 }, { word_stride: 0 }]),
    ...only(
      ['AFFINE'],
      [
        { activation: 4 },
        { activation: 255 },
        { by_row: 2 },
        { block: 0 },
        { block: 64 },
        { block: 131 },
        { block: 2 ** 31 },
      ],
    ),
    ...only(['AFFINE'], [{ starts_off: 0 }, { sums_stride: 2 }, { sums_stride: 2 ** 31 }]),
    ...only(['AFFINE', 'NORM'], [{ sequences: 1 }, { sequences: 3 }, { rows: ROWS - 1 }, { rows: ROWS + 1 }]),
    ...only(
      ['SOFTMAX'],
      [
        { scale: 0 },
        { scale: -1 },
        { scale: Number.NaN },
        { scale: Infinity },
        { consumers: 0 },
        { consumers: 2 },
        { table_length: 2 ** 20 },
        { table_length: 2 ** 32 - 1 },
      ],
    ),
    ...only(['DENSE'], [{ consumers: 1 }, { consumers: 5 }]),
  ];
  it.each(own.filter(([step]) => step === name).map(([, fields]) => fields))(
    'is refused with %o',
    (fields) => {
      expectRefusal(bench, withFields(validRecords(bench, name), 0, name, fields), JSON.stringify(fields));
    },
  );
});

describe('a consumer', () => {
  const consumer = (producer: Producer, fields: Fields) =>
    withFields(validRecords(bench, producer), 1, 'QUANTISE', fields);

  it.each<Fields>([
    { op: 0 },
    { op: 3 },
    { kind: 3 },
    { kind: 255 },
    { format: 0x04 },
    { format: 0x05 },
    { format: 0x07 },
    { format: 0x33 },
    { format: 0x1b },
    { format: 0x53 },
    { format: 0x93 },
    { format: 0x20 },
    { format: 0x21 },
    { kind: 0, format: 0x00 },
    { kind: 0, format: 0x01 },
    { kind: 0, format: 0x10 },
    { qmin: -129 },
    { qmax: 128 },
    { qmin: 5, qmax: 4 },
    { qmin: -(2 ** 31) },
    { qmax: 2 ** 31 - 1 },
    { format: 0x03, qmin: -1 },
    { format: 0x03, qmax: 256 },
    { format: 0x12, qmax: 8 },
    { step: 0 },
    { step: -0.5 },
    { step: Number.NaN },
    { step: Infinity },
    { k0: 128 },
    { k0: 2 ** 32 - 1 },
    { out_stride: 0 },
    { out_stride: 16 * 15 },
  ])('is refused with %o, and its producer with it', (fields) => {
    expectRefusal(bench, consumer('NORM', fields), JSON.stringify(fields));
  });

  it('that asks for a minimum is refused where the producer sees one row at a time', () => {
    for (const name of ['EMBED', 'NORM'] as const) expectRefusal(bench, consumer(name, { kind: 2 }), name);
  });

  it('is refused with heads that lie on one another', () => {
    for (const out_head_stride of [0, 16, 63, 72])
      expectRefusal(bench, consumer('SOFTMAX', { out_head_stride }), String(out_head_stride));
  });

  it('without a producer is refused, and so is an unknown step', () => {
    const records = validRecords(bench, 'NORM');
    expectRefusal(bench, records.slice(STEP_BYTES), 'alone');
    for (const op of [0, 7, 255]) expectRefusal(bench, withFields(records, 0, 'NORM', { op }), `op ${op}`);
  });

  it('that is not among the records is not looked for behind them', () => {
    const records = validRecords(bench, 'NORM');
    for (const count of [1, 2])
      expectRefusal(bench, records.slice(0, count * STEP_BYTES), `${count} of 3 records`);
  });
});
