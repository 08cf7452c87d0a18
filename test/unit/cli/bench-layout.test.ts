/** The benchmark must measure the products it names: its descriptors, run by the oracle, against sums over matrix elements. */
import { describe, expect, it } from 'vitest';
import { type Case, casesOf, SHAPES } from '../../../src/cli/bench/cases.js';
import {
  activationBytes,
  outputBytes,
  products,
  tableEntries,
  weightBytes,
} from '../../../src/cli/bench/layout.js';
import { Workload } from '../../../src/cli/bench/workload.js';
import { DESCRIPTOR_BYTES } from '../../../src/device/contract.generated.js';
import { encodeQmm, type Format } from '../../../src/device/descriptor.js';
import { Device } from '../../../src/device/device.js';
import { fillRandom } from '../../contract/support/random.js';
import { applyDescriptor, decodeElement } from '../../oracle/qmm.js';

const small = { project: [5, 70, 9], value: [9, 70, 5], scores: [6, 64, 7], context: [6, 7, 64] } as const;

const [ACTIVATIONS, WEIGHTS, OUTPUT, TABLE, END] = [0, 0x10000, 0x20000, 0x28000, 0x30000];

/** The cases of SHAPES at sizes that the oracle can do. */
function smallCases(): Case[] {
  const shapes = SHAPES.filter(({ name }) => name in small).map((shape) => {
    const [m, k, n] = small[shape.name as keyof typeof small];
    return { ...shape, m, k, n, heads: Math.min(shape.heads, 4) };
  });
  return casesOf(shapes, [1, 2, 8]);
}

const code = (
  window: Uint8Array,
  off: number,
  stride: number,
  row: number,
  element: number,
  format: Format,
) => decodeElement(window, { off, stride, format }, row, element);

const rowBytes = (elements: number, bits: number) => Math.ceil(elements / 128) * 16 * bits;

/** D of one element of one head, from where the roles say that their operands lie. */
function dot(work: Case, window: Uint8Array, head: number, row: number, column: number): number {
  const { role, m, n, k, heads, a, b } = work;
  const inRows = role === 'scores' ? heads * k : k;
  const [aStride, bStride] = [rowBytes(inRows, a.bits), rowBytes(inRows, b.bits)];
  const [first, aRow, bRow] =
    role === 'scores' ? [head * k, row, column] : [0, head * m + row, head * n + column];
  const aOff = role === 'value' ? WEIGHTS : ACTIVATIONS;
  const attention = role === 'scores' ? m * aStride : heads * m * aStride;
  const bOff = { linear: WEIGHTS, value: ACTIVATIONS, scores: aOff + attention, context: aOff + attention }[
    role
  ];
  let sum = 0;
  for (let i = first; i < first + k; i++)
    sum += code(window, aOff, aStride, aRow, i, a) * code(window, bOff, bStride, bRow, i, b);
  return sum;
}

const LIMITS = {
  aBits: [1, 2, 4, 8],
  bBits: [1, 2, 4, 8],
  oBits: [1, 2, 4, 8, 16, 32],
  maxK: 16384,
  maxKp: 2048,
};

describe.each(smallCases())('$name with A of $a.bits and B of $b.bits bits', (work) => {
  const window = new Uint8Array(END);
  fillRandom(window.subarray(0, OUTPUT), 7);
  const entries = tableEntries(work);
  // Bias 0, mul 1.0: a bit says D >= 0 (PM1), an integer is D.
  for (let i = 0; i < entries; i++) new DataView(window.buffer).setInt32(TABLE + 8 * i + 4, 2 ** 24, true);

  it('computes every element where the next step looks for it, and nothing beside', () => {
    expect(activationBytes(work)).toBeLessThanOrEqual(WEIGHTS);
    expect(weightBytes(work)).toBeLessThanOrEqual(OUTPUT - WEIGHTS);
    const size = outputBytes(work);
    for (const qmm of products(work, ACTIVATIONS, WEIGHTS, OUTPUT, entries > 0 ? TABLE : undefined)) {
      const descriptor = new Uint8Array(DESCRIPTOR_BYTES);
      encodeQmm(new DataView(descriptor.buffer), 0, qmm);
      expect(applyDescriptor(window, descriptor, LIMITS)).toBeUndefined();
    }
    expect(window.subarray(OUTPUT + size, TABLE).every((byte) => byte === 0)).toBe(true);
    const view = new DataView(window.buffer);
    const { m, n, heads, o, role } = work;
    for (let head = 0; head < heads; head++) {
      for (let row = 0; row < m; row++) {
        for (let column = 0; column < n; column++) {
          const expected = dot(work, window, head, row, column);
          if (o.bits >= 16) {
            const bytes = o.bits / 8;
            const stride = Math.ceil((n * bytes) / 16) * 16;
            const at = OUTPUT + (head * m + row) * stride + column * bytes;
            expect(bytes === 4 ? view.getInt32(at, true) : view.getInt16(at, true)).toBe(expected);
          } else {
            const wide = role === 'context' ? heads * n : n;
            const bit = code(window, OUTPUT, rowBytes(wide, 1), row, head * n + column, o);
            expect(bit).toBe(expected >= 0 ? 1 : -1);
          }
        }
      }
    }
  });
});

describe('a workload', () => {
  it('does its turns and gives the window back', () => {
    const device = Device.open('emu:?window=4M');
    try {
      const before = device.allocator.freeBytes;
      for (const work of smallCases()) {
        const workload = new Workload(device, work);
        const submitted = device.submitted;
        workload.run(3);
        const descriptors = device.submitted - submitted;
        const macs = work.m * work.k * work.n;
        expect(descriptors * macs).toBe(3 * workload.multiplications);
        workload.free();
      }
      expect(device.allocator.freeBytes).toBe(before);
    } finally {
      device.close();
    }
  });

  it('says what does not fit, and leaves nothing allocated', () => {
    const device = Device.open('emu:?max_k=512&window=1M');
    try {
      const before = device.allocator.freeBytes;
      const [project] = casesOf([SHAPES[0]!], [1]);
      expect(() => new Workload(device, project!)).toThrow(/K is 768, emu:\S+ takes at most 512 \(MAX_K\)/);
      expect(() => new Workload(device, { ...project!, k: 512, n: 16384 })).toThrow(
        /weights of the benchmark needs/,
      );
      expect(device.allocator.freeBytes).toBe(before);
    } finally {
      device.close();
    }
  });
});
