/**
 * The compiled model: what the compiler made of a description, and what an artifact carries. A plan names tensors and holds
 * every number a program needs; a program for a batch is generated from it (compiler/program.ts). The schema is strict,
 * because a plan read from a file comes from outside.
 */
import { z } from 'zod';
import type { Task } from './task.js';

/** Largest sizes of a model. Beyond them it is not a BERT encoder but an attack or a mistake. */
export const MODEL_LIMITS = {
  /** Hidden and intermediate size, heads, tokens of a sequence: the widest row of a vector step. */
  width: 32768,
  layers: 1024,
  /** Rows of an embedding table. */
  rows: 4_000_000,
  labels: 1_000_000,
  /** Fewest tokens of a sequence: [CLS], a word, [SEP]. */
  leastTokens: 3,
} as const;

/** Name of a tensor in the artifact. */
const tensor = z.string().min(1).max(200);
const size = z.number().int().min(1).max(MODEL_LIMITS.width);
const rows = z.number().int().min(1).max(MODEL_LIMITS.rows);
const finite = z.number();
/** Branches of a layer: records behind one vector step (native/vector/steps.yaml). */
const BRANCHES_MAX = 2;
const format = z.number().int().min(0).max(0x3f);

/** Bit-planes of a weight matrix: rows of `stride` bytes in format `format`. */
const planes = z.strictObject({
  tensor,
  rows,
  cols: size,
  format,
  stride: z
    .number()
    .int()
    .min(16)
    .max(2 ** 20),
});

/** An activation quantiser and the operand format its codes are packed in. */
const quantiser = z.strictObject({
  kind: z.enum(['sign', 'round', 'round-from-min', 'symmetric', 'asymmetric']),
  format,
  /** Step size; 1 where it is found at run time. */
  step: finite.positive(),
  /** Bounds of the values that a range is taken of; null where there are none. */
  clip: z.strictObject({ low: finite, high: finite }).nullable(),
  qmin: z.number().int().min(-128).max(0),
  qmax: z.number().int().min(0).max(255),
  /** f32 per channel, added before quantising. */
  shift: tensor.nullable(),
});

/** A scale: one number, or f64 per output channel. */
const scale = z.union([finite, z.strictObject({ tensor })]);

/** One product of a layer: what stands before the integers of one branch. */
const term = z.strictObject({
  /** Real value of one unit of D, times whatever steps are found at run time. */
  scale,
  /** f64 per channel, multiplied by the run-time offset t of the input; null where the input has none. */
  sums: tensor.nullable(),
});

/**
 * How integer results become the next operands. `threshold` and `fixed-point`: by a table of the engine's epilogue, exactly; one bit, or
 * several. `affine`: the engine returns integers (model/integers.ts says how wide) and a vector step computes the terms, bias and activation, and
 * the codes of every quantiser that reads the result (none: real values).
 */
const engine = z.strictObject({
  kind: z.enum(['threshold', 'fixed-point']),
  format,
  table: tensor,
  why: z.string().max(300),
});
const affine = z.strictObject({
  kind: z.literal('affine'),
  terms: z.array(term).min(1).max(BRANCHES_MAX),
  bias: tensor.nullable(),
  quantisers: z.array(quantiser).max(BRANCHES_MAX),
  why: z.string().max(300),
});
const epilogue = z.discriminatedUnion('kind', [engine, affine]);

/** Each branch reads the same real values through its own quantiser. */
const branch = z.strictObject({ input: quantiser, weight: planes });
const linear = z.strictObject({
  name: z.string().max(200),
  branches: z.array(branch).min(1).max(BRANCHES_MAX),
  epilogue,
});

const norm = z.strictObject({ gamma: tensor, beta: tensor, epsilon: finite.nonnegative() });
const real = z.strictObject({ tensor, rows });

/** How scores become probabilities. */
const scores = {
  /** Real score of one integer unit, times whatever steps are found at run time. */
  scale: finite.positive(),
  /** f64 exp(-scale*i), i from 0; null where scores have too many distinct values, or the scale is found at run time. */
  exponentials: z.strictObject({ tensor, length: z.number().int().min(1).max(65536) }).nullable(),
};
const softmax = z.strictObject({ kind: z.literal('softmax'), ...scores, probability: quantiser });
/** Probabilities that are not quantised: a vector step multiplies them with V. */
const realSoftmax = z.strictObject({ kind: z.literal('real'), ...scores });
/** P = 1 where the score is above 0: a threshold in the engine, one table entry per key. */
const boolean = z.strictObject({ kind: z.literal('boolean'), format, table: tensor });

