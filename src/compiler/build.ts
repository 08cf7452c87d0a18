/**
 * Plan and batch geometry to program: the forward pass of a post-LayerNorm encoder. The engine gets work as early as its operands
 * exist; the CPU waits for a count, never for "everything".
 */
import { BLOCK_ELEMENTS, FLAG } from '../device/contract.generated.js';
import { blockOffset, formatByte } from '../device/descriptor.js';
import type {
  AffinePlan,
  EpiloguePlan,
  LayerPlan,
  LinearPlan,
  NormPlan,
  Plan,
  QuantiserPlan,
} from '../model/plan.js';
import { STEP_ACTIVATION, STEP_QUANTISER } from '../native/steps.generated.js';
import { DescriptorWriter } from './descriptor-writer.js';
import { resultFormat } from './formats.js';
import { type Geometry, packSequences } from './geometry.js';
import { accumulatorStride, type Buffers, operandStride, planMemory, type Role } from './memory.js';
import type { Operation, Program, WindowRange } from './program.js';
import { type StepFields, StepWriter } from './step-writer.js';

const INT32 = formatByte({ bits: 32, encoding: 'S' });
const U1 = formatByte({ bits: 1, encoding: 'U' });

const KIND = {
  sign: STEP_QUANTISER.SIGN,
  round: STEP_QUANTISER.ROUND,
  'round-from-min': STEP_QUANTISER.ROUND_FROM_MIN,
} as const;
const ACTIVATION = {
  relu: STEP_ACTIVATION.RELU,
  gelu: STEP_ACTIVATION.GELU,
  tanh: STEP_ACTIVATION.TANH,
  identity: STEP_ACTIVATION.IDENTITY,
} as const;

/** Where the tensors of a loaded model lie in the window. */
export type TensorAddress = (name: string) => number;

/** A quantiser with the buffer its codes go to. */
interface Consumer {
  readonly quantiser: QuantiserPlan;
  readonly role: Role;
}

class Builder {
  readonly #plan: Plan;
  readonly #address: TensorAddress;
  readonly #geometry: Geometry;
  readonly #buffers: Buffers;
  readonly #arenaBytes: number;
  readonly #descriptors = new DescriptorWriter();
  readonly #steps = new StepWriter();
  readonly #operations: Operation[] = [];
  #submitted = 0;

