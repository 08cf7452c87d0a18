/** Linear layers in a program: their products by blocks of rows, and the vector steps that turn integers into the next operands. */
import { type IntegerBits, linearIntegers } from '../model/integers.js';
import type { AffinePlan, LinearPlan, NormPlan } from '../model/plan.js';
import { FOUND_BYTES, STEP_ACTIVATION } from '../native/steps.generated.js';
import type { RowBlock } from './blocks.js';
import type { ElementKind } from './cost.js';
import type { Geometry } from './geometry.js';
import { accRole, branchRole, integerStride, type Role } from './memory.js';
import type { Access, Consumer, ProgramWriter } from './program-writer.js';

/** Rows that go through a layer, and how they are cut. */
export interface Rows {
  readonly geometry: Geometry;
  readonly blocks: readonly RowBlock[];
  /** Fields of steps over all of them that treat each sequence on its own. */
  readonly starts: { readonly starts_off: number; readonly sequences: number };
}

/** One set of accumulators behind a producer. */
export interface Term {
  readonly off: number;
  readonly stride: number;
  readonly bits: IntegerBits;
  readonly block?: number;
  readonly blockStride?: number;
  readonly foundA?: number;
  readonly foundB?: number;
  readonly sums?: { readonly off: number; readonly stride: number; readonly scale: number };
  /** Sums of the rows of the first operand, a block of columns after another. */
  readonly rowSums?: { readonly off: number; readonly stride: number };
}

/** Names of activations in records and in the cost model. */
export const ACTIVATION = {
  identity: { code: STEP_ACTIVATION.IDENTITY, kinds: [] },
  relu: { code: STEP_ACTIVATION.RELU, kinds: ['relu'] },
  gelu: { code: STEP_ACTIVATION.GELU, kinds: ['gelu'] },
  tanh: { code: STEP_ACTIVATION.TANH, kinds: ['tanh'] },
} as const satisfies Record<string, { code: number; kinds: readonly ElementKind[] }>;

/** The sequences that have rows in a block. */
export function sequencesIn(
  { sequences }: Geometry,
  { start, rows }: RowBlock,
): { first: number; count: number } {
  const inside = sequences.filter(
    (place) => place.start < start + rows && place.start + place.length > start,
  );
  return { first: inside[0]!.index, count: inside.length };
}

/** What consumers write of a block of rows: planes, and the found entries of its sequences. */
export function blockWrites(consumers: readonly Consumer[], { geometry }: Rows, block: RowBlock): Access[] {
  const writes: Access[] = [];
  for (const { matrix, found } of consumers) {
    const { buffer, off, stride } = matrix;
    writes.push({ buffer: buffer!, off: off + block.start * stride, bytes: block.rows * stride });
    if (found === null) continue;
    const { first, count } = sequencesIn(geometry, block);
    writes.push({ buffer: found.buffer, off: found.off + first * FOUND_BYTES, bytes: count * FOUND_BYTES });
  }
  return writes;
}

/** The part of a step over `rows` that a block is. */
export const partOf = ({ geometry }: Rows, { start, rows }: RowBlock) => ({
  first: start,
  rows,
  of: geometry.rows,
});

/** Quantisers of a layer's input. */
export function inputsOf(w: ProgramWriter, { branches }: LinearPlan, role: Role): Consumer[] {
  return w.consumers(
    role,
    branches.map(({ input }) => input),
    branches[0]!.weight.cols,
  );
}

/** The weights of one branch. */
export const weightsOf = (w: ProgramWriter, { weight }: LinearPlan['branches'][number]) => ({
  buffer: null,
  off: w.address(weight.tensor),
  stride: weight.stride,
  format: weight.format,
});

/**
 * x.W^T of every branch for one block of rows of the result: planes by an epilogue table, or integers in `to`.acc. The rows of x are
 * the same, or `source`: the first of them, and how many rows it is from one to the next.
 */
export function linear(
  w: ProgramWriter,
  plan: LinearPlan,
  from: Role,
  to: Role,
  block: RowBlock,
  source = { start: block.start, step: 1 },
): void {
  const { branches, epilogue } = plan;
  branches.forEach((branch, index) => {
    const { input, weight } = branch;
    const bits = linearIntegers(plan);
    const x = w.operand(branchRole(from, index), weight.cols, input.format);
    w.product(to, {
      a: {
        matrix: { ...x, off: x.off + source.start * x.stride, stride: source.step * x.stride },
        row: 0,
        column: 0,
      },
      b: { matrix: weightsOf(w, branch), row: 0, column: 0 },
      o: {
        matrix:
          epilogue.kind === 'affine'
            ? w.integers(branchRole(accRole(to), index), weight.rows, bits!)
            : w.operand(branchRole(to, 0), weight.rows, epilogue.format),
        row: block.start,
        column: 0,
      },
      m: block.rows,
      n: weight.rows,
      k: weight.cols,
      ...(epilogue.kind === 'affine' ? w.integerTable(bits!) : { table: w.address(epilogue.table) }),
    });
  });
}

/** The accumulators of a linear layer whose operands are in `from` and whose integers are in `to`. */
function linearTerms(w: ProgramWriter, plan: LinearPlan, from: Role, to: Role): Term[] {
  const { branches, epilogue } = plan;
  const bits = linearIntegers(plan)!;
  return branches.map(({ input, weight }, index) => {
    const { sums } = (epilogue as AffinePlan).terms[index]!;
    return {
      off: w.at(branchRole(to, index)),
      stride: integerStride(weight.rows, bits),
      bits,
      foundA: w.found(branchRole(from, index), input),
      ...(sums !== null && { sums: { off: w.address(sums), stride: 0, scale: 1 } }),
    };
  });
}

