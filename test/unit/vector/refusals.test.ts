/** Records that are malformed in any one field are refused by number, before a byte of the window changes. */
import { afterAll, describe, expect, it } from 'vitest';
import { STEP, STEP_BYTES, STEP_QUANTISER } from '../../../src/native/steps.generated.js';
import { Bench } from './bench.js';
import {
  expectRefusal,
  fieldOf,
  firstConsumer,
  PRODUCERS,
  type Producer,
  ROWS,
  type StepName,
  stepAt,
  validRecords,
  withFields,
} from './valid.js';

const bench = new Bench();
const WINDOW = bench.window.byteLength;
afterAll(() => bench.native.close());

type Fields = Readonly<Record<string, number>>;

/** Addresses that may be 0, because the operand is optional. */
const OPTIONAL: Readonly<Record<StepName, readonly string[]>> = {
  EMBED: ['out_off'],
  AFFINE: ['bias_off', 'out_off'],
  NORM: ['bias_off'],
  SOFTMAX: ['found_a_off', 'found_b_off', 'key_sums_off'],
  DENSE: ['bias_off'],
  PICK: ['out_off'],
  TERM: ['scale_off', 'found_a_off', 'found_b_off', 'sums_off', 'row_sums_off'],
  TABLE: [],
  VALUE: ['found_off'],
  QUANTISE: ['shift_off', 'sums_off'],
};

const SIZES = ['rows', 'width', 'out_width', 'x_rows', 'tokens', 'heads', 'sequences', 'words'];

/** Bad values of a field by its name: addresses, strides and sizes are the same everywhere. */
function badValues(name: StepName, field: string, now: number): number[] {
  if (field.endsWith('_off')) {
    const outside = [now + 1, now + 2, WINDOW - 8, WINDOW, 2 ** 32 - 64, 2 ** 32 - 1];
    return OPTIONAL[name].includes(field) ? outside : [0, ...outside];
  }
  if (field.endsWith('_stride')) return [now + 1, now + 2, 2 ** 32 - 4, 2 ** 31];
  if (SIZES.includes(field)) return [0, now + 2 ** 20, 2 ** 24 + 1, 2 ** 31, 2 ** 32 - 1];
  return [];
}

/** Whether the record reads a field at all. */
function isRead(records: Uint8Array, index: number, field: string): boolean {
  const name = stepAt(records, index);
  const at = index * STEP_BYTES;
  // What is found is only stored by the kinds that find something.
  if (name === 'QUANTISE' && field === 'found_off')
    return records[at + STEP.QUANTISE.fields.kind.offset]! >= STEP_QUANTISER.ROUND_FROM_MIN;
  // A single block has no distance to the next.
  if (name === 'TERM' && ['block_stride', 'row_sums_stride'].includes(field))
    return fieldOf(records, index, field) !== 0;
  return true;
}

const everyRecord = (records: Uint8Array) =>
  Array.from({ length: records.byteLength / STEP_BYTES }, (_, index) => index);

describe.each(PRODUCERS)('%s', (name) => {
  it('is taken as it is', () => {
    validRecords(bench, name);
    expect(() => bench.run()).not.toThrow();
  });

  it('is taken without any one of its optional operands', () => {
    const records = validRecords(bench, name);
    for (const index of everyRecord(records)) {
      for (const field of OPTIONAL[stepAt(records, index)]) {
        const without = withFields(records, index, { [field]: 0 });
        expect(
          () => bench.native.vectorRun(without, 0, everyRecord(records).length),
          `record ${index} without ${field}`,
        ).not.toThrow();
      }
    }
  });

  it('is refused with any address, stride or size that is wrong, of its own or of what follows it', () => {
    const records = validRecords(bench, name);
    for (const index of everyRecord(records)) {
      const step = stepAt(records, index);
      for (const field of Object.keys(STEP[step].fields)) {
        if (!isRead(records, index, field)) continue;
        for (const value of badValues(step, field, fieldOf(records, index, field))) {
          const wrong = withFields(records, index, { [field]: value });
          expectRefusal(bench, wrong, `record ${index}, ${step}.${field} = ${value}`);
        }
      }
    }
  });

  const only = (steps: readonly Producer[], fields: Fields[]): [Producer, Fields][] =>
    steps.flatMap((step) => fields.map((value): [Producer, Fields] => [step, value]));
  const own: [Producer, Fields][] = [
    ...only(
      ['EMBED', 'AFFINE', 'NORM', 'PICK'],
      [
        { width: 32769 },
        { consumers: 3 },
        { consumers: 5 },
        { consumers: 9 },
        { consumers: 255 },
        { sequences: 1 },
        { sequences: 3 },
        { rows: ROWS - 1 },
        { rows: ROWS + 1 },
      ],
    ),
    ...only(['EMBED', 'AFFINE', 'NORM'], [{ terms: 0 }, { terms: 1 }, { terms: 3 }, { terms: 255 }]),
    ...only(['SOFTMAX', 'DENSE', 'PICK'], [{ terms: 1 }, { terms: 2 }, { terms: 255 }]),
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
    ...only(['AFFINE'], [{ activation: 4 }, { activation: 255 }, { by_row: 2 }, { starts_off: 0 }]),
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
    ...only(['PICK'], [{ x_rows: 4 }, { x_rows: 1 }]),
  ];
  it.each(own.filter(([step]) => step === name).map(([, fields]) => fields))(
    'is refused with %o',
    (fields) => {
      expectRefusal(bench, withFields(validRecords(bench, name), 0, fields), JSON.stringify(fields));
    },
  );
});

