/** The driver on the device under test: ring, fences, faults, timeouts and reset as a program meets them. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { DESCRIPTOR_BYTES, FAULT, REG } from '../../src/device/contract.generated.js';
import { encodeQmm } from '../../src/device/descriptor.js';
import { Device, type DeviceOptions, needsReset } from '../../src/device/device.js';
import { DeviceError, DeviceTimeoutError, FaultError } from '../../src/device/errors.js';
import { NativeDevice } from '../../src/native/device.js';
import { nop } from './support/bare.js';
import { deviceUri, TEST_DEVICE } from './support/rig.js';

const opened: Device[] = [];
afterEach(() => {
  for (const device of opened.splice(0)) device.close();
});

function open(options: DeviceOptions = {}, ...uriOptions: string[]): Device {
  const device = Device.open(deviceUri('window=1M', ...uriOptions), options);
  opened.push(device);
  return device;
}

/** A driver and, behind its back, the device that it opened. */
function openWithBack(options: DeviceOptions): { device: Device; back: NativeDevice } {
  const spy = vi.spyOn(NativeDevice, 'open');
  const device = open(options);
  const back = spy.mock.results[0]!.value as NativeDevice;
  spy.mockRestore();
  return { device, back };
}

const U1 = 0x00;
const U8 = 0x03;

/** y = x + 1 on one u8 element: `count` descriptors back and forth between two rows, each needing the one before. */
function counting(device: Device, count: number): { descriptors: Uint8Array; read: () => number } {
  const { off } = device.allocator.allocate(1024, 'counting');
  const [rows, one, table] = [[off, off + 128], off + 256, off + 512] as const;
  device.window.fill(0, off, off + 1024);
  device.window[one] = 1;
  new DataView(device.window.buffer, device.window.byteOffset).setInt32(table, 1, true);
  new DataView(device.window.buffer, device.window.byteOffset).setInt32(table + 4, 2 ** 24, true);
  device.syncForDevice(off, 1024);
  const descriptors = new Uint8Array(count * DESCRIPTOR_BYTES);
  const row = (i: number) => ({ off: rows[i % 2]!, stride: 128, format: U8 });
  for (let i = 0; i < count; i++) {
    const b = { off: one, stride: 16, format: U1 };
    const qmm = { a: row(i), b, o: row(i + 1), m: 1, n: 1, k: 1, table, tag: i };
    encodeQmm(new DataView(descriptors.buffer), i * DESCRIPTOR_BYTES, qmm);
  }
  const read = () => {
    device.syncForCpu(off, 1024);
    let value = 0;
    for (let plane = 0; plane < 8; plane++)
      value |= (device.window[row(count).off + 16 * plane]! & 1) << plane;
    return value;
  };
  return { descriptors, read };
}

/** Two good descriptors around one of K = 0. */
function withFault(device: Device): Uint8Array {
  const { descriptors } = counting(device, 3);
  new DataView(descriptors.buffer).setUint32(DESCRIPTOR_BYTES + 0x10, 0, true);
  return descriptors;
}

function thrown(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    return error;
  }
  return expect.fail('did not throw');
}

describe('the ring', () => {
  it.each([0, 1, 2, 5])('of 2^%i entries carries any number of descriptors in order', (ringLog2) => {
    const device = open({ ringLog2 });
    const { descriptors, read } = counting(device, 250);
    expect(device.submit(descriptors, 0, 250)).toBe(250);
    device.wait(250);
    expect(read()).toBe(250);
  });

  it('takes a part of a program, and a fence inside a batch', () => {
    const device = open({ ringLog2: 3 });
    const { descriptors, read } = counting(device, 12);
    expect(device.submit(descriptors, 0, 5)).toBe(5);
    expect(device.submit(descriptors, 5, 0)).toBe(5);
    expect(device.submit(descriptors, 5, 7)).toBe(12);
    device.wait(7);
    device.wait(12);
    device.wait(3);
    expect([read(), device.submitted]).toEqual([12, 12]);
  });

  it('refuses more descriptors than there are', () => {
    const device = open();
    expect(() => device.submit(nop(), 0, 2)).toThrow(RangeError);
    expect(() => device.submit(nop(), -1, 1)).toThrow(RangeError);
    expect(device.submitted).toBe(0);
  });

  it('is as small as the device wants', () => {
    if (!TEST_DEVICE.startsWith('emu:')) return;
    const device = open({ ringLog2: 10 }, 'ring_log2=1');
    const { descriptors, read } = counting(device, 100);
    device.wait(device.submit(descriptors, 0, 100));
    expect(read()).toBe(100);
  });
});

