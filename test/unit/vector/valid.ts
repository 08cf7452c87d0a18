/** One valid group of records for every step, with every optional operand present: what refusals and fuzzing start from. */

import { expect } from 'vitest';
import { StepWriter } from '../../../src/compiler/step-writer.js';
import { NativeError } from '../../../src/native/device.js';
import { STEP, STEP_BYTES } from '../../../src/native/steps.generated.js';
import type { Bench } from './bench.js';

export type Producer = Exclude<keyof typeof STEP, 'QUANTISE'>;
export const PRODUCERS: readonly Producer[] = ['EMBED', 'AFFINE', 'NORM', 'SOFTMAX', 'DENSE'];

export const ROWS = 5;
export const WIDTH = 130;
const SEQUENCES = 2;
const HEADS = 3;

/** Floats that are sane as any operand. */
const ones = (count: number) => new Float32Array(count).fill(0.5);
const doubles = (count: number) => new Float64Array(count).fill(0.25);
const words = (count: number, value: number) => new Uint32Array(count).fill(value);

function quantise(
  bench: Bench,
  rows: number,
  width: number,
  fields: { kind: number; format: number; qmax: number },
): void {
  const stride = Math.ceil((3 + width) / 128) * 16 * 2 ** (fields.format & 7);
  bench.steps.push('QUANTISE', {
    ...fields,
    qmin: 0,
    step: 0.5,
    k0: 3,
    shift_off: bench.put(ones(width)),
    out_off: bench.output(HEADS * rows * stride),
    out_stride: stride,
    out_head_stride: rows * stride,
    found_off: bench.output(SEQUENCES * 8),
  });
}

/** Writes the records of one producer into an empty bench and returns them: the producer first. */
export function validRecords(bench: Bench, name: Producer): Uint8Array {
  bench.reset(99);
  const rows = bench.space(ROWS * WIDTH * 4);
  bench.window.fill(0, rows, rows + ROWS * WIDTH * 4);
  const acc = { acc_off: rows, acc_stride: WIDTH * 4 };
  const norm = { gamma_off: bench.put(ones(WIDTH)), beta_off: bench.put(ones(WIDTH)), epsilon: 1e-12 };
  const scales = { scale_off: bench.put(doubles(WIDTH)), bias_off: bench.put(ones(WIDTH)) };
  const sequences = {
    starts_off: bench.put(Uint32Array.of(0, 2, ROWS)),
    sequences: SEQUENCES,
    t_off: bench.put(doubles(SEQUENCES)),
    sums_off: bench.put(doubles(WIDTH)),
  };
  const out_off = bench.output(ROWS * WIDTH * 4);
  const common = { consumers: 2, rows: ROWS, width: WIDTH, out_off };
  switch (name) {
    case 'EMBED':
      bench.steps.push(name, {
        ...common,
        ...norm,
        ids_off: bench.put(words(ROWS, 6)),
        positions_off: bench.put(words(ROWS, 4)),
        types_off: bench.put(words(ROWS, 1)),
        word_off: bench.put(new Uint8Array(7 * 64)),
        word_stride: 64,
        word_format: 0x11,
        word_scale_off: bench.put(doubles(7)),
        position_off: bench.put(ones(5 * WIDTH)),
        type_off: bench.put(ones(2 * WIDTH)),
        words: 7,
        positions: 5,
        types: 2,
      });
      break;
    case 'AFFINE':
      bench.steps.push(name, {
        ...common,
        ...acc,
        ...scales,
        ...sequences,
        block: 65,
        block_stride: 65 * 4,
        offset_scale: 0.5,
      });
      break;
    case 'NORM':
      bench.steps.push(name, {
        ...common,
        ...acc,
        ...scales,
        ...sequences,
        ...norm,
        residual_off: bench.put(ones(ROWS * WIDTH)),
      });
      break;
    case 'SOFTMAX': {
      const head_stride = 2 * ROWS * 4;
      bench.steps.push(name, {
        consumers: 1,
        tokens: ROWS,
        heads: HEADS,
        acc_off: rows,
        acc_stride: WIDTH * 4,
        head_stride,
        scale: 0.5,
        table_off: bench.put(doubles(9)),
        table_length: 9,
      });
      quantise(bench, ROWS, ROWS, { kind: 2, format: 0x02, qmax: 15 });
      return bench.steps.finish();
    }
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
  quantise(bench, ROWS, WIDTH, { kind: 1, format: 0x13, qmax: 127 });
  quantise(
    bench,
    ROWS,
    WIDTH,
    name === 'AFFINE' ? { kind: 2, format: 0x02, qmax: 15 } : { kind: 0, format: 0x20, qmax: 1 },
  );
  return bench.steps.finish();
}

/** A copy of the records with fields of record `index`, which is a `name`, changed. */
export function withFields(
  records: Uint8Array,
  index: number,
  name: keyof typeof STEP,
  fields: Readonly<Record<string, number>>,
): Uint8Array {
  const copy = records.slice();
  const view = new DataView(copy.buffer, index * STEP_BYTES, STEP_BYTES);
  const layout: Readonly<Record<string, { offset: number; type: string }>> = {
    ...STEP[name].fields,
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
export function fieldOf(records: Uint8Array, index: number, name: keyof typeof STEP, field: string): number {
  const { offset } = (STEP[name].fields as Readonly<Record<string, { offset: number }>>)[field]!;
  return new DataView(records.buffer, index * STEP_BYTES, STEP_BYTES).getUint32(offset, true);
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
