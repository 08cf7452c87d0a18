/**
 * A case laid out in a device's window as the compiler would lay it out, and run through the driver. Activations lie in
 * several copies that are announced anew before each use: weights may profit from what a device keeps of them, while
 * activations are new every time, as in a model.
 */
import { identityTable, thresholdTable } from '../../compiler/epilogues.js';
import type { Range } from '../../device/allocator.js';
import { DESCRIPTOR_BYTES, TABLE_ENTRY_BYTES } from '../../device/contract.generated.js';
import { encodeQmm } from '../../device/descriptor.js';
import type { Device } from '../../device/device.js';
import { DeviceError } from '../../device/errors.js';
import { type Case, multiplications } from './cases.js';
import { activationBytes, outputBytes, products, tableEntries, weightBytes } from './layout.js';

/**
 * Activations of all copies together: within the second-level cache of one core, beside weights and results of up to 768 KiB, as those of
 * the peers, who have one copy.
 */
const ACTIVATION_BYTES = 256 * 1024;
const COPIES_MAX = 16;
/** Groups of copies, each one kick, where there are several: while the engine works on one, the host announces and submits the other. */
const GROUPS_MAX = 2;

interface Group {
  readonly first: number;
  readonly count: number;
  readonly activations: Range;
  /** What to wait for before these activations may be "written" again. */
  sequence: number | undefined;
}

export class Workload {
  /** Multiplications of one turn: one group of products. */
  readonly multiplications: number;
  readonly #device: Device;
  readonly #ranges: Range[] = [];
  readonly #groups: Group[] = [];
  readonly #descriptors: Uint8Array;
  #next = 0;

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
    const copies = Math.max(Math.floor(fitting / groups), 1);
    this.multiplications = multiplications(work) * copies;
    this.#descriptors = new Uint8Array(groups * copies * work.heads * DESCRIPTOR_BYTES);
    try {
      this.#layOut(work, bytes, groups, copies);
    } catch (error) {
      this.free();
      throw error;
    }
  }

  /** Runs `turns` groups of products and returns when all are complete. Throws as Device.submit and wait do. */
  run(turns: number): void {
    for (let turn = 0; turn < turns; turn++) {
      const group = this.#groups[this.#next]!;
      this.#next = (this.#next + 1) % this.#groups.length;
      if (group.sequence !== undefined) this.#device.wait(group.sequence);
      this.#device.syncComputed(group.activations.off, group.activations.bytes);
      group.sequence = this.#device.submit(this.#descriptors, group.first, group.count);
    }
    this.#device.wait(this.#device.submitted);
    // Sequence numbers wrap; none may be kept until it would look like one to come.
    for (const group of this.#groups) group.sequence = undefined;
  }

  /** Gives the window's ranges back. */
  free(): void {
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

  #layOut(work: Case, bytes: number, groups: number, copies: number): void {
    const weights = this.#weights(work);
    const output = this.#allocate(outputBytes(work), 'the result');
    const table = this.#table(work);
    const view = new DataView(this.#descriptors.buffer);
    let count = 0;
    for (let index = 0; index < groups; index++) {
      const first = count;
      const activations = this.#write(this.#allocate(bytes * copies, 'activations'), randomBytes);
      for (let copy = 0; copy < copies; copy++) {
        for (const qmm of products(work, activations.off + copy * bytes, weights, output.off, table)) {
          encodeQmm(view, count++ * DESCRIPTOR_BYTES, qmm);
        }
      }
      this.#groups.push({ first, count: count - first, activations, sequence: undefined });
    }
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
