/**
 * The driver: one class for every device that keeps the engine contract. It owns the window and the ring, submits
 * descriptors, waits with a bound, and turns faults into errors. It knows no models and makes no choice about order.
 */
import { constants } from 'node:os';
import { type IrqCounts, NativeDevice, NativeError } from '../native/device.js';
import { NativeProgram, RunState } from '../native/program.js';
import { alignUp, WindowAllocator } from './allocator.js';
import { requireAlive } from './board/liveness.js';
import { type Capabilities, readCapabilities } from './capabilities.js';
import { BITS, DESCRIPTOR_BYTES, FAULT, REG } from './contract.generated.js';
import { decodeDescriptor } from './descriptor.js';
import { DeviceError, DeviceTimeoutError, FaultError } from './errors.js';
import { Ring } from './ring.js';
import { parseDeviceUri } from './uri.js';

export interface DeviceOptions {
  /** Longest wait without progress, milliseconds; restarts whenever HEAD moves. */
  readonly timeoutMs?: number;
  /** log2 of the ring's entries; the device's RING_MAX bounds it. */
  readonly ringLog2?: number;
}

/** A program as flat arrays (compiler/program.ts). */
export interface ProgramArrays {
  readonly descriptors: Uint8Array;
  readonly steps: Uint8Array;
  readonly operations: Uint32Array;
}

const DEFAULT_TIMEOUT_MS = 10_000;
/** 1024 descriptors: a whole forward of a short batch, 64 KiB of the window. */
const DEFAULT_RING_LOG2 = 10;
/** What every register of a device reads that was removed. */
const ALL_ONES = 0xffff_ffff;
/** Bound of a reset: draining one tile, or finding out that the engine is gone. */
const RESET_TIMEOUT_MS = 5_000;

const READY = BITS.STATUS_READY.mask << BITS.STATUS_READY.shift;
const FAULTED = BITS.STATUS_FAULT.mask << BITS.STATUS_FAULT.shift;

const IMAGE = [REG.IMAGE0, REG.IMAGE1, REG.IMAGE2, REG.IMAGE3];

export class Device {
  readonly uri: string;
  readonly capabilities: Capabilities;
  /** Ranges of the window for models and arenas; the ring has its own. */
  readonly allocator: WindowAllocator;
  readonly #native: NativeDevice;
  readonly #ring: Ring;
  readonly #timeoutMs: number;
  readonly #run = new RunState();
  /** Sticky: set by the first fault, cleared by reset() alone. */
  #fault: FaultError | undefined;

