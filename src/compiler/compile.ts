/**
 * The computation flow abstraction of the paper, taken to integers: every matrix product becomes an integer QMM, everything
 * real-valued around it one merged epilogue, and where one bit follows, an integer threshold (docs/quantisation.md).
 */
import { formatByte, planeRowBytes } from '../device/descriptor.js';
import type { EncoderLayer, ModelDescription, Norm, Quantiser } from '../model/description.js';
import { isFound } from '../model/description.js';
import { identityLength, integersOf } from '../model/integers.js';
import type {
  CompiledModel,
  EpiloguePlan,
  HeadPlan,
  LayerPlan,
  LinearPlan,
  NormPlan,
  Plan,
  ProbabilitiesPlan,
} from '../model/plan.js';
import { onesLength } from '../model/plan.js';
import { Constants } from './constants.js';
import { chooseEpilogue, identityTable, thresholdTable } from './epilogues.js';
import { hasOffset, isSign, knownStep, largestCode, planQuantiser } from './formats.js';
import {
  linearAfterEpilogue,
  linearAfterNorm,
  planPlanes,
  quantisedEpilogue,
  realEpilogue,
} from './linears.js';
import { requirements } from './requirements.js';

export interface CompileOptions {
  /** Longest sequence, tokens; at most the position table's rows, which is the default. */
  readonly maxTokens?: number;
}

/** Why the context of real probabilities is the CPU's. */
const NOT_QUANTISED = 'P is not quantised';

/** Longest table of exponentials: beyond it exp() is as quick as the cache misses. */
const EXPONENTIALS_MAX = 1024;

/** True where an offset found at run time multiplies a sum of codes: that of P the codes of V, that of Q the codes of K. */
const needsOnes = ({ q, p }: EncoderLayer) =>
  (typeof p !== 'string' && hasOffset(p)) || (p !== 'boolean' && hasOffset(q));

class Compiler {
  readonly constants = new Constants();
  readonly #model: ModelDescription;
  readonly #maxTokens: number;

  constructor(model: ModelDescription, maxTokens: number) {
    this.#model = model;
    this.#maxTokens = maxTokens;
  }

  plan(): Plan {
    const { embeddings, layers } = this.#model;
    const words = embeddings.words.map(({ codes, scale }, index) => {
      const name = embeddings.words.length > 1 ? `embeddings.word.branch.${index}` : 'embeddings.word';
      return {
        planes: planPlanes(name, codes, this.constants),
        scale: this.constants.add(`${name}.scale`, scale),
      };
    });
    const real = (name: string, values: Float32Array, rows: number) => ({
      tensor: this.constants.add(name, values),
      rows,
    });
    const norms = [embeddings.norm, ...layers.map((layer) => layer.outputNorm)];
    const plans = layers.map((layer, index) => this.#layer(layer, index, norms[index]!));
    const head = this.#head(norms.at(-1)!);
    const plan = {
      family: this.#model.family,
      hidden: this.#model.hidden,
      heads: this.#model.heads,
      attentionSize: this.#model.attentionSize,
      intermediate: this.#model.intermediate,
      maxTokens: this.#maxTokens,
      embeddings: {
        words,
        position: real('embeddings.position', embeddings.position.values, embeddings.position.rows),
        type: real('embeddings.type', embeddings.type.values, embeddings.type.rows),
        norm: this.#norm('embeddings.norm', embeddings.norm),
      },
      layers: plans,
      head,
      ones: layers.some(needsOnes) ? this.#ones() : null,
      labels: [...this.#model.labels],
    };
    return { ...plan, identity: this.#identity(plan), requirements: requirements(plan) };
  }

  /** The head, on the rows of the last layer's norm. */
  #head(inputNorm: Norm): HeadPlan {
    const { head } = this.#model;
    if (head.task === 'hidden-states') return { task: head.task };
    const { weight, bias } = head.dense;
    const dense = {
      weight: { tensor: this.constants.add('head.weight', weight.values), rows: weight.rows },
      bias: this.constants.add('head.bias', bias),
    };
    if (head.task !== 'sequence-classification') return { task: head.task, dense };
    const { pooler } = head;
    const plan = linearAfterNorm(
      pooler,
      inputNorm,
      () => realEpilogue(pooler, this.constants),
      this.constants,
    );
    return { task: head.task, pooler: plan, dense };
  }

  get #headSize(): number {
    return this.#model.attentionSize / this.#model.heads;
  }

  #norm(name: string, { gamma, beta, epsilon }: Norm): NormPlan {
    return {
      gamma: this.constants.add(`${name}.gamma`, gamma),
      beta: this.constants.add(`${name}.beta`, beta),
      epsilon,
    };
  }

