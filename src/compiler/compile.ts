/**
 * The computation flow abstraction of the paper, taken to integers: every matrix product becomes an integer QMM, everything
 * real-valued around it one merged epilogue, and where one bit follows, an integer threshold (docs/quantisation.md).
 */
import { BLOCK_ELEMENTS } from '../device/contract.generated.js';
import { formatByte, planeRowBytes, rowBlocks, type Width } from '../device/descriptor.js';
import { hasZero } from '../model/binarise.js';
import type {
  Activation,
  EncoderLayer,
  Linear,
  ModelDescription,
  Norm,
  Quantiser,
} from '../model/description.js';
import type {
  AffinePlan,
  CompiledModel,
  EpiloguePlan,
  LayerPlan,
  LinearPlan,
  NormPlan,
  Plan,
  PlanesPlan,
} from '../model/plan.js';
import { packWeights } from '../model/planes.js';
import { Constants } from './constants.js';
import { chooseEpilogue, type Site } from './epilogues.js';
import { largestCode, PM1, planQuantiser, resultFormat, TERNARY } from './formats.js';

export interface CompileOptions {
  /** Longest sequence, tokens; at most the position table's rows, which is the default. */
  readonly maxTokens?: number;
}

/** Longest table of exponentials: beyond it exp() is as quick as the cache misses. */
const EXPONENTIALS_MAX = 1024;

class Compiler {
  readonly constants = new Constants();
  readonly #model: ModelDescription;
  readonly #maxTokens: number;

  constructor(model: ModelDescription, maxTokens: number) {
    this.#model = model;
    this.#maxTokens = maxTokens;
  }

