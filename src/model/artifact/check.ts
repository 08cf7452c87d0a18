/**
 * Holds a plan against the tensors of its file: every tensor named exists with the size its role gives it, formats and dimensions
 * fit together. After this a program built from the plan stays inside its buffers.
 */
import { BLOCK_ELEMENTS, TABLE_ENTRY_BYTES } from '../../device/contract.generated.js';
import { formatBits as bits, identityLength, integersOf } from '../integers.js';
import {
  type EpiloguePlan,
  type LayerPlan,
  type LinearPlan,
  type NormPlan,
  onesLength,
  outputShape,
  type Plan,
  type PlanesPlan,
  type QuantiserPlan,
} from '../plan.js';
import { paddedBytes } from './format.js';

/** Encoding of a format byte: 0 U, 1 S, 2 PM1 (docs/contract-reference.md). */
const encoding = (format: number) => format >> 4;
const U1 = 0x00;
const PM1 = 0x20;
const TERNARY = 0x11;
/** Formats of several levels: U and S of 2, 4 and 8 bits. */
const LEVELS = [0x01, 0x02, 0x03, 0x11, 0x12, 0x13];

/** Kinds of quantisers that store what they found for whoever multiplies their codes. */
const FOUND = ['round-from-min', 'symmetric', 'asymmetric'];
/** Of these, the kinds whose code 0 does not mean 0. */
const OFFSET = ['round-from-min', 'asymmetric'];

/** True where codes of this kind and range fit the format. */
function codesFit({ kind, format, qmin, qmax, clip }: QuantiserPlan): boolean {
  const b = bits(format);
  if ((format & 0x08) !== 0 || (clip !== null && clip.low >= clip.high)) return false;
  switch (kind) {
    case 'sign':
      return format === PM1 || format === TERNARY;
    case 'symmetric':
      return encoding(format) === 1 && b > 1 && b <= 8 && qmax >= 1 && qmax < 2 ** (b - 1) && qmin === -qmax;
    case 'asymmetric':
    case 'round-from-min':
      return encoding(format) === 0 && b <= 8 && qmin === 0 && qmax >= 1 && qmax < 2 ** b;
    case 'round':
      if (encoding(format) === 1) return b > 1 && b <= 8 && qmin >= -(2 ** (b - 1)) && qmax < 2 ** (b - 1);
      return encoding(format) === 0 && b <= 8 && qmin >= 0 && qmax < 2 ** b;
  }
}

export class PlanChecker {
  readonly #sizes: ReadonlyMap<string, number>;

  /** `sizes`: bytes of each tensor in the file. */
  constructor(sizes: ReadonlyMap<string, number>) {
    this.#sizes = sizes;
  }

  /** Throws Error with the place and the reason. */
  check(plan: Plan): void {
    const { hidden, heads, attentionSize, maxTokens, embeddings, layers } = plan;
    if (attentionSize % heads !== 0)
      throw new Error(`attentionSize ${attentionSize} is not a multiple of heads ${heads}`);
    const words = embeddings.words[0]!.planes.rows;
    embeddings.words.forEach(({ planes, scale }, index) => {
      this.#planes(planes, words, hidden, `embeddings.words.${index}`);
      this.#tensor(scale, words * 8, `embeddings.words.${index}.scale`);
    });
    this.#tensor(embeddings.position.tensor, embeddings.position.rows * hidden * 4, 'embeddings.position');
    this.#tensor(embeddings.type.tensor, embeddings.type.rows * hidden * 4, 'embeddings.type');
    this.#norm(embeddings.norm, hidden, 'embeddings.norm');
    if (maxTokens > embeddings.position.rows) {
      throw new Error(`maxTokens ${maxTokens}: there are only ${embeddings.position.rows} positions`);
    }
    layers.forEach((layer, index) => {
      this.#layer(plan, layer, `layers.${index}`);
    });
    this.#head(plan);
    if (plan.identity !== null)
      this.#tensor(plan.identity, identityLength(plan) * TABLE_ENTRY_BYTES, 'identity');
    else if (integersOf(plan).has(16)) throw new Error('identity: int16 results need an identity table');
    if (plan.ones !== null) {
      this.#tensor(plan.ones, (Math.ceil(onesLength(plan) / BLOCK_ELEMENTS) * BLOCK_ELEMENTS) / 8, 'ones');
    }
  }

