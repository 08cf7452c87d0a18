/**
 * What every part of a program is written with: products and vector steps, in the order in which they could run one after another, each
 * a node of the graph with the memory that it touches. finish() lets the scheduler order them.
 */
import { BLOCK_ELEMENTS, FORMAT } from '../device/contract.generated.js';
import { blockOffset, formatByte } from '../device/descriptor.js';
import { formatBits, type IntegerBits } from '../model/integers.js';
import { type NormPlan, outputShape, type Plan, type QuantiserPlan } from '../model/plan.js';
import { FOUND_BYTES, STEP_QUANTISER } from '../native/steps.generated.js';
import { type CostModel, type ElementKind, productBytes, tileTime } from './cost.js';
import { DescriptorWriter } from './descriptor-writer.js';
import { emit } from './emit.js';
import { storesFound } from './formats.js';
import type { Geometry } from './geometry.js';
import { Graph, type TrackedBuffer, wholeRows } from './graph.js';
import { IndexArrays } from './index-arrays.js';
import { branchRole, foundRole, integerStride, operandStride, planMemory, type Role } from './memory.js';
import type { Program } from './program.js';
import { schedule } from './schedule.js';
import { type StepFields, StepWriter } from './step-writer.js';

export const INTEGER = {
  16: formatByte({ bits: 16, encoding: 'S' }),
  32: formatByte({ bits: 32, encoding: 'S' }),
} as const;

const KIND = {
  sign: STEP_QUANTISER.SIGN,
  round: STEP_QUANTISER.ROUND,
  'round-from-min': STEP_QUANTISER.ROUND_FROM_MIN,
  symmetric: STEP_QUANTISER.SYMMETRIC,
  asymmetric: STEP_QUANTISER.ASYMMETRIC,
} as const;

/** Where the tensors of a loaded model lie in the window. */
export type TensorAddress = (name: string) => number;

/** Rows of planes or integers. `buffer` is the part of the arena that they lie in; null for constants. */
export interface Matrix {
  readonly buffer: TrackedBuffer | null;
  /** Window offset of row 0, and bytes from one row to the next. */
  readonly off: number;
  readonly stride: number;
  readonly format: number;
}

/** Where a product begins in a matrix. */
export interface Place {
  readonly matrix: Matrix;
  readonly row: number;
  readonly column: number;
}

export interface Product {
  readonly a: Place;
  readonly b: Place;
  readonly o: Place;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Epilogue table; absent for int32. */
  readonly table?: number;
  readonly flags?: number;
}

/** How far each product of a tile lies behind the one before it: rows and columns of every matrix, bytes of the table. */
export interface Move {
  readonly a: { readonly rows: number; readonly columns: number };
  readonly b: { readonly rows: number; readonly columns: number };
  readonly o: { readonly rows: number; readonly columns: number };
  readonly table: number;
}

const NOWHERE = { rows: 0, columns: 0 };
const ONE_PLACE: Move = { a: NOWHERE, b: NOWHERE, o: NOWHERE, table: 0 };

/** A range of a tracked buffer. */
export interface Access {
  readonly buffer: TrackedBuffer;
  readonly off: number;
  readonly bytes: number;
}

/** A quantiser with the planes it writes. */
export interface Consumer {
  readonly quantiser: QuantiserPlan;
  readonly matrix: Matrix;
  /** Where its found entries lie; null where it finds nothing. */
  readonly found: Access | null;
  /** Where the sums of its rows go, block after block of `rows` rows; absent where nobody needs them. */
  readonly sums?: { readonly off: number; readonly rows: number; readonly stride: number };
}

/** What a step is besides its record: for the graph and the cost model. */
export interface StepNode {
  readonly what: string;
  /** The rows it computes, and how many the whole step has; all of them where absent. */
  readonly part?: { readonly first: number; readonly rows: number; readonly of: number };
  /** Rows of the part times columns, and what is done to each element. */
  readonly elements: number;
  readonly kinds: readonly ElementKind[];
  /** Elements that its consumers quantise, where these are others. */
  readonly quantised?: number;
  readonly reads: readonly Access[];
  readonly writes: readonly Access[];
}

type ProducerName = 'EMBED' | 'AFFINE' | 'NORM' | 'SOFTMAX' | 'DENSE' | 'PICK';

/** Bits of one element of any format. */
const bitsOf = (format: number): number => 1 << (format & FORMAT.WIDTH_MASK);

export class ProgramWriter {
  readonly plan: Plan;
  readonly address: TensorAddress;
  readonly geometry: Geometry;
  readonly cost: CostModel;
  /** The layer that is being written, for the nodes' names; -1 before the first. */
  layer = -1;
  readonly #descriptors = new DescriptorWriter();
  readonly #steps = new StepWriter();
  readonly #graph = new Graph();
  readonly #buffers: ReadonlyMap<Role, TrackedBuffer>;
  readonly #base: number;
  readonly #indices: IndexArrays;

