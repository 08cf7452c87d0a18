/** The engine by its registers alone, without the driver: for tests of what the registers themselves promise. */
import { BITS, DESCRIPTOR, DESCRIPTOR_BYTES, OP, REG } from '../../../src/device/contract.generated.js';
import { encodeQmm, type Qmm } from '../../../src/device/descriptor.js';
import { NativeDevice } from '../../../src/native/device.js';
import { TEST_DEVICE } from './rig.js';

export const READY = BITS.STATUS_READY.mask << BITS.STATUS_READY.shift;
export const BUSY = BITS.STATUS_BUSY.mask << BITS.STATUS_BUSY.shift;
export const FAULTED = BITS.STATUS_FAULT.mask << BITS.STATUS_FAULT.shift;

/** What the host writes before RUN; WIN_* default to the whole window, the ring to 16 entries at offset 0. */
export type Configuration = Partial<Record<'WIN_LO' | 'WIN_HI' | 'WIN_SIZE' | 'RING' | 'RING_LOG2', number>>;

const PATIENCE_MS = 5_000;

export class BareEngine {
  readonly native: NativeDevice;

  constructor(windowBytes: number, uri = TEST_DEVICE) {
    this.native = NativeDevice.open(uri, windowBytes);
  }

  get window(): Uint8Array {
    return this.native.window;
  }

  read(name: keyof typeof REG): number {
    return this.native.readReg(REG[name]);
  }

  write(name: keyof typeof REG, value: number): void {
    this.native.writeReg(REG[name], value);
  }

  /** RUN = 0, and waits until the engine is quiet. */
  stop(): void {
    this.write('CTRL', 0);
    this.until('STATUS 0', () => this.read('STATUS') === 0);
  }

  /** The contract's start (section 2) from any state; returns STATUS. */
  start(configuration: Configuration = {}): number {
    this.stop();
    const all = { ...this.defaults(), ...configuration };
    for (const [name, value] of Object.entries(all)) this.write(name as keyof Configuration, value);
    this.write('TAIL', 0);
    this.write('CTRL', 1);
    this.until('READY or FAULT', () => (this.read('STATUS') & (READY | FAULTED)) !== 0);
    return this.read('STATUS');
  }

  defaults(): Required<Configuration> {
    return {
      WIN_LO: Number(this.native.bus & 0xffff_ffffn),
      WIN_HI: Number(this.native.bus >> 32n),
      WIN_SIZE: this.window.byteLength,
      RING: 0,
      RING_LOG2: 4,
    };
  }

  /** Writes a descriptor into the window and syncs it. */
  put(off: number, descriptor: Uint8Array): void {
    this.window.set(descriptor, off);
    this.native.syncForDevice(off, DESCRIPTOR_BYTES);
  }

  /** Kicks and waits until HEAD is there or the engine has stopped. */
  runTo(tail: number): 'done' | 'timeout' | 'fault' {
    this.native.kick(tail);
    return this.native.wait(tail, PATIENCE_MS * 1000);
  }

  /** Polls, at most five seconds. */
  until(what: string, done: () => boolean): void {
    const deadline = performance.now() + PATIENCE_MS;
    while (!done()) {
      if (performance.now() > deadline)
        throw new Error(`the engine did not reach ${what} in ${PATIENCE_MS} ms`);
    }
  }

  /** Writes two operands whose dot product is 5 and returns the descriptor that stores it at RESULT. */
  five(): Uint8Array {
    this.window.set([0xff], OPERAND_A);
    this.window.set([0b0101_0111], OPERAND_B);
    this.native.syncForDevice(OPERAND_A, 32);
    return dot();
  }

  /** The int32 at a window offset. */
  result(at = RESULT): number {
    this.native.syncForCpu(at, 4);
    return new DataView(this.window.buffer, this.window.byteOffset).getInt32(at, true);
  }

  close(): void {
    this.native.close();
  }
}

/** Where dot() finds its operands and leaves its result. */
export const OPERAND_A = 0x8000;
export const OPERAND_B = 0x8010;
export const RESULT = 0x8020;

/** u1 x u1 -> int32, M = N = 1, K = 8: the first byte of A and of B decide the result. */
export function dot(change: Partial<Qmm> = {}): Uint8Array {
  const bytes = new Uint8Array(DESCRIPTOR_BYTES);
  const row = (off: number, format = 0x00) => ({ off, stride: 16, format });
  const qmm: Qmm = { a: row(OPERAND_A), b: row(OPERAND_B), o: row(RESULT, 0x15), m: 1, n: 1, k: 8 };
  encodeQmm(new DataView(bytes.buffer), 0, { ...qmm, ...change });
  return bytes;
}

/** A NOP with a tag. */
export function nop(tag = 0): Uint8Array {
  const bytes = new Uint8Array(DESCRIPTOR_BYTES);
  bytes[DESCRIPTOR.op.offset] = OP.NOP;
  new DataView(bytes.buffer).setUint32(DESCRIPTOR.tag.offset, tag, true);
  return bytes;
}
