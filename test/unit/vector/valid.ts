/** One valid group of records for every step, with every optional operand present: what refusals and fuzzing start from. */

import { expect } from 'vitest';
import { StepWriter } from '../../../src/compiler/step-writer.js';
import { NativeError } from '../../../src/native/device.js';
import { FOUND_BYTES, STEP, STEP_BYTES } from '../../../src/native/steps.generated.js';
import type { Bench } from './bench.js';

export type StepName = keyof typeof STEP;
export type Producer = Exclude<StepName, 'QUANTISE' | 'TERM' | 'TABLE' | 'VALUE'>;
export const PRODUCERS: readonly Producer[] = ['EMBED', 'AFFINE', 'NORM', 'SOFTMAX', 'DENSE', 'PICK'];

export const ROWS = 5;
export const WIDTH = 130;
export const SEQUENCES = 2;
export const HEADS = 3;
const TABLE_WORDS = 7;

/** Floats that are sane as any operand. */
const ones = (count: number) => new Float32Array(count).fill(0.5);
const doubles = (count: number) => new Float64Array(count).fill(0.25);
const words = (count: number, value: number) => new Uint32Array(count).fill(value);
const found = (bench: Bench, sequences: number) =>
  bench.putFound(Array.from({ length: sequences }, () => ({ step: 0.5, t: -0.25 })));

/** A quantiser that has all that any kind reads. */
function quantise(
  bench: Bench,
  { rows, width, sequences }: { rows: number; width: number; sequences: number },
  fields: { kind: number; format: number; qmax: number },
): void {
  const stride = Math.ceil(width / 128) * 16 * 2 ** (fields.format & 7);
  bench.steps.push('QUANTISE', {
    ...fields,
    qmin: 0,
    step: 0.5,
    clip_low: -1,
    clip_high: 1,
    shift_off: bench.put(ones(width)),
    out_off: bench.output(rows * stride),
    out_stride: stride,
    found_off: bench.output(sequences * FOUND_BYTES),
    sums_off: bench.output(rows * 8),
    sums_rows: 1,
    sums_stride: 8,
  });
}

/** Two branches: the first in blocks with sums by sequence, the second whole with sums fixed with its weights. */
function terms(bench: Bench, acc_off: number): void {
  const common = () => ({
    acc_off,
    acc_stride: WIDTH * 4,
    scale_off: bench.put(doubles(WIDTH)),
    found_a_off: found(bench, SEQUENCES),
    found_b_off: found(bench, SEQUENCES),
    sums_scale: 0.5,
    row_sums_off: bench.put(doubles(2 * ROWS)),
  });
  bench.steps.push('TERM', {
    ...common(),
    block: WIDTH / 2,
    block_stride: WIDTH * 2,
    sums_off: bench.put(new Int32Array(SEQUENCES * WIDTH)),
    sums_stride: WIDTH * 4,
    row_sums_stride: ROWS * 8,
  });
  bench.steps.push('TERM', { ...common(), block: WIDTH, sums_off: bench.put(doubles(WIDTH)) });
}

/** Two word tables, ternary and binary. */
function tables(bench: Bench): void {
  for (const [word_format, word_stride] of [
    [0x11, 64],
    [0x20, 32],
  ] as const) {
    bench.steps.push('TABLE', {
      word_off: bench.put(new Uint8Array(TABLE_WORDS * word_stride)),
      word_stride,
      word_format,
      word_scale_off: bench.put(doubles(TABLE_WORDS)),
    });
  }
}

