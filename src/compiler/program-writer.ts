/**
 * What every part of a program is written with: descriptors, step records and operations in order, with the offsets of the
 * memory plan.
 */
import { formatByte, type Qmm } from '../device/descriptor.js';
import { type IntegerBits, linearIntegers } from '../model/integers.js';
import {
  type AffinePlan,
  type EpiloguePlan,
  type LinearPlan,
  type NormPlan,
  outputShape,
  type Plan,
  type QuantiserPlan,
} from '../model/plan.js';
import { FOUND_BYTES, STEP_QUANTISER } from '../native/steps.generated.js';
import { DescriptorWriter } from './descriptor-writer.js';
import { storesFound } from './formats.js';
import { type Geometry, packSequences } from './geometry.js';
import { IndexArrays } from './index-arrays.js';
import {
  accRole,
  type Buffer,
  branchRole,
  foundRole,
  integerStride,
  operandStride,
  planMemory,
  type Role,
} from './memory.js';
import { OperationWriter } from './operations.js';
import type { Program, WindowRange } from './program.js';
import { type StepFields, StepWriter } from './step-writer.js';

const INTEGER = {
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

/** A quantiser with the planes it writes. */
export interface Consumer {
  readonly quantiser: QuantiserPlan;
  readonly out: WindowRange;
  readonly stride: number;
  /** Found entries of its sequences, 0 where it finds nothing. */
  readonly found: number;
  /** Where the sums of its rows go, block after block of `rows` rows; absent where nobody needs them. */
  readonly sums?: { readonly off: number; readonly rows: number; readonly stride: number };
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

export class ProgramWriter {
  readonly plan: Plan;
  readonly address: TensorAddress;
  readonly geometry: Geometry;
  readonly descriptors = new DescriptorWriter();
  readonly #steps = new StepWriter();
  readonly #operations = new OperationWriter();
  readonly #buffers: ReadonlyMap<Role, Buffer>;
  readonly #base: number;
  readonly #indices: IndexArrays;
  #submitted = 0;
  #waited = 0;

  constructor(plan: Plan, address: TensorAddress, lengths: readonly number[], base: number) {
    this.plan = plan;
    this.address = address;
    this.geometry = packSequences(lengths);
    const { buffers, bytes } = planMemory(plan, this.geometry, base);
    this.#buffers = buffers;
    this.#base = base;
    this.#indices = new IndexArrays(base + bytes);
  }

  finish(): Program {
    const { perToken, width } = outputShape(this.plan);
    const { rows, sequences } = this.geometry;
    return {
      descriptors: this.descriptors.finish(),
      steps: this.#steps.finish(),
      operations: this.#operations.finish(),
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

  range(role: Role): WindowRange {
    const buffer = this.#buffers.get(role);
    if (buffer === undefined) throw new Error(`the memory plan has no buffer ${role}`);
    return buffer;
  }

  at(role: Role): number {
    return this.range(role).off;
  }

  /** Found entries of the operand in `role` from sequence `sequence` on, 0 where its quantiser finds nothing. */
  found(role: Role, quantiser: QuantiserPlan | null, sequence = 0): number {
    return quantiser && storesFound(quantiser) ? this.at(foundRole(role)) + sequence * FOUND_BYTES : 0;
  }

  /** Quantisers of rows of `width` columns into the operands `role`.0, `role`.1, ... */
  consumers(role: Role, quantisers: readonly QuantiserPlan[], width: number): Consumer[] {
    return quantisers.map((quantiser, index) => {
      const branch = branchRole(role, index);
      return {
        quantiser,
        out: this.range(branch),
        stride: operandStride(width, quantiser.format),
        found: this.found(branch, quantiser),
      };
    });
  }

  /** Quantisers of a layer's input. */
  inputsOf({ branches }: LinearPlan, role: Role): Consumer[] {
    return this.consumers(
      role,
      branches.map(({ input }) => input),
      branches[0]!.weight.cols,
    );
  }

  /** Window offset of an array of indices that steps read: row starts, or rows to choose. */
  indices(values: readonly number[]): number {
    return this.#indices.add(values);
  }

  /** Fields of steps that treat each sequence on its own. */
  bySequence() {
    const { rows, sequences } = this.geometry;
    return {
      starts_off: this.indices([...sequences.map(({ start }) => start), rows]),
      sequences: sequences.length,
    };
  }

  norm({ gamma, beta, epsilon }: NormPlan) {
    return { gamma_off: this.address(gamma), beta_off: this.address(beta), epsilon };
  }

  /** Where a product of `columns` columns leaves its integers; int16 ones pass the epilogue by the identity table. */
  integers(off: number, columns: number, bits: IntegerBits): Pick<Qmm, 'o' | 'table'> {
    const o = { off, stride: integerStride(columns, bits), format: INTEGER[bits] };
    return bits === 32 ? { o } : { o, table: this.address(this.plan.identity!) };
  }

  /** x.W^T of every branch for `rows` rows: planes by an epilogue table, or integers in `to`.acc. */
  linear(linear: LinearPlan, from: Role, to: Role, rows = this.geometry.rows): void {
    const { branches, epilogue } = linear;
    branches.forEach(({ input, weight }, index) => {
      const operands = {
        a: {
          off: this.at(branchRole(from, index)),
          stride: operandStride(weight.cols, input.format),
          format: input.format,
        },
        b: { off: this.address(weight.tensor), stride: weight.stride, format: weight.format },
        m: rows,
        n: weight.rows,
        k: weight.cols,
      };
      this.descriptors.push(
        epilogue.kind === 'affine'
          ? {
              ...operands,
              ...this.integers(this.at(branchRole(accRole(to), index)), weight.rows, linearIntegers(linear)!),
            }
          : {
              ...operands,
              o: {
                off: this.at(branchRole(to, 0)),
                stride: operandStride(weight.rows, epilogue.format),
                format: epilogue.format,
              },
              table: this.address(epilogue.table),
            },
      );
    });
  }

  /** The accumulators of a linear layer whose operands are in `from` and whose integers are in `to`. */
  linearTerms(linear: LinearPlan, from: Role, to: Role): Term[] {
    const { branches, epilogue } = linear;
    const bits = linearIntegers(linear)!;
    return branches.map(({ input, weight }, index) => {
      const { sums } = (epilogue as AffinePlan).terms[index]!;
      return {
        off: this.at(branchRole(to, index)),
        stride: integerStride(weight.rows, bits),
        bits,
        foundA: this.found(branchRole(from, index), input),
        ...(sums !== null && { sums: { off: this.address(sums), stride: 0, scale: 1 } }),
      };
    });
  }

  /** Where an epilogue is affine: waits for its integers and turns them into the next operands' planes. */
  requantise(
    epilogue: EpiloguePlan,
    terms: () => Term[],
    consumers: () => Consumer[],
    fields: StepFields<'AFFINE'> & { readonly width: number },
    reads: readonly WindowRange[],
  ): void {
    if (epilogue.kind !== 'affine') return;
    this.wait(reads);
    this.affine(epilogue, terms(), consumers(), fields);
  }

  /** The layer's integers to the operands in `to`, through `activation`. */
  requantiseLinear(plan: LinearPlan, from: Role, to: Role, activation: number): void {
    const { epilogue, branches } = plan;
    if (epilogue.kind !== 'affine') return;
    const width = branches[0]!.weight.rows;
    this.requantise(
      epilogue,
      () => this.linearTerms(plan, from, accRole(to)),
      () => this.consumers(to, epilogue.quantisers, width),
      { rows: this.geometry.rows, width, activation, ...this.bySequence() },
      branches.map((_, index) => this.range(branchRole(accRole(to), index))),
    );
  }

  /** An AFFINE step with its terms and consumers. */
  affine(
    epilogue: AffinePlan,
    terms: readonly Term[],
    consumers: readonly Consumer[],
    fields: StepFields<'AFFINE'> & { readonly width: number },
  ): void {
    const bias = epilogue.bias === null ? 0 : this.address(epilogue.bias);
    this.vector('AFFINE', () => this.#terms(epilogue, terms, fields.width), consumers, {
      bias_off: bias,
      ...fields,
      terms: terms.length,
    });
  }

  /** out = LN(linear + x), in place, with the quantised operands of what follows. */
  residualNorm(plan: LinearPlan, from: Role, norm: NormPlan, consumers: readonly Consumer[]): void {
    const epilogue = plan.epilogue as AffinePlan;
    const terms = this.linearTerms(plan, from, accRole('projected'));
    const width = this.plan.hidden;
    this.wait(plan.branches.map((_, index) => this.range(branchRole(accRole('projected'), index))));
    this.vector('NORM', () => this.#terms(epilogue, terms, width), consumers, {
      terms: terms.length,
      rows: this.geometry.rows,
      width,
      ...this.bySequence(),
      bias_off: epilogue.bias === null ? 0 : this.address(epilogue.bias),
      residual_off: this.at('x'),
      ...this.norm(norm),
      out_off: this.at('x'),
    });
  }

  /** A producer, what stands behind it, and its consumers, as one operation. */
  vector<Name extends 'EMBED' | 'AFFINE' | 'NORM' | 'SOFTMAX' | 'DENSE' | 'PICK'>(
    name: Name,
    behind: () => void,
    consumers: readonly Consumer[],
    fields: StepFields<Name>,
  ): void {
    const first = this.#steps.count;
    this.#steps.push(name, { ...fields, consumers: consumers.length } as StepFields<Name>);
    behind();
    for (const { quantiser, out, stride, found, sums } of consumers) {
      this.#steps.push('QUANTISE', {
        format: quantiser.format,
        kind: KIND[quantiser.kind],
        qmin: quantiser.qmin,
        qmax: quantiser.qmax,
        step: quantiser.step,
        clip_low: quantiser.clip?.low ?? Number.NEGATIVE_INFINITY,
        clip_high: quantiser.clip?.high ?? Number.POSITIVE_INFINITY,
        shift_off: quantiser.shift === null ? 0 : this.address(quantiser.shift),
        out_off: out.off,
        out_stride: stride,
        found_off: found,
        ...(sums && { sums_off: sums.off, sums_rows: sums.rows, sums_stride: sums.stride }),
      });
    }
    this.#operations.vector(first, this.#steps.count - first);
    for (const { out } of consumers) this.#operations.syncForDevice(out.off, out.bytes);
  }

  /** TABLE records behind an EMBED. */
  tables(): void {
    for (const { planes, scale } of this.plan.embeddings.words) {
      this.#steps.push('TABLE', {
        word_off: this.address(planes.tensor),
        word_stride: planes.stride,
        word_format: planes.format,
        word_scale_off: this.address(scale),
      });
    }
  }

  /** The VALUE record behind a SOFTMAX. */
  value(fields: StepFields<'VALUE'>): void {
    this.#steps.push('VALUE', fields);
  }

  /** Hands everything written since the last submit to the engine. */
  submit(): void {
    const count = this.descriptors.count - this.#submitted;
    if (count === 0) return;
    this.#operations.submit(this.#submitted, count);
    this.#submitted = this.descriptors.count;
  }

  /** Waits for the first `count` descriptors, by default for everything submitted so far. */
  wait(reads: readonly WindowRange[], count = this.#submitted): void {
    if (count > this.#waited) this.#operations.wait(count);
    this.#waited = Math.max(this.#waited, count);
    for (const { off, bytes } of reads) this.#operations.syncForCpu(off, bytes);
  }

  #terms({ terms: plans }: AffinePlan, terms: readonly Term[], width: number): void {
    terms.forEach((term, index) => {
      const { scale } = plans[index]!;
      this.#steps.push('TERM', {
        acc_off: term.off,
        acc_stride: term.stride,
        acc_int16: Number(term.bits === 16),
        block: term.block ?? width,
        block_stride: term.blockStride ?? 0,
        ...(typeof scale === 'number' ? { scale } : { scale_off: this.address(scale.tensor) }),
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
}
