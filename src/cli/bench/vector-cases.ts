/** The vector steps of a BERT-base layer, as the compiler writes them, over a window of their own. */
import { StepWriter } from '../../compiler/step-writer.js';
import { formatByte } from '../../device/descriptor.js';
import { STEP_ACTIVATION, STEP_QUANTISER } from '../../native/steps.generated.js';
import { random32 } from './random.js';

/** One step over numbers of its own. */
export interface VectorCase {
  readonly step: string;
  /** What it computes, and what its rows become. */
  readonly work: string;
  readonly rows: number;
  readonly width: number;
  readonly elements: number;
  readonly records: Uint8Array;
  readonly count: number;
}

interface Codes {
  readonly kind: number;
  readonly bits: 1 | 2 | 4 | 8;
  readonly encoding: 'U' | 'S' | 'PM1';
  readonly step?: number;
  readonly shift?: boolean;
}

const SIGN: Codes = { kind: STEP_QUANTISER.SIGN, bits: 1, encoding: 'PM1', shift: true };
const SIGNED = (bits: Codes['bits']): Codes => ({
  kind: STEP_QUANTISER.ROUND,
  bits,
  encoding: 'S',
  step: 2 / 2 ** bits,
  shift: true,
});
const FROM_MIN = (bits: Codes['bits'], step: number): Codes => ({
  kind: STEP_QUANTISER.ROUND_FROM_MIN,
  bits,
  encoding: 'U',
  step,
});
const SYMMETRIC: Codes = { kind: STEP_QUANTISER.SYMMETRIC, bits: 8, encoding: 'S' };
const ASYMMETRIC: Codes = { kind: STEP_QUANTISER.ASYMMETRIC, bits: 8, encoding: 'U' };

/** Puts operands behind one another and collects the records of one case. */
class Builder {
  readonly #window: Uint8Array;
  #end = 0x1000;
  steps = new StepWriter();
  readonly #random = random32(12345);

  constructor(window: Uint8Array) {
    this.#window = window;
  }

