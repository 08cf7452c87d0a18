/**
 * What every part of a program is written with: descriptors, step records and operations in order, with the offsets of the memory plan.
 */
import { formatByte } from '../device/descriptor.js';
import type {
  AffinePlan,
  EpiloguePlan,
  LayerPlan,
  LinearPlan,
  NormPlan,
  Plan,
  QuantiserPlan,
} from '../model/plan.js';
import { STEP_QUANTISER } from '../native/steps.generated.js';
import { DescriptorWriter } from './descriptor-writer.js';
import { type Geometry, packSequences } from './geometry.js';
import { accumulatorStride, type Buffers, operandStride, planMemory, type Role } from './memory.js';
import type { Operation, Program, WindowRange } from './program.js';
import { type StepFields, StepWriter } from './step-writer.js';

export const INT32 = formatByte({ bits: 32, encoding: 'S' });

const KIND = {
  sign: STEP_QUANTISER.SIGN,
  round: STEP_QUANTISER.ROUND,
  'round-from-min': STEP_QUANTISER.ROUND_FROM_MIN,
} as const;

/** Where the tensors of a loaded model lie in the window. */
export type TensorAddress = (name: string) => number;

/** A quantiser with the buffer its codes go to. */
export interface Consumer {
  readonly quantiser: QuantiserPlan;
  readonly role: Role;
}

export class ProgramWriter {
  readonly plan: Plan;
  readonly address: TensorAddress;
  readonly geometry: Geometry;
  readonly descriptors = new DescriptorWriter();
  readonly steps = new StepWriter();
  readonly operations: Operation[] = [];
  readonly #buffers: Buffers;
  readonly #arenaBytes: number;
  #submitted = 0;

  constructor(plan: Plan, address: TensorAddress, lengths: readonly number[], base: number) {
    this.plan = plan;
    this.address = address;
    this.geometry = packSequences(lengths);
    const { buffers, bytes } = planMemory(plan, this.geometry, base);
    this.#buffers = buffers;
    this.#arenaBytes = bytes;
  }

  finish(): Program {
    return {
      descriptors: this.descriptors.finish(),
      steps: this.steps.finish(),
      operations: this.operations,
      arenaBytes: this.#arenaBytes,
      inputs: {
        ids: this.at('ids'),
        positions: this.at('positions'),
        types: this.at('types'),
        starts: this.at('starts'),
      },
      logits: this.at('logits'),
    };
  }

  get headSize(): number {
    return this.plan.hidden / this.plan.heads;
  }

  at(role: Role): number {
    return this.#buffers[role].off;
  }

  range(role: Role): WindowRange {
    return this.#buffers[role];
  }

  inputsOf({ query, key, value }: LayerPlan): Consumer[] {
    return [
      { quantiser: query.input, role: 'queryIn' },
      { quantiser: key.input, role: 'keyIn' },
      { quantiser: value.input, role: 'valueIn' },
    ];
  }

  /** Fields of steps that treat each sequence on its own. */
  bySequence() {
    return { starts_off: this.at('starts'), sequences: this.geometry.sequences.length };
  }

  norm({ gamma, beta, epsilon }: NormPlan) {
    return { gamma_off: this.address(gamma), beta_off: this.address(beta), epsilon };
  }

  scale({ scale, bias }: AffinePlan) {
    return {
      ...(typeof scale === 'number' ? { scale } : { scale_off: this.address(scale.tensor) }),
      ...(bias !== null && { bias_off: this.address(bias) }),
    };
  }