/** What those terms read of a block of rows. */
function linearReads(
  w: ProgramWriter,
  plan: LinearPlan,
  from: Role,
  to: Role,
  { geometry }: Rows,
  block: RowBlock,
): Access[] {
  const bits = linearIntegers(plan)!;
  const reads: Access[] = [];
  plan.branches.forEach(({ input, weight }, index) => {
    const stride = integerStride(weight.rows, bits);
    reads.push(w.access(branchRole(to, index), block.start * stride, block.rows * stride));
    const { first, count } = sequencesIn(geometry, block);
    const found = w.foundEntries(branchRole(from, index), input, first, count);
    if (found) reads.push(found);
  });
  return reads;
}

/** TERM records of an affine epilogue over rows of `width` columns. */
export function writeTerms(
  w: ProgramWriter,
  { terms: plans }: AffinePlan,
  terms: readonly Term[],
  width: number,
): void {
  terms.forEach((term, index) => {
    const { scale } = plans[index]!;
    w.record('TERM', {
      acc_off: term.off,
      acc_stride: term.stride,
      acc_int16: Number(term.bits === 16),
      block: term.block ?? width,
      block_stride: term.blockStride ?? 0,
      ...(typeof scale === 'number' ? { scale } : { scale_off: w.address(scale.tensor) }),
      found_a_off: term.foundA ?? 0,
      found_b_off: term.foundB ?? 0,
      sums_off: term.sums?.off ?? 0,
      sums_stride: term.sums?.stride ?? 0,
      sums_scale: term.sums?.scale ?? 0,
      row_sums_off: term.rowSums?.off ?? 0,
      row_sums_stride: term.rowSums?.stride ?? 0,
    });
  });
}

/** Where an epilogue is affine: one block of the layer's integers to the operands in `to`, through `activation`. */
export function requantise(
  w: ProgramWriter,
  plan: LinearPlan,
  from: Role,
  to: Role,
  activation: keyof typeof ACTIVATION,
  rows: Rows,
  block: RowBlock,
): void {
  const { epilogue, branches } = plan;
  if (epilogue.kind !== 'affine') return;
  const width = branches[0]!.weight.rows;
  const consumers = w.consumers(to, epilogue.quantisers, width);
  const terms = linearTerms(w, plan, from, accRole(to));
  const { code, kinds } = ACTIVATION[activation];
  w.step(
    'AFFINE',
    {
      what: to,
      part: partOf(rows, block),
      elements: block.rows * width,
      kinds: [...terms.map(() => 'affine' as const), ...kinds],
      reads: linearReads(w, plan, from, accRole(to), rows, block),
      writes: blockWrites(consumers, rows, block),
    },
    () => writeTerms(w, epilogue, terms, width),
    consumers,
    {
      rows: rows.geometry.rows,
      width,
      activation: code,
      ...rows.starts,
      bias_off: epilogue.bias === null ? 0 : w.address(epilogue.bias),
      terms: terms.length,
    },
  );
}

/** The integers of a layer in `acc` to real values, rows of float32 in `to`, through `activation`. */
export function realValues(
  w: ProgramWriter,
  plan: LinearPlan,
  from: Role,
  acc: Role,
  to: Role,
  activation: keyof typeof ACTIVATION,
  rows: Rows,
): void {
  const epilogue = plan.epilogue as AffinePlan;
  const width = plan.branches[0]!.weight.rows;
  const terms = linearTerms(w, plan, from, acc);
  const whole = { start: 0, rows: rows.geometry.rows };
  const { code, kinds } = ACTIVATION[activation];
  w.step(
    'AFFINE',
    {
      what: to,
      elements: whole.rows * width,
      kinds: [...terms.map(() => 'affine' as const), ...kinds],
      reads: linearReads(w, plan, from, acc, rows, whole),
      writes: [w.access(to, 0, whole.rows * width * 4)],
    },
    () => writeTerms(w, epilogue, terms, width),
    [],
    {
      rows: whole.rows,
      width,
      activation: code,
      ...rows.starts,
      bias_off: epilogue.bias === null ? 0 : w.address(epilogue.bias),
      out_off: w.at(to),
      terms: terms.length,
    },
  );
}

/** x = LN(linear + x) for one block of rows of `x`, in place, with the quantised operands of what follows. */
export function residualNorm(
  w: ProgramWriter,
  plan: LinearPlan,
  from: Role,
  x: Role,
  norm: NormPlan,
  consumers: readonly Consumer[],
  rows: Rows,
  block: RowBlock,
): void {
  const epilogue = plan.epilogue as AffinePlan;
  const terms = linearTerms(w, plan, from, accRole('projected'));
  const width = w.plan.hidden;
  const residual = w.access(x, block.start * width * 4, block.rows * width * 4);
  w.step(
    'NORM',
    {
      what: 'norm',
      part: partOf(rows, block),
      elements: block.rows * width,
      kinds: [...terms.map(() => 'affine' as const), 'norm'],
      reads: [...linearReads(w, plan, from, accRole('projected'), rows, block), residual],
      writes: [residual, ...blockWrites(consumers, rows, block)],
    },
    () => writeTerms(w, epilogue, terms, width),
    consumers,
    {
      terms: terms.length,
      rows: rows.geometry.rows,
      width,
      ...rows.starts,
      bias_off: epilogue.bias === null ? 0 : w.address(epilogue.bias),
      residual_off: w.at(x),
      ...w.norm(norm),
      out_off: w.at(x),
    },
  );
}
