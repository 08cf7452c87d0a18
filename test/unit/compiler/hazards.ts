/**
 * A race detector for programs. It sees what a session does to a device, in order, and knows for every byte of the window who
 * wrote it last and who can see that: the engine may run a descriptor at any moment between its submission and the first wait
 * that covers it, and neither side sees the other's bytes before they are synced (contract sections 2 and 8). The steps of one
 * operation run at the same time (native/vector/steps.yaml). Nothing is computed.
 */
import {
  descriptorAccesses,
  type Indices,
  readGroup,
  type Span,
  type StepAccesses,
  type StepGroup,
  stepAccesses,
} from './accesses.js';

const LINE = 64;

export interface Region {
  readonly off: number;
  readonly bytes: number;
}

export class HazardDetector {
  /** What is wrong, in order; empty for a sound program. */
  readonly violations: string[] = [];
  /** Descriptors submitted and waited for since the beginning. */
  submitted = 0;
  waited = 0;
  readonly #allowed: Uint8Array; // 1 the model, read only; 2 the arena
  readonly #defined: Uint8Array;
  /** Written, and read by nobody since. */
  readonly #unread: Uint8Array;
  /** Integer results and found steps: read by one step, and by one only. */
  readonly #readOnce: Uint8Array;
  /** Written by the engine, not yet synced for the CPU; written by the CPU, not yet synced for the engine. */
  readonly #hiddenFromCpu: Uint8Array;
  readonly #hiddenFromEngine: Uint8Array;
  /** The count to wait for before the CPU may overwrite (read) or use (written) a byte. */
  readonly #engineReads: Int32Array;
  readonly #engineWrites: Int32Array;
  /** Number of the step that read a byte last. */
  readonly #stepReads: Int32Array;
  /** Number of the producer record that wrote a byte last, of all that ran since the beginning. */
  readonly #recordWrites: Int32Array;
  #recordsRun = 0;
  /** The index arrays of the program that runs. */
  indices: Indices = () => [];
  #step = 0;
  #steps = 0;
  readonly #parts = new Map<
    string,
    { readonly step: number; readonly rows: (readonly [number, number])[] }
  >();
  #where = '';

