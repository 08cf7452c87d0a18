/**
 * A case laid out in a device's window as the compiler would lay it out, and run as models are: a program, one native call.
 * Activations lie in several copies that are announced anew before each use: weights may profit from what a device keeps of
 * them, while activations are new every time, as in a model.
 */
import { DescriptorWriter } from '../../compiler/descriptor-writer.js';
import { identityTable, thresholdTable } from '../../compiler/epilogues.js';
import { OperationWriter } from '../../compiler/operations.js';
import type { Range } from '../../device/allocator.js';
import { TABLE_ENTRY_BYTES } from '../../device/contract.generated.js';
import type { Qmm } from '../../device/descriptor.js';
import type { Device, ProgramArrays } from '../../device/device.js';
import { DeviceError } from '../../device/errors.js';
import type { NativeProgram } from '../../native/program.js';
import { type Case, multiplications } from './cases.js';
import { activationBytes, outputBytes, products, tableEntries, weightBytes } from './layout.js';

/**
 * Activations of all copies together: within the second-level cache of one core, beside weights and results of up to 768 KiB, as those of
 * the peers, who have one copy.
 */
const ACTIVATION_BYTES = 256 * 1024;
/** Results of a group's copies together, unless there is but one: each has its own, as products of a program have that may run together. */
const OUTPUT_BYTES = 512 * 1024;
const COPIES_MAX = 16;
/** Groups of copies, each one kick, where there are several: one is announced and submitted while the engine has another. */
const GROUPS_MAX = 2;
/** Laps over all groups in a call: as many as give it so much to do that the call itself takes nothing, as it does for the peers. */
const CALL_MULTIPLICATIONS = 1e8;
const LAPS_MAX = 8;

interface Group {
  readonly activations: Range;
  readonly products: readonly Qmm[];
}

export class Workload {
  /** Multiplications of one turn: those of a call, all laps over all groups. */
  readonly multiplications: number;
  readonly #device: Device;
  readonly #ranges: Range[] = [];
  #program: NativeProgram | undefined;

  /** Throws DeviceError where the device does not take the case's K, or the window is too small. */
  constructor(device: Device, work: Case) {
    const { maxK } = device.capabilities;
    if (work.k > maxK) {
      throw new DeviceError(
        'incompatible',
        `shape ${work.m}x${work.k}x${work.n}: K is ${work.k}, ${device.uri} takes at most ${maxK} (MAX_K)`,
      );
    }
    this.#device = device;
    const bytes = activationBytes(work);
    const fitting = Math.min(Math.floor(ACTIVATION_BYTES / bytes), COPIES_MAX);
    const groups = Math.min(Math.max(fitting, 1), GROUPS_MAX);
    const copies = Math.max(
      Math.min(Math.floor(fitting / groups), Math.floor(OUTPUT_BYTES / outputBytes(work))),
      1,
    );
    const lap = multiplications(work) * groups * copies;
    const laps = Math.min(Math.ceil(CALL_MULTIPLICATIONS / lap), LAPS_MAX);
    this.multiplications = lap * laps;
    try {
      this.#program = device.load(programOf(this.#layOut(work, bytes, groups, copies), laps));
    } catch (error) {
      this.free();
      throw error;
    }
  }

  /** Runs the products `turns` times over. Throws as Device.run does. */
  run(turns: number): void {
    for (let turn = 0; turn < turns; turn++) this.#device.run(this.#program!);
  }

  /** Gives the window's ranges back. */
  free(): void {
    this.#program?.free();
    this.#program = undefined;
    for (const range of this.#ranges.splice(0)) this.#device.allocator.free(range);
  }

  #allocate(bytes: number, what: string): Range {
    const range = this.#device.allocator.allocate(bytes, `${what} of the benchmark`);
    this.#ranges.push(range);
    return range;
  }

  #write(range: Range, fill: (bytes: Uint8Array) => void): Range {
    fill(this.#device.window.subarray(range.off, range.off + range.bytes));
    this.#device.syncForDevice(range.off, range.bytes);
    return range;
  }

  #layOut(work: Case, bytes: number, groups: number, copies: number): Group[] {
    const weights = this.#weights(work);
    const output = outputBytes(work);
    const results = this.#allocate(output * copies, 'the result');
    const table = this.#table(work);
    return Array.from({ length: groups }, () => {
      const activations = this.#write(this.#allocate(bytes * copies, 'activations'), randomBytes);
      const all = Array.from({ length: copies }, (_, copy) => [
        ...products(work, activations.off + copy * bytes, weights, results.off + copy * output, table),
      ]);
      return { activations, products: all.flat() };
    });
  }

  /** Window offset of the weights, 0 where there are none. */
  #weights(work: Case): number {
    const bytes = weightBytes(work);
    if (bytes === 0) return 0;
    return this.#write(this.#allocate(bytes, 'weights'), work.ternary ? randomTernary : randomBytes).off;
  }

  /** Window offset of the epilogue table, if there is one. */
  #table(work: Case): number | undefined {
    const entries = tableEntries(work);
    if (entries === 0) return undefined;
    const thresholds = () => Int32Array.from({ length: entries }, (_, index) => (index % 5) - 2);
    const table = work.o.bits === 16 ? identityTable(entries) : thresholdTable(thresholds(), true);
    const range = this.#allocate(entries * TABLE_ENTRY_BYTES, 'the epilogue table');
    return this.#write(range, (bytes) => bytes.set(new Uint8Array(table.buffer))).off;
  }
}

/**
 * A group's activations are written anew once its products of the lap before are done; its turn is submitted before the one
 * ahead of it is waited for.
 */
function programOf(groups: readonly Group[], laps: number): ProgramArrays {
  const descriptors = new DescriptorWriter();
  const operations = new OperationWriter();
  const ends: number[] = [];
  for (const { activations, products } of Array.from({ length: laps }, () => groups).flat()) {
    const before = ends.at(-groups.length);
    if (before !== undefined) operations.wait(before);
    operations.syncForDevice(activations.off, activations.bytes);
    operations.submit(descriptors.count, products.length);
    for (const qmm of products) descriptors.push(qmm);
    ends.push(descriptors.count);
  }
  operations.wait(descriptors.count);
  return {
    descriptors: descriptors.finish(),
    steps: new Uint8Array(0),
    operations: operations.finish(),
  };
}

/** The same pseudorandom words every time. */
function randomWords(count: number): Uint32Array {
  let state = 1;
  return Uint32Array.from({ length: count }, () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  });
}

function randomBytes(bytes: Uint8Array): void {
  bytes.set(new Uint8Array(randomWords(Math.ceil(bytes.length / 4)).buffer).subarray(0, bytes.length));
}

/** Planes of two-bit codes without -2: where the sign is set, so is the low bit. */
function randomTernary(bytes: Uint8Array): void {
  randomBytes(bytes);
  for (let block = 0; block < bytes.length; block += 32)
    for (let i = block; i < block + 16; i++) bytes[i + 16]! &= bytes[i]!;
}
