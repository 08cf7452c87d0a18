/** The driver on a scripted device: what it does in which order, and what it makes of a device that misbehaves. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { DESCRIPTOR_BYTES, REG } from '../../../src/device/contract.generated.js';
import { Device, type DeviceOptions, needsReset } from '../../../src/device/device.js';
import {
  CompatibilityError,
  DeviceError,
  DeviceTimeoutError,
  FaultError,
} from '../../../src/device/errors.js';
import { NativeDevice, NativeError, type WaitOutcome } from '../../../src/native/device.js';

const READY = 1;
const FAULTED = 4;

/** A register page without an engine; `onWait` and `onRun` are the engine. */
class ScriptedDevice {
  readonly window = new Uint8Array(0x1_0000);
  readonly bus = 0x12_3456_0000n;
  readonly registers = new Map<number, number>([
    [REG.ID, 0x314d4d51],
    [REG.VERSION, 0x0001_0000],
    [REG.CAPS, 0x3fff],
    [REG.MAX_K, 16384],
    [REG.MAX_KP, 1032],
    [REG.RING_MAX, 4],
  ]);
  /** Everything the driver did that the engine or the bus can see, in order. */
  readonly log: string[] = [];
  closed = 0;
  onRun = (): void => this.set(REG.STATUS, READY);
  onStop = (): void => {
    for (const offset of [REG.STATUS, REG.HEAD, REG.FAULT, REG.FAULT_AT]) this.set(offset, 0);
  };
  onWait = (_sequence: number, _timeoutUs: number): WaitOutcome => 'done';

  set(offset: number, value: number): void {
    this.registers.set(offset, value);
  }

  readReg(offset: number): number {
    return this.registers.get(offset) ?? 0;
  }

  writeReg(offset: number, value: number): void {
    const name = Object.entries(REG).find(([, at]) => at === offset)?.[0] ?? String(offset);
    this.log.push(`${name}=${value}`);
    this.set(offset, value);
    if (offset === REG.CTRL) (value & 1 ? this.onRun : this.onStop)();
  }

  kick(tail: number): void {
    this.log.push(`kick ${tail}`);
    this.set(REG.TAIL, tail);
  }

  wait(sequence: number, timeoutUs: number): WaitOutcome {
    return this.onWait(sequence, timeoutUs);
  }

  checkAlive(): void {}

  syncForDevice(off: number, bytes: number): void {
    this.log.push(`to device ${off}+${bytes}, to stay`);
  }

  syncComputed(off: number, bytes: number): void {
    this.log.push(`to device ${off}+${bytes}`);
  }

  syncForCpu(off: number, bytes: number): void {
    this.log.push(`to cpu ${off}+${bytes}`);
  }

  close(): void {
    this.closed++;
  }
}

afterEach(() => {
  vi.restoreAllMocks();
});

function open(scripted: ScriptedDevice, options: DeviceOptions = {}): Device {
  vi.spyOn(NativeDevice, 'open').mockReturnValue(scripted as unknown as NativeDevice);
  return Device.open('emu:?window=64K', options);
}

function thrown(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    return error;
  }
  return expect.fail('did not throw');
}

const descriptors = (count: number) => new Uint8Array(count * DESCRIPTOR_BYTES);

describe('a reset', () => {
  it('stops the engine, configures it with TAIL 0 and starts it last', () => {
    const scripted = new ScriptedDevice();
    open(scripted, { ringLog2: 3 });
    expect(scripted.log[0]).toBe('CTRL=0');
    expect(scripted.log.at(-1)).toBe('CTRL=1');
    expect(scripted.log.slice(1, -1).sort()).toEqual(
      [
        'IRQ_EN=0',
        'WAKE=0',
        'TAIL=0',
        'WIN_LO=878051328',
        'WIN_HI=18',
        'WIN_SIZE=65536',
        'RING=0',
        'RING_LOG2=3',
      ].sort(),
    );
  });

  it('never asks for more ring than the device has', () => {
    const scripted = new ScriptedDevice();
    open(scripted, { ringLog2: 12 });
    expect(scripted.readReg(REG.RING_LOG2)).toBe(4);
  });

  it('gives up on an engine that never gets quiet, and closes it', () => {
    let now = 0;
    vi.spyOn(performance, 'now').mockImplementation(() => (now += 100));
    const scripted = new ScriptedDevice();
    scripted.set(REG.STATUS, 3);
    scripted.onStop = () => undefined;
    expect(thrown(() => open(scripted))).toBeInstanceOf(DeviceTimeoutError);
    expect(scripted.closed).toBe(1);
  });

  it('reports the fault of a configuration that the engine refuses, and closes it', () => {
    const scripted = new ScriptedDevice();
    scripted.onRun = () => {
      scripted.set(REG.STATUS, FAULTED);
      scripted.set(REG.FAULT, (REG.WIN_SIZE << 8) | 1);
    };
    const error = thrown(() => open(scripted));
    expect(error).toBeInstanceOf(FaultError);
    expect((error as Error).message).toMatch(/CONFIG in register WIN_SIZE/);
    expect(scripted.closed).toBe(1);
  });

  it('does not even begin on what is no engine of ours', () => {
    const scripted = new ScriptedDevice();
    scripted.set(REG.ID, 0xffff_ffff);
    expect(thrown(() => open(scripted))).toBeInstanceOf(CompatibilityError);
    expect(scripted.log).toEqual([]);
    expect(scripted.closed).toBe(1);
  });
});

