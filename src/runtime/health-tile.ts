/**
 * A tile through the device, against an answer computed here: what a health check may believe, and cheap enough to run every few seconds.
 * (device/self-test.ts goes through every kind of format, once, against the emulator.)
 */
import { DESCRIPTOR_BYTES } from '../device/contract.generated.js';
import { encodeQmm, formatByte } from '../device/descriptor.js';
import type { Device } from '../device/device.js';

/** One-bit operands of at most one block: 16 bytes a row. */
const [M, N, ROW] = [4, 8, 16];
const OPERANDS = (M + N) * ROW;
const RESULT = M * N * 4;

/** The device computed something else than integers say. */
export class HealthTileError extends Error {
  readonly code = 'self-test';
}

export class HealthTile {
  readonly #device: Device;
  readonly #off: number;
  readonly #k: number;
  #seed = 1;

  /** Takes its place in the window, for as long as the device is open. Throws DeviceError 'window-full'. */
  constructor(device: Device) {
    this.#device = device;
    this.#k = Math.min(128, device.capabilities.maxK);
    this.#off = device.allocator.allocate(OPERANDS + RESULT, 'the self-test tile').off;
  }

  /** Runs a tile of operands that no run had before. Throws HealthTileError, DeviceError. */
  run(): void {
    const device = this.#device;
    const { buffer, byteOffset } = device.window;
    const operands = new Uint8Array(buffer, byteOffset + this.#off, OPERANDS);
    for (let i = 0; i < OPERANDS; i++) operands[i] = this.#random();
    const result = this.#off + OPERANDS;
    // What an earlier run left must not pass for an answer.
    device.window.fill(0xa5, result, result + RESULT);
    device.syncForDevice(this.#off, OPERANDS + RESULT);
    const descriptor = new Uint8Array(DESCRIPTOR_BYTES);
    const format = formatByte({ bits: 1, encoding: 'PM1' });
    encodeQmm(new DataView(descriptor.buffer), 0, {
      a: { off: this.#off, stride: ROW, format },
      b: { off: this.#off + M * ROW, stride: ROW, format },
      o: { off: result, stride: N * 4, format: formatByte({ bits: 32, encoding: 'S' }) },
      m: M,
      n: N,
      k: this.#k,
    });
    device.wait(device.submit(descriptor, 0, 1));
    device.syncForCpu(result, RESULT);
    const found = new Int32Array(buffer, byteOffset + result, M * N);
    for (let m = 0; m < M; m++) {
      for (let n = 0; n < N; n++) {
        const expected = dot(operands.subarray(m * ROW), operands.subarray((M + n) * ROW), this.#k);
        if (found[m * N + n] !== expected)
          throw new HealthTileError(
            `self-test: element ${m},${n} is ${found[m * N + n]}, should be ${expected}`,
          );
      }
    }
  }

  #random(): number {
    this.#seed = (Math.imul(this.#seed, 1664525) + 1013904223) >>> 0;
    return this.#seed >>> 24;
  }
}

/** Products of plus and minus one, bit by bit. */
function dot(a: Uint8Array, b: Uint8Array, count: number): number {
  let sum = 0;
  for (let k = 0; k < count; k++) sum += ((a[k >> 3]! ^ b[k >> 3]!) >> (k & 7)) & 1 ? -1 : 1;
  return sum;
}