  #layer(layer: EncoderLayer, index: number, inputNorm: Norm): LayerPlan {
    const { constants } = this;
    const project = (linear: EncoderLayer['query'], next: Quantiser): LinearPlan =>
      linearAfterNorm(
        linear,
        inputNorm,
        (zero) => quantisedEpilogue(linear, zero, 'identity', [next], constants),
        constants,
      );
    const context = this.#context(layer, index);
    const { up, down } = layer;
    const downInputs = down.branches.map(({ input }) => input);
    const upPlan = linearAfterNorm(
      up,
      layer.attentionNorm,
      (zero) => quantisedEpilogue(up, zero, layer.activation, downInputs, constants),
      constants,
    );
    return {
      query: project(layer.query, layer.q),
      key: project(layer.key, layer.k),
      value: project(layer.value, layer.v),
      attention: { probabilities: this.#probabilities(layer, index), valueStep: knownStep(layer.v), context },
      output: linearAfterEpilogue(layer.output, context, constants),
      attentionNorm: this.#norm(`layer.${index}.attention.norm`, layer.attentionNorm),
      up: upPlan,
      activation: layer.activation,
      down: linearAfterEpilogue(down, upPlan.epilogue, constants),
      outputNorm: this.#norm(`layer.${index}.output.norm`, layer.outputNorm),
    };
  }

  #probabilities({ q, k, p }: EncoderLayer, index: number): ProbabilitiesPlan {
    if (p === 'boolean') {
      // P = 1 where the score is above 0: one table entry for each key, the same for all.
      const table = thresholdTable(new Int32Array(this.#maxTokens).fill(1), false);
      return {
        kind: 'boolean',
        format: formatByte({ bits: 1, encoding: 'U' }),
        table: this.constants.add(`layer.${index}.probability.thresholds`, table),
      };
    }
    const scale = (knownStep(q) * knownStep(k)) / Math.sqrt(this.#headSize);
    const exponentials =
      isFound(q) || isFound(k) ? null : this.#exponentials(scale, largestCode(q) * largestCode(k), index);
    if (p === 'real') return { kind: 'real', scale, exponentials };
    return {
      kind: 'softmax',
      scale,
      exponentials,
      // sign(p) is 0 where p underflows: two planes, so that the rare zero is not lost.
      probability: planQuantiser(p, isSign(p), `layer.${index}.probability`, this.constants),
    };
  }

  /** exp(-scale*i) for every distance a score can have from its row's maximum, if they are few. */
  #exponentials(scale: number, largestProduct: number, index: number) {
    const length = 2 * this.#headSize * largestProduct + 1;
    if (length > EXPONENTIALS_MAX) return null;
    const values = Float64Array.from({ length }, (_, distance) => Math.exp(-scale * distance));
    return { tensor: this.constants.add(`layer.${index}.exponentials`, values), length };
  }

  /** P.V to the input codes of the output projection: p.step * v.step * D, and what offsets of P and V add. */
  #context({ p, v, output }: EncoderLayer, index: number): EpiloguePlan {
    const codes = typeof p === 'string' ? null : p;
    const scale = (codes === null ? 1 : knownStep(codes)) * knownStep(v);
    const found = (codes !== null && isFound(codes)) || isFound(v);
    const obstacle =
      p === 'real'
        ? NOT_QUANTISED
        : found
          ? 'steps or offsets of P or V are found at run time'
          : this.#headSize % 8 === 0
            ? null
            : `heads of ${this.#headSize} columns do not start at a byte`;
    const site = {
      name: `layer.${index}.context`,
      channels: this.#model.attentionSize,
      scale: () => scale,
      bias: null,
      activation: 'identity' as const,
      next: output.branches.map(({ input }) => input),
      accumulators: {
        bound:
          found || p === 'real'
            ? 0
            : (codes === null ? 1 : largestCode(codes)) * largestCode(v) * this.#maxTokens,
        parityOf: null,
      },
      obstacle,
    };
    const epilogue = chooseEpilogue(
      site,
      () => ({ terms: [{ scale, sums: null }], bias: null }),
      this.constants,
    );
    return p === 'real' ? { ...epilogue, why: NOT_QUANTISED } : epilogue;
  }

  #identity(plan: Omit<Plan, 'identity' | 'requirements'>): string | null {
    if (!integersOf(plan).has(16)) return null;
    return this.constants.add('identity', identityTable(identityLength(plan)));
  }

  /** The row of ones: the operand that sums codes of V over a sequence, or codes of K over a head. */
  #ones(): string {
    const length = onesLength({ maxTokens: this.#maxTokens, attentionSize: this.#model.attentionSize });
    return this.constants.add('ones', new Uint8Array(planeRowBytes(length, 1)).fill(0xff));
  }
}

/** Compiles a model. Throws RangeError where `maxTokens` is more than the model has positions. */
export function compileModel(model: ModelDescription, options: CompileOptions = {}): CompiledModel {
  const positions = model.embeddings.position.rows;
  const maxTokens = options.maxTokens ?? positions;
  if (!Number.isInteger(maxTokens) || maxTokens < 3 || maxTokens > positions) {
    throw new RangeError(
      `max tokens ${maxTokens}: this model has ${positions} positions, choose 3 to ${positions}`,
    );
  }
  const compiler = new Compiler(model, maxTokens);
  const plan = compiler.plan();
  return { plan, tensors: compiler.constants.tensors };
}
