/**
 * The memory plan of one batch geometry: where every activation lies in the arena. Layers share one set of buffers, each as large as its
 * largest use; nothing is copied between them. That a buffer's next use waits for the readers of the last one is the graph's business
 * (graph.ts), row by row, so sharing keeps nothing apart that could overlap.
 */
import { BEAT_BYTES } from '../device/contract.generated.js';
import { planeRowBytes } from '../device/descriptor.js';
import {
  contextIntegers,
  formatBits,
  type IntegerBits,
  linearIntegers,
  probabilityFormat,
  resultFormat,
  scoreIntegers,
} from '../model/integers.js';
import {
  type EpiloguePlan,
  type LayerPlan,
  type LinearPlan,
  outputShape,
  type Plan,
  type QuantiserPlan,
} from '../model/plan.js';
import { FOUND_BYTES } from '../native/steps.generated.js';
import { answersFromFirstTokens } from './first-tokens.js';
import { resultQuantiser, storesFound, storesOffset } from './formats.js';
import type { Geometry } from './geometry.js';
import { TrackedBuffer } from './graph.js';

/** Every buffer starts on a cache line of its own. */
const ALIGN = 64;

/** A buffer by what it holds; where a layer has branches, one for each: `up.0`, `up.1`. */
export type Role = string;

/** Role of one branch of an operand or of an accumulator. */
export function branchRole(role: Role, branch: number): Role {
  return `${role}.${branch}`;
}

/** Role of what a quantiser found for the operand in `role`, one entry a sequence. */
export function foundRole(role: Role): Role {
  return `${role}.found`;
}

/** Bytes from one row of integers to the next. */
export function integerStride(columns: number, bits: IntegerBits): number {
  return Math.ceil((columns * bits) / 8 / BEAT_BYTES) * BEAT_BYTES;
}

/** Bytes from one row of operand planes to the next. */
export function operandStride(columns: number, format: number): number {
  return planeRowBytes(columns, formatBits(format));
}

/** Collects how large each buffer must be. */
class Sizes {
  readonly bytes = new Map<Role, number>();
  readonly #geometry: Geometry;

  constructor(geometry: Geometry) {
    this.#geometry = geometry;
  }

  need(role: Role, bytes: number): void {
    this.bytes.set(role, Math.max(this.bytes.get(role) ?? 0, bytes));
  }

