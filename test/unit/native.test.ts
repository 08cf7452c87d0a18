import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NativeDevice, NativeError } from '../../src/native/device.js';
import { loadLibrary, NativeLibraryError } from '../../src/native/library.js';

const WINDOW = 0x10_0000;
const RING = 0x1000;

/** Registers by the contract's numbers, not by the constants that the code under test uses. */
const REG = {
  ID: 0x00,
  CTRL: 0x20,
  WAKE: 0x28,
  WIN_LO: 0x30,
  RING_LOG2: 0x40,
  STATUS: 0x80,
  HEAD: 0x84,
  FAULT: 0x88,
};

describe('library', () => {
  it('says what to run when it is missing', () => {
    expect(() => loadLibrary('/nonexistent/libbeta.so')).toThrow(NativeLibraryError);
    expect(() => loadLibrary('/nonexistent/libbeta.so')).toThrow(
      /libbeta\.so does not exist.*npm run build:native/,
    );
  });

  it('says so too when the file is no library, and when it is another one', () => {
    const folder = mkdtempSync(join(tmpdir(), 'beta-native-'));
    try {
      const path = join(folder, 'libbeta.so');
      writeFileSync(path, 'not a library');
      expect(() => loadLibrary(path)).toThrow(/cannot be loaded.*npm run build:native/);
      expect(() => loadLibrary(process.execPath)).toThrow(NativeLibraryError);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('NativeDevice', () => {
  let device: NativeDevice;

  beforeEach(() => {
    device = NativeDevice.open('emu:', WINDOW);
  });
  afterEach(() => device.close());

  /** Contract section 2, with a ring of 16. */
  const start = () => {
    device.writeReg(REG.CTRL, 0);
    expect(device.readReg(REG.STATUS)).toBe(0);
    const config = [Number(device.bus & 0xffff_ffffn), Number(device.bus >> 32n), WINDOW, RING, 4];
    config.forEach((value, i) => {
      device.writeReg(REG.WIN_LO + 4 * i, value);
    });
    device.writeReg(REG.CTRL, 1);
    while (device.readReg(REG.STATUS) === 0);
    expect(device.readReg(REG.STATUS)).toBe(1);
  };

  it('opens with registers, bus address and a zeroed window', () => {
    expect(device.readReg(REG.ID)).toBe(0x314d4d51);
    expect(device.readReg(2)).toBe(0);
    expect(device.bus % 0x10000n).toBe(0n);
    expect(device.window).toHaveLength(WINDOW);
    expect(device.window.every((byte) => byte === 0)).toBe(true);
    device.writeReg(REG.WAKE, 0xffff_ffff);
    expect(device.readReg(REG.WAKE)).toBe(0xffff_ffff);
    device.writeReg(REG.WAKE, -2);
    expect(device.readReg(REG.WAKE)).toBe(0xffff_fffe);
  });

  it('throws the sentence of libbeta', () => {
    expect(() => NativeDevice.open('emu:?depth=1', WINDOW)).toThrow(
      /open device "emu:\?depth=1".*max_k, max_kp, ring_log2/,
    );
    expect(() => NativeDevice.open('fpga:', WINDOW)).toThrow(/no transport for "fpga:".*emu/);
    expect(() => NativeDevice.open('emu:', 4096)).toThrow(/64 KiB/);
    expect(() => NativeDevice.open('emu:', -65536)).toThrow(NativeError);
    expect(() => NativeDevice.open('emu:\0', WINDOW)).toThrow(NativeError);
    expect(() => device.syncForDevice(0, WINDOW + 1)).toThrow(/past the window/);
    expect(() => device.syncComputed(0, WINDOW + 1)).toThrow(/past the window/);
    expect(() => device.syncForCpu(WINDOW, 1)).toThrow(/past the window/);
    device.syncForDevice(0, WINDOW);
    device.syncForCpu(WINDOW, 0);
  });

  it('runs a QMM that was written through the window', () => {
    start();
    // A: one row of 128 ones (U, 1 bit). B: 3 rows of PM1 with 128, 64 and 0 ones. int32 output.
    const view = new DataView(device.window.buffer, device.window.byteOffset, device.window.byteLength);
    device.window.fill(0xff, 0x2000, 0x2010);
    device.window.fill(0xff, 0x3000, 0x3010);
    device.window.fill(0xff, 0x3010, 0x3018);
    device.window.set([1, 0, 0x00, 0x20, 0x15, 0, 0, 0], RING);
    const words = [1, 3, 128, 0x2000, 16, 0x3000, 16, 0x4000, 16];
    words.forEach((word, i) => {
      view.setUint32(RING + 8 + 4 * i, word, true);
    });
    expect(device.wait(1, 0)).toBe('timeout');
    device.kick(1);
    expect(device.wait(1, 5_000_000)).toBe('done');
    expect([0, 1, 2, 3].map((i) => view.getInt32(0x4000 + 4 * i, true))).toEqual([128, 0, -128, 0]);
    expect(device.readReg(REG.HEAD)).toBe(1);

    device.window[RING + 64] = 9; // no such op
    device.kick(2);
    expect(device.wait(2, 5_000_000)).toBe('fault');
    expect(device.readReg(REG.FAULT)).toBe(3);
    expect(device.wait(1, 0)).toBe('done');
  });

  it('waits no longer than it was told', () => {
    start();
    const began = performance.now();
    expect(device.wait(1, 30_000)).toBe('timeout');
    expect(performance.now() - began).toBeGreaterThanOrEqual(29.9);
    expect(device.wait(1, -1)).toBe('timeout');
  });

  it('keeps two devices apart', () => {
    const other = NativeDevice.open('emu:?max_k=64', WINDOW);
    try {
      other.window[5] = 7;
      expect(device.window[5]).toBe(0);
      expect([device.readReg(0x10), other.readReg(0x10)]).toEqual([16384, 64]);
    } finally {
      other.close();
    }
  });

  it('refuses vector records that are not there', () => {
    const records = new Uint8Array(256);
    for (const [first, count] of [
      [0, 3],
      [2, 1],
      [-1, 1],
      [1, -1],
      [0.5, 1],
      [Number.NaN, 1],
    ] as const) {
      expect(() => device.vectorRun(records, first, count)).toThrow(RangeError);
    }
    device.vectorRun(records, 2, 0);
    expect(() => device.vectorRun(records, 1, 1)).toThrow(/vector step record 1 \(op 0\)/);
  });

  it('closes once, and then refuses everything', () => {
    start();
    device.close();
    device.close();
    for (const use of [
      () => device.window,
      () => device.readReg(0),
      () => device.writeReg(REG.CTRL, 0),
      () => device.kick(1),
      () => device.wait(0, 0),
      () => device.syncForDevice(0, 0),
      () => device.syncForCpu(0, 0),
      () => device.vectorRun(new Uint8Array(128), 0, 1),
    ]) {
      expect(use).toThrow(/"emu:".*closed/);
    }
  });
});
