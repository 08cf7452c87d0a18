/**
 * A device under test and its shadow: the shadow is a byte array to which the oracle applies the same descriptors, and
 * after every run the two windows must be equal in every byte, the ring included, and so must the fault.
 */
import { expect } from 'vitest';
import { DESCRIPTOR_BYTES } from '../../../src/device/contract.generated.js';
import { decodeDescriptor, describeDescriptor } from '../../../src/device/descriptor.js';
import { Device, type DeviceOptions } from '../../../src/device/device.js';
import { FaultError } from '../../../src/device/errors.js';
import { NativeDevice } from '../../../src/native/device.js';
import { applyDescriptor, type OracleFault } from '../../oracle/qmm.js';
import { fillRandom } from './random.js';

/** The device that the contract tests hold to the contract; BETA_TEST_DEVICE names another than the emulator. */
export const TEST_DEVICE = process.env.BETA_TEST_DEVICE ?? 'emu:';

/** A device URI with more options: `withOptions('emu:', 'window=1M')`. */
export function withOptions(uri: string, ...options: string[]): string {
  return options.length === 0 ? uri : `${uri}${uri.includes('?') ? '&' : '?'}${options.join('&')}`;
}

/** URI of the device under test with more options: `deviceUri('window=1M')`. */
export const deviceUri = (...options: string[]): string => withOptions(TEST_DEVICE, ...options);

/** The device under test; of the emulator every kernel that this CPU has, one of them with two threads. */
export function testDevices(): string[] {
  if (TEST_DEVICE !== 'emu:') return [TEST_DEVICE];
  return [...emulatorKernels().map((kernel) => `emu:?kernel=${kernel}`), 'emu:?threads=2'];
}

/** As the emulator itself lists them, where it is asked for one that it has not. */
function emulatorKernels(): string[] {
  try {
    NativeDevice.open('emu:?kernel=none', 65536).close();
  } catch (error) {
    const list = /option kernel must be one of: (.*)$/.exec(String(error));
    if (list) return list[1]!.split(', ');
    throw error;
  }
  throw new Error('the emulator has a kernel called "none"');
}

/** A fault and the index of the descriptor that it belongs to. */
export interface RunFault extends OracleFault {
  readonly index: number;
}

const describe = (descriptor: Uint8Array) =>
  describeDescriptor(
    decodeDescriptor(new DataView(descriptor.buffer, descriptor.byteOffset, DESCRIPTOR_BYTES), 0),
  );

export class Rig {
  readonly device: Device;
  /** What the device's window must hold; tests write operands, tables and poison here. */
  readonly memory: Uint8Array;
  /** Descriptors compared so far. */
  cases = 0;
  readonly #ringBytes: number;

  constructor(uri: string, options: DeviceOptions & { ringLog2: number }) {
    this.device = Device.open(uri, options);
    this.memory = new Uint8Array(this.device.window.byteLength);
    this.#ringBytes =
      2 ** Math.min(options.ringLog2, this.device.capabilities.ringLog2Max) * DESCRIPTOR_BYTES;
  }

  /** First window offset behind the ring. */
  get begin(): number {
    return this.#ringBytes;
  }

  /** Most descriptors that one run() takes. */
  get ringEntries(): number {
    return this.#ringBytes / DESCRIPTOR_BYTES;
  }

  /** Overwrites everything but the ring with pseudo-random bytes. */
  poison(seed: number): void {
    fillRandom(this.memory.subarray(this.#ringBytes), seed);
  }

  /** Window offset of the ring slot that descriptor `index` of the next run() will get. */
  slot(index: number): number {
    return ((this.device.submitted + index) * DESCRIPTOR_BYTES) % this.#ringBytes;
  }

  /**
   * Runs descriptors, at most a ring full, on the device and on the shadow, and compares both. Resets the device after
   * a fault. Returns the fault both agree on.
   */
  run(descriptors: readonly Uint8Array[]): RunFault | undefined {
    if (descriptors.length > this.ringEntries)
      throw new RangeError(`${descriptors.length} descriptors, ring of ${this.ringEntries}`);
    const { device, memory } = this;
    device.window.set(memory.subarray(this.#ringBytes), this.#ringBytes);
    device.syncForDevice(this.#ringBytes, memory.byteLength - this.#ringBytes);

    const expected = this.#runShadow(descriptors);
    const actual = this.#runDevice(descriptors);
    device.syncForCpu(0, memory.byteLength);
    if (actual) device.reset(); // Before the comparison, so that a failing property can shrink on a device that works.
    const about = (index: number) =>
      `descriptor ${index} of ${descriptors.length}: ${describe(descriptors[index]!)}`;
    expect(actual, expected ? `fault of ${about(expected.index)}` : 'no fault').toEqual(expected);
    const different = firstDifference(device.window, memory);
    if (different >= 0) {
      const owner = descriptors.findLastIndex((descriptor) => writes(descriptor, different));
      const where = owner >= 0 ? `in the output of ${about(owner)}` : 'outside every output';
      const row = (bytes: Uint8Array) =>
        Buffer.from(bytes.subarray(different, different + 16)).toString('hex');
      expect.fail(
        `window offset 0x${different.toString(16)}, ${where}: the device holds ${row(device.window)}, the oracle ${row(memory)}`,
      );
    }
    this.cases += descriptors.length;
    return actual;
  }

  close(): void {
    this.device.close();
  }

  #runShadow(descriptors: readonly Uint8Array[]): RunFault | undefined {
    // The driver fills the ring before the engine gets far; the ring is as much a part of the window as the rest.
    for (const [index, descriptor] of descriptors.entries()) this.memory.set(descriptor, this.slot(index));
    for (const [index, descriptor] of descriptors.entries()) {
      const fault = applyDescriptor(this.memory, descriptor, this.device.capabilities, this.slot(index));
      if (fault) return { ...fault, index };
    }
    return undefined;
  }

  #runDevice(descriptors: readonly Uint8Array[]): RunFault | undefined {
    const { device } = this;
    const before = device.submitted;
    try {
      const sequence = device.submit(Buffer.concat(descriptors), 0, descriptors.length);
      expect(sequence).toBe((before + descriptors.length) >>> 0);
      device.wait(sequence);
      return undefined;
    } catch (error) {
      if (!(error instanceof FaultError)) {
        device.reset();
        throw error;
      }
      return { code: error.fault, field: error.field, at: error.at, index: (error.sequence - before) >>> 0 };
    }
  }
}

/** Offset of the first byte that differs, or -1. Buffer.compare first: it is native, and equality is the rule. */
function firstDifference(a: Uint8Array, b: Uint8Array): number {
  return Buffer.compare(a, b) === 0 ? -1 : a.findIndex((byte, i) => byte !== b[i]);
}

/** True when `offset` lies between a QMM's first and last output row, roughly: it only words a message. */
function writes(descriptor: Uint8Array, offset: number): boolean {
  const d = decodeDescriptor(new DataView(descriptor.buffer, descriptor.byteOffset, DESCRIPTOR_BYTES), 0);
  return d.op === 1 && offset >= d.o_off && offset < d.o_off + d.m * d.o_stride;
}