  #head(plan: Plan): void {
    const { head, hidden, labels } = plan;
    const classes = head.task === 'sequence-classification' || head.task === 'token-classification';
    if (!classes && labels.length > 0) throw new Error(`head: ${head.task} has no classes, so no labels`);
    if (head.task === 'hidden-states') return;
    const { width } = outputShape(plan);
    if (classes && width !== labels.length)
      throw new Error(`head.dense has ${width} rows for ${labels.length} labels`);
    if (!classes && width !== 2)
      throw new Error(`head.dense has ${width} rows, a start and an end are needed`);
    this.#tensor(head.dense.weight.tensor, width * hidden * 4, 'head.dense.weight');
    this.#tensor(head.dense.bias, width * 4, 'head.dense.bias');
    if (head.task !== 'sequence-classification') return;
    this.#linear(head.pooler, hidden, hidden, 'head.pooler');
    this.#operands(head.pooler.epilogue, 0, 'head.pooler');
  }

  #layer(plan: Plan, layer: LayerPlan, at: string): void {
    const { hidden, attentionSize, intermediate } = plan;
    for (const part of ['query', 'key', 'value'] as const) {
      this.#linear(layer[part], attentionSize, hidden, `${at}.${part}`);
      this.#operands(layer[part].epilogue, 1, `${at}.${part}`);
    }
    this.#offsets(plan, layer, at);
    this.#unshifted(layer.value.epilogue, `${at}.value`);
    this.#attention(plan, layer, `${at}.attention`);
    this.#linear(layer.output, hidden, attentionSize, `${at}.output`);
    this.#operands(layer.output.epilogue, 0, `${at}.output`);
    this.#sameOperands(layer.attention.context, layer.output, `${at}.output`);
    this.#norm(layer.attentionNorm, hidden, `${at}.attentionNorm`);
    this.#linear(layer.up, intermediate, hidden, `${at}.up`);
    this.#linear(layer.down, hidden, intermediate, `${at}.down`);
    this.#operands(layer.down.epilogue, 0, `${at}.down`);
    this.#sameOperands(layer.up.epilogue, layer.down, `${at}.down`);
    this.#norm(layer.outputNorm, hidden, `${at}.outputNorm`);
  }

  /** Boolean attention multiplies Q, K and V as if code 0 were 0; elsewhere an offset of Q needs sums of K's codes. */
  #offsets(plan: Plan, layer: LayerPlan, at: string): void {
    for (const part of ['query', 'key', 'value'] as const) {
      const { epilogue } = layer[part];
      if (epilogue.kind !== 'affine' || !epilogue.quantisers.some(({ kind }) => OFFSET.includes(kind)))
        continue;
      if (layer.attention.probabilities.kind === 'boolean')
        throw new Error(`${at}.${part}: codes with an offset are not possible before boolean attention`);
      if (part === 'query' && plan.ones === null)
        throw new Error(`${at}.query: an offset needs a row of ones`);
    }
  }

  /** V comes out transposed: its rows are channels, so a shift per channel would be added per token. */
  #unshifted(epilogue: EpiloguePlan, at: string): void {
    if (epilogue.kind === 'affine' && epilogue.quantisers.some(({ shift }) => shift !== null)) {
      throw new Error(`${at}: no shift is possible in a transposed product`);
    }
  }

  #attention(plan: Plan, { attention, query, key, value }: LayerPlan, at: string): void {
    const { heads, attentionSize, maxTokens } = plan;
    const { probabilities, context } = attention;
    const found = (epilogue: EpiloguePlan) =>
      epilogue.kind === 'affine' && epilogue.quantisers.some(({ kind }) => FOUND.includes(kind));
    this.#epilogue(context, attentionSize, 1, `${at}.context`);
    if (
      context.kind === 'affine' &&
      (context.quantisers.length === 0 || context.bias !== null || context.terms[0]!.sums !== null)
    ) {
      throw new Error(`${at}.context: quantisers are needed, and neither bias nor sums`);
    }
    let pFound = false;
    if (probabilities.kind === 'boolean') {
      if (probabilities.format !== U1)
        throw new Error(`${at}.probabilities: boolean ones have one unsigned bit`);
      this.#tensor(probabilities.table, maxTokens * TABLE_ENTRY_BYTES, `${at}.probabilities`);
      if (found(query.epilogue) || found(key.epilogue))
        throw new Error(`${at}.probabilities: a threshold needs fixed steps of Q and K`);
    } else {
      const { exponentials } = probabilities;
      if (exponentials) {
        this.#tensor(exponentials.tensor, exponentials.length * 8, `${at}.exponentials`);
        if (found(query.epilogue) || found(key.epilogue))
          throw new Error(`${at}.exponentials: a table needs fixed steps of Q and K`);
      }
    }
    if (probabilities.kind === 'softmax') {
      const { probability } = probabilities;
      this.#quantiser(probability, 0, `${at}.probability`);
      pFound = FOUND.includes(probability.kind);
      if (OFFSET.includes(probability.kind) && plan.ones === null)
        throw new Error(`${at}.probability: an offset needs a row of ones`);
    }
    if (probabilities.kind === 'real') {
      const scale = context.kind === 'affine' ? context.terms[0]!.scale : null;
      if (typeof scale !== 'number' || !(scale > 0))
        throw new Error(`${at}.context: real probabilities need an affine epilogue with one positive scale`);
    }
    if (context.kind === 'affine') return;
    if ((attentionSize / heads) % 8 !== 0)
      throw new Error(`${at}.context: heads of ${attentionSize / heads} columns need an affine epilogue`);
    if (pFound || found(value.epilogue))
      throw new Error(`${at}.context: steps that are found at run time need an affine epilogue`);
  }

  #tensor(name: string, bytes: number, at: string): void {
    const size = this.#sizes.get(name);
    if (size === undefined) throw new Error(`${at}: there is no tensor ${JSON.stringify(name)}`);
    if (size !== paddedBytes(bytes)) {
      throw new Error(
        `${at}: tensor ${JSON.stringify(name)} has ${size} bytes, ${paddedBytes(bytes)} are needed`,
      );
    }
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
  #quantiser(quantiser: QuantiserPlan, channels: number, at: string): void {
    const { kind, format, qmin, qmax, shift } = quantiser;
    if (!codesFit(quantiser))
      throw new Error(`${at}: codes ${qmin} to ${qmax} of kind ${kind} do not fit format ${format}`);
    if (shift === null) return;
    if (channels === 0) throw new Error(`${at}: no shift is possible here`);
    this.#tensor(shift, channels * 4, at);
  }

  #epilogue(epilogue: EpiloguePlan, channels: number, branches: number, at: string): void {
    if (epilogue.kind !== 'affine') {
      if (branches > 1) throw new Error(`${at}: an epilogue in the engine has one branch`);
      const { kind, format } = epilogue;
      if (kind === 'threshold' && format !== U1 && format !== PM1)
        throw new Error(`${at}: a threshold leaves one bit`);
      if (kind === 'fixed-point' && !LEVELS.includes(format))
        throw new Error(`${at}: fixed point leaves codes of 2, 4 or 8 bits`);
      this.#tensor(epilogue.table, channels * TABLE_ENTRY_BYTES, at);
      return;
    }
    if (epilogue.terms.length !== branches)
      throw new Error(`${at}: ${epilogue.terms.length} terms for ${branches} branches`);
    epilogue.terms.forEach(({ scale, sums }, index) => {
      if (typeof scale !== 'number') this.#tensor(scale.tensor, channels * 8, `${at}.terms.${index}.scale`);
      if (sums !== null) this.#tensor(sums, channels * 8, `${at}.terms.${index}.sums`);
    });
    if (epilogue.bias !== null) this.#tensor(epilogue.bias, channels * 4, `${at}.bias`);
    epilogue.quantisers.forEach((quantiser, index) => {
      this.#quantiser(quantiser, channels, `${at}.quantisers.${index}`);
    });
  }

  #linear({ branches, epilogue }: LinearPlan, rows: number, cols: number, at: string): void {
    branches.forEach(({ input, weight }, index) => {
      this.#planes(weight, rows, cols, `${at}.${index}`);
      this.#quantiser(input, cols, `${at}.${index}.input`);
      if (epilogue.kind !== 'affine' && FOUND.includes(input.kind))
        throw new Error(`${at}: an input step found at run time needs an affine epilogue`);
      if (epilogue.kind === 'affine' && OFFSET.includes(input.kind) && epilogue.terms[index]?.sums === null) {
        throw new Error(`${at}: an input with a run-time offset needs sums`);
      }
    });
    this.#epilogue(epilogue, rows, branches.length, `${at}.epilogue`);
  }

  #norm({ gamma, beta }: NormPlan, width: number, at: string): void {
    this.#tensor(gamma, width * 4, `${at}.gamma`);
    this.#tensor(beta, width * 4, `${at}.beta`);
  }

  /** An epilogue that must leave `count` operands; 0: real values. */
  #operands(epilogue: EpiloguePlan, count: 0 | 1, at: string): void {
    const left = epilogue.kind === 'affine' ? epilogue.quantisers.length : 1;
    if (left !== count) throw new Error(`${at}: it leaves ${left} operands, ${count} are needed`);
  }

  /** What an epilogue leaves must be what the next layer reads, branch for branch. */
  #sameOperands(epilogue: EpiloguePlan, { branches }: LinearPlan, at: string): void {
    const left =
      epilogue.kind === 'affine'
        ? epilogue.quantisers.map(({ format, kind }) => ({ format, found: FOUND.includes(kind) }))
        : [{ format: epilogue.format, found: false }];
    const same =
      left.length === branches.length &&
      branches.every(
        ({ input }, index) =>
          input.format === left[index]!.format && FOUND.includes(input.kind) === left[index]!.found,
      );
    if (!same) throw new Error(`${at}: its inputs are not what the epilogue before it leaves`);
  }
}
