/**
 * The graph of a program: engine tiles and vector steps, and which must come before which. Edges follow from the memory they touch: a
 * node is told of every rectangle that it reads or writes, in the order in which the nodes would run one after another, and depends on
 * whoever wrote what it reads, and on whoever read or wrote what it writes. The same rectangles say what has to be synced between CPU
 * and engine.
 *
 * Rectangles are rows of whole cache lines by columns: two nodes on one line meet, even if their bytes do not, because a line is what
 * caches keep. Columns tell the heads apart that lie beside each other in a row.
 */
import type { WindowRange } from './program.js';

const LINE = 64;
/** Larger than any column. */
const ALL_COLUMNS = 2 ** 31;

/** Part of a buffer: the rows that lie in bytes [begin, end), columns [first, last) of rows that are `stride` bytes apart. */
export interface Rectangle {
  readonly begin: number;
  readonly end: number;
  /** 0: columns do not matter. */
  readonly stride: number;
  readonly first: number;
  readonly last: number;
}

/** All columns of a range of bytes. */
export const wholeRows = (off: number, bytes: number): Rectangle => ({
  begin: off,
  end: off + bytes,
  stride: 0,
  first: 0,
  last: ALL_COLUMNS,
});

/** Somebody's access that later ones may depend on. Lines and columns shrink as others overwrite them. */
interface Entry {
  readonly node: number;
  readonly write: boolean;
  /** What was touched, bytes: what is synced. */
  readonly range: WindowRange;
  synced: boolean;
  begin: number;
  end: number;
  readonly stride: number;
  first: number;
  last: number;
}

/** A buffer of the memory plan, with what was done to it. */
export class TrackedBuffer implements WindowRange {
  readonly off: number;
  readonly bytes: number;
  entries: Entry[] = [];

  constructor(off: number, bytes: number) {
    this.off = off;
    this.bytes = bytes;
  }
}

export type Resource = 'engine' | 'cpu';

export interface GraphNode {
  readonly resource: Resource;
  /** Layer, -1 before the first, and what it does: "scores". For people. */
  readonly layer: number;
  readonly what: string;
  /** Engine: its descriptor. CPU: its first record, and how many there are. */
  readonly first: number;
  readonly count: number;
  /** What it should take, nanoseconds. */
  readonly ns: number;
  /** Nodes that must come before, ascending. */
  readonly before: readonly number[];
  /** What the CPU needs synced before this node, and what the engine needs synced after it. */
  readonly syncBefore: readonly WindowRange[];
  readonly syncAfter: readonly WindowRange[];
}

type Writable = {
  -readonly [Key in keyof GraphNode]: GraphNode[Key] extends readonly (infer Item)[]
    ? Item[]
    : GraphNode[Key];
};

function overlaps(a: Entry, begin: number, end: number, { stride, first, last }: Rectangle): boolean {
  if (a.begin >= end || begin >= a.end) return false;
  // Columns can be compared where rows are equally long.
  return a.stride !== stride || stride === 0 || (a.first < last && first < a.last);
}

/** Takes away from `a` what a later write covers; false where nothing is left. */
function shrink(a: Entry, begin: number, end: number, { stride, first, last }: Rectangle): boolean {
  const whole = stride === 0;
  if (!whole && a.stride !== stride) return true;
  if (whole || (first <= a.first && a.last <= last)) {
    if (begin <= a.begin) a.begin = Math.max(a.begin, end);
    else if (a.end <= end) a.end = Math.min(a.end, begin);
  } else if (begin <= a.begin && a.end <= end) {
    if (first <= a.first) a.first = Math.max(a.first, last);
    else if (a.last <= last) a.last = Math.min(a.last, first);
  }
  return a.begin < a.end && a.first < a.last;
}

export class Graph {
  readonly nodes: GraphNode[] = [];
  #current: Writable | undefined;
  /** For each node the last one that was found to depend on it. */
  readonly #seen: number[] = [];

  /** Begins a node; what read() and write() say until the next one is about it. */
  begin(resource: Resource, layer: number, what: string, first: number, count: number, ns: number): void {
    this.#current = { resource, layer, what, first, count, ns, before: [], syncBefore: [], syncAfter: [] };
    this.nodes.push(this.#current);
    this.#seen.push(-1);
  }

  read(buffer: TrackedBuffer, rectangle: Rectangle): void {
    const begin = Math.floor(rectangle.begin / LINE);
    const end = Math.ceil(rectangle.end / LINE);
    let sync = false;
    for (const entry of buffer.entries) {
      if (!entry.write || !overlaps(entry, begin, end, rectangle)) continue;
      this.#follow(entry);
      sync ||= this.nodes[entry.node]!.resource === 'engine';
    }
    const range = { off: rectangle.begin, bytes: rectangle.end - rectangle.begin };
    if (sync && this.#current!.resource === 'cpu') this.#current!.syncBefore.push(range);
    this.#remember(buffer, rectangle, begin, end, range, false);
  }

  write(buffer: TrackedBuffer, rectangle: Rectangle): void {
    const begin = Math.floor(rectangle.begin / LINE);
    const end = Math.ceil(rectangle.end / LINE);
    const { entries } = buffer;
    let kept = 0;
    for (const entry of entries) {
      if (entry.node === this.nodes.length - 1 || !overlaps(entry, begin, end, rectangle)) {
        entries[kept++] = entry;
        continue;
      }
      this.#follow(entry);
      // A line may hold more than what the CPU overwrites of an engine's result: that is kept, because it may still have to be synced.
      const mixed = this.nodes[entry.node]!.resource !== this.#current!.resource;
      if (mixed || shrink(entry, begin, end, rectangle)) entries[kept++] = entry;
    }
    entries.length = kept;
    const range = { off: rectangle.begin, bytes: rectangle.end - rectangle.begin };
    this.#remember(buffer, rectangle, begin, end, range, true);
  }

  /** The current node comes after the one of an entry. What the CPU wrote is synced once, before the engine touches it. */
  #follow(entry: Entry): void {
    const node = this.nodes.length - 1;
    const before = this.nodes[entry.node] as Writable;
    if (this.#current!.resource === 'engine' && before.resource === 'cpu' && entry.write && !entry.synced) {
      entry.synced = true;
      before.syncAfter.push(entry.range);
    }
    if (entry.node === node || this.#seen[entry.node] === node) return;
    this.#seen[entry.node] = node;
    this.#current!.before.push(entry.node);
  }

  #remember(
    buffer: TrackedBuffer,
    { stride, first, last }: Rectangle,
    begin: number,
    end: number,
    range: WindowRange,
    write: boolean,
  ): void {
    const node = this.nodes.length - 1;
    buffer.entries.push({ node, write, range, synced: false, begin, end, stride, first, last });
  }
}
