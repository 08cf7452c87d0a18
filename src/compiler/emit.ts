/**
 * From a scheduled graph to the arrays of a program: descriptors and records in the order in which they are submitted and run, and the
 * operations between them. Steps that stand next to each other and do not depend on one another are one operation: they run side by side.
 */
import { DESCRIPTOR_BYTES } from '../device/contract.generated.js';
import { STEP_BYTES } from '../native/steps.generated.js';
import type { Graph, GraphNode } from './graph.js';
import { OperationWriter } from './operations.js';
import type { Program } from './program.js';
import type { Schedule, ScheduleOptions } from './schedule.js';

/**
 * Results of the engine that the steps of one operation read, at most. Where engine and CPU are one, all of them are made before the
 * first step runs, and what does not fit the second-level cache has left it by then.
 */
const JOINED_BYTES = 2 ** 20;

type Emitted = Pick<Program, 'descriptors' | 'steps' | 'operations' | 'graph' | 'schedule'>;

/**
 * Where engine and CPU work at the same time, each step waits for the last tile that it depends on and for no later one; where they do
 * not (`overlap`, as in the schedule), nothing is lost by waiting for what other steps need as well.
 */
export function emit(
  graph: Graph,
  schedule: Schedule,
  descriptors: Uint8Array,
  steps: Uint8Array,
  options: ScheduleOptions,
): Emitted {
  const emitter = new Emitter(graph, descriptors, steps, options);
  for (const index of schedule.order) emitter.add(index);
  return { ...emitter.finish(), graph, schedule };
}

class Emitter {
  readonly #nodes: readonly GraphNode[];
  readonly #overlap: boolean;
  readonly #descriptors: { readonly from: Uint8Array; readonly to: Uint8Array };
  readonly #steps: { readonly from: Uint8Array; readonly to: Uint8Array };
  readonly #operations = new OperationWriter();
  /** For each tile how many descriptors there are up to its last one. */
  readonly #count: Int32Array;
  #written = 0;
  #submitted = 0;
  #waited = 0;
  #records = 0;
  /** Steps that have not been written yet: the next operation. For each node the number of the operation it came into, from 1 on. */
  #joined: GraphNode[] = [];
  #needed = 0;
  #bytes = 0;
  readonly #group: Int32Array;
  #groups = 1;

  constructor(graph: Graph, descriptors: Uint8Array, steps: Uint8Array, { overlap }: ScheduleOptions) {
    this.#nodes = graph.nodes;
    this.#overlap = overlap;
    this.#descriptors = { from: descriptors, to: new Uint8Array(descriptors.length) };
    this.#steps = { from: steps, to: new Uint8Array(steps.length) };
    this.#count = new Int32Array(graph.nodes.length);
    this.#group = new Int32Array(graph.nodes.length);
  }

  /** The next node of the schedule. */
  add(index: number): void {
    const node = this.#nodes[index]!;
    if (node.resource === 'engine') {
      this.#run();
      copy(this.#descriptors, node, this.#written, DESCRIPTOR_BYTES);
      this.#written += node.count;
      this.#count[index] = this.#written;
      return;
    }
    let needed = 0;
    for (const before of node.before) needed = Math.max(needed, this.#count[before]!);
    if (!this.#joins(node, needed)) this.#run();
    this.#joined.push(node);
    this.#needed = Math.max(this.#needed, needed);
    this.#bytes += bytesOf(node);
    this.#group[index] = this.#groups;
  }

  /** Whether a step may run beside those before it. What lies between two of them that are no neighbours would have ended the operation. */
  #joins(node: GraphNode, needed: number): boolean {
    if (this.#overlap && needed > Math.max(this.#waited, this.#needed)) return false;
    if (this.#bytes + bytesOf(node) > JOINED_BYTES) return false;
    return node.meets.every((earlier) => this.#group[earlier] !== this.#groups);
  }

  #submit(): void {
    if (this.#written > this.#submitted)
      this.#operations.submit(this.#submitted, this.#written - this.#submitted);
    this.#submitted = this.#written;
  }

  #wait(count: number): void {
    if (count <= this.#waited) return;
    this.#operations.wait(count);
    this.#waited = count;
  }

  /** The steps that were joined, with what they need before and leave behind. */
  #run(): void {
    if (this.#joined.length === 0) return;
    this.#submit();
    this.#wait(this.#needed);
    for (const { syncBefore } of this.#joined)
      for (const { off, bytes } of syncBefore) this.#operations.syncForCpu(off, bytes);
    const first = this.#records;
    for (const node of this.#joined) {
      copy(this.#steps, node, this.#records, STEP_BYTES);
      this.#records += node.count;
    }
    this.#operations.vector(first, this.#records - first);
    for (const { syncAfter } of this.#joined)
      for (const { off, bytes } of syncAfter) this.#operations.syncForDevice(off, bytes);
    this.#joined = [];
    this.#needed = 0;
    this.#bytes = 0;
    this.#groups++;
  }

  finish(): Pick<Emitted, 'descriptors' | 'steps' | 'operations'> {
    this.#run();
    this.#submit();
    this.#wait(this.#submitted);
    return {
      descriptors: this.#descriptors.to,
      steps: this.#steps.to,
      operations: this.#operations.finish(),
    };
  }
}

/** What a step reads of the engine's results. */
const bytesOf = ({ syncBefore }: GraphNode): number => syncBefore.reduce((sum, { bytes }) => sum + bytes, 0);

/** A node's descriptors or records to place `at`. */
function copy(
  { from, to }: { readonly from: Uint8Array; readonly to: Uint8Array },
  { first, count }: GraphNode,
  at: number,
  bytes: number,
): void {
  to.set(from.subarray(first * bytes, (first + count) * bytes), at * bytes);
}
