/** Every kernel of vector steps that this CPU has leaves the same bytes, step for step. */
import { describe, expect, it } from 'vitest';
import { vectorCases } from '../../../src/cli/bench/vector-cases.js';
import { NativeDevice, NativeError } from '../../../src/native/device.js';

const WINDOW = 32 << 20;
const KERNELS = ['avx512', 'avx2', 'neon', 'portable'];

/** A device with this kernel, or null where the CPU has no such instructions. */
function open(kernel: string): NativeDevice | null {
  try {
    return NativeDevice.open(`emu:?vector=${kernel}`, WINDOW);
  } catch (error) {
    if (error instanceof NativeError && error.message.includes('vector')) return null;
    throw error;
  }
}

/** The window after every step, each with operands and results of its own. */
function left(device: NativeDevice, tokens: number): Buffer {
  for (const { records, count } of vectorCases(device.window, tokens)) device.vectorRun(records, 0, count);
  const window = Buffer.from(device.window);
  device.close();
  return window;
}

describe.each([1, 29, 128])('with %i tokens', (tokens) => {
  const expected = left(open('portable')!, tokens);

  it.each(KERNELS.filter((kernel) => kernel !== 'portable'))('%s', (kernel) => {
    const device = open(kernel);
    if (device === null) return;
    expect(left(device, tokens).equals(expected)).toBe(true);
  });
});

it('a kernel that is none is refused, and the sentence says which there are', () => {
  expect(() => NativeDevice.open('emu:?vector=mmx', WINDOW)).toThrow(/portable/);
});