describe('a consumer', () => {
  const consumer = (producer: Producer, fields: Fields) => {
    const records = validRecords(bench, producer);
    return withFields(records, firstConsumer(records), fields);
  };

  it.each<Fields>([
    { op: 0 },
    { op: STEP.TERM.op },
    { op: STEP.NORM.op },
    { kind: 5 },
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
    { kind: 2, step: 0 },
    { kind: 2, found_off: 0 },
    { kind: 3, found_off: 0 },
    { kind: 4, found_off: 0 },
    { kind: 3, format: 0x20 },
    { kind: 3, format: 0x10, qmin: -1, qmax: 0 },
    { kind: 3, qmax: 0 },
    { kind: 4, qmax: 0 },
    { kind: 3, qmax: 128 },
    { kind: 4, format: 0x02, qmax: 16 },
    { kind: 3, clip_low: 1 },
    { kind: 4, clip_low: 1 },
    { kind: 3, clip_low: 2 },
    { kind: 3, clip_low: Number.NaN },
    { kind: 4, clip_high: Number.NaN },
    { kind: 3, clip_high: -Infinity },
    { out_stride: 0 },
    { out_stride: 16 * 15 },
  ])('is refused with %o, and its producer with it', (fields) => {
    expectRefusal(bench, consumer('NORM', fields), JSON.stringify(fields));
  });

  it.each(Object.entries(STEP_QUANTISER))('of kind %s is taken by every producer that has any', (_, kind) => {
    for (const name of ['EMBED', 'AFFINE', 'NORM', 'SOFTMAX', 'PICK'] as const) {
      const records = consumer(name, { kind, ...(kind === STEP_QUANTISER.SIGN && { format: 0x11 }) });
      const count = records.byteLength / STEP_BYTES;
      expect(() => bench.native.vectorRun(records, 0, count), name).not.toThrow();
    }
  });

  it('needs room for what it finds in every sequence', () => {
    for (const kind of [2, 3, 4])
      expectRefusal(bench, consumer('NORM', { kind, found_off: WINDOW - 16 }), `kind ${kind}`);
  });

  it('is refused with rows that lie on one another, of several heads too', () => {
    for (const out_stride of [0, 16, 48, 72])
      expectRefusal(bench, consumer('SOFTMAX', { out_stride }), String(out_stride));
  });

  it('without a producer is refused, and so is an unknown step', () => {
    const records = validRecords(bench, 'NORM');
    expectRefusal(bench, records.slice(STEP_BYTES), 'a term alone');
    expectRefusal(bench, records.slice(firstConsumer(records) * STEP_BYTES), 'a consumer alone');
    expectRefusal(bench, validRecords(bench, 'EMBED').slice(STEP_BYTES), 'a word table alone');
    for (const op of [0, STEP.VALUE.op, 255])
      expectRefusal(bench, withFields(records, 0, { op }), `op ${op}`);
  });

  it('that is not among the records is not looked for behind them', () => {
    const records = validRecords(bench, 'NORM');
    for (const count of [1, 2, 3, 4])
      expectRefusal(bench, records.slice(0, count * STEP_BYTES), `${count} of 5 records`);
  });
});
