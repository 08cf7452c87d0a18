/**
 * One attention layer in the contract's own terms (section 3): heads addressed with k0 and n0 inside shared rows, V
 * transposed by swapping operands, nothing copied or repacked. Expected are plain matrices of numbers, without planes.
 */
import { expect, it } from 'vitest';
import { DESCRIPTOR_BYTES, FLAG } from '../../src/device/contract.generated.js';
import {
  blockOffset,
  encodeQmm,
  type Format,
  formatByte,
  planeRowBytes,
  type Qmm,
} from '../../src/device/descriptor.js';
import { Device } from '../../src/device/device.js';
import { random32 } from './support/random.js';
import { testDevices, withOptions } from './support/rig.js';

const TOKENS = 21;
const HIDDEN = 256;
const HEAD = 64;
const HEADS = HIDDEN / HEAD;

const S4: Format = { bits: 4, encoding: 'S' };
const U4: Format = { bits: 4, encoding: 'U' };
const PM1: Format = { bits: 1, encoding: 'PM1' };
const INT32 = formatByte({ bits: 32, encoding: 'S' });

type Matrix = number[][];

const matrix = (rows: number, columns: number, value: (row: number, column: number) => number): Matrix =>
  Array.from({ length: rows }, (_, row) =>
    Array.from({ length: columns }, (_, column) => value(row, column)),
  );
const dot = (x: number[], y: number[]) => x.reduce((sum, value, i) => sum + value * y[i]!, 0);
const clamp = (value: number, least: number, most: number) => Math.min(Math.max(value, least), most);
/** round(sum / 2^shift), halves up: mul = 2^(24 - shift). */
const scale = (sum: number, shift: number) => Math.floor(sum / 2 ** shift + 0.5);