describe('a submit', () => {
  it('syncs descriptors before the doorbell, two ranges where the ring ends', () => {
    const scripted = new ScriptedDevice();
    const device = open(scripted, { ringLog2: 2 });
    device.submit(descriptors(3), 0, 3);
    scripted.set(REG.HEAD, 3);
    scripted.log.length = 0;
    device.submit(descriptors(3), 0, 3);
    expect(scripted.log).toEqual(['to device 192+64', 'to device 0+128', 'kick 6']);
  });

  it('never lets TAIL run more than the ring ahead of HEAD', () => {
    const scripted = new ScriptedDevice();
    const device = open(scripted, { ringLog2: 2 });
    const head = () => scripted.readReg(REG.HEAD);
    const kick = vi.spyOn(scripted, 'kick').mockImplementation((tail) => {
      expect((tail - head()) >>> 0).toBeLessThanOrEqual(4);
    });
    scripted.onWait = (sequence) => {
      expect(sequence).toBeGreaterThan(head());
      scripted.set(REG.HEAD, sequence);
      return 'done';
    };
    expect(device.submit(descriptors(103), 0, 103)).toBe(103);
    expect(kick).toHaveBeenLastCalledWith(103);
  });
});

describe('a wait', () => {
  it('starts its deadline again whenever HEAD has moved', () => {
    const scripted = new ScriptedDevice();
    const device = open(scripted, { timeoutMs: 250 });
    const sequence = device.submit(descriptors(10), 0, 10);
    const asked: number[] = [];
    scripted.onWait = (_sequence, timeoutUs) => {
      asked.push(timeoutUs);
      const head = scripted.readReg(REG.HEAD) + 1;
      scripted.set(REG.HEAD, head);
      return head === sequence ? 'done' : 'timeout';
    };
    device.wait(sequence);
    expect(asked).toEqual(Array(10).fill(250_000));
  });

  it('ends when HEAD stands still for one whole deadline, even after progress', () => {
    const scripted = new ScriptedDevice();
    const device = open(scripted, { timeoutMs: 250 });
    const sequence = device.submit(descriptors(10), 0, 10);
    let waits = 0;
    scripted.onWait = () => {
      waits++;
      if (waits <= 3) scripted.set(REG.HEAD, waits);
      return 'timeout';
    };
    const error = thrown(() => device.wait(sequence)) as Error;
    expect(error).toBeInstanceOf(DeviceTimeoutError);
    expect(error.message).toMatch(/HEAD 3, TAIL 10, STATUS 0x1/);
    expect(waits).toBe(4);
  });

  it('on a device that is gone says so in our own terms', () => {
    const scripted = new ScriptedDevice();
    const device = open(scripted);
    scripted.onWait = () => {
      throw new NativeError('uio:beta-qmm0: wait', 19, 'the device has been removed');
    };
    const error = thrown(() => device.wait(1));
    expect(error).toBeInstanceOf(DeviceError);
    expect(error).toMatchObject({ code: 'gone', message: expect.stringMatching(/removed/) });
    expect(needsReset(error)).toBe(true);
  });

  it('that meets a fault syncs and decodes the descriptor at HEAD, and remembers the fault until reset', () => {
    const scripted = new ScriptedDevice();
    const device = open(scripted, { ringLog2: 2 });
    const program = descriptors(6);
    for (let i = 0; i < 6; i++) program[i * DESCRIPTOR_BYTES + 0x3c] = 0x50 + i;
    scripted.onWait = (sequence) => {
      scripted.set(REG.HEAD, sequence);
      return 'done';
    };
    device.submit(program, 0, 6);
    scripted.set(REG.HEAD, 5);
    scripted.set(REG.FAULT, 0x0003);
    scripted.set(REG.FAULT_AT, 64);
    scripted.onWait = () => 'fault';
    scripted.log.length = 0;
    const error = thrown(() => device.wait(6));
    expect(error).toMatchObject({ fault: 3, field: 0, at: 64, sequence: 5, descriptor: { tag: 0x55 } });
    expect(scripted.log).toEqual(['to cpu 64+64']);
    scripted.onWait = () => 'done';
    expect(thrown(() => device.wait(1))).toBe(error);
    device.reset();
    device.wait(0);
  });
});

it('reads the counters', () => {
  const scripted = new ScriptedDevice();
  const device = open(scripted);
  for (const [i, name] of (['CYCLES', 'BEATS', 'RD_BEATS', 'WR_BEATS'] as const).entries())
    scripted.set(REG[name], 10 + i);
  expect(device.counters()).toEqual({ cycles: 10, beats: 11, readBeats: 12, writeBeats: 13 });
});
