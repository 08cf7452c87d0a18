/**
 * Holds a plan against the tensors of its file: every tensor named exists with the size its role gives it, formats and dimensions
 * fit together. After this a program built from the plan stays inside its buffers.
 */
import { BLOCK_ELEMENTS } from '../../device/contract.generated.js';
import type { EpiloguePlan, LinearPlan, NormPlan, Plan, PlanesPlan, QuantiserPlan } from '../plan.js';
import { paddedBytes } from './format.js';

/** Bits of a format byte, and its encoding: 0 U, 1 S, 2 PM1 (docs/contract-reference.md). */
const bits = (format: number) => 2 ** (format & 7);
const encoding = (format: number) => format >> 4;
const U1 = 0x00;
const PM1 = 0x20;
const TERNARY = 0x11;

export class PlanChecker {
  readonly #sizes: ReadonlyMap<string, number>;

  /** `sizes`: bytes of each tensor in the file. */
  constructor(sizes: ReadonlyMap<string, number>) {
    this.#sizes = sizes;
  }

  /** Throws Error with the place and the reason. */
  check(plan: Plan): void {
    const { hidden, heads, intermediate, maxTokens, embeddings, layers, pooler, classifier, labels } = plan;
    if (hidden % heads !== 0) throw new Error(`hidden ${hidden} is not a multiple of heads ${heads}`);
    this.#planes(embeddings.word, embeddings.word.rows, hidden, 'embeddings.word');
    this.#tensor(embeddings.wordScale, embeddings.word.rows * 8, 'embeddings.wordScale');
    this.#tensor(embeddings.position.tensor, embeddings.position.rows * hidden * 4, 'embeddings.position');
    this.#tensor(embeddings.type.tensor, embeddings.type.rows * hidden * 4, 'embeddings.type');
    this.#norm(embeddings.norm, hidden, 'embeddings.norm');
    if (maxTokens > embeddings.position.rows)
      throw new Error(`maxTokens ${maxTokens}: there are only ${embeddings.position.rows} positions`);

    layers.forEach((layer, index) => {
      const at = (part: string) => `layers.${index}.${part}`;
      for (const part of ['query', 'key', 'value'] as const) {
        this.#linear(layer[part], hidden, hidden, at(part));
        this.#quantised(layer[part].epilogue, at(`${part}.epilogue`));
        this.#noMinimum(layer[part].epilogue, at(`${part}.epilogue`));
        this.#static(layer[part].input, at(`${part}.input`));
      }
      const { exponentials, probability, context } = layer.attention;
      if (exponentials)
        this.#tensor(exponentials.tensor, exponentials.length * 8, at('attention.exponentials'));
      this.#quantiser(probability, 0, at('attention.probability'));
      this.#unshifted(layer.value.epilogue, at('value.epilogue'));
      this.#epilogue(context, hidden, at('attention.context'));
      this.#quantised(context, at('attention.context'));
      this.#noMinimum(context, at('attention.context'));
      if (context.kind === 'threshold' && (hidden / heads) % 8 !== 0)
        throw new Error(
          `${at('attention.context')}: heads of ${hidden / heads} columns need an affine epilogue`,
        );
      if (probability.kind === 'round-from-min' && (context.kind === 'threshold' || plan.ones === null)) {
        throw new Error(
          `${at('attention.context')}: probabilities with a run-time offset need an affine epilogue and a row of ones`,
        );
      }
      this.#linear(layer.output, hidden, hidden, at('output'));
      this.#real(layer.output, at('output'));
      this.#sameOperand(context, layer.output, at('output'));
      this.#norm(layer.attentionNorm, hidden, at('attentionNorm'));
      this.#linear(layer.up, intermediate, hidden, at('up'));
      this.#quantised(layer.up.epilogue, at('up.epilogue'));
      this.#static(layer.up.input, at('up.input'));
      this.#linear(layer.down, hidden, intermediate, at('down'));
      this.#real(layer.down, at('down'));
      this.#sameOperand(layer.up.epilogue, layer.down, at('down'));
      this.#norm(layer.outputNorm, hidden, at('outputNorm'));
    });

    this.#linear(pooler, hidden, hidden, 'pooler');
    this.#real(pooler, 'pooler');
    this.#static(pooler.input, 'pooler.input');
    if (plan.ones !== null)
      this.#tensor(
        plan.ones,
        (Math.ceil((BLOCK_ELEMENTS - 1 + maxTokens) / BLOCK_ELEMENTS) * BLOCK_ELEMENTS) / 8,
        'ones',
      );
    if (classifier.weight.rows !== labels.length)
      throw new Error(`classifier has ${classifier.weight.rows} rows for ${labels.length} labels`);
    this.#tensor(classifier.weight.tensor, labels.length * hidden * 4, 'classifier.weight');
    this.#tensor(classifier.bias, labels.length * 4, 'classifier.bias');
  }

  #tensor(name: string, bytes: number, at: string): void {
    const found = this.#sizes.get(name);
    if (found === undefined) throw new Error(`${at}: there is no tensor ${JSON.stringify(name)}`);
    if (found !== paddedBytes(bytes))
      throw new Error(
        `${at}: tensor ${JSON.stringify(name)} has ${found} bytes, ${paddedBytes(bytes)} are needed`,
      );
  }

  #planes(
    { tensor, rows, cols, format, stride }: PlanesPlan,
    wantRows: number,
    wantCols: number,
    at: string,
  ): void {
    if (rows !== wantRows || cols !== wantCols)
      throw new Error(`${at}: ${rows}x${cols}, ${wantRows}x${wantCols} is needed`);
    if (format !== PM1 && format !== TERNARY) throw new Error(`${at}: format ${format} is no weight format`);
    const want = Math.ceil(cols / BLOCK_ELEMENTS) * 16 * bits(format);
    if (stride !== want) throw new Error(`${at}: stride ${stride}, ${want} is needed`);
    this.#tensor(tensor, rows * stride, at);
  }

  /** `channels` 0: no shift is possible here. */
  #quantiser({ kind, format, qmin, qmax, shift }: QuantiserPlan, channels: number, at: string): void {
    const b = bits(format);
    const signed = encoding(format) === 1;
    const fits =
      kind === 'sign'
        ? format === PM1 || format === TERNARY
        : b <= 8 &&
          (signed
            ? b > 1 && qmin >= -(2 ** (b - 1)) && qmax < 2 ** (b - 1)
            : encoding(format) === 0 && qmin >= 0 && qmax < 2 ** b);
    if (!fits || (format & 0x08) !== 0)
      throw new Error(`${at}: codes ${qmin} to ${qmax} of kind ${kind} do not fit format ${format}`);
    if (shift !== null) {
      if (channels === 0) throw new Error(`${at}: no shift is possible here`);
      this.#tensor(shift, channels * 4, at);
    }
  }

  #epilogue(epilogue: EpiloguePlan, channels: number, at: string): void {
    if (epilogue.kind === 'threshold') {
      if (epilogue.format !== U1 && epilogue.format !== PM1)
        throw new Error(`${at}: a threshold leaves one bit, format ${epilogue.format} does not`);
      this.#tensor(epilogue.table, channels * 8, at);
      return;
    }
    if (typeof epilogue.scale !== 'number') this.#tensor(epilogue.scale.tensor, channels * 8, `${at}.scale`);
    if (epilogue.bias !== null) this.#tensor(epilogue.bias, channels * 4, `${at}.bias`);
    if (epilogue.sums !== null) this.#tensor(epilogue.sums, channels * 8, `${at}.sums`);
    if (epilogue.quantiser !== null) this.#quantiser(epilogue.quantiser, channels, `${at}.quantiser`);
  }

  #linear({ weight, input, epilogue }: LinearPlan, rows: number, cols: number, at: string): void {
    this.#planes(weight, rows, cols, at);
    this.#quantiser(input, cols, `${at}.input`);
    this.#epilogue(epilogue, rows, `${at}.epilogue`);
    if (input.kind === 'round-from-min' && (epilogue.kind === 'threshold' || epilogue.sums === null)) {
      throw new Error(`${at}: an input with a run-time offset needs an affine epilogue with sums`);
    }
  }

  #norm({ gamma, beta }: NormPlan, width: number, at: string): void {
    this.#tensor(gamma, width * 4, `${at}.gamma`);
    this.#tensor(beta, width * 4, `${at}.beta`);
  }

  /** Codes must follow. */
  #quantised(epilogue: EpiloguePlan, at: string): void {
    if (epilogue.kind === 'affine' && epilogue.quantiser === null)
      throw new Error(`${at}: a quantiser is needed`);
  }

  /** Real values must follow. */
  #real({ epilogue }: LinearPlan, at: string): void {
    if (epilogue.kind !== 'affine' || epilogue.quantiser !== null)
      throw new Error(`${at}: real values are needed, without a quantiser`);
  }

  /** Only the step before the second feed-forward layer, and softmax, pass on the minimum they find. */
  #noMinimum(epilogue: EpiloguePlan, at: string): void {
    if (epilogue.kind === 'affine' && epilogue.quantiser?.kind === 'round-from-min')
      throw new Error(`${at}: a run-time offset is not possible here`);
  }

  /** V comes out transposed: its rows are channels, so a shift per channel would be added per token. */
  #unshifted(epilogue: EpiloguePlan, at: string): void {
    if (epilogue.kind === 'affine' && epilogue.quantiser?.shift)
      throw new Error(`${at}: no shift is possible in a transposed product`);
  }

  /** LayerNorm steps see one row at a time, so no minimum of a sequence can be found there. */
  #static({ kind }: QuantiserPlan, at: string): void {
    if (kind === 'round-from-min')
      throw new Error(`${at}: a run-time offset is not possible behind a LayerNorm`);
  }

  /** What an epilogue leaves must be what the next layer reads. */
  #sameOperand(epilogue: EpiloguePlan, { input }: LinearPlan, at: string): void {
    const left = epilogue.kind === 'threshold' ? epilogue.format : epilogue.quantiser?.format;
    const kind = epilogue.kind === 'threshold' ? undefined : epilogue.quantiser?.kind;
    if (left !== input.format || (kind === 'round-from-min') !== (input.kind === 'round-from-min')) {
      throw new Error(`${at}: its input is not what the epilogue before it leaves`);
    }
  }
}
