/**
 * Devices under test and their shadow: the shadow is a byte array to which the oracle applies the same descriptors, and
 * after every run every window must be equal to it in every byte, the ring included, and so must the fault. The oracle is
 * slow, so one shadow serves any number of devices of the same capabilities.
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
  /** One of the devices, to ask for capabilities. */
  readonly device: Device;
  /** What each device's window must hold; tests write operands, tables and poison here. */
  readonly memory: Uint8Array;
  /** Descriptors compared so far. */
  cases = 0;
  readonly #devices: { readonly uri: string; readonly device: Device }[];
  readonly #ringBytes: number;

  constructor(uris: readonly string[], options: DeviceOptions & { ringLog2: number }) {
    this.#devices = uris.map((uri) => ({ uri, device: Device.open(uri, options) }));
    this.device = this.#devices[0]!.device;
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
   * Runs descriptors, at most a ring full, on every device and on the shadow, and compares. Resets the devices after a
   * fault. Returns the fault that all agree on.
   */
  run(descriptors: readonly Uint8Array[]): RunFault | undefined {
    if (descriptors.length > this.ringEntries)
      throw new RangeError(`${descriptors.length} descriptors, ring of ${this.ringEntries}`);
    const { memory } = this;
    for (const { device } of this.#devices) {
      device.window.set(memory.subarray(this.#ringBytes), this.#ringBytes);
      device.syncForDevice(this.#ringBytes, memory.byteLength - this.#ringBytes);
    }
    const expected = this.#runShadow(descriptors);
    // All before the first comparison, so that a failing property can shrink on devices that are in step.
    const outcomes = this.#devices.map(({ device }) => runDevice(device, descriptors));
    for (const [i, { uri, device }] of this.#devices.entries()) {
      const about = (index: number) =>
        `descriptor ${index} of ${descriptors.length}: ${describe(descriptors[index]!)}`;
      expect(outcomes[i], `${uri}: ${expected ? `fault of ${about(expected.index)}` : 'no fault'}`).toEqual(
        expected,
      );
      const different = firstDifference(device.window, memory);
      if (different < 0) continue;
      const owner = descriptors.findLastIndex((descriptor) => writes(descriptor, different));
      const where = owner >= 0 ? `in the output of ${about(owner)}` : 'outside every output';
      const row = (bytes: Uint8Array) =>
        Buffer.from(bytes.subarray(different, different + 16)).toString('hex');
      expect.fail(
        `${uri}: window offset 0x${different.toString(16)}, ${where}: the device holds ${row(device.window)}, the oracle ${row(memory)}`,
      );
    }
    this.cases += descriptors.length;
    return expected;
  }

  close(): void {
    for (const { device } of this.#devices) device.close();
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
}

/** Submits, waits, syncs the window for the CPU; resets the device after a fault, which is returned. */
function runDevice(device: Device, descriptors: readonly Uint8Array[]): RunFault | undefined {
  const before = device.submitted;
  try {
    const sequence = device.submit(Buffer.concat(descriptors), 0, descriptors.length);
    expect(sequence).toBe((before + descriptors.length) >>> 0);
    device.wait(sequence);
    return undefined;
  } catch (error) {
    device.reset();
    if (!(error instanceof FaultError)) throw error;
    return { code: error.fault, field: error.field, at: error.at, index: (error.sequence - before) >>> 0 };
  } finally {
    device.syncForCpu(0, device.window.byteLength);
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