  get #headSize(): number {
    return this.#model.hidden / this.#model.heads;
  }

  #planes(name: string, weight: Linear['weight']): PlanesPlan {
    const ternary = hasZero(weight);
    const { bytes, stride } = packWeights(weight, ternary);
    return {
      tensor: this.constants.add(`${name}.planes`, bytes),
      rows: weight.rows,
      cols: weight.cols,
      format: formatByte(ternary ? TERNARY : PM1),
      stride,
    };
  }

  norm(name: string, { gamma, beta, epsilon }: Norm): NormPlan {
    return {
      gamma: this.constants.add(`${name}.gamma`, gamma),
      beta: this.constants.add(`${name}.beta`, beta),
      epsilon,
    };
  }

  /** scale, bias and column sums of a linear layer for an affine step. */
  #affine(linear: Linear): Pick<AffinePlan, 'scale' | 'bias' | 'sums'> {
    const { name, weightScale, input } = linear;
    const perRow = weightScale.length > 1;
    return {
      scale: perRow
        ? {
            tensor: this.constants.add(
              `${name}.scale`,
              weightScale.map((scale) => input.step * scale),
            ),
          }
        : input.step * weightScale[0]!,
      bias: this.constants.add(`${name}.bias`, linear.bias),
      sums: input.offset === 'minimum' ? this.constants.add(`${name}.sums`, columnSums(linear)) : null,
    };
  }

  /** A linear layer whose input codes are in format `inputFormat`. */
  linear(linear: Linear, inputZero: boolean, epilogue: (inputZero: boolean) => EpiloguePlan): LinearPlan {
    return {
      name: linear.name,
      weight: this.#planes(linear.name, linear.weight),
      input: planQuantiser(linear.input, inputZero, `${linear.name}.input`, this.constants),
      epilogue: epilogue(inputZero),
    };
  }

  /** Epilogue of a linear layer that a quantiser follows, through `activation`. */
  quantised(
    linear: Linear,
    inputZero: boolean,
    activation: Activation | 'identity',
    next: Quantiser,
  ): EpiloguePlan {
    const { weightScale, input, weight } = linear;
    const twoValued = !inputZero && input.signed && input.bits === 1 && !hasZero(weight);
    const site: Site = {
      name: `${linear.name}.result`,
      channels: weight.rows,
      scale: (channel) => input.step * weightScale[weightScale.length > 1 ? channel : 0]!,
      bias: linear.bias,
      activation,
      next,
      accumulators: { bound: largestCode(input) * weight.cols, parityOf: twoValued ? weight.cols : null },
      obstacle: input.offset === 'minimum' ? 'the input has a run-time offset' : null,
    };
    return chooseEpilogue(site, () => this.#affine(linear), this.constants);
  }

  /** Epilogue of a linear layer whose real values are needed: a residual, or the pooler's tanh. */
  real(linear: Linear): EpiloguePlan {
    return { kind: 'affine', ...this.#affine(linear), quantiser: null, why: 'its real values are needed' };
  }

  /** A linear layer that reads a LayerNorm's output. */
  #afterNorm(linear: Linear, norm: Norm, epilogue: (inputZero: boolean) => EpiloguePlan): LinearPlan {
    return this.linear(linear, normCanBeZero(norm, linear.input), epilogue);
  }

  layer(layer: EncoderLayer, index: number, inputNorm: Norm): LayerPlan {
    const { q, k, v, p } = layer;
    const project = (linear: Linear, next: Quantiser) =>
      this.#afterNorm(linear, inputNorm, (zero) => this.quantised(linear, zero, 'identity', next));
    const query = project(layer.query, q);
    const key = project(layer.key, k);
    const value = project(layer.value, v);
    const context = this.#context(layer, index);
    const up = this.#afterNorm(layer.up, layer.attentionNorm, (zero) =>
      this.quantised(layer.up, zero, layer.activation, layer.down.input),
    );
    return {
      query,
      key,
      value,
      attention: {
        scale: (q.step * k.step) / Math.sqrt(this.#headSize),
        exponentials: this.#exponentials(layer, index),
        // sign(p) is 0 where p underflows: two planes, so that the rare zero is not lost.
        probability: planQuantiser(p, p.signed && p.bits === 1, `layer.${index}.probability`, this.constants),
        valueStep: v.step,
        context,
      },
      output: this.linear(withoutShift(layer.output), isTernary(context), () => this.real(layer.output)),
      attentionNorm: this.norm(`layer.${index}.attention.norm`, layer.attentionNorm),
      up,
      activation: layer.activation,
      down: this.linear(withoutShift(layer.down), isTernary(up.epilogue), () => this.real(layer.down)),
      outputNorm: this.norm(`layer.${index}.output.norm`, layer.outputNorm),
    };
  }

  /** P.V to the input codes of the output projection: real value p.step * v.step * D (+ t * v.step * sum of V). */
  #context({ p, v, output }: EncoderLayer, index: number): EpiloguePlan {
    const scale = p.step * v.step;
    const obstacle =
      p.offset === 'minimum'
        ? 'the probabilities have a run-time offset'
        : this.#headSize % 8 !== 0
          ? `heads of ${this.#headSize} columns do not start at a byte`
          : null;
    const site: Site = {
      name: `layer.${index}.context`,
      channels: this.#model.hidden,
      scale: () => scale,
      bias: null,
      activation: 'identity',
      next: output.input,
      accumulators: { bound: largestCode(p) * largestCode(v) * this.#maxTokens, parityOf: null },
      obstacle,
    };
    return chooseEpilogue(site, () => ({ scale, bias: null, sums: null }), this.constants);
  }

  /** exp(-scale*i) for every distance a score can have from its row's maximum, if they are few. */
  #exponentials({ q, k }: EncoderLayer, index: number): LayerPlan['attention']['exponentials'] {
    const length = 2 * this.#headSize * largestCode(q) * largestCode(k) + 1;
    if (length > EXPONENTIALS_MAX) return null;
    const scale = (q.step * k.step) / Math.sqrt(this.#headSize);
    const values = Float64Array.from({ length }, (_, distance) => Math.exp(-scale * distance));
    return { tensor: this.constants.add(`layer.${index}.exponentials`, values), length };
  }

  /** A row of ones as long as any sequence at any k0: the operand that sums the codes of V over a sequence. */
  #ones(): string {
    return this.constants.add(
      'ones',
      new Uint8Array(planeRowBytes(this.#maxTokens, 1, BLOCK_ELEMENTS - 1)).fill(0xff),
    );
  }

  plan(): Plan {
    const { embeddings, layers, pooler, classifier } = this.#model;
    const word = this.#planes('embeddings.word', embeddings.word);
    const real = (name: string, values: Float32Array, rows: number) => ({
      tensor: this.constants.add(name, values),
      rows,
    });
    const norms = [embeddings.norm, ...layers.map((layer) => layer.outputNorm)];
    const plans = layers.map((layer, index) => this.layer(layer, index, norms[index]!));
    const poolerPlan = this.#afterNorm(pooler, norms.at(-1)!, () => this.real(pooler));
    return {
      family: this.#model.family,
      task: 'sequence-classification',
      hidden: this.#model.hidden,
      heads: this.#model.heads,
      intermediate: this.#model.intermediate,
      maxTokens: this.#maxTokens,
      embeddings: {
        word,
        wordScale: this.constants.add('embeddings.word.scale', embeddings.wordScale),
        position: real('embeddings.position', embeddings.position.values, embeddings.position.rows),
        type: real('embeddings.type', embeddings.type.values, embeddings.type.rows),
        norm: this.norm('embeddings.norm', embeddings.norm),
      },
      layers: plans,
      pooler: poolerPlan,
      classifier: {
        weight: real('classifier.weight', classifier.weight.values, classifier.weight.rows),
        bias: this.constants.add('classifier.bias', classifier.bias),
      },
      ones: layers.some(({ p }) => p.offset === 'minimum') ? this.#ones() : null,
      labels: [...this.#model.labels],
      requirements: requirements(this.#model, plans, poolerPlan, this.#maxTokens),
    };
  }
}

/** A layer whose input codes come from the epilogue before it, which has used the shift already. */
function withoutShift(linear: Linear): Linear {
  return { ...linear, input: { ...linear.input, shift: null } };
}

/** f64 per output channel: weight scale times the sum of the row's codes; the run-time offset of the input multiplies it. */
function columnSums({ weight, weightScale }: Linear): Float64Array {
  return Float64Array.from({ length: weight.rows }, (_, row) => {
    let sum = 0;
    for (let i = row * weight.cols; i < (row + 1) * weight.cols; i++) sum += weight.codes[i]!;
    return sum * weightScale[weightScale.length > 1 ? row : 0]!;
  });
}

/**
 * True where a channel of a LayerNorm is a constant that the shift cancels: sign(0) = 0 is then the rule and not a rounding
 * accident, so the operand needs its third level.
 */
function normCanBeZero({ gamma, beta }: Norm, { signed, bits, shift }: Quantiser): boolean {
  if (!signed || bits !== 1) return false;
  return gamma.some((value, channel) => value === 0 && beta[channel]! + (shift?.[channel] ?? 0) === 0);
}

function isTernary(epilogue: EpiloguePlan): boolean {
  return (
    resultFormat(epilogue) === formatByte(TERNARY) &&
    epilogue.kind === 'affine' &&
    epilogue.quantiser?.kind === 'sign'
  );
}

/** Widths and limits that the programs of a plan need of a device, whatever the batch. */
function requirements(
  model: ModelDescription,
  layers: readonly LayerPlan[],
  pooler: LinearPlan,
  maxTokens: number,
): Plan['requirements'] {
  const bitsOf = (format: number) => 2 ** (format & 7);
  const a = new Set<number>();
  const b = new Set<number>();
  const o = new Set<number>();
  let maxKp = 0;
  const product = (aFormat: number, bFormat: number, k: number, epilogue: EpiloguePlan | null, k0 = 0) => {
    a.add(bitsOf(aFormat));
    b.add(bitsOf(bFormat));
    o.add(epilogue?.kind === 'threshold' ? bitsOf(epilogue.format) : 32);
    maxKp = Math.max(maxKp, rowBlocks(k, k0) * Math.max(bitsOf(aFormat), bitsOf(bFormat)));
  };
  const linear = ({ input, weight, epilogue }: LinearPlan) =>
    product(input.format, weight.format, weight.cols, epilogue);
  for (const { query, key, value, attention, output, up, down } of layers) {
    for (const plan of [query, key, output, up, down]) linear(plan);
    product(value.weight.format, value.input.format, value.weight.cols, value.epilogue);
    product(resultFormat(query.epilogue)!, resultFormat(key.epilogue)!, model.hidden, null);
    // A sequence may start at any element of a block of packed tokens.
    product(
      attention.probability.format,
      resultFormat(value.epilogue)!,
      maxTokens,
      attention.context,
      BLOCK_ELEMENTS - 1,
    );
    if (attention.probability.kind === 'round-from-min')
      product(0, resultFormat(value.epilogue)!, maxTokens, null, BLOCK_ELEMENTS - 1);
  }
  linear(pooler);
  const sorted = (set: Set<number>) => [...set].sort((x, y) => x - y) as Width[];
  return {
    aBits: sorted(a),
    bBits: sorted(b),
    oBits: sorted(o),
    maxK: Math.max(model.hidden, model.intermediate, maxTokens),
    maxKp,
  };
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