describe('a fault', () => {
  it('is an error with the decoded descriptor, sticky until reset', () => {
    const device = open();
    const sequence = device.submit(withFault(device), 0, 3);
    const error = thrown(() => device.wait(sequence)) as FaultError;
    expect(error).toBeInstanceOf(FaultError);
    expect(error).toMatchObject({
      code: 'device-fault',
      fault: FAULT.SHAPE,
      field: 0x10,
      sequence: 1,
      at: DESCRIPTOR_BYTES,
    });
    expect(error.descriptor).toMatchObject({ op: 1, a_fmt: U8, b_fmt: U1, k: 0, tag: 1 });
    expect(error.message).toMatch(
      /SHAPE.*field k .*M, N or K is 0.*descriptor 1: QMM .*a=u8 b=u1 o=u8 M=1 N=1 K=0/,
    );
    expect(needsReset(error)).toBe(true);

    expect(thrown(() => device.wait(sequence))).toBe(error);
    expect(thrown(() => device.wait(1))).toBe(error);
    expect(thrown(() => device.submit(nop(), 0, 1))).toBe(error);

    device.reset();
    expect(device.submitted).toBe(0);
    const { descriptors, read } = counting(device, 9);
    device.wait(device.submit(descriptors, 0, 9));
    expect(read()).toBe(9);
  });

  it('does not spoil a fence before it, and reaches a submit that waits for room', () => {
    const device = open({ ringLog2: 1 });
    const descriptors = Buffer.concat([withFault(device), ...Array.from({ length: 6 }, (_, i) => nop(i))]);
    const error = thrown(() => device.submit(descriptors, 0, 9));
    expect(error).toMatchObject({ code: 'device-fault', sequence: 1 });
    device.reset();
    device.submit(withFault(device), 0, 2);
    device.wait(1);
    expect(() => device.wait(2)).toThrow(FaultError);
  });

  it('of the ring names no descriptor', () => {
    const { device, back } = openWithBack({ ringLog2: 2 });
    device.submit(nop(), 0, 1);
    device.wait(1);
    back.kick(100);
    const error = thrown(() => device.wait(2)) as FaultError;
    expect(error).toMatchObject({ fault: FAULT.RING, descriptor: undefined });
    expect(error.message).toMatch(/RING.*overrun/);
  });

  it('of the configuration says which register', () => {
    const spy = vi.spyOn(NativeDevice, 'open');
    // A ring of 2^11 entries needs 128 KiB.
    const error = thrown(() => Device.open(deviceUri('window=64K'), { ringLog2: 11 }));
    const native = spy.mock.results[0]!.value as NativeDevice;
    spy.mockRestore();
    expect(error).toMatchObject({ fault: FAULT.CONFIG, field: REG.RING, descriptor: undefined });
    expect((error as Error).message).toMatch(/CONFIG in register RING/);
    expect(() => native.readReg(0)).toThrow(/closed/);
  });
});

describe('an engine that does not move', () => {
  it('ends a wait with an error that a reset repairs', () => {
    const { device, back } = openWithBack({ timeoutMs: 30 });
    back.writeReg(REG.CTRL, 0);
    const { descriptors, read } = counting(device, 2);
    const sequence = device.submit(descriptors, 0, 2);
    const begin = performance.now();
    const error = thrown(() => device.wait(sequence)) as Error;
    expect(performance.now() - begin).toBeGreaterThanOrEqual(29);
    expect(error).toBeInstanceOf(DeviceTimeoutError);
    expect(error.message).toMatch(/descriptor 2: no progress for 30 ms \(HEAD 0, TAIL 2, STATUS 0x0\)/);
    expect(needsReset(error)).toBe(true);
    device.reset();
    device.wait(device.submit(descriptors, 0, 2));
    expect(read()).toBe(2);
  });

  it('ends a submit that waits for room', () => {
    const { device, back } = openWithBack({ timeoutMs: 30, ringLog2: 2 });
    back.writeReg(REG.CTRL, 0);
    const program = Buffer.concat(Array.from({ length: 9 }, (_, i) => nop(i)));
    expect(() => device.submit(program, 0, 9)).toThrow(DeviceTimeoutError);
  });

  it('is gone when something else has reset it, and submit says so instead of waiting for ever', () => {
    const { device, back } = openWithBack({ timeoutMs: 30, ringLog2: 2 });
    const program = Buffer.concat(Array.from({ length: 9 }, (_, i) => nop(i)));
    device.wait(device.submit(program, 0, 9));
    back.writeReg(REG.CTRL, 0);
    while (back.readReg(REG.HEAD) !== 0);
    const error = thrown(() => device.submit(program, 0, 9));
    expect(error).toMatchObject({ code: 'gone' });
    expect((error as Error).message).toMatch(/HEAD is 0, but 9 descriptors/);
    expect(needsReset(error)).toBe(true);
    device.reset();
    device.wait(device.submit(program, 0, 9));
  });
});

describe('open and close', () => {
  it('answer a wrong URI with a DeviceError that names what there is', () => {
    for (const [uri, code, pattern] of [
      ['nowhere:', 'no-device', /nowhere.*emu/],
      ['emu:?speed=9', 'bad-uri', /speed.*max_k/],
      ['emu:?window=1000', 'bad-uri', /64 KiB/],
      ['board', 'bad-uri', /no device URI/],
    ] as const) {
      const error = thrown(() => Device.open(uri));
      expect(error, uri).toBeInstanceOf(DeviceError);
      expect(error, uri).toMatchObject({ code, message: expect.stringMatching(pattern) });
    }
  });

  it('leave a device that can be closed twice and then refuses work', () => {
    const device = open();
    device.close();
    device.close();
    expect(() => device.submit(nop(), 0, 1)).toThrow(/closed/);
    expect(() => device.window).toThrow(/closed/);
  });

  it('give each device its own window and its own timeline', () => {
    const [one, two] = [open(), open()];
    const [first, second] = [counting(one, 3), counting(two, 5)];
    one.wait(one.submit(first.descriptors, 0, 3));
    two.wait(two.submit(second.descriptors, 0, 5));
    expect([first.read(), second.read(), one.submitted, two.submitted]).toEqual([3, 5, 3, 5]);
  });
});

it('keeps the ring apart from what the allocator gives', () => {
  const device = open({ ringLog2: 4 });
  const all = device.allocator.allocate(device.allocator.largestFree, 'all');
  expect(all.off).toBeGreaterThanOrEqual(16 * DESCRIPTOR_BYTES);
  expect(all.off + all.bytes).toBe(device.window.byteLength);
  device.window.fill(0xff, all.off, all.off + all.bytes);
  device.wait(device.submit(nop(), 0, 1));
});
