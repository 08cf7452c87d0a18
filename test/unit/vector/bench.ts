/** A window to run vector steps in: operands are put behind one another, and whatever is no output must stay as it was. */
import { expect } from 'vitest';
import { StepWriter } from '../../../src/compiler/step-writer.js';
import { NativeDevice } from '../../../src/native/device.js';
import { FOUND_BYTES } from '../../../src/native/steps.generated.js';
import { fillRandom, random32 } from '../../contract/support/random.js';

type Values = Float32Array | Float64Array | Int32Array | Uint32Array | Uint8Array;

const BYTES = 1 << 20;
/** Nothing lies at the window's start: an address of 0 means absent. */
const FIRST = 0x1000;

/** Step and offset of one sequence, as steps.yaml has them. */
export interface Found {
  readonly step: number;
  readonly t: number;
}

/** What an operand has whose quantiser finds nothing. */
export const NOT_FOUND: Found = { step: 1, t: 0 };

export class Bench {
  readonly native = NativeDevice.open('emu:', BYTES);
  readonly window = this.native.window;
  steps = new StepWriter();
  #before = new Uint8Array();
  #outputs: { off: number; bytes: number }[] = [];
  #end = FIRST;

  /** Forgets everything; the window is full of noise. */
  reset(seed: number): void {
    this.steps = new StepWriter();
    this.#outputs = [];
    this.#end = FIRST;
    fillRandom(this.window, seed);
  }