/** Writes the records of one producer into an empty bench and returns them: the producer, what it is made of, its consumers. */
export function validRecords(bench: Bench, name: Producer): Uint8Array {
  bench.reset(99);
  const rows = bench.space(ROWS * WIDTH * 4);
  bench.window.fill(0, rows, rows + ROWS * WIDTH * 4);
  const norm = { gamma_off: bench.put(ones(WIDTH)), beta_off: bench.put(ones(WIDTH)), epsilon: 1e-12 };
  const out_off = bench.output(ROWS * WIDTH * 4);
  const shape = { rows: ROWS, width: WIDTH, sequences: SEQUENCES };
  const common = {
    consumers: 2,
    rows: ROWS,
    width: WIDTH,
    starts_off: bench.put(Uint32Array.of(0, 2, ROWS)),
    sequences: SEQUENCES,
  };
  switch (name) {
    case 'EMBED':
      bench.steps.push(name, {
        ...common,
        ...norm,
        terms: 2,
        ids_off: bench.put(words(ROWS, TABLE_WORDS - 1)),
        positions_off: bench.put(words(ROWS, 4)),
        types_off: bench.put(words(ROWS, 1)),
        position_off: bench.put(ones(5 * WIDTH)),
        type_off: bench.put(ones(2 * WIDTH)),
        words: TABLE_WORDS,
        positions: 5,
        types: 2,
        out_off,
      });
      tables(bench);
      break;
    case 'AFFINE':
      bench.steps.push(name, { ...common, terms: 2, bias_off: bench.put(ones(WIDTH)), out_off });
      terms(bench, rows);
      break;
    case 'NORM':
      bench.steps.push(name, {
        ...common,
        ...norm,
        terms: 2,
        bias_off: bench.put(ones(WIDTH)),
        residual_off: bench.put(ones(ROWS * WIDTH)),
        out_off,
      });
      terms(bench, rows);
      break;
    case 'PICK':
      bench.steps.push(name, {
        ...common,
        index_off: bench.put(Uint32Array.of(4, 0, 4, 2, 1)),
        x_off: rows,
        x_rows: ROWS,
      });
      break;
    case 'SOFTMAX':
      bench.steps.push(name, {
        consumers: 1,
        tokens: ROWS,
        heads: HEADS,
        acc_off: rows,
        acc_stride: 2 * ROWS * 4,
        found_a_off: found(bench, 1),
        found_b_off: found(bench, 1),
        scale: 0.5,
        table_off: bench.put(doubles(9)),
        table_length: 9,
        key_sums_off: bench.put(new Int32Array(HEADS * ROWS)),
        key_sums_stride: ROWS * 4,
      });
      quantise(bench, { rows: HEADS * ROWS, width: ROWS, sequences: 1 }, { kind: 2, format: 0x02, qmax: 15 });
      return bench.steps.finish();
    case 'DENSE':
      bench.steps.push(name, {
        rows: ROWS,
        width: WIDTH,
        out_width: WIDTH,
        x_off: rows,
        weight_off: bench.put(ones(WIDTH * WIDTH)),
        bias_off: bench.put(ones(WIDTH)),
        out_off,
      });
      return bench.steps.finish();
  }
  quantise(bench, shape, { kind: 1, format: 0x13, qmax: 127 });
  quantise(bench, shape, LAST[name]);
  return bench.steps.finish();
}

/** The second consumer, of another kind for every producer. */
const LAST = {
  EMBED: { kind: 0, format: 0x20, qmax: 1 },
  AFFINE: { kind: 4, format: 0x02, qmax: 15 },
  NORM: { kind: 3, format: 0x13, qmax: 127 },
  PICK: { kind: 2, format: 0x02, qmax: 15 },
} as const;

const NAMES = new Map(Object.entries(STEP).map(([name, { op }]) => [op as number, name as StepName]));

/** Which step record `index` is. */
export function stepAt(records: Uint8Array, index: number): StepName {
  return NAMES.get(records[index * STEP_BYTES]!)!;
}

/** Number of the first consumer behind a producer. */
export function firstConsumer(records: Uint8Array): number {
  return 1 + records[1]!;
}

/** A copy of the records with fields of record `index` changed. */
export function withFields(
  records: Uint8Array,
  index: number,
  fields: Readonly<Record<string, number>>,
): Uint8Array {
  const copy = Uint8Array.from(records); // slice() of a Buffer would share its memory.
  const view = new DataView(copy.buffer, index * STEP_BYTES, STEP_BYTES);
  const layout: Readonly<Record<string, { offset: number; type: string }>> = {
    ...STEP[stepAt(records, index)].fields,
    op: { offset: 0, type: 'u8' },
  };
  for (const [field, value] of Object.entries(fields)) {
    const { offset, type } = layout[field]!;
    if (type === 'u8') view.setUint8(offset, value);
    else if (type === 'f64') view.setFloat64(offset, value, true);
    else view.setUint32(offset, value, true);
  }
  return copy;
}

/** Value of a u32 field of record `index`. */
export function fieldOf(records: Uint8Array, index: number, field: string): number {
  const layout = STEP[stepAt(records, index)].fields as Readonly<Record<string, { offset: number }>>;
  return new DataView(records.buffer, records.byteOffset + index * STEP_BYTES, STEP_BYTES).getUint32(
    layout[field]!.offset,
    true,
  );
}

/** A record that runs: below everything that a bench holds. */
const small = new StepWriter();
small.push('DENSE', { rows: 1, width: 1, out_width: 1, x_off: 0x10, weight_off: 0x20, out_off: 0x30 });

/** Expects the records to be refused with the number of the first one, both alone and behind a record that runs. */
export function expectRefusal(bench: Bench, records: Uint8Array, what: string): void {
  const before = bench.window.slice();
  const count = records.byteLength / STEP_BYTES;
  const number = (all: Uint8Array, first: number, last: number): string | undefined => {
    try {
      bench.native.vectorRun(all, first, last - first);
    } catch (error) {
      expect(error, what).toBeInstanceOf(NativeError);
      expect((error as NativeError).errno, what).toBe(22);
      return /vector step record (\d+) \(op \d+\)/.exec((error as Error).message)?.[1];
    }
    return expect.fail(`${what}: it was not refused`);
  };
  expect(number(records, 0, count), what).toBe('0');
  expect(Buffer.compare(bench.window, before), `${what}: the window changed`).toBe(0);
  const behind = Buffer.concat([small.finish(), records]);
  expect(number(behind, 0, 1 + count), what).toBe('1');
  expect(number(behind, 1, 1 + count), what).toBe('1');
}