  constructor(plan: Plan, address: TensorAddress, lengths: readonly number[], base: number) {
    this.#plan = plan;
    this.#address = address;
    this.#geometry = packSequences(lengths);
    const { buffers, bytes } = planMemory(plan, this.#geometry, base);
    this.#buffers = buffers;
    this.#arenaBytes = bytes;
  }

  build(): Program {
    const { layers, pooler } = this.#plan;
    this.#embed(layers[0]!);
    layers.forEach((layer, index) => {
      this.#project(layer);
      this.#attend(layer);
      this.#feedForward(layer, layers[index + 1]);
    });
    this.#classify(pooler);
    const at = (role: Role) => this.#buffers[role].off;
    return {
      descriptors: this.#descriptors.finish(),
      steps: this.#steps.finish(),
      operations: this.#operations,
      arenaBytes: this.#arenaBytes,
      inputs: { ids: at('ids'), positions: at('positions'), types: at('types'), starts: at('starts') },
      logits: at('logits'),
    };
  }

  // --- the forward pass, in order ---

  #embed(first: LayerPlan): void {
    const { hidden, embeddings } = this.#plan;
    const { word, position, type } = embeddings;
    this.#vector('EMBED', this.#inputsOf(first), {
      rows: this.#geometry.rows,
      width: hidden,
      ids_off: this.#at('ids'),
      positions_off: this.#at('positions'),
      types_off: this.#at('types'),
      word_off: this.#address(word.tensor),
      word_stride: word.stride,
      word_format: word.format,
      word_scale_off: this.#address(embeddings.wordScale),
      position_off: this.#address(position.tensor),
      type_off: this.#address(type.tensor),
      words: word.rows,
      positions: position.rows,
      types: type.rows,
      ...this.#norm(embeddings.norm),
      out_off: this.#at('x'),
    });
  }

  /** Q, K and V^T. V comes out transposed because its weights are the A operand, so tokens are contiguous for P.V. */
  #project({ query, key, value }: LayerPlan): void {
    const { rows } = this.#geometry;
    const { hidden } = this.#plan;
    this.#linear(query, 'queryIn', query.epilogue.kind === 'threshold' ? 'query' : 'queryAcc');
    this.#linear(key, 'keyIn', key.epilogue.kind === 'threshold' ? 'key' : 'keyAcc');
    const direct = value.epilogue.kind === 'threshold';
    this.#descriptors.push({
      a: {
        off: this.#address(value.weight.tensor),
        stride: value.weight.stride,
        format: value.weight.format,
      },
      b: {
        off: this.#at('valueIn'),
        stride: operandStride(hidden, value.input.format),
        format: value.input.format,
      },
      o: direct
        ? {
            off: this.#at('value'),
            stride: operandStride(rows, resultFormat(value.epilogue)!),
            format: resultFormat(value.epilogue)!,
          }
        : { off: this.#at('valueAcc'), stride: accumulatorStride(rows), format: INT32 },
      m: hidden,
      n: rows,
      k: hidden,
      ...(value.epilogue.kind === 'threshold' && {
        flags: FLAG.TABLE_BY_ROW,
        table: this.#address(value.epilogue.table),
      }),
    });
    this.#submit();
    this.#requantise(query.epilogue, 'queryAcc', 'query', rows, hidden, {});
    this.#requantise(key.epilogue, 'keyAcc', 'key', rows, hidden, {});
    this.#requantise(value.epilogue, 'valueAcc', 'value', hidden, rows, { by_row: 1 });
  }

  /** Scores, softmax and context, a sequence at a time, so that the engine multiplies one while the CPU exponentiates another. */
  #attend(layer: LayerPlan): void {
    const { sequences } = this.#geometry;
    const { attention } = layer;
    if (attention.probability.kind === 'round-from-min') this.#sumValues(layer);
    let scores = this.#at('scores');
    const places = sequences.map((place) => {
      const off = scores;
      scores += this.#plan.heads * place.length * accumulatorStride(place.length);
      this.#score(layer, place, off);
      return { ...place, scores: off, counted: this.#descriptors.count };
    });
    this.#submit();
    let probabilities = this.#at('probabilities');
    places.forEach((place, index) => {
      const stride = operandStride(place.length, attention.probability.format, place.k0);
      this.#softmax(layer, index, place, place.scores, place.counted, probabilities, stride);
      this.#context(layer, place, probabilities, stride);
      probabilities += this.#plan.heads * place.length * stride;
    });
    const { context } = attention;
    const sums = attention.probability.kind === 'round-from-min';
    this.#requantise(
      context,
      'contextAcc',
      'context',
      this.#geometry.rows,
      this.#plan.hidden,
      {
        acc_stride: accumulatorStride(this.#headSize),
        block: this.#headSize,
        block_stride: this.#geometry.rows * accumulatorStride(this.#headSize),
        ...this.#bySequence(),
        ...(sums && {
          t_off: this.#at('probabilityMinima'),
          sums_off: this.#at('valueSums'),
          sums_stride: accumulatorStride(this.#plan.hidden),
          offset_scale: attention.valueStep,
        }),
      },
      { reads: sums ? ['valueSums'] : [] },
    );
    this.#linear(layer.output, 'context', 'projected');
    this.#submit();
    this.#residualNorm(layer.output, layer.attentionNorm, null, [
      { quantiser: layer.up.input, role: 'upIn' },
    ]);
  }

  #feedForward(layer: LayerPlan, next: LayerPlan | undefined): void {
    const { up, down } = layer;
    this.#linear(up, 'upIn', up.epilogue.kind === 'threshold' ? 'up' : 'upAcc');
    this.#submit();
    this.#requantise(
      up.epilogue,
      'upAcc',
      'up',
      this.#geometry.rows,
      this.#plan.intermediate,
      {
        activation: ACTIVATION[layer.activation],
        ...this.#bySequence(),
      },
      { minima: 'upMinima' },
    );
    this.#linear(down, 'up', 'projected');
    this.#submit();
    const consumers = next
      ? this.#inputsOf(next)
      : [{ quantiser: this.#plan.pooler.input, role: 'queryIn' as const }];
    this.#residualNorm(
      down,
      layer.outputNorm,
      down.input.kind === 'round-from-min' ? this.#at('upMinima') : null,
      consumers,
    );
  }

  /** Pooler on the first token of every sequence, tanh, classifier. */
  #classify(pooler: LinearPlan): void {
    const { hidden, classifier, labels } = this.#plan;
    const { sequences } = this.#geometry;
    const stride = operandStride(hidden, pooler.input.format);
    sequences.forEach(({ start }, index) => {
      this.#descriptors.push({
        a: { off: this.#at('queryIn') + start * stride, stride, format: pooler.input.format },
        b: {
          off: this.#address(pooler.weight.tensor),
          stride: pooler.weight.stride,
          format: pooler.weight.format,
        },
        o: {
          off: this.#at('poolerAcc') + index * accumulatorStride(hidden),
          stride: accumulatorStride(hidden),
          format: INT32,
        },
        m: 1,
        n: hidden,
        k: hidden,
      });
    });
    this.#submit();
    this.#wait(['poolerAcc']);
    const rows = sequences.length;
    this.#vector('AFFINE', [], {
      rows,
      width: hidden,
      acc_off: this.#at('poolerAcc'),
      acc_stride: accumulatorStride(hidden),
      block: hidden,
      sequences: 1,
      activation: ACTIVATION.tanh,
      ...this.#scale(pooler.epilogue as AffinePlan),
      out_off: this.#at('pooled'),
    });
    this.#vector('DENSE', [], {
      rows,
      width: hidden,
      out_width: labels.length,
      x_off: this.#at('pooled'),
      weight_off: this.#address(classifier.weight.tensor),
      bias_off: this.#address(classifier.bias),
      out_off: this.#at('logits'),
    });
  }

  // --- attention, one sequence ---

  /** valueSums[sequence][channel] = sum of V's codes over the sequence, as a product with a row of ones. */
  #sumValues({ value }: LayerPlan): void {
    const { hidden } = this.#plan;
    this.#geometry.sequences.forEach(({ length, k0 }, index) => {
      this.#descriptors.push({
        a: { off: this.#address(this.#plan.ones!), stride: operandStride(length, U1, k0), format: U1 },
        b: this.#valueOperand(value, 0, this.#geometry.sequences[index]!.start),
        o: {
          off: this.#at('valueSums') + index * accumulatorStride(hidden),
          stride: accumulatorStride(hidden),
          format: INT32,
        },
        m: 1,
        n: hidden,
        k: length,
        k0,
      });
    });
  }

  /** V^T from channel `channel` and the block that holds token `start`. */
  #valueOperand({ epilogue }: LinearPlan, channel: number, start: number) {
    const format = resultFormat(epilogue)!;
    const stride = operandStride(this.#geometry.rows, format);
    return {
      off: this.#at('value') + channel * stride + blockOffset(start, 2 ** (format & 7)),
      stride,
      format,
    };
  }

  /** Q.K^T of every head of one sequence. */
  #score({ query, key }: LayerPlan, { start, length }: Geometry['sequences'][number], scores: number): void {
    const { hidden, heads } = this.#plan;
    const operand = (role: Role, { epilogue }: LinearPlan, column: number) => {
      const format = resultFormat(epilogue)!;
      const stride = operandStride(hidden, format);
      return {
        off: this.#at(role) + start * stride + blockOffset(column, 2 ** (format & 7)),
        stride,
        format,
      };
    };
    const stride = accumulatorStride(length);
    for (let head = 0; head < heads; head++) {
      const column = head * this.#headSize;
      this.#descriptors.push({
        a: operand('query', query, column),
        b: operand('key', key, column),
        o: { off: scores + head * length * stride, stride, format: INT32 },
        m: length,
        n: length,
        k: this.#headSize,
        k0: column % BLOCK_ELEMENTS,
      });
    }
  }

  #softmax(
    { attention }: LayerPlan,
    index: number,
    { length, k0 }: Geometry['sequences'][number],
    scores: number,
    counted: number,
    probabilities: number,
    stride: number,
  ): void {
    const { heads } = this.#plan;
    const scoreStride = accumulatorStride(length);
    const { probability, exponentials } = attention;
    this.#operations.push({
      kind: 'wait',
      count: counted,
      reads: [{ off: scores, bytes: heads * length * scoreStride }],
    });
    const first = this.#steps.count;
    this.#steps.push('SOFTMAX', {
      consumers: 1,
      tokens: length,
      heads,
      acc_off: scores,
      acc_stride: scoreStride,
      head_stride: length * scoreStride,
      scale: attention.scale,
      table_off: exponentials ? this.#address(exponentials.tensor) : 0,
      table_length: exponentials?.length ?? 0,
    });
    this.#quantise(probability, {
      out_off: probabilities,
      out_stride: stride,
      out_head_stride: length * stride,
      k0,
      ...(probability.kind === 'round-from-min' && { found_off: this.#at('probabilityMinima') + index * 8 }),
    });
    this.#operations.push({
      kind: 'vector',
      first,
      count: 2,
      writes: [{ off: probabilities, bytes: heads * length * stride }],
    });
  }

  /** P.V of every head of one sequence, back in place beside the other heads, or as int32 per head. */
  #context(
    { value, attention }: LayerPlan,
    { start, length, k0 }: Geometry['sequences'][number],
    probabilities: number,
    stride: number,
  ): void {
    const { hidden, heads } = this.#plan;
    const { probability, context } = attention;
    const headSize = this.#headSize;
    for (let head = 0; head < heads; head++) {
      const column = head * headSize;
      const common = {
        a: { off: probabilities + head * length * stride, stride, format: probability.format },
        b: this.#valueOperand(value, column, start),
        m: length,
        n: headSize,
        k: length,
        k0,
      };
      if (context.kind === 'threshold') {
        const outStride = operandStride(hidden, context.format);
        this.#descriptors.push({
          ...common,
          o: {
            off: this.#at('context') + start * outStride + blockOffset(column, 2 ** (context.format & 7)),
            stride: outStride,
            format: context.format,
          },
          n0: column % BLOCK_ELEMENTS,
          table: this.#address(context.table) + column * 8,
        });
      } else {
        const outStride = accumulatorStride(headSize);
        this.#descriptors.push({
          ...common,
          o: {
            off: this.#at('contextAcc') + (head * this.#geometry.rows + start) * outStride,
            stride: outStride,
            format: INT32,
          },
        });
      }
    }
    this.#submit();
  }

  // --- pieces ---

  get #headSize(): number {
    return this.#plan.hidden / this.#plan.heads;
  }

  #at(role: Role): number {
    return this.#buffers[role].off;
  }

  #range(role: Role): WindowRange {
    return this.#buffers[role];
  }

  #inputsOf({ query, key, value }: LayerPlan): Consumer[] {
    return [
      { quantiser: query.input, role: 'queryIn' },
      { quantiser: key.input, role: 'keyIn' },
      { quantiser: value.input, role: 'valueIn' },
    ];
  }

  /** Fields of steps that treat each sequence on its own. */
  #bySequence() {
    return { starts_off: this.#at('starts'), sequences: this.#geometry.sequences.length };
  }

  #norm({ gamma, beta, epsilon }: NormPlan) {
    return { gamma_off: this.#address(gamma), beta_off: this.#address(beta), epsilon };
  }

  #scale({ scale, bias }: AffinePlan) {
    return {
      ...(typeof scale === 'number' ? { scale } : { scale_off: this.#address(scale.tensor) }),
      ...(bias !== null && { bias_off: this.#address(bias) }),
    };
  }

  /** x.W^T for all rows: planes by a threshold table, or int32. */
  #linear({ weight, input, epilogue }: LinearPlan, from: Role, to: Role): void {
    const { rows } = this.#geometry;
    const table = epilogue.kind === 'threshold' ? this.#address(epilogue.table) : undefined;
    this.#descriptors.push({
      a: { off: this.#at(from), stride: operandStride(weight.cols, input.format), format: input.format },
      b: { off: this.#address(weight.tensor), stride: weight.stride, format: weight.format },
      o:
        epilogue.kind === 'threshold'
          ? {
              off: this.#at(to),
              stride: operandStride(weight.rows, epilogue.format),
              format: epilogue.format,
            }
          : { off: this.#at(to), stride: accumulatorStride(weight.rows), format: INT32 },
      m: rows,
      n: weight.rows,
      k: weight.cols,
      ...(table !== undefined && { table }),
    });
  }

  /** Where an epilogue is affine: waits for its integers and turns them into the next operand's planes. */
  #requantise(
    epilogue: EpiloguePlan,
    from: Role,
    to: Role,
    rows: number,
    width: number,
    fields: StepFields<'AFFINE'>,
    also: { readonly minima?: Role; readonly reads?: readonly Role[] } = {},
  ): void {
    if (epilogue.kind !== 'affine' || epilogue.quantiser === null) return;
    this.#wait([from, ...(also.reads ?? [])]);
    this.#vector(
      'AFFINE',
      [{ quantiser: epilogue.quantiser, role: to }],
      {
        rows,
        width,
        acc_off: this.#at(from),
        acc_stride: accumulatorStride(width),
        block: width,
        sequences: 1,
        ...this.#scale(epilogue),
        ...fields,
      },
      also.minima,
    );
  }

  /** out = LN(linear + x), in place, with the quantised operands of what follows. */
  #residualNorm(
    { epilogue }: LinearPlan,
    norm: NormPlan,
    t: number | null,
    consumers: readonly Consumer[],
  ): void {
    const affine = epilogue as AffinePlan;
    this.#wait(['projected']);
    this.#vector('NORM', consumers, {
      rows: this.#geometry.rows,
      width: this.#plan.hidden,
      acc_off: this.#at('projected'),
      acc_stride: accumulatorStride(this.#plan.hidden),
      ...this.#scale(affine),
      ...this.#bySequence(),
      ...(t !== null && { t_off: t, sums_off: this.#address(affine.sums!) }),
      residual_off: this.#at('x'),
      ...this.#norm(norm),
      out_off: this.#at('x'),
    });
  }

  #quantise(quantiser: QuantiserPlan, fields: StepFields<'QUANTISE'>): void {
    this.#steps.push('QUANTISE', {
      format: quantiser.format,
      kind: KIND[quantiser.kind],
      qmin: quantiser.qmin,
      qmax: quantiser.qmax,
      step: quantiser.step,
      shift_off: quantiser.shift === null ? 0 : this.#address(quantiser.shift),
      ...fields,
    });
  }

  /** A producer and its consumers as one operation. */
  #vector<Name extends 'EMBED' | 'AFFINE' | 'NORM' | 'DENSE'>(
    name: Name,
    consumers: readonly Consumer[],
    fields: StepFields<Name> & { readonly width?: number },
    minima?: Role,
  ): void {
    const first = this.#steps.count;
    this.#steps.push(name, { ...fields, consumers: consumers.length } as StepFields<Name>);
    for (const { quantiser, role } of consumers) {
      this.#quantise(quantiser, {
        out_off: this.#at(role),
        out_stride: operandStride(fields.width!, quantiser.format),
        ...(minima && { found_off: this.#at(minima) }),
      });
    }
    this.#operations.push({
      kind: 'vector',
      first,
      count: this.#steps.count - first,
      writes: consumers.map(({ role }) => this.#range(role)),
    });
  }

  #submit(): void {
    const count = this.#descriptors.count - this.#submitted;
    if (count === 0) return;
    this.#operations.push({ kind: 'submit', first: this.#submitted, count });
    this.#submitted = this.#descriptors.count;
  }

  /** Waits for everything submitted so far. */
  #wait(roles: readonly Role[]): void {
    this.#operations.push({
      kind: 'wait',
      count: this.#submitted,
      reads: roles.map((role) => this.#range(role)),
    });
  }
}

/**
 * Builds the program of a batch of sequences of the given lengths (tokens), with its arena at window offset `base`.
 * Lengths must be 1 to plan.maxTokens.
 */
export function buildProgram(
  plan: Plan,
  address: TensorAddress,
  lengths: readonly number[],
  base: number,
): Program {
  return new Builder(plan, address, lengths, base).build();
}
