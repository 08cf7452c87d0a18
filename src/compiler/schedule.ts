/**
 * The list scheduler: a pure function from a graph of engine tiles and vector steps, with the time that each takes, to an order. It plays
 * the run through on two clocks. The engine takes tiles in the order of their submission; the CPU submits between its steps, and
 * waits only where no step has what it needs. At any moment one of the two works, so no order is slower than one node after another.
 */
import { Heap } from './heap.js';

/** A graph, as far as its order is concerned. Nodes come in an order in which they could run one after another. */
export interface TaskGraph {
  readonly nodes: readonly {
    readonly resource: 'engine' | 'cpu';
    readonly ns: number;
    /** Nodes that must come before: smaller numbers. */
    readonly before: readonly number[];
  }[];
}

/** Why a node stands where it does. */
export const REASONS = {
  /** Engine: everything before it was done or submitted, and no other tile that was ready has more work behind it. */
  submitted:
    'submitted as soon as its operands were there; of those that were ready, the most work waits for it',
  /** CPU: of the steps whose operands were there, the one with the most work behind it. */
  urgent: 'of the steps that were ready, the most work waits for it',
  only: 'the only step that was ready',
  /** CPU: nothing was ready; of what the engine would deliver, this came first. */
  first: 'nothing was ready: the first for which the engine delivers',
} as const;
export type Reason = keyof typeof REASONS;

export interface Schedule {
  /** Numbers of nodes: engine tiles where they are submitted, steps where they run. */
  readonly order: readonly number[];
  /** By node: predicted begin and end, nanoseconds, and why it stands there. */
  readonly begin: Float64Array;
  readonly end: Float64Array;
  readonly reasons: readonly Reason[];
  /** Predicted time of the whole. */
  readonly makespan: number;
  /** Sum of the times of each resource's nodes. */
  readonly engineNs: number;
  readonly cpuNs: number;
}

export interface ScheduleOptions {
  /**
   * Whether engine and CPU work at the same time. Where they are one and the same, the order is that of fewest operations: everything
   * that can be submitted is, then every step that can run does.
   */
  readonly overlap: boolean;
}

/** For every node the time from its begin to the end of everything that waits for it, if nothing else had to be done. */
function pathsToEnd({ nodes }: TaskGraph): Float64Array {
  const behind = new Float64Array(nodes.length);
  for (let node = nodes.length - 1; node >= 0; node--) {
    const { ns, before } = nodes[node]!;
    behind[node]! += ns;
    for (const earlier of before) behind[earlier] = Math.max(behind[earlier]!, behind[node]!);
  }
  return behind;
}

/** The nodes behind each node: those of node i are items[starts[i]] to items[starts[i + 1] - 1]. */
function successors({ nodes }: TaskGraph): { starts: Int32Array; items: Int32Array } {
  const starts = new Int32Array(nodes.length + 1);
  for (const { before } of nodes) for (const earlier of before) starts[earlier + 1]!++;
  for (let node = 0; node < nodes.length; node++) starts[node + 1]! += starts[node]!;
  const items = new Int32Array(starts[nodes.length]!);
  const filled = starts.slice();
  nodes.forEach(({ before }, node) => {
    for (const earlier of before) items[filled[earlier]!++] = node;
  });
  return { starts, items };
}

class Scheduler {
  readonly #graph: TaskGraph;
  readonly #overlap: boolean;
  readonly #behind: Float64Array;
  readonly #next: { starts: Int32Array; items: Int32Array };
  /** Nodes before each that have not been submitted or run. */
  readonly #missing: Int32Array;
  /** When the engine has delivered what a step needs. */
  readonly #delivered: Float64Array;
  readonly #begin: Float64Array;
  readonly #end: Float64Array;
  readonly #reasons: Reason[];
  readonly #order: number[] = [];
  /** Tiles that may be submitted; steps that have everything; steps for which only the engine has to finish. */
  readonly #tiles: Heap;
  readonly #ready: Heap;
  readonly #awaited: Heap;
  #engine = 0;
  #cpu = 0;