  /** Planes of `lines` rows, and the found entries of their quantiser. */
  operand(role: Role, quantiser: QuantiserPlan | null, format: number, lines: number, columns: number): void {
    this.need(role, lines * operandStride(columns, format));
    if (quantiser && storesFound(quantiser))
      this.need(foundRole(role), this.#geometry.sequences.length * FOUND_BYTES);
  }

  /** The operands that a layer's branches read. */
  inputs(role: Role, { branches }: LinearPlan, lines = this.#geometry.rows): void {
    branches.forEach(({ input, weight }, index) => {
      this.operand(branchRole(role, index), input, input.format, lines, weight.cols);
    });
  }

  /** Integers of every branch. */
  integers(role: Role, linear: LinearPlan, lines: number): void {
    const bits = linearIntegers(linear)!;
    linear.branches.forEach(({ weight }, index) => {
      this.need(branchRole(role, index), lines * integerStride(weight.rows, bits));
    });
  }

  /** Results of a layer that is quantised: integers where a vector step does it, and the operands. */
  result(role: Role, plan: LinearPlan): void {
    const { rows } = this.#geometry;
    if (plan.epilogue.kind === 'affine') this.integers(accRole(role), plan, rows);
    this.epilogueOperands(role, plan.epilogue, rows, plan.branches[0]!.weight.rows);
  }

  /** The operands that an epilogue leaves. */
  epilogueOperands(role: Role, epilogue: EpiloguePlan, lines: number, columns: number): void {
    if (epilogue.kind !== 'affine') this.operand(branchRole(role, 0), null, epilogue.format, lines, columns);
    else
      epilogue.quantisers.forEach((quantiser, index) => {
        this.operand(branchRole(role, index), quantiser, quantiser.format, lines, columns);
      });
  }
}

/** Role of the integers that become the operand in `role`. */
export function accRole(role: Role): Role {
  return `${role}.acc`;
}

/** V of one sequence, transposed: [attentionSize][length] planes; all sequences one after another. */
export function valueBytes(plan: Plan, { value }: LayerPlan, length: number): number {
  return plan.attentionSize * operandStride(length, resultFormat(value.epilogue));
}

/** Integers of V of one sequence, [attentionSize][length], where a vector step reads them; 0 where none does. */
export function valueIntegerBytes(value: LinearPlan, length: number): number {
  const bits = linearIntegers(value);
  return bits === null ? 0 : value.branches[0]!.weight.rows * integerStride(length, bits);
}

/** Integer scores of one sequence, all heads; 0 where the engine leaves P. */
export function scoreBytes(plan: Plan, layer: LayerPlan, length: number): number {
  const bits = scoreIntegers(plan, layer);
  return bits === null ? 0 : plan.heads * length * integerStride(length, bits);
}

/** Probabilities of one sequence, all heads; 0 where they stay real, because they are not stored then. */
export function probabilityBytes({ heads }: Plan, layer: LayerPlan, length: number): number {
  const format = probabilityFormat(layer);
  return format === null ? 0 : heads * length * operandStride(length, format);
}

const hasOffset = ({ epilogue }: LinearPlan): boolean => {
  const quantiser = resultQuantiser(epilogue);
  return quantiser !== null && storesOffset(quantiser);
};

/** True where an offset of Q multiplies the sum of each key's codes in a score. */
export function needsKeySums({ query, attention }: LayerPlan): boolean {
  return attention.probabilities.kind !== 'boolean' && hasOffset(query);
}

/** True where an offset of V multiplies the sum of each row of P. */
export function needsProbabilitySums({ value, attention }: LayerPlan): boolean {
  return attention.probabilities.kind === 'softmax' && hasOffset(value);
}

function addLayer(sizes: Sizes, plan: Plan, layer: LayerPlan, { rows, sequences }: Geometry): void {
  const { query, key, value, attention, output, up, down } = layer;
  const sum = (size: (length: number) => number) =>
    sequences.reduce((total, { length }) => total + size(length), 0);
  sizes.inputs('queryIn', query);
  sizes.inputs('keyIn', key);
  sizes.inputs('valueIn', value);
  sizes.result('query', query);
  sizes.result('key', key);
  sizes.need(
    'value',
    sum((length) => valueBytes(plan, layer, length)),
  );
  const valueQuantiser = resultQuantiser(value.epilogue);
  if (valueQuantiser && storesFound(valueQuantiser))
    sizes.need(foundRole('value'), sequences.length * FOUND_BYTES);
  if (value.epilogue.kind === 'affine') {
    value.branches.forEach((_, index) => {
      sizes.need(
        branchRole(accRole('value'), index),
        sum((length) => valueIntegerBytes(value, length)),
      );
    });
  }
  if (probabilityFormat(layer) !== null) {
    sizes.need(
      'probabilities',
      sum((length) => probabilityBytes(plan, layer, length)),
    );
  }
  if (attention.probabilities.kind !== 'boolean') {
    sizes.need(
      'scores',
      sum((length) => scoreBytes(plan, layer, length)),
    );
  }
  if (needsKeySums(layer)) sizes.need('keySums', plan.heads * integerStride(rows, 32));
  if (needsProbabilitySums(layer)) sizes.need('probabilitySums', plan.heads * rows * 8);
  if (attention.probabilities.kind === 'real') {
    // One sequence at a time.
    const longest = sequences.reduce((most, { length }) => Math.max(most, length), 0);
    sizes.need('valueCodes', longest * plan.attentionSize * 4);
  }
  if (attention.probabilities.kind === 'softmax') {
    if (storesFound(attention.probabilities.probability))
      sizes.need(foundRole('probabilities'), sequences.length * FOUND_BYTES);
    if (storesOffset(attention.probabilities.probability))
      sizes.need('valueSums', sequences.length * integerStride(plan.attentionSize, 32));
  }
  const context = contextIntegers(plan, layer);
  if (context !== null)
    sizes.need(
      accRole('context'),
      plan.heads * rows * integerStride(plan.attentionSize / plan.heads, context),
    );
  sizes.epilogueOperands('context', attention.context, rows, plan.attentionSize);
  sizes.integers(accRole('projected'), output, rows);
  sizes.inputs('upIn', up);
  sizes.result('up', up);
  sizes.integers(accRole('projected'), down, rows);
}

/** Hidden states are the residual rows themselves. */
function addHead(sizes: Sizes, plan: Plan, { rows, sequences }: Geometry): void {
  const { head, hidden } = plan;
  if (head.task === 'hidden-states') return;
  const { perToken, width } = outputShape(plan);
  sizes.need('logits', (perToken ? rows : sequences.length) * width * 4);
  if (head.task !== 'sequence-classification') return;
  if (answersFromFirstTokens(plan)) sizes.need('first', sequences.length * hidden * 4);
  sizes.inputs('poolerIn', head.pooler, sequences.length);
  sizes.integers(accRole('pooler'), head.pooler, sequences.length);
  sizes.need('pooled', sequences.length * hidden * 4);
}

/** Lays the arena out from window offset `base`. */
export function planMemory(
  plan: Plan,
  geometry: Geometry,
  base: number,
): { buffers: ReadonlyMap<Role, TrackedBuffer>; bytes: number } {
  const { rows } = geometry;
  const sizes = new Sizes(geometry);
  for (const role of ['ids', 'positions', 'types']) sizes.need(role, rows * 4);
  sizes.need('x', rows * plan.hidden * 4);
  for (const layer of plan.layers) addLayer(sizes, plan, layer, geometry);
  addHead(sizes, plan, geometry);
  let off = base;
  const buffers = new Map<Role, TrackedBuffer>();
  for (const [role, bytes] of sizes.bytes) {
    buffers.set(role, new TrackedBuffer(off, bytes));
    off += Math.ceil(bytes / ALIGN) * ALIGN;
  }
  return { buffers, bytes: off - base };
}
