/**
 * The memory plan of one batch geometry: where every activation lies in the arena. Layers run one after another, so they share
 * one set of buffers, each as large as its largest use; nothing is copied between them.
 */
import { BEAT_BYTES } from '../device/contract.generated.js';
import { planeRowBytes } from '../device/descriptor.js';
import type { EpiloguePlan, LayerPlan, Plan, QuantiserPlan } from '../model/plan.js';
import { resultFormat } from './formats.js';
import type { Geometry } from './geometry.js';

/** Buffers of the arena by role. */
export const ROLES = [
  'ids',
  'positions',
  'types',
  'starts',
  'x',
  'queryIn',
  'keyIn',
  'valueIn',
  'upIn',
  'queryAcc',
  'keyAcc',
  'valueAcc',
  'query',
  'key',
  'value',
  'scores',
  'probabilities',
  'probabilityMinima',
  'valueSums',
  'contextAcc',
  'context',
  'projected',
  'upAcc',
  'up',
  'upMinima',
  'poolerAcc',
  'pooled',
  'logits',
] as const;

export type Role = (typeof ROLES)[number];

/** Window offset and size of every buffer; size 0 where a model has no use for it. */
export type Buffers = Readonly<Record<Role, { readonly off: number; readonly bytes: number }>>;

/** Every buffer starts on a cache line of its own. */
const ALIGN = 64;

const bitsOf = (format: number) => 2 ** (format & 7);

/** Bytes from one row of int32 results to the next. */
export function accumulatorStride(columns: number): number {
  return Math.ceil((columns * 4) / BEAT_BYTES) * BEAT_BYTES;
}

/** Bytes from one row of operand planes to the next. */
export function operandStride(columns: number, format: number, k0 = 0): number {
  return planeRowBytes(columns, bitsOf(format), k0);
}

/** Bytes of each buffer for one layer. */
function layerBytes(
  plan: Plan,
  layer: LayerPlan,
  { rows, sequences }: Geometry,
): Partial<Record<Role, number>> {
  const { hidden, heads, intermediate } = plan;
  const headSize = hidden / heads;
  const accumulators = (epilogue: EpiloguePlan, lines: number, columns: number) =>
    epilogue.kind === 'affine' ? lines * accumulatorStride(columns) : 0;
  const operand = (quantiser: QuantiserPlan) => rows * operandStride(hidden, quantiser.format);
  const result = (epilogue: EpiloguePlan, lines: number, columns: number) =>
    lines * operandStride(columns, resultFormat(epilogue)!);
  const { probability, context } = layer.attention;
  const minimum = (quantiser: QuantiserPlan) => (quantiser.kind === 'round-from-min' ? sequences.length : 0);
  const sum = (size: (sequence: Geometry['sequences'][number]) => number) =>
    sequences.reduce((total, place) => total + size(place), 0);
  return {
    queryIn: operand(layer.query.input),
    keyIn: operand(layer.key.input),
    valueIn: operand(layer.value.input),
    upIn: operand(layer.up.input),
    queryAcc: accumulators(layer.query.epilogue, rows, hidden),
    keyAcc: accumulators(layer.key.epilogue, rows, hidden),
    valueAcc: accumulators(layer.value.epilogue, hidden, rows),
    query: result(layer.query.epilogue, rows, hidden),
    key: result(layer.key.epilogue, rows, hidden),
    value: result(layer.value.epilogue, hidden, rows),
    scores: sum(({ length }) => heads * length * accumulatorStride(length)),
    probabilities: sum(({ length, k0 }) => heads * length * operandStride(length, probability.format, k0)),
    probabilityMinima: minimum(probability) * 8,
    valueSums: minimum(probability) * accumulatorStride(hidden),
    contextAcc: context.kind === 'affine' ? heads * rows * accumulatorStride(headSize) : 0,
    context: result(context, rows, hidden),
    projected: rows * accumulatorStride(hidden),
    upAcc: accumulators(layer.up.epilogue, rows, intermediate),
    up: result(layer.up.epilogue, rows, intermediate),
    upMinima: minimum(layer.down.input) * 8,
  };
}

/** Lays the arena out from window offset `base`. */
export function planMemory(
  plan: Plan,
  geometry: Geometry,
  base: number,
): { buffers: Buffers; bytes: number } {
  const { rows, sequences } = geometry;
  const count = sequences.length;
  const sizes = new Map<Role, number>([
    ['ids', rows * 4],
    ['positions', rows * 4],
    ['types', rows * 4],
    ['starts', (count + 1) * 4],
    ['x', rows * plan.hidden * 4],
    ['poolerAcc', count * accumulatorStride(plan.hidden)],
    ['pooled', count * plan.hidden * 4],
    ['logits', count * plan.labels.length * 4],
    // The pooler's operand takes the place of the next layer's query.
    ['queryIn', rows * operandStride(plan.hidden, plan.pooler.input.format)],
  ]);
  for (const layer of plan.layers) {
    for (const [role, bytes] of Object.entries(layerBytes(plan, layer, geometry)) as [Role, number][]) {
      sizes.set(role, Math.max(sizes.get(role) ?? 0, bytes));
    }
  }
  let off = base;
  const buffers = {} as Record<Role, { off: number; bytes: number }>;
  for (const role of ROLES) {
    const bytes = sizes.get(role) ?? 0;
    buffers[role] = { off, bytes };
    off += Math.ceil(bytes / ALIGN) * ALIGN;
  }
  return { buffers, bytes: off - base };
}