  constructor(graph: TaskGraph, { overlap }: ScheduleOptions) {
    const count = graph.nodes.length;
    this.#graph = graph;
    this.#overlap = overlap;
    this.#behind = pathsToEnd(graph);
    this.#next = successors(graph);
    this.#missing = Int32Array.from(graph.nodes, ({ before }) => before.length);
    this.#delivered = new Float64Array(count);
    this.#begin = new Float64Array(count);
    this.#end = new Float64Array(count);
    this.#reasons = new Array<Reason>(count).fill('submitted');
    // Without overlap urgency does not matter, and the order in which they were written keeps neighbours together.
    const urgency = overlap ? Float64Array.from(this.#behind, (ns) => -ns) : new Float64Array(count);
    this.#tiles = new Heap(urgency);
    this.#ready = new Heap(urgency);
    this.#awaited = new Heap(this.#delivered);
  }

  run(): Schedule {
    const { nodes } = this.#graph;
    nodes.forEach((_, node) => {
      if (this.#missing[node] === 0) this.#offer(node);
    });
    while (this.#order.length < nodes.length) {
      this.#submit();
      this.#step();
    }
    const sum = (resource: 'engine' | 'cpu') =>
      nodes.reduce((total, node) => (node.resource === resource ? total + node.ns : total), 0);
    return {
      order: this.#order,
      begin: this.#begin,
      end: this.#end,
      reasons: this.#reasons,
      makespan: Math.max(this.#engine, this.#cpu),
      engineNs: sum('engine'),
      cpuNs: sum('cpu'),
    };
  }

  #offer(node: number): void {
    if (this.#graph.nodes[node]!.resource === 'engine') this.#tiles.push(node);
    else if (this.#delivered[node]! <= this.#cpu) this.#ready.push(node);
    else this.#awaited.push(node);
  }

  /** A node has its place: what waited for it alone may come. */
  #place(node: number, begin: number): void {
    const { resource, ns } = this.#graph.nodes[node]!;
    this.#begin[node] = begin;
    this.#end[node] = begin + ns;
    this.#order.push(node);
    const { starts, items } = this.#next;
    for (let at = starts[node]!; at < starts[node + 1]!; at++) {
      const next = items[at]!;
      if (resource === 'engine') this.#delivered[next] = Math.max(this.#delivered[next]!, begin + ns);
      if (--this.#missing[next]! === 0) this.#offer(next);
    }
  }

  #submit(): void {
    for (let node = this.#tiles.pop(); node >= 0; node = this.#tiles.pop()) {
      const begin = Math.max(this.#engine, this.#cpu);
      this.#engine = begin + this.#graph.nodes[node]!.ns;
      if (!this.#overlap) this.#cpu = this.#engine;
      this.#place(node, begin);
    }
  }

  /** One step; without overlap, every one that can run. */
  #step(): void {
    do {
      for (
        let next = this.#awaited.first;
        next >= 0 && this.#delivered[next]! <= this.#cpu;
        next = this.#awaited.first
      )
        this.#ready.push(this.#awaited.pop());
      const waits = this.#ready.size === 0;
      const node = waits ? this.#awaited.pop() : this.#ready.pop();
      if (node < 0) return;
      this.#reasons[node] = waits ? 'first' : this.#ready.size > 0 ? 'urgent' : 'only';
      const begin = Math.max(this.#cpu, this.#delivered[node]!);
      this.#cpu = begin + this.#graph.nodes[node]!.ns;
      if (!this.#overlap) this.#engine = this.#cpu;
      this.#place(node, begin);
    } while (!this.#overlap);
  }
}

/** Orders a graph. The same graph always gives the same order; nodes with equal claims keep the order of their numbers. */
export function schedule(graph: TaskGraph, options: ScheduleOptions): Schedule {
  return new Scheduler(graph, options).run();
}