const attention = z.strictObject({
  probabilities: z.discriminatedUnion('kind', [softmax, realSoftmax, boolean]),
  /** Step of V's codes, 1 where it is found at run time: factor of the run-time offset of P. */
  valueStep: finite.positive(),
  context: epilogue,
});

const layer = z.strictObject({
  query: linear,
  key: linear,
  value: linear,
  attention,
  output: linear,
  attentionNorm: norm,
  up: linear,
  activation: z.enum(['relu', 'gelu']),
  down: linear,
  outputNorm: norm,
});

const dense = z.strictObject({ weight: real, bias: tensor });

/** What stands on the encoder (model/description.ts, Head). */
const head = z.discriminatedUnion('task', [
  z.strictObject({ task: z.literal('sequence-classification'), pooler: linear, dense }),
  z.strictObject({ task: z.literal('token-classification'), dense }),
  z.strictObject({ task: z.literal('question-answering'), dense }),
  z.strictObject({ task: z.literal('hidden-states') }),
]);

const widths = z
  .array(z.union([z.literal(1), z.literal(2), z.literal(4), z.literal(8), z.literal(16), z.literal(32)]))
  .max(6);

export const planSchema = z.strictObject({
  family: z.string().max(100),
  hidden: size,
  heads: size,
  /** Columns of all heads together: rows of the projections. */
  attentionSize: size,
  intermediate: size,
  maxTokens: size.min(MODEL_LIMITS.leastTokens),
  embeddings: z.strictObject({
    words: z
      .array(z.strictObject({ planes, scale: tensor }))
      .min(1)
      .max(BRANCHES_MAX),
    position: real,
    type: real,
    norm,
  }),
  layers: z.array(layer).min(1).max(MODEL_LIMITS.layers),
  head,
  /** A row of `onesLength` ones for sums of codes; null where neither Q nor P has a run-time offset. */
  ones: tensor.nullable(),
  /** Epilogue table of `identityLength` entries that pass int16 results unchanged; null where there are none. */
  identity: tensor.nullable(),
  /** Class names in the order of the head's rows; empty where the task has no classes. */
  labels: z.array(z.string().max(1000)).max(MODEL_LIMITS.labels),
  /** What a device must offer (docs/contract.md, CAPS and limits). */
  requirements: z.strictObject({
    aBits: widths,
    bBits: widths,
    oBits: widths,
    maxK: z.number().int().min(1),
    maxKp: z.number().int().min(1),
  }),
});

export type Plan = z.infer<typeof planSchema>;
export type HeadPlan = z.infer<typeof head>;
export type LayerPlan = z.infer<typeof layer>;
export type LinearPlan = z.infer<typeof linear>;
export type QuantiserPlan = z.infer<typeof quantiser>;
export type EpiloguePlan = z.infer<typeof epilogue>;
export type AffinePlan = z.infer<typeof affine>;
export type BranchPlan = z.infer<typeof branch>;
export type TermPlan = z.infer<typeof term>;
export type ProbabilitiesPlan = z.infer<typeof attention>['probabilities'];
export type PlanesPlan = z.infer<typeof planes>;
export type ScalePlan = z.infer<typeof scale>;
export type NormPlan = z.infer<typeof norm>;

/** What a model gives for a sequence: rows of `width` float32 values, one row for each token or one for the whole sequence. */
export interface OutputShape {
  readonly perToken: boolean;
  readonly width: number;
}

/** Shape of what the head of a plan gives. */
export function outputShape({ head, hidden }: Pick<Plan, 'head' | 'hidden'>): OutputShape {
  const task: Task = head.task;
  return {
    perToken: task !== 'sequence-classification',
    width: head.task === 'hidden-states' ? hidden : head.dense.weight.rows,
  };
}

/** Elements of the row of ones: it adds up tokens (codes of V), or a head, wherever it begins (codes of K). */
export function onesLength({ maxTokens, attentionSize }: Pick<Plan, 'maxTokens' | 'attentionSize'>): number {
  return Math.max(maxTokens, attentionSize);
}

/** A plan with the bytes of its tensors: what the compiler returns and an artifact stores. */
export interface CompiledModel {
  readonly plan: Plan;
  readonly tensors: ReadonlyMap<string, Uint8Array>;
}