  /** x.W^T for all rows: planes by a threshold table, or int32. */
  linear({ weight, input, epilogue }: LinearPlan, from: Role, to: Role): void {
    const { rows } = this.geometry;
    const table = epilogue.kind === 'threshold' ? this.address(epilogue.table) : undefined;
    this.descriptors.push({
      a: { off: this.at(from), stride: operandStride(weight.cols, input.format), format: input.format },
      b: { off: this.address(weight.tensor), stride: weight.stride, format: weight.format },
      o:
        epilogue.kind === 'threshold'
          ? {
              off: this.at(to),
              stride: operandStride(weight.rows, epilogue.format),
              format: epilogue.format,
            }
          : { off: this.at(to), stride: accumulatorStride(weight.rows), format: INT32 },
      m: rows,
      n: weight.rows,
      k: weight.cols,
      ...(table !== undefined && { table }),
    });
  }

  /** Where an epilogue is affine: waits for its integers and turns them into the next operand's planes. */
  requantise(
    epilogue: EpiloguePlan,
    from: Role,
    to: Role,
    rows: number,
    width: number,
    fields: StepFields<'AFFINE'>,
    also: { readonly minima?: Role; readonly reads?: readonly Role[] } = {},
  ): void {
    if (epilogue.kind !== 'affine' || epilogue.quantiser === null) return;
    this.wait([from, ...(also.reads ?? [])]);
    this.vector(
      'AFFINE',
      [{ quantiser: epilogue.quantiser, role: to }],
      {
        rows,
        width,
        acc_off: this.at(from),
        acc_stride: accumulatorStride(width),
        block: width,
        sequences: 1,
        ...this.scale(epilogue),
        ...fields,
      },
      also.minima,
    );
  }

  /** out = LN(linear + x), in place, with the quantised operands of what follows. */
  residualNorm(
    { epilogue }: LinearPlan,
    norm: NormPlan,
    t: number | null,
    consumers: readonly Consumer[],
  ): void {
    const affine = epilogue as AffinePlan;
    this.wait(['projected']);
    this.vector('NORM', consumers, {
      rows: this.geometry.rows,
      width: this.plan.hidden,
      acc_off: this.at('projected'),
      acc_stride: accumulatorStride(this.plan.hidden),
      ...this.scale(affine),
      ...this.bySequence(),
      ...(t !== null && { t_off: t, sums_off: this.address(affine.sums!) }),
      residual_off: this.at('x'),
      ...this.norm(norm),
      out_off: this.at('x'),
    });
  }

  quantise(quantiser: QuantiserPlan, fields: StepFields<'QUANTISE'>): void {
    this.steps.push('QUANTISE', {
      format: quantiser.format,
      kind: KIND[quantiser.kind],
      qmin: quantiser.qmin,
      qmax: quantiser.qmax,
      step: quantiser.step,
      shift_off: quantiser.shift === null ? 0 : this.address(quantiser.shift),
      ...fields,
    });
  }

  /** A producer and its consumers as one operation. */
  vector<Name extends 'EMBED' | 'AFFINE' | 'NORM' | 'DENSE'>(
    name: Name,
    consumers: readonly Consumer[],
    fields: StepFields<Name> & { readonly width?: number },
    minima?: Role,
  ): void {
    const first = this.steps.count;
    this.steps.push(name, { ...fields, consumers: consumers.length } as StepFields<Name>);
    for (const { quantiser, role } of consumers) {
      this.quantise(quantiser, {
        out_off: this.at(role),
        out_stride: operandStride(fields.width!, quantiser.format),
        ...(minima && { found_off: this.at(minima) }),
      });
    }
    this.operations.push({
      kind: 'vector',
      first,
      count: this.steps.count - first,
      writes: consumers.map(({ role }) => this.range(role)),
    });
  }

  submit(): void {
    const count = this.descriptors.count - this.#submitted;
    if (count === 0) return;
    this.operations.push({ kind: 'submit', first: this.#submitted, count });
    this.#submitted = this.descriptors.count;
  }

  /** Waits for everything submitted so far. */
  wait(roles: readonly Role[]): void {
    this.operations.push({
      kind: 'wait',
      count: this.#submitted,
      reads: roles.map((role) => this.range(role)),
    });
  }
}
