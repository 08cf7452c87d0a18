/** The driver on a board made of files: another transport, the same behaviour. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DESCRIPTOR_BYTES, OP } from '../../../../src/device/contract.generated.js';
import { Device, needsReset } from '../../../../src/device/device.js';
import { DeviceTimeoutError, FaultError } from '../../../../src/device/errors.js';
import { selfTest } from '../../../../src/device/self-test.js';
import { FakeBoard, POOL_BUS } from './fake-board.js';

const URI = 'uio:beta-qmm0';
let board: FakeBoard;
let device: Device | undefined;

const open = (uri = URI, timeoutMs = 1000) => {
  device = Device.open(uri, { timeoutMs });
  return device;
};

beforeEach(async () => {
  board = new FakeBoard(8 * 2 ** 20);
  await board.start();
});
afterEach(async () => {
  device?.close();
  device = undefined;
  await board.destroy();
});

const nops = (count: number) => new Uint8Array(count * DESCRIPTOR_BYTES);

describe('the engine of a board', () => {
  it('takes its whole pool as window, or what is asked for', () => {
    expect(open().window.byteLength).toBe(8 * 2 ** 20);
    device?.close();
    expect(open(`${URI}?window=1M`).window.byteLength).toBe(2 ** 20);
    device?.close();
    expect(() => open(`${URI}?window=16M`)).toThrow(/holds a window of 8388608 bytes, but 16777216/);
  });

  it('passes the self-test, again and again', () => {
    open();
    for (let seed = 1; seed <= 5; seed++)
      expect(selfTest(device!, seed)).toMatchObject({ tiles: 7, wrong: [] });
  });

  it('does 200 fences by interrupts, none of them lost', () => {
    open(`${URI}?spin=0`);
    for (let i = 0; i < 200; i++) device!.wait(device!.submit(nops(1 + (i % 7)), 0, 1 + (i % 7)));
    const { taken, missed, lost } = device!.irqCounts();
    expect({ missed, lost }).toEqual({ missed: 0, lost: 0 });
    expect(taken).toBeGreaterThan(0);
  });

  it('belongs to one process', () => {
    open();
    expect(() => Device.open(URI)).toThrow(/another process has the engine/);
  });

  it('keeps what is written to IMAGE through a reset', () => {
    open();
    device!.markImage('0123456789abcdef00112233fedcba98');
    device!.reset();
    expect(device!.image).toBe('0123456789abcdef00112233fedcba98');
    expect(device!.registers()).toMatchObject({
      IMAGE0: 0x01234567,
      IMAGE3: 0xfedcba98,
      WIN_HI: Number(POOL_BUS >> 32n),
    });
  });
});

describe('what goes wrong', () => {
  it('a fault is reported, and work goes on after a reset', () => {
    open();
    const bad = nops(1);
    bad[0] = 9;
    expect(() => device!.wait(device!.submit(bad, 0, 1))).toThrow(FaultError);
    device!.reset();
    expect(selfTest(device!).wrong).toEqual([]);
  });

  it('a HEAD that is stuck is a timeout within its bound, and work goes on when the engine does', () => {
    open(URI, 400);
    board.freeze();
    const began = performance.now();
    let error: unknown;
    try {
      device!.wait(device!.submit(nops(1), 0, 1));
    } catch (caught) {
      error = caught;
    }
    expect(error).toBeInstanceOf(DeviceTimeoutError);
    expect(needsReset(error)).toBe(true);
    expect(performance.now() - began).toBeLessThan(5000);
    board.thaw();
    device!.reset();
    expect(selfTest(device!).wrong).toEqual([]);
  });

  it('a device that is removed is gone at once and for good, and comes back by opening it again', async () => {
    open();
    await board.stop();
    const began = performance.now();
    const gone = expect.objectContaining({ code: 'gone', message: expect.stringMatching(/device is gone/) });
    expect(() => device!.wait(device!.submit(nops(1), 0, 1))).toThrow(gone);
    expect(() => device!.reset()).toThrow(gone);
    expect(performance.now() - began).toBeLessThan(1000);
    device!.close();
    await board.start();
    open();
    expect(selfTest(device!).wrong).toEqual([]);
  });

  it('an unknown operation names itself', () => {
    open();
    const bad = nops(1);
    bad[0] = OP.QMM + 1;
    expect(() => device!.wait(device!.submit(bad, 0, 1))).toThrow(/fault OP/);
  });
});