  constructor(windowBytes: number, model: readonly Region[]) {
    const bytes = () => new Uint8Array(windowBytes);
    const words = () => new Int32Array(windowBytes);
    [this.#allowed, this.#defined, this.#unread] = [bytes(), bytes(), bytes()];
    [this.#readOnce, this.#hiddenFromCpu, this.#hiddenFromEngine] = [bytes(), bytes(), bytes()];
    [this.#engineReads, this.#engineWrites, this.#stepReads] = [words(), words(), words()];
    this.#recordWrites = words();
    for (const { off, bytes } of model) {
      this.#allowed.fill(1, off, off + bytes);
      this.#defined.fill(1, off, off + bytes);
    }
  }

  /** A new run in `arena`, in which only the `inputs` hold anything. What the caches hold stays. */
  begin(arena: Region, inputs: readonly Region[]): void {
    this.#where = 'begin';
    this.#parts.clear();
    this.#allowed.forEach((kind, at) => {
      if (kind === 2) this.#allowed[at] = 0;
    });
    const { off, bytes } = arena;
    this.#allowed.fill(2, off, off + bytes);
    this.#defined.fill(0, off, off + bytes);
    this.#unread.fill(0, off, off + bytes);
    if (this.waited !== this.submitted)
      this.#fail(`${this.submitted - this.waited} descriptors of the run before may still be working`);
    for (const input of inputs) {
      this.#cpuWrites([[input.off, input.bytes]]);
      this.#allowed.fill(1, input.off, input.off + input.bytes); // From now on nobody's to write.
    }
  }

  submit(descriptors: Uint8Array, first: number, count: number): void {
    for (let index = first; index < first + count; index++) {
      this.#where = `descriptor ${index}`;
      this.submitted++;
      const { needs, touches, writes } = descriptorAccesses(
        descriptors.subarray(index * 64, (index + 1) * 64),
      );
      this.#each(needs, (at) => {
        if (!this.#defined[at]) return 'the engine reads a byte that nobody wrote';
        return this.#hiddenFromEngine[at] && 'the engine reads what the CPU wrote and did not sync';
      });
      this.#each(touches, (at) => {
        this.#engineReads[at] = this.submitted;
        this.#unread[at] = 0;
        return !this.#allowed[at] && 'the engine reads outside the model and the arena';
      });
      this.#eachLine(
        writes,
        (at) =>
          this.#hiddenFromEngine[at] && 'the engine writes a line that is dirty in the cache of the CPU',
      );
      this.#each(writes, (at) => {
        this.#hiddenFromEngine[at] = 0;
        this.#engineWrites[at] = this.submitted;
        this.#defined[at] = 1;
        this.#hiddenFromCpu[at] = 1;
        this.#readOnce[at] = 1;
        const lost = this.#unread[at];
        this.#unread[at] = 1;
        if (this.#allowed[at] !== 2) return 'the engine writes outside the arena, or to an input';
        return lost && 'the engine overwrites what nobody has read';
      });
    }
  }

  /** Waits until `count` descriptors since the beginning are complete. */
  wait(count: number): void {
    this.#where = `wait ${count}`;
    if (count > this.submitted) this.#fail(`waits for ${count} of ${this.submitted} submitted descriptors`);
    this.waited = Math.max(this.waited, count);
  }

  syncForCpu(off: number, bytes: number): void {
    this.#each([[off, bytes]], (at) => {
      // What the engine still works on is not there to be seen.
      if (this.#engineWrites[at]! <= this.waited) this.#hiddenFromCpu[at] = 0;
      return false;
    });
  }

  syncForDevice(off: number, bytes: number): void {
    this.#hiddenFromEngine.fill(0, off, off + bytes);
  }

  runVector(records: Uint8Array, first: number, count: number): void {
    const groups: { group: StepGroup; accesses: StepAccesses; where: string }[] = [];
    for (let index = first; index < first + count; ) {
      const group = readGroup(records, index);
      const where = `step record ${index} (${group.producer.name})`;
      groups.push({ group, where, accesses: stepAccesses(group, this.indices) });
      this.#where = where;
      if (index + group.count > first + count)
        this.#fail('its terms or consumers are not part of the operation');
      index += group.count;
    }
    this.#runTogether(groups);
    for (const { group, where, accesses } of groups) {
      this.#step = this.#stepOf(group);
      this.#where = where;
      const { reads, touches, space, out, planes, found } = accesses;
      this.#cpuWrites(space);
      this.cpuReads([...space, ...reads]);
      this.#each(touches, (at) => {
        this.#unread[at] = 0;
        return !this.#allowed[at] && 'the CPU reads outside the model and the arena';
      });
      this.#each(
        [...planes, ...found],
        (at) => this.#stepReads[at] === this.#step && 'a consumer overwrites what its own step reads',
      );
      this.#cpuWrites(out);
      this.#cpuWrites(planes);
      this.#cpuWrites(found, 1);
    }
  }

  /** What one of them writes none of the others may touch, in any order. */
  #runTogether(groups: readonly { accesses: StepAccesses; where: string }[]): void {
    const before = this.#recordsRun;
    for (const { accesses, where } of groups) {
      const { space, out, planes, found } = accesses;
      const own = ++this.#recordsRun;
      this.#where = where;
      this.#each([...space, ...out, ...planes, ...found], (at) => {
        const other = this.#recordWrites[at]!;
        this.#recordWrites[at] = own;
        return other > before && other !== own && 'writes what another step of its operation writes';
      });
    }
    groups.forEach(({ accesses, where }, index) => {
      this.#where = where;
      this.#each([...accesses.reads, ...accesses.touches], (at) => {
        const other = this.#recordWrites[at]!;
        return (
          other > before && other !== before + 1 + index && 'reads what another step of its operation writes'
        );
      });
    });
  }

  /** The number of the step that a record is, or is a part of: parts differ in their rows alone, and no row comes twice. */
  #stepOf({ producer, terms, consumers }: StepGroup): number {
    const { first_row, end_row, ...whole } = producer.fields;
    const key = JSON.stringify([producer.name, whole, terms, consumers]);
    const known = this.#parts.get(key);
    const part = [first_row ?? 0, end_row || Number.POSITIVE_INFINITY] as const;
    if (known && !known.rows.some(([first, end]) => first < part[1] && part[0] < end)) {
      known.rows.push(part);
      return known.step;
    }
    this.#steps++;
    this.#parts.set(key, { step: this.#steps, rows: [part] });
    return this.#steps;
  }

  /** The end of a run, after its results have been read. */
  end(): void {
    this.#where = 'end';
    if (this.waited !== this.submitted) this.#fail('the engine may still be working');
    const at = this.#unread.findIndex((unread, off) => unread === 1 && this.#allowed[off] === 2);
    if (at >= 0) this.#fail(`nobody has read what was written, at 0x${at.toString(16)}`);
  }

  cpuReads(spans: readonly Span[]): void {
    this.#each(spans, (at) => {
      const again = !this.#unread[at] && this.#stepReads[at] !== this.#step;
      this.#unread[at] = 0;
      this.#stepReads[at] = this.#step;
      if (!this.#allowed[at]) return 'the CPU reads outside the model and the arena';
      if (!this.#defined[at]) return 'the CPU reads a byte that nobody wrote';
      if (this.#engineWrites[at]! > this.waited) return 'the CPU reads what the engine may still be writing';
      if (this.#hiddenFromCpu[at]) return 'the CPU reads what the engine wrote and nobody synced';
      // A second time means that a newer result is missing, or that it is another sequence's.
      return this.#readOnce[at] && again && 'the CPU reads a result for the second time';
    });
  }

  #cpuWrites(spans: readonly Span[], readOnce: 0 | 1 = 0): void {
    this.#each(spans, (at) => {
      this.#defined[at] = 1;
      this.#hiddenFromEngine[at] = 1;
      this.#hiddenFromCpu[at] = 0;
      this.#readOnce[at] = readOnce;
      const lost = this.#unread[at];
      this.#unread[at] = 1;
      if (this.#allowed[at] !== 2) return 'the CPU writes outside the arena, or to an input';
      if (this.#engineReads[at]! > this.waited) return 'the CPU writes what the engine may still be reading';
      return lost && 'the CPU overwrites what nobody has read';
    });
    this.#eachLine(
      spans,
      (at) =>
        this.#engineWrites[at]! > this.waited && 'the CPU writes a line that the engine may still be writing',
    );
  }

  /** Calls `check` for every byte; reports the first one of each access that fails. */
  #each(spans: readonly Span[], check: (at: number) => string | false | 0 | undefined): void {
    let reported = false;
    for (const [off, bytes] of spans) {
      for (let at = off; at < off + bytes; at++) {
        const wrong = check(at);
        if (wrong && !reported) this.#fail(`${wrong}, at 0x${at.toString(16)}`);
        if (wrong) reported = true;
      }
    }
  }

  /** The same for every byte of the cache lines that the spans touch. */
  #eachLine(spans: readonly Span[], check: (at: number) => string | false | 0 | undefined): void {
    const lines = new Set<number>();
    for (const [off, bytes] of spans) {
      for (let line = Math.floor(off / LINE); line * LINE < off + bytes; line++) lines.add(line);
    }
    this.#each(
      [...lines].map((line) => [line * LINE, LINE]),
      check,
    );
  }

  #fail(what: string): void {
    this.violations.push(`${this.#where}: ${what}`);
  }
}