  /** Window offset of `bytes` bytes that nothing else lies on. */
  space(bytes: number): number {
    const off = this.#end;
    this.#end = Math.ceil((off + bytes) / 64) * 64 + 64;
    if (this.#end > BYTES) throw new Error('the bench is too small for this case');
    return off;
  }

  put(values: Values): number {
    const off = this.space(values.byteLength);
    this.window.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), off);
    return off;
  }

  /** Puts int32 or int16 values, blocks[block][row][column], at the given distances in bytes. */
  putBlocks(
    blocks: readonly (readonly (readonly number[])[])[],
    blockStride: number,
    rowStride: number,
    int16 = false,
  ): number {
    const off = this.space(blocks.length * blockStride);
    for (const [block, rows] of blocks.entries()) {
      for (const [row, values] of rows.entries()) {
        this.window.set(
          new Uint8Array((int16 ? Int16Array : Int32Array).from(values).buffer),
          off + block * blockStride + row * rowStride,
        );
      }
    }
    return off;
  }

  /** Puts a found array: what the quantiser of an operand stored, an entry for each sequence. */
  putFound(entries: readonly Found[]): number {
    return this.put(Float64Array.from(entries.flatMap(({ step, t }) => [step, t])));
  }

  /** Space that a step may write. */
  output(bytes: number): number {
    const off = this.space(bytes);
    this.#outputs.push({ off, bytes });
    return off;
  }

  view(): DataView {
    return new DataView(this.window.buffer, this.window.byteOffset, this.window.byteLength);
  }

  floats(off: number, count: number): number[] {
    return Array.from({ length: count }, (_, i) => this.view().getFloat32(off + i * 4, true));
  }

  doubles(off: number, count: number): number[] {
    return Array.from({ length: count }, (_, i) => this.view().getFloat64(off + i * 8, true));
  }

  /** The entry of one sequence. */
  found(off: number, sequence: number): Found {
    const [step, t] = this.doubles(off + sequence * FOUND_BYTES, 2) as [number, number];
    return { step, t };
  }

  /** Runs the steps and checks that only outputs changed. */
  run(): void {
    this.#before = this.window.slice();
    const records = this.steps.finish();
    this.native.vectorRun(records, 0, this.steps.count);
    const after = this.window.slice();
    for (const { off, bytes } of this.#outputs) after.set(this.#before.subarray(off, off + bytes), off);
    expect(Buffer.compare(after, this.#before), 'bytes outside the outputs').toBe(0);
  }
}

/** Seeded draws for one case. */
export class Draw {
  readonly #next: () => number;

  constructor(seed: number) {
    this.#next = random32(seed);
  }

  /** 0 <= x < 1 */
  fraction(): number {
    return this.#next() / 2 ** 32;
  }

  int(from: number, to: number): number {
    return from + (this.#next() % (to - from + 1));
  }

  chance(probability = 0.5): boolean {
    return this.fraction() < probability;
  }

  pick<T>(values: readonly T[]): T {
    return values[this.int(0, values.length - 1)]!;
  }

  /** About normal, deviation 1. */
  real(): number {
    let sum = -6;
    for (let i = 0; i < 12; i++) sum += this.fraction();
    return sum;
  }

  /** A multiple of a quarter: sums of these are exact, and meet the halves where rounding decides. */
  quarter(): number {
    return this.int(-16, 16) / 4;
  }

  floats(count: number, draw: () => number = () => this.real()): Float32Array {
    return Float32Array.from({ length: count }, draw);
  }

  /** Row starts of `sequences` sequences that share `rows` rows; some may be empty. */
  starts(sequences: number, rows: number): number[] {
    const inner = Array.from({ length: sequences - 1 }, () => this.int(0, rows)).sort((a, b) => a - b);
    return [0, ...inner, rows];
  }

  /** How many consumers a producer gets: none, some, the most there may be. */
  consumers(): number {
    return this.pick([0, 1, 2, 3, 4, 8]);
  }

  /** Found entries of `sequences` sequences; powers of two and quarters, or anything. */
  found(sequences: number, quarters: boolean): Found[] {
    return Array.from({ length: sequences }, () =>
      quarters
        ? { step: this.pick([0.25, 0.5, 1, 2]), t: this.quarter() }
        : { step: this.fraction() + 0.01, t: this.real() },
    );
  }

  /** Widths around bytes and blocks. */
  width(): number {
    return this.pick([1, 2, 3, 7, 8, 9, 15, 24, 63, 64, 65, 127, 128, 129, 130, 200, 256, 257, 300]);
  }
}

/** The sequence of a row, by the row starts: empty ones have none. */
export function sequenceOf(starts: readonly number[], row: number): number {
  return starts.findIndex((start, index) => start <= row && row < starts[index + 1]!);
}

const CASES = 120;

/** Runs a property with CASES seeds, the bench fresh for each; the seed is in the message of what fails. */
export function cases(bench: Bench, first: number, property: (draw: Draw) => void): void {
  for (let seed = first; seed < first + CASES; seed++) {
    bench.reset(seed);
    try {
      property(new Draw(seed));
    } catch (error) {
      if (error instanceof Error) error.message = `seed ${seed}: ${error.message}`;
      throw error;
    }
  }
}

export const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

/** LayerNorm of one row by its definition. */
export function layerNorm(
  x: readonly number[],
  gamma: Float32Array,
  beta: Float32Array,
  epsilon: number,
): number[] {
  const mean = x.reduce((sum, value) => sum + value, 0) / x.length;
  const variance = x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / x.length;
  return x.map((value, i) => (gamma[i]! * (value - mean)) / Math.sqrt(variance + epsilon) + beta[i]!);
}

/**
 * Within one unit in the last place of float32, or 1e-13 where terms cancel: steps compute in double, so only the order of
 * their sums may differ.
 */
export function expectFloats(actual: readonly number[], expected: readonly number[]): void {
  expect(actual.length).toBe(expected.length);
  const wrong = actual.findIndex((value, i) => {
    const want = expected[i]!;
    const ulp = 2 ** (Math.floor(Math.log2(Math.max(Math.abs(want), 2 ** -126))) - 23);
    return !(Math.abs(value - want) <= Math.max(ulp, 1e-13));
  });
  expect(wrong, `element ${wrong}: ${actual[wrong]}, expected ${expected[wrong]}`).toBe(-1);
}
