/** A device as libbeta sees it: registers, window, doorbell, fence. No policy; the driver is device/device.ts. */
import koffi from 'koffi';
import { NativeError } from './error.js';
import { type Library, library, type Pointer } from './library.js';
import { type NativeProgram, RUN_OUTCOMES, type RunOutcome, type RunState } from './program.js';
import { STEP_BYTES } from './steps.generated.js';

export { NativeError } from './error.js';

/** What a bounded wait ended with; 'timeout' only after all of its time. */
export type WaitOutcome = 'done' | 'timeout' | 'fault';

const OUTCOMES: readonly WaitOutcome[] = ['done', 'timeout', 'fault'];

/** What interrupts did since a device was opened (native/include/beta.h). */
export interface IrqCounts {
  /** Ended a sleep. */
  readonly taken: number;
  /** The kernel counted them between two that were taken. */
  readonly missed: number;
  /** Did not come although their reason was visible. */
  readonly lost: number;
}

export class NativeDevice {
  /** Address of the window on the engine's bus. */
  readonly bus: bigint;
  readonly #library: Library;
  readonly #uri: string;
  #pointer: Pointer | undefined;
  #window: Uint8Array;

  private constructor(uri: string, native: Library, pointer: Pointer) {
    this.#uri = uri;
    this.#library = native;
    this.#pointer = pointer;
    this.bus = BigInt(native.windowBus(pointer));
    this.#window = new Uint8Array(koffi.view(native.window(pointer), Number(native.windowBytes(pointer))));
  }

  /**
   * Opens a device by URI (native/include/beta.h) with a window of `windowBytes`, of a board at most that: a multiple of
   * 64 KiB below 4 GiB, zeroed. Throws NativeError, or NativeLibraryError when libbeta itself cannot be used.
   */
  static open(uri: string, windowBytes: number): NativeDevice {
    const native = library();
    if (uri.includes('\0')) throw new NativeError('open device', 22, 'a URI has no NUL character');
    if (!Number.isSafeInteger(windowBytes) || windowBytes < 0) {
      throw new NativeError(`open device "${uri}"`, 22, `a window of ${windowBytes} bytes is not possible`);
    }
    const device: [Pointer | null] = [null];
    const code = native.open(uri, windowBytes, device);
    if (code !== 0 || device[0] === null)
      throw new NativeError(`open device "${uri}"`, -code, native.error());
    return new NativeDevice(uri, native, device[0]);
  }

  /** The DMA window, not a copy. Throws after close(). */
  get window(): Uint8Array {
    this.#open();
    return this.#window;
  }

  /** One 32-bit register; an offset that is unaligned or outside the page reads 0. */
  readReg(offset: number): number {
    return this.#library.regRead(this.#open(), offset);
  }

  writeReg(offset: number, value: number): void {
    this.#library.regWrite(this.#open(), offset, value >>> 0);
  }

  /** Throws NativeError once the device was removed; its registers then read all ones. */
  checkAlive(): void {
    const code = this.#library.alive(this.#open());
    if (code !== 0) throw this.#failure('alive', code);
  }

  irqCounts(): IrqCounts {
    const counts = new BigUint64Array(3);
    this.#library.irqCounts(this.#open(), counts);
    const [taken, missed, lost] = Array.from(counts, Number) as [number, number, number];
    return { taken, missed, lost };
  }

  /** Everything written so far becomes visible to the engine, then TAIL = tail. */
  kick(tail: number): void {
    this.#library.kick(this.#open(), tail >>> 0);
  }

  /**
   * Blocks this thread until work up to `sequence` is complete, the engine faults, or `timeoutUs` microseconds (at most
   * 2^32-1) have passed. Throws NativeError when the device is gone.
   */
  wait(sequence: number, timeoutUs: number): WaitOutcome {
    const limit = Math.min(Math.max(Math.ceil(timeoutUs), 0), 0xffff_ffff);
    const code = this.#library.wait(this.#open(), sequence >>> 0, limit);
    const outcome = OUTCOMES[code];
    if (outcome === undefined) throw this.#failure('wait', code);
    return outcome;
  }

  /** Cache maintenance before the engine reads a range that the CPU wrote. Throws NativeError outside the window. */
  syncForDevice(offset: number, bytes: number): void {
    const code = this.#library.syncForDevice(this.#open(), offset, bytes);
    if (code !== 0) throw this.#failure('syncForDevice', code);
  }

  /** The same for what was computed and will soon be written again. Throws as syncForDevice does. */
  syncComputed(offset: number, bytes: number): void {
    const code = this.#library.syncComputed(this.#open(), offset, bytes);
    if (code !== 0) throw this.#failure('syncComputed', code);
  }

  /** Cache maintenance before the CPU reads a range that the engine wrote. Throws NativeError outside the window. */
  syncForCpu(offset: number, bytes: number): void {
    const code = this.#library.syncForCpu(this.#open(), offset, bytes);
    if (code !== 0) throw this.#failure('syncForCpu', code);
  }

  /**
   * Runs `count` vector step records of `records` from number `first` on, on this thread. A record that libbeta refuses
   * has not run; the NativeError names its number.
   */
  vectorRun(records: Uint8Array, first: number, count: number): void {
    // libbeta takes the caller's word for the length, so it is checked here.
    const available = Math.floor(records.byteLength / STEP_BYTES);
    const isCount = (value: number) => Number.isSafeInteger(value) && value >= 0;
    if (!isCount(first) || !isCount(count) || first + count > available) {
      throw new RangeError(`vectorRun: ${count} records from number ${first} on, but there are ${available}`);
    }
    const part = records.subarray(first * STEP_BYTES, (first + count) * STEP_BYTES);
    const failed: [number] = [0];
    const code = this.#library.vectorRun(this.#open(), part, count, failed);
    if (code === 0) return;
    const op = part[failed[0] * STEP_BYTES];
    const where = `device "${this.#uri}": vector step record ${first + failed[0]} (op ${op})`;
    throw new NativeError(where, -code, 'it is malformed or reaches outside the window');
  }

  /**
   * Runs a program on this thread; `run` holds what it needs and gets what it leaves. Throws NativeError where an index array is
   * out of range or the device is gone, RangeError where the timeline is too short.
   */
  runProgram(program: NativeProgram, run: RunState, timeline: Float64Array | null): RunOutcome {
    if (timeline !== null && timeline.length < program.timelineLength)
      throw new RangeError(
        `a timeline of ${timeline.length} numbers, this program needs ${program.timelineLength}`,
      );
    const code = this.#library.programRun(this.#open(), program.pointer, run.bytes, timeline);
    const outcome = RUN_OUTCOMES[code];
    if (outcome === undefined) throw this.#failure(`operation ${run.position} of the program`, code);
    return outcome;
  }

  /** Stops the engine and gives the window back; views of it must not be used any more. Safe to call twice. */
  close(): void {
    const pointer = this.#pointer;
    if (pointer === undefined) return;
    this.#pointer = undefined;
    this.#window = new Uint8Array(0);
    this.#library.close(pointer);
  }

  #open(): Pointer {
    if (this.#pointer === undefined) throw new NativeError(`device "${this.#uri}"`, 9, 'it is closed');
    return this.#pointer;
  }

  #failure(what: string, code: number): NativeError {
    return new NativeError(`device "${this.#uri}": ${what}`, -code, this.#library.error());
  }
}