  private constructor(uri: string, native: NativeDevice, options: DeviceOptions) {
    this.uri = uri;
    this.#native = native;
    this.#timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    this.capabilities = readCapabilities((offset) => native.readReg(offset));
    const log2 = Math.min(options.ringLog2 ?? DEFAULT_RING_LOG2, this.capabilities.ringLog2Max);
    this.#ring = new Ring(native.window, 0, log2);
    this.allocator = new WindowAllocator(alignUp(this.#ring.bytes, 4096), native.window.byteLength);
    this.reset();
  }

  /** Opens the device of a URI, checks that this host can drive it, and starts it. Throws DeviceError. */
  static open(uri: string, options: DeviceOptions = {}): Device {
    const { native: nativeUri, scheme, windowBytes, windowAsked } = parseDeviceUri(uri);
    // A register behind a bus without a clock stops the machine: nothing is mapped before the logic is known to be alive.
    if (scheme === 'uio') requireAlive(nativeUri);
    const native = asDeviceError(
      (errno) => (errno === constants.errno.EINVAL ? 'bad-uri' : 'no-device'),
      () => NativeDevice.open(nativeUri, windowBytes),
    );
    try {
      if (windowAsked && native.window.byteLength < windowBytes)
        throw new DeviceError(
          'no-device',
          `${uri}: the DMA pool holds a window of ${native.window.byteLength} bytes, but ${windowBytes} are asked for; leave out window=`,
        );
      return new Device(uri, native, options);
    } catch (error) {
      native.close();
      throw error;
    }
  }

  /** The DMA window as this process sees it. Valid until close(). */
  get window(): Uint8Array {
    return this.#native.window;
  }

  /** Count of descriptors submitted since reset, modulo 2^32. */
  get submitted(): number {
    return this.#ring.tail;
  }

  /**
   * Reset by contract section 2: RUN = 0 until the engine is quiet, configuration, RUN = 1 until it is ready. Clears a
   * fault. Descriptors that were not complete are gone; the window keeps its bytes.
   */
  reset(): void {
    const native = this.#native;
    asDeviceError(
      () => 'gone',
      () => native.checkAlive(),
    );
    native.writeReg(REG.CTRL, 0);
    this.#poll('reset', (status) => status === 0);
    this.#fault = undefined;
    this.#ring.rewind();
    native.writeReg(REG.IRQ_EN, 0);
    native.writeReg(REG.WAKE, 0);
    native.writeReg(REG.TAIL, 0);
    native.writeReg(REG.WIN_LO, Number(native.bus & 0xffff_ffffn));
    native.writeReg(REG.WIN_HI, Number(native.bus >> 32n));
    native.writeReg(REG.WIN_SIZE, native.window.byteLength);
    native.writeReg(REG.RING, this.#ring.off);
    native.writeReg(REG.RING_LOG2, this.#ring.log2);
    native.writeReg(REG.CTRL, 1);
    if (this.#poll('start', (status) => (status & (READY | FAULTED)) !== 0) & FAULTED)
      throw this.#readFault();
  }

  /**
   * Submits `count` descriptors from `descriptors` (64 bytes each, starting with number `first`) and returns the sequence
   * number to wait for. Waits, bounded, where the ring is full. Throws FaultError, DeviceTimeoutError or
   * DeviceError 'gone'.
   */
  submit(descriptors: Uint8Array, first: number, count: number): number {
    this.#check();
    if (!(first >= 0 && count >= 0 && (first + count) * DESCRIPTOR_BYTES <= descriptors.byteLength)) {
      throw new RangeError(
        `descriptors ${first} to ${first + count} of ${descriptors.byteLength / DESCRIPTOR_BYTES}`,
      );
    }
    let next = first;
    const end = first + count;
    while (next < end) {
      const space = this.#space();
      if (space === 0) {
        // Wake with a quarter of the ring free rather than for every single entry.
        this.wait((this.#ring.tail - this.#ring.entries + Math.ceil(this.#ring.entries / 4)) >>> 0);
        continue;
      }
      const part = Math.min(space, end - next);
      const tail = this.#ring.write(descriptors, next, part);
      this.#ring.forEachWritten(part, (off, bytes) => this.#native.syncComputed(off, bytes));
      this.#native.kick(tail);
      next += part;
    }
    return this.#ring.tail;
  }

  /** Returns once work up to `sequence` is complete. Throws FaultError, DeviceTimeoutError or DeviceError 'gone'. */
  wait(sequence: number): void {
    this.#check();
    let head = this.#native.readReg(REG.HEAD);
    for (;;) {
      const outcome = asDeviceError(
        () => 'gone',
        () => this.#native.wait(sequence, this.#timeoutMs * 1000),
      );
      if (outcome === 'done') return;
      if (outcome === 'fault') throw this.#readFault();
      const now = this.#native.readReg(REG.HEAD);
      if (now === head) {
        throw new DeviceTimeoutError(`waiting for descriptor ${sequence}`, this.#timeoutMs, {
          head,
          tail: this.#ring.tail,
          status: this.#native.readReg(REG.STATUS),
        });
      }
      head = now; // Progress: the deadline starts again.
    }
  }

  /** Makes what the CPU wrote in a range visible to the engine. */
  syncForDevice(off: number, bytes: number): void {
    this.#native.syncForDevice(off, bytes);
  }

  /** The same for operands that are computed anew for every product: an emulator does not keep them in a layout of its own. */
  syncComputed(off: number, bytes: number): void {
    this.#native.syncComputed(off, bytes);
  }

  /** Makes what the engine wrote in a range visible to the CPU. */
  syncForCpu(off: number, bytes: number): void {
    this.#native.syncForCpu(off, bytes);
  }

  /** Runs vector step records (native/vector/steps.yaml) that lie outside a program, on this thread: checked each time. */
  runVector(records: Uint8Array, first: number, count: number): void {
    this.#native.vectorRun(records, first, count);
  }

  /**
   * Loads a program for run(): descriptors, step records and operations (native/vector/steps.yaml), copied and checked. The caller
   * frees it. Throws DeviceError 'bad-program'.
   */
  load(program: ProgramArrays): NativeProgram {
    const { descriptors, steps, operations } = program;
    return asDeviceError(
      () => 'bad-program',
      () => new NativeProgram(this.window.byteLength, descriptors, steps, operations),
    );
  }

  /**
   * Runs a loaded program to its end on this thread, in one native call; what it spent is in `times` until the next one. A `timeline`
   * (native/include/beta.h) of program.timelineLength numbers gets the times of every operation and descriptor. Throws FaultError,
   * DeviceTimeoutError, DeviceError 'gone', or 'bad-indices' where an index array in the window is out of range.
   */
  run(program: NativeProgram, timeline: Float64Array | null = null): void {
    this.#check();
    const state = this.#run;
    const ring = this.#ring;
    state.begin(ring.off, ring.log2, ring.tail, this.#timeoutMs * 1000);
    const outcome = asDeviceError(
      (errno) => (errno === constants.errno.EINVAL ? 'bad-indices' : 'gone'),
      () => this.#native.runProgram(program, state, timeline),
      () => ring.rewind(state.tail),
    );
    if (outcome === 'done') return;
    if (outcome === 'fault') throw this.#readFault();
    if (outcome === 'gone') throw this.#gone();
    throw new DeviceTimeoutError(`operation ${state.position} of ${program.operations}`, this.#timeoutMs, {
      head: this.#native.readReg(REG.HEAD),
      tail: ring.tail,
      status: this.#native.readReg(REG.STATUS),
    });
  }

  /** Where the time of the last run() went, nanoseconds. */
  get times(): Pick<RunState, 'submitNs' | 'waitNs' | 'vectorNs' | 'syncNs'> {
    return this.#run;
  }

  /** The engine's own counters since reset: wrapping, not bit-exact. */
  counters(): { cycles: number; beats: number; readBeats: number; writeBeats: number } {
    const read = (offset: number) => this.#native.readReg(offset);
    return {
      cycles: read(REG.CYCLES),
      beats: read(REG.BEATS),
      readBeats: read(REG.RD_BEATS),
      writeBeats: read(REG.WR_BEATS),
    };
  }

  /** What its interrupts did since it was opened; all 0 on the emulator. */
  irqCounts(): IrqCounts {
    return this.#native.irqCounts();
  }

  /** Every register of the contract by name: none has a side effect, and nothing else is ever read. */
  registers(): Record<keyof typeof REG, number> {
    const read = Object.entries(REG).map(([name, offset]) => [name, this.#native.readReg(offset)]);
    return Object.fromEntries(read);
  }

  /** The first 128 bits of the SHA-256 of the live bitstream, 32 hex digits; all zero when nobody has written them. */
  get image(): string {
    return IMAGE.map((offset) => this.#native.readReg(offset).toString(16).padStart(8, '0')).join('');
  }

  /** Writes what image reads: for whoever has loaded the bitstream. */
  markImage(sha256: string): void {
    IMAGE.forEach((offset, word) => {
      this.#native.writeReg(offset, Number.parseInt(sha256.slice(8 * word, 8 * word + 8), 16));
    });
  }

  /** Stops the engine and gives the window back. Safe to call twice. */
  close(): void {
    this.#native.close();
  }

  #check(): void {
    if (this.#fault) throw this.#fault;
  }

  /** Free slots of the ring; throws 'gone' when HEAD is a count that this driver cannot have caused. */
  #space(): number {
    const head = this.#native.readReg(REG.HEAD);
    const space = this.#ring.space(head);
    if (space >= 0) return space;
    throw this.#gone(head);
  }

  #gone(head = this.#native.readReg(REG.HEAD)): DeviceError {
    return new DeviceError(
      'gone',
      `HEAD is ${head}, but ${this.#ring.tail} descriptors were submitted to a ring of ${this.#ring.entries}: ` +
        'something else has reset or reprogrammed the engine; reset the device',
    );
  }

  #readFault(): FaultError {
    const at = this.#native.readReg(REG.FAULT_AT);
    const head = this.#native.readReg(REG.HEAD);
    const word = this.#native.readReg(REG.FAULT);
    // CONFIG and RING are about registers; what lies at HEAD then is not to blame.
    const code = (word >>> BITS.FAULT_CODE.shift) & BITS.FAULT_CODE.mask;
    const inRing = this.#ring.tail !== head && code !== FAULT.CONFIG && code !== FAULT.RING;
    const slot = this.#ring.slot(head);
    if (inRing) this.#native.syncForCpu(slot, DESCRIPTOR_BYTES);
    const descriptor = inRing
      ? decodeDescriptor(
          new DataView(this.window.buffer, this.window.byteOffset, this.window.byteLength),
          slot,
        )
      : undefined;
    this.#fault = new FaultError(word, at, head, descriptor);
    return this.#fault;
  }

  /** Polls STATUS until `done`; bounded by RESET_TIMEOUT_MS. Returns the last STATUS. */
  #poll(what: string, done: (status: number) => boolean): number {
    const deadline = performance.now() + RESET_TIMEOUT_MS;
    for (;;) {
      const status = this.#native.readReg(REG.STATUS);
      if (status === ALL_ONES) throw new DeviceError('gone', `${this.uri}: ${what}: the device is gone`);
      if (done(status)) return status;
      if (performance.now() > deadline) {
        const head = this.#native.readReg(REG.HEAD);
        throw new DeviceTimeoutError(what, RESET_TIMEOUT_MS, {
          head,
          tail: this.#native.readReg(REG.TAIL),
          status,
        });
      }
    }
  }
}

/** Makes a refusal of libbeta a DeviceError with the same sentence: callers meet one family of errors. */
function asDeviceError<T>(code: (errno: number) => string, call: () => T, finish?: () => void): T {
  try {
    return call();
  } catch (error) {
    if (error instanceof NativeError)
      throw new DeviceError(code(error.errno), error.message, { cause: error });
    throw error;
  } finally {
    finish?.();
  }
}

/** True for the errors after which the device is of no use until reset(). */
export function needsReset(error: unknown): boolean {
  return (
    error instanceof FaultError ||
    error instanceof DeviceTimeoutError ||
    (error instanceof DeviceError && (error.code === 'gone' || error.code === 'bad-indices'))
  );
}