it.each(testDevices())('computes attention in place on %s', (uri) => {
  const device = Device.open(withOptions(uri, 'window=1M'));
  const { window } = device;
  const view = new DataView(window.buffer, window.byteOffset, window.byteLength);
  const next = random32(2026);

  const place = (rows: number, columns: number, { bits }: Format) => {
    const stride = planeRowBytes(columns, bits);
    return { off: device.allocator.allocate(rows * stride, 'matrix').off, stride };
  };
  /** Values into planes: plane i of element k is bit k of the row, counted through its blocks. */
  const put = (values: Matrix, format: Format) => {
    const at = { ...place(values.length, values[0]!.length, format), format: formatByte(format) };
    for (const [row, line] of values.entries()) {
      for (const [k, value] of line.entries()) {
        const raw = format.encoding === 'PM1' ? (value + 1) / 2 : value;
        for (let plane = 0; plane < format.bits; plane++) {
          const byte = at.off + row * at.stride + blockOffset(k, format.bits) + 16 * plane + ((k % 128) >> 3);
          window[byte] = window[byte]! | (((raw >> plane) & 1) << (k % 8));
        }
      }
    }
    return at;
  };
  const table = (count: number, entry: (i: number) => [bias: number, mul: number]) => {
    const { off } = device.allocator.allocate(count * 8, 'table');
    for (let i = 0; i < count; i++) {
      view.setInt32(off + 8 * i, entry(i)[0], true);
      view.setInt32(off + 8 * i + 4, entry(i)[1], true);
    }
    return off;
  };

  const x = matrix(TOKENS, HIDDEN, () => (next() % 16) - 8);
  const q = matrix(TOKENS, HIDDEN, () => (next() % 16) - 8);
  const k = matrix(TOKENS, HIDDEN, () => (next() % 16) - 8);
  const weightV = matrix(HIDDEN, HIDDEN, () => (next() % 2 ? 1 : -1));
  const biasV = Array.from({ length: HIDDEN }, () => (next() % 200) - 100);
  const [xAt, qAt, kAt, vAt] = [put(x, S4), put(q, S4), put(k, S4), put(weightV, PM1)];

  const vTransposed = { ...place(HIDDEN, TOKENS, S4), format: formatByte(S4) };
  const probabilities = Array.from({ length: HEADS }, () => ({
    ...place(TOKENS, TOKENS, U4),
    format: formatByte(U4),
  }));
  const context = { ...place(TOKENS, HIDDEN, S4), format: formatByte(S4) };
  const check = {
    off: device.allocator.allocate(TOKENS * HIDDEN * 4, 'int32').off,
    stride: HIDDEN * 4,
    format: INT32,
  };

  const program: Qmm[] = [
    // V^T[c][t] = round((W_c . x_t + b_c) / 2^4): A is the weight, so the table goes by row.
    {
      a: vAt,
      b: xAt,
      o: vTransposed,
      m: HIDDEN,
      n: TOKENS,
      k: HIDDEN,
      flags: FLAG.TABLE_BY_ROW,
      table: table(HIDDEN, (c) => [biasV[c]!, 2 ** 20]),
    },
  ];
  const scoreTable = table(TOKENS, () => [0, 2 ** 18]);
  const contextTable = table(HEAD, () => [0, 2 ** 19]);
  for (let head = 0; head < HEADS; head++) {
    const [block, first] = [Math.floor(head / 2), HEAD * (head % 2)];
    const shift = (at: { off: number; stride: number; format: number }) => ({
      ...at,
      off: at.off + block * 16 * S4.bits,
    });
    const p = probabilities[head]!;
    // P = clamp(round(Q K^T / 2^6)) to u4: this head's 64 elements of the shared rows.
    program.push({
      a: shift(qAt),
      b: shift(kAt),
      o: p,
      m: TOKENS,
      n: TOKENS,
      k: HEAD,
      k0: first,
      table: scoreTable,
    });
    // context = clamp(round(P V / 2^5)) to s4, into this head's 64 columns.
    const rowsOfV = { ...vTransposed, off: vTransposed.off + head * HEAD * vTransposed.stride };
    program.push({
      a: p,
      b: rowsOfV,
      o: shift(context),
      m: TOKENS,
      n: HEAD,
      k: TOKENS,
      n0: first,
      table: contextTable,
    });
  }
  // Reads all heads together again: context . W^T, as numbers.
  program.push({ a: context, b: vAt, o: check, m: TOKENS, n: HIDDEN, k: HIDDEN });

  const descriptors = new Uint8Array(program.length * DESCRIPTOR_BYTES);
  for (const [i, qmm] of program.entries())
    encodeQmm(new DataView(descriptors.buffer), i * DESCRIPTOR_BYTES, qmm);
  device.syncForDevice(0, window.byteLength);
  device.wait(device.submit(descriptors, 0, program.length));
  device.syncForCpu(0, window.byteLength);

  const v = matrix(TOKENS, HIDDEN, (t, c) => clamp(scale(dot(weightV[c]!, x[t]!) + biasV[c]!, 4), -8, 7));
  const inHead = (row: number[], head: number) => row.slice(head * HEAD, (head + 1) * HEAD);
  const p = (head: number, i: number, j: number) =>
    clamp(scale(dot(inHead(q[i]!, head), inHead(k[j]!, head)), 6), 0, 15);
  const y = matrix(TOKENS, HIDDEN, (t, c) => {
    const head = Math.floor(c / HEAD);
    return clamp(
      scale(
        v.reduce((sum, row, j) => sum + p(head, t, j) * row[c]!, 0),
        5,
      ),
      -8,
      7,
    );
  });
  const expected = matrix(TOKENS, HIDDEN, (t, c) => dot(y[t]!, weightV[c]!));
  const actual = matrix(TOKENS, HIDDEN, (t, c) => view.getInt32(check.off + t * check.stride + 4 * c, true));
  device.close();
  expect(actual).toEqual(expected);
  // The example must not be degenerate: most levels of the context occur.
  expect(new Set(y.flat()).size).toBeGreaterThan(12);
});