  constructor(plan: Plan, address: TensorAddress, geometry: Geometry, base: number, cost: CostModel) {
    this.plan = plan;
    this.address = address;
    this.geometry = geometry;
    this.cost = cost;
    const { buffers, bytes } = planMemory(plan, geometry, base);
    this.#buffers = buffers;
    this.#base = base;
    this.#indices = new IndexArrays(base + bytes);
  }

  finish(): Program {
    const { perToken, width } = outputShape(this.plan);
    const { rows, sequences } = this.geometry;
    const order = schedule(this.#graph, this.cost);
    return {
      ...emit(this.#graph, order, this.#descriptors.finish(), this.#steps.finish(), this.cost),
      arenaBytes: this.#indices.end - this.#base,
      inputs: {
        rows,
        ids: this.at('ids'),
        positions: this.at('positions'),
        types: this.at('types'),
        indices: this.#indices.off,
        indexValues: this.#indices.values(),
      },
      outputs: {
        off: this.at(this.plan.head.task === 'hidden-states' ? 'x' : 'logits'),
        rows: perToken ? rows : sequences.length,
        width,
        perToken,
      },
    };
  }

  get headSize(): number {
    return this.plan.attentionSize / this.plan.heads;
  }

  buffer(role: Role): TrackedBuffer {
    const buffer = this.#buffers.get(role);
    if (buffer === undefined) throw new Error(`the memory plan has no buffer ${role}`);
    return buffer;
  }

  at(role: Role): number {
    return this.buffer(role).off;
  }

  /** Part of a buffer that only the CPU reads and writes in rows, or that it reads from the engine. */
  access(role: Role, off = 0, bytes = this.buffer(role).bytes - off): Access {
    const buffer = this.buffer(role);
    return { buffer, off: buffer.off + off, bytes };
  }

  /** The planes of an operand, `columns` wide; `off` where it is not the whole buffer. */
  operand(role: Role, columns: number, format: number, off = 0): Matrix {
    const buffer = this.buffer(role);
    return { buffer, off: buffer.off + off, stride: operandStride(columns, format), format };
  }

  /** Integers of `columns` columns. */
  integers(role: Role, columns: number, bits: IntegerBits, off = 0): Matrix {
    const buffer = this.buffer(role);
    return { buffer, off: buffer.off + off, stride: integerStride(columns, bits), format: INTEGER[bits] };
  }

  /** int16 results pass the epilogue by the identity table, int32 ones pass none. */
  integerTable(bits: IntegerBits): { readonly table?: number } {
    return bits === 32 ? {} : { table: this.address(this.plan.identity!) };
  }

  /** Found entries of the operand in `role` from sequence `sequence` on, 0 where its quantiser finds nothing. */
  found(role: Role, quantiser: QuantiserPlan | null, sequence = 0): number {
    return quantiser && storesFound(quantiser) ? this.at(foundRole(role)) + sequence * FOUND_BYTES : 0;
  }

  /** The found entries of some sequences; null where its quantiser finds nothing. */
  foundEntries(role: Role, quantiser: QuantiserPlan | null, first: number, count: number): Access | null {
    if (quantiser === null || !storesFound(quantiser)) return null;
    return this.access(foundRole(role), first * FOUND_BYTES, count * FOUND_BYTES);
  }

  /** Quantisers of rows of `width` columns into the operands `role`.0, `role`.1, ... */
  consumers(role: Role, quantisers: readonly QuantiserPlan[], width: number): Consumer[] {
    return quantisers.map((quantiser, index) => {
      const branch = branchRole(role, index);
      return {
        quantiser,
        matrix: this.operand(branch, width, quantiser.format),
        found: this.foundEntries(branch, quantiser, 0, this.geometry.sequences.length),
      };
    });
  }

  /** Window offset of an array of indices that steps read: row starts, or rows to choose. */
  indices(values: readonly number[]): number {
    return this.#indices.add(values);
  }

  /** Fields of steps over the rows of `geometry` that treat each sequence on its own. */
  bySequence({ rows, sequences }: Geometry) {
    return {
      starts_off: this.indices([...sequences.map(({ start }) => start), rows]),
      sequences: sequences.length,
    };
  }

  norm({ gamma, beta, epsilon }: NormPlan) {
    return { gamma_off: this.address(gamma), beta_off: this.address(beta), epsilon };
  }

  /** One product: a descriptor, and a tile of the graph. */
  product(what: string, product: Product): void {
    this.tile(what, product, 1, ONE_PLACE);
    const { a, b, o, m, n, k } = product;
    this.touch('read', a, m, k);
    this.touch('read', b, n, k);
    this.touch('write', o, m, n);
  }

  /**
   * A tile of `times` products that are submitted together: the first one, and the same again where each has moved by as much as `by`
   * says. touch() has to say what they read and write in all.
   */
  tile(what: string, { a, b, o, m, n, k, table, flags }: Product, times: number, by: Move): void {
    const aBits = formatBits(a.matrix.format);
    const bBits = formatBits(b.matrix.format);
    const oBits = bitsOf(o.matrix.format);
    const k0 = a.column % BLOCK_ELEMENTS;
    this.#graph.begin('engine', this.layer, what, this.#descriptors.count);
    this.#descriptors.push({
      a: { off: offset(a, aBits, 0, 0), stride: a.matrix.stride, format: a.matrix.format },
      b: { off: offset(b, bBits, 0, 0), stride: b.matrix.stride, format: b.matrix.format },
      o: { off: offset(o, oBits, 0, 0), stride: o.matrix.stride, format: o.matrix.format },
      m,
      n,
      k,
      k0,
      n0: first(o, oBits, 0),
      ...(table !== undefined && { table }),
      ...(flags !== undefined && { flags }),
    });
    for (let i = 0; i < times; i++) {
      if (first(b, bBits, i * by.b.columns) !== first(a, aBits, i * by.a.columns))
        throw new Error(`${what}: the operands begin at different elements`);
      if (i === 0) continue;
      this.#descriptors.again(
        offset(a, aBits, i * by.a.rows, i * by.a.columns),
        offset(b, bBits, i * by.b.rows, i * by.b.columns),
        offset(o, oBits, i * by.o.rows, i * by.o.columns),
        table === undefined ? 0 : table + i * by.table,
        first(a, aBits, i * by.a.columns),
        first(o, oBits, i * by.o.columns),
      );
    }
    const shape = { m, n, k, k0, aBits, bBits, oBits, table: table !== undefined };
    this.#graph.add(times, times * tileTime(this.cost.engine, shape), times * productBytes(shape));
  }

  /** Rows and columns of a matrix that the tile reads or writes. Constants are nobody's to wait for. */
  touch(how: 'read' | 'write', { matrix, row, column }: Place, rows: number, columns: number): void {
    const { buffer, off, stride, format } = matrix;
    if (buffer === null) return;
    const begin = off + row * stride;
    this.#graph[how](buffer, {
      begin,
      end: Math.min(begin + rows * stride, buffer.off + buffer.bytes),
      // Columns of operands of different widths do not compare.
      shape: stride * 64 + bitsOf(format),
      first: column,
      last: column + columns,
    });
  }

  /** A producer, what stands `behind` it, and its consumers: one step of the graph. */
  step<Name extends ProducerName>(
    name: Name,
    node: StepNode,
    behind: () => void,
    consumers: readonly Consumer[],
    fields: StepFields<Name>,
  ): void {
    const first = this.#steps.count;
    const { part: rows } = node;
    this.#steps.push(name, {
      ...fields,
      consumers: consumers.length,
      ...(rows && rows.rows < rows.of && { first_row: rows.first, end_row: rows.first + rows.rows }),
    } as StepFields<Name>);
    behind();
    for (const consumer of consumers) this.#quantise(consumer);
    this.#graph.begin('cpu', this.layer, node.what, first);
    this.#graph.add(this.#steps.count - first, this.#stepTime(node, consumers));
    for (const { buffer, off, bytes } of node.reads) this.#graph.read(buffer, wholeRows(off, bytes));
    for (const { buffer, off, bytes } of node.writes) this.#graph.write(buffer, wholeRows(off, bytes));
  }

  /** Records behind a producer. */
  record<Name extends 'TABLE' | 'TERM' | 'VALUE'>(name: Name, fields: StepFields<Name>): void {
    this.#steps.push(name, fields);
  }

  #quantise({ quantiser, matrix, found, sums }: Consumer): void {
    this.#steps.push('QUANTISE', {
      format: quantiser.format,
      kind: KIND[quantiser.kind],
      qmin: quantiser.qmin,
      qmax: quantiser.qmax,
      step: quantiser.step,
      clip_low: quantiser.clip?.low ?? Number.NEGATIVE_INFINITY,
      clip_high: quantiser.clip?.high ?? Number.POSITIVE_INFINITY,
      shift_off: quantiser.shift === null ? 0 : this.address(quantiser.shift),
      out_off: matrix.off,
      out_stride: matrix.stride,
      found_off: found === null ? 0 : found.off,
      ...(sums && { sums_off: sums.off, sums_rows: sums.rows, sums_stride: sums.stride }),
    });
  }

  #stepTime({ elements, kinds, quantised = elements }: StepNode, consumers: readonly Consumer[]): number {
    const { stepNs, elementNs } = this.cost.cpu;
    let each = 0;
    for (const kind of kinds) each += elementNs[kind];
    let eachQuantised = 0;
    for (const { quantiser } of consumers)
      eachQuantised += elementNs.quantise + (storesFound(quantiser) ? elementNs.range : 0);
    return stepNs + elements * each + quantised * eachQuantised;
  }
}

/** Window offset of a place that has moved on. */
function offset({ matrix, row, column }: Place, bits: number, rows: number, columns: number): number {
  const at = matrix.off + (row + rows) * matrix.stride;
  return at + (bits < 16 ? blockOffset(column + columns, bits) : ((column + columns) * bits) / 8);
}

/** First element of a place inside its block of planes; integers have no blocks. */
const first = ({ column }: Place, bits: number, columns: number): number =>
  bits < 16 ? (column + columns) % BLOCK_ELEMENTS : 0;
