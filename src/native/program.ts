/** Programs as libbeta holds them (native/include/beta.h, beta_program): copied, checked once, run by one call. */
import { NativeError } from './error.js';
import { type Library, library, type Pointer } from './library.js';
import { OPERATION_WORDS, STEP_BYTES } from './steps.generated.js';

const DESCRIPTOR_BYTES = 64;

/** What a run ended with, by its code. 'gone': HEAD is a count that the program cannot have caused. */
export const RUN_OUTCOMES = ['done', 'timeout', 'fault', 'gone'] as const;
export type RunOutcome = (typeof RUN_OUTCOMES)[number];

/** struct beta_run: one of these serves every run of a device, so that running allocates nothing. */
export class RunState {
  readonly bytes = new Uint8Array(64);
  readonly #words = new Uint32Array(this.bytes.buffer, 0, 8);
  readonly #times = new Float64Array(this.bytes.buffer, 32, 4);

  begin(ringOff: number, ringLog2: number, tail: number, timeoutUs: number): void {
    const words = this.#words;
    words[0] = ringOff;
    words[1] = ringLog2;
    words[2] = tail;
    words[3] = Math.min(timeoutUs, 0xffff_ffff);
  }

  /** TAIL as the run left it. */
  get tail(): number {
    return this.#words[2]!;
  }
  /** The operation that the run ended at. */
  get position(): number {
    return this.#words[4]!;
  }
  /** Time spent by kind of operation, nanoseconds. */
  get submitNs(): number {
    return this.#times[0]!;
  }
  get waitNs(): number {
    return this.#times[1]!;
  }
  get vectorNs(): number {
    return this.#times[2]!;
  }
  get syncNs(): number {
    return this.#times[3]!;
  }
}

export class NativeProgram {
  readonly descriptors: number;
  readonly operations: number;
  readonly #library: Library;
  #pointer: Pointer | undefined;

  /**
   * Loads a program for windows of at least `windowBytes`; libbeta keeps a copy. Throws NativeError where it is malformed, out of
   * order, or reaches outside such a window.
   */
  constructor(windowBytes: number, descriptors: Uint8Array, steps: Uint8Array, operations: Uint32Array) {
    this.#library = library();
    this.descriptors = descriptors.byteLength / DESCRIPTOR_BYTES;
    this.operations = operations.length / OPERATION_WORDS;
    const records = steps.byteLength / STEP_BYTES;
    if (![this.descriptors, this.operations, records].every(Number.isInteger))
      throw new RangeError('a program of fractions of descriptors, records or operations');
    const program: [Pointer | null] = [null];
    const code = this.#library.programLoad(
      windowBytes,
      descriptors,
      this.descriptors,
      steps,
      records,
      operations,
      this.operations,
      program,
    );
    if (code !== 0 || program[0] === null) throw new NativeError('program', -code, this.#library.error());
    this.#pointer = program[0];
  }

  /** Numbers of a timeline: begin and end of every operation, submission and completion of every descriptor. */
  get timelineLength(): number {
    return 2 * (this.operations + this.descriptors);
  }

  get pointer(): Pointer {
    if (this.#pointer === undefined) throw new NativeError('program', 9, 'it has been freed');
    return this.#pointer;
  }

  /** Gives its memory back; it cannot run any more. Safe to call twice. */
  free(): void {
    if (this.#pointer === undefined) return;
    this.#library.programFree(this.#pointer);
    this.#pointer = undefined;
  }
}