  space(bytes: number): number {
    const off = this.#end;
    this.#end = Math.ceil((off + bytes) / 64) * 64;
    if (this.#end > this.#window.byteLength)
      throw new RangeError(
        `the steps need a window of more than ${this.#window.byteLength} bytes: fewer tokens`,
      );
    return off;
  }

  put(values: Float32Array | Float64Array | Int16Array | Int32Array | Uint32Array | Uint8Array): number {
    const off = this.space(values.byteLength);
    this.#window.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), off);
    return off;
  }

  /** About normal, deviation 1. */
  real(): number {
    let sum = -2;
    for (let i = 0; i < 4; i++) sum += this.#random() / 2 ** 32;
    return sum * Math.sqrt(3);
  }

  floats(count: number, scale = 1): number {
    return this.put(Float32Array.from({ length: count }, () => scale * this.real()));
  }

  int16(count: number, deviation: number): number {
    return this.put(Int16Array.from({ length: count }, () => Math.round(this.real() * deviation)));
  }

  /** Even numbers, as scores of one-bit codes are. */
  scores(count: number, deviation: number): number {
    return this.put(Int16Array.from({ length: count }, () => 2 * Math.round((this.real() * deviation) / 2)));
  }

  int32(count: number, deviation: number): number {
    return this.put(Int32Array.from({ length: count }, () => Math.round(this.real() * deviation)));
  }

  quantise(rows: number, width: number, { kind, bits, encoding, step, shift }: Codes): void {
    const stride = Math.ceil(width / 128) * 16 * bits;
    this.steps.push('QUANTISE', {
      kind,
      format: formatByte({ bits, encoding }),
      qmin: encoding === 'S' ? -(2 ** (bits - 1)) : 0,
      qmax: encoding === 'S' ? 2 ** (bits - 1) - 1 : 2 ** bits - 1,
      step: step ?? 1,
      clip_low: -2.5,
      clip_high: 2.5,
      shift_off: shift ? this.floats(width, 0.1) : 0,
      out_off: this.space(rows * stride),
      out_stride: stride,
      found_off: kind >= STEP_QUANTISER.ROUND_FROM_MIN ? this.space(16) : 0,
    });
  }

  take(step: string, work: string, rows: number, width: number): VectorCase {
    const { steps } = this;
    this.steps = new StepWriter();
    return { step, work, rows, width, elements: rows * width, records: steps.finish(), count: steps.count };
  }
}

const [HIDDEN, INNER, HEADS] = [768, 3072, 12];

/** The steps of one layer with `tokens` tokens at every width, and those of a model's ends. */
export function vectorCases(window: Uint8Array, tokens: number): VectorCase[] {
  const b = new Builder(window);
  const cases: VectorCase[] = [];
  const sequence = b.put(Uint32Array.of(0, tokens));
  const ranges = (codes: readonly Codes[]) => codes.some(({ kind }) => kind >= STEP_QUANTISER.ROUND_FROM_MIN);
  const name = (codes: readonly Codes[]) =>
    codes
      .map(({ bits, encoding }) => (encoding === 'PM1' ? 'pm1' : `${encoding.toLowerCase()}${bits}`))
      .join(' ') + (ranges(codes) ? ' by range' : '');

  const norm = (codes: readonly Codes[]) => {
    const residual = b.floats(tokens * HIDDEN);
    b.steps.push('NORM', {
      terms: 1,
      consumers: codes.length,
      rows: tokens,
      width: HIDDEN,
      starts_off: sequence,
      sequences: 1,
      bias_off: b.floats(HIDDEN),
      residual_off: residual,
      gamma_off: b.floats(HIDDEN),
      beta_off: b.floats(HIDDEN),
      epsilon: 1e-12,
      out_off: b.space(tokens * HIDDEN * 4),
    });
    b.steps.push('TERM', {
      acc_int16: 1,
      acc_off: b.int16(tokens * HIDDEN, 30),
      acc_stride: HIDDEN * 2,
      block: HIDDEN,
      scale: 0.03,
    });
    for (const each of codes) b.quantise(tokens, HIDDEN, each);
    cases.push(b.take('NORM', `residual, LayerNorm -> ${name(codes)}`, tokens, HIDDEN));
  };

  const affine = (
    activation: keyof typeof STEP_ACTIVATION,
    codes: readonly Codes[],
    width: number,
    byRow = false,
  ) => {
    const [rows, columns] = byRow ? [width, tokens] : [tokens, width];
    const channels = byRow ? rows : columns;
    b.steps.push('AFFINE', {
      terms: 1,
      consumers: codes.length,
      activation: STEP_ACTIVATION[activation],
      rows,
      width: columns,
      sequences: 1,
      by_row: Number(byRow),
      bias_off: b.floats(channels),
    });
    b.steps.push('TERM', {
      acc_off: b.int32(rows * columns, 300),
      acc_stride: columns * 4,
      block: columns,
      scale_off: b.put(Float64Array.from({ length: channels }, () => 0.003 + 0.001 * b.real() ** 2)),
    });
    for (const each of codes) b.quantise(rows, columns, each);
    const what = `${activation === 'IDENTITY' ? '' : `${activation.toLowerCase()} `}-> ${name(codes)}${byRow ? ', by rows' : ''}`;
    cases.push(b.take('AFFINE', what, rows, columns));
  };

  const softmax = (codes: Codes, table: boolean, deviation: number) => {
    const scale = table ? 0.08 : 0.00002;
    const length = table ? 129 : 0;
    const rows = HEADS * tokens;
    const acc = table ? b.scores(rows * tokens, deviation) : b.int32(rows * tokens, deviation);
    b.steps.push('SOFTMAX', {
      consumers: 1,
      tokens,
      heads: HEADS,
      acc_int16: Number(table),
      acc_off: acc,
      acc_stride: tokens * (table ? 2 : 4),
      scale,
      table_off: table ? b.put(Float64Array.from({ length }, (_, i) => Math.exp(-scale * i))) : 0,
      table_length: length,
    });
    b.quantise(rows, tokens, codes);
    cases.push(b.take('SOFTMAX', `${table ? 'table' : 'exp'} -> ${name([codes])}`, rows, tokens));
  };

  norm([SIGN]);
  norm([SIGN, SIGN, SIGN]);
  norm([SIGNED(2), SIGNED(2), SIGNED(2)]);
  norm([SIGNED(4), SIGNED(4), SIGNED(4)]);
  norm([SYMMETRIC]);
  affine('IDENTITY', [SIGNED(4)], HIDDEN);
  affine('IDENTITY', [SIGNED(4)], HIDDEN, true);
  affine('IDENTITY', [SYMMETRIC], HIDDEN);
  affine('RELU', [FROM_MIN(2, 0.5)], INNER);
  affine('RELU', [FROM_MIN(4, 0.15)], INNER);
  affine('GELU', [{ kind: STEP_QUANTISER.SIGN, bits: 2, encoding: 'S' }], INNER);
  affine('GELU', [ASYMMETRIC], INNER);
  softmax({ kind: STEP_QUANTISER.ROUND, bits: 1, encoding: 'U', step: 0.03 }, true, 8);
  softmax(FROM_MIN(2, 0.02), true, 8);
  softmax(FROM_MIN(4, 0.004), true, 8);
  softmax(ASYMMETRIC, false, 40_000);

  const words = 1000;
  b.steps.push('EMBED', {
    terms: 1,
    consumers: 3,
    rows: tokens,
    width: HIDDEN,
    starts_off: sequence,
    sequences: 1,
    ids_off: b.put(Uint32Array.from({ length: tokens }, (_, i) => (i * 37) % words)),
    positions_off: b.put(Uint32Array.from({ length: tokens }, (_, i) => i)),
    types_off: b.put(new Uint32Array(tokens)),
    position_off: b.floats(tokens * HIDDEN),
    type_off: b.floats(HIDDEN),
    words,
    positions: tokens,
    types: 1,
    gamma_off: b.floats(HIDDEN),
    beta_off: b.floats(HIDDEN),
    epsilon: 1e-12,
    out_off: b.space(tokens * HIDDEN * 4),
  });
  b.steps.push('TABLE', {
    word_off: b.floats(words * 24),
    word_stride: 96,
    word_format: formatByte({ bits: 1, encoding: 'PM1' }),
    word_scale_off: b.put(new Float64Array(words).fill(0.03)),
  });
  for (let i = 0; i < 3; i++) b.quantise(tokens, HIDDEN, SIGN);
  cases.push(b.take('EMBED', 'three tables, LayerNorm -> pm1 pm1 pm1', tokens, HIDDEN));

  const labels = 128;
  b.steps.push('DENSE', {
    rows: 1,
    width: HIDDEN,
    out_width: labels,
    x_off: b.floats(HIDDEN),
    weight_off: b.floats(labels * HIDDEN),
    out_off: b.space(labels * 4),
  });
  cases.push(b.take('DENSE', `classifier of ${labels} labels`, 1, labels * HIDDEN));
  return cases;
}
