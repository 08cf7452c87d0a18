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

/** Part of a buffer: the rows that lie in bytes [begin, end), columns [first, last) of them. */
export interface Rectangle {
  readonly begin: number;
  readonly end: number;
  /** Columns of rectangles of one shape can be compared: their rows are equally long, and their elements equally wide. 0: all columns. */
  readonly shape: number;
  readonly first: number;
  readonly last: number;
}

/** All columns of a range of bytes. */
export const wholeRows = (off: number, bytes: number): Rectangle => ({
  begin: off,
  end: off + bytes,
  shape: 0,
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
  readonly shape: number;
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
  /** Its descriptors or records: the first of them, and how many there are. */
  readonly first: number;
  readonly count: number;
  /** What it should take, nanoseconds, and the bytes that the engine moves for it. */
  readonly ns: number;
  readonly bytes: number;
  /** Nodes that must come before, ascending. */
  readonly before: readonly number[];
  /** Of a step: the steps before it with whose bytes it meets. With others it shares cache lines at most, which CPUs keep for each other. */
  readonly meets: readonly number[];
  /** What the CPU needs synced before this node, and what the engine needs synced after it. */
  readonly syncBefore: readonly WindowRange[];
  readonly syncAfter: readonly WindowRange[];
}

type Writable = {
  -readonly [Key in keyof GraphNode]: GraphNode[Key] extends readonly (infer Item)[]
    ? Item[]
    : GraphNode[Key];
};

function overlaps(a: Entry, begin: number, end: number, { shape, first, last }: Rectangle): boolean {
  if (a.begin >= end || begin >= a.end) return false;
  return a.shape !== shape || shape === 0 || (a.first < last && first < a.last);
}

/** Takes away from `a` what a later write covers; false where nothing is left. */
function shrink(a: Entry, begin: number, end: number, { shape, first, last }: Rectangle): boolean {
  if (begin >= end) return true;
  const whole = shape === 0;
  if (!whole && a.shape !== shape) return true;
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

  /** Begins a node, whose descriptors or records are those from number `first` on; add(), read() and write() are about it. */
  begin(resource: Resource, layer: number, what: string, first: number): void {
    this.#current = {
      resource,
      layer,
      what,
      first,
      count: 0,
      ns: 0,
      bytes: 0,
      before: [],
      meets: [],
      syncBefore: [],
      syncAfter: [],
    };
    this.nodes.push(this.#current);
    this.#seen.push(-1);
  }

  /** Adds descriptors or records, the time they take, and what the engine moves for them. */
  add(count: number, ns: number, bytes = 0): void {
    this.#current!.count += count;
    this.#current!.ns += ns;
    this.#current!.bytes += bytes;
  }

  read(buffer: TrackedBuffer, rectangle: Rectangle): void {
    const begin = Math.floor(rectangle.begin / LINE);
    const end = Math.ceil(rectangle.end / LINE);
    let sync = false;
    for (const entry of buffer.entries) {
      if (!entry.write || !overlaps(entry, begin, end, rectangle)) continue;
      this.#follow(entry, rectangle);
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
    const last = this.nodes.length - 1;
    let kept = 0;
    for (const entry of entries) {
      const meets =
        entry.node !== last && overlaps(entry, begin, end, rectangle) && this.#follow(entry, rectangle);
      // Of steps that only share lines each is there for those that meet it.
      if (!meets || !this.#isCovered(entry, buffer, rectangle, begin, end)) entries[kept++] = entry;
    }
    entries.length = kept;
    const range = { off: rectangle.begin, bytes: rectangle.end - rectangle.begin };
    this.#remember(buffer, rectangle, begin, end, range, true);
  }

  /**
   * Takes away from an entry what the current node's write covers; true where nothing is left. What may still have to be synced goes
   * byte by byte: whole lines of what the CPU wrote, and nothing at all where CPU and engine write in turns.
   */
  #isCovered(entry: Entry, buffer: TrackedBuffer, rectangle: Rectangle, begin: number, end: number): boolean {
    if (entry.write) {
      const { resource } = this.nodes[entry.node]!;
      if (resource !== this.#current!.resource) return false;
      if (resource === 'cpu' && !entry.synced) {
        const isLast = rectangle.end === buffer.off + buffer.bytes;
        return !shrink(
          entry,
          Math.ceil(rectangle.begin / LINE),
          isLast ? end : Math.floor(rectangle.end / LINE),
          rectangle,
        );
      }
    }
    return !shrink(entry, begin, end, rectangle);
  }

  /**
   * The current node comes after the one of an entry. What the CPU wrote is synced once, before the engine touches it. False where both
   * are steps and have no more than lines in common.
   */
  #follow(entry: Entry, { begin, end }: Rectangle): boolean {
    const node = this.nodes.length - 1;
    const current = this.#current!;
    const before = this.nodes[entry.node] as Writable;
    if (current.resource === 'engine' && before.resource === 'cpu' && entry.write && !entry.synced) {
      entry.synced = true;
      before.syncAfter.push(entry.range);
    }
    if (entry.node === node) return true;
    if (this.#seen[entry.node] !== node) {
      this.#seen[entry.node] = node;
      current.before.push(entry.node);
    }
    if (current.resource === 'engine' || before.resource === 'engine') return true;
    const { off, bytes } = entry.range;
    if (off >= end || begin >= off + bytes) return false;
    if (current.meets.at(-1) !== entry.node) current.meets.push(entry.node);
    return true;
  }

  #remember(
    buffer: TrackedBuffer,
    { shape, first, last }: Rectangle,
    begin: number,
    end: number,
    range: WindowRange,
    write: boolean,
  ): void {
    const node = this.nodes.length - 1;
    buffer.entries.push({ node, write, range, synced: false, begin, end, shape, first, last });
  }
}
