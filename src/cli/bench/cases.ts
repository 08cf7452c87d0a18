/** The products of a BERT-base encoder (hidden 768, 12 heads, 128 tokens) in every format that the models use. */
import { type Format, formatByte, type Width } from '../../device/descriptor.js';
import { integerBits } from '../../model/integers.js';

/** Where a product stands in an encoder, which says what its operands are and how they lie. */
export type Role =
  /** Activations times constant weights. */
  | 'linear'
  /** V^T: the weights are the A operand, and an epilogue table goes by row. */
  | 'value'
  /** Q.K^T of every head, inside rows of all heads. */
  | 'scores'
  /** P.V of every head, back in place beside the other heads where the result is one bit. */
  | 'context';

export interface Shape {
  readonly name: string;
  readonly role: Role;
  /** Of one product; there are `heads` of them. */
  readonly m: number;
  readonly k: number;
  readonly n: number;
  readonly heads: number;
}

/** A shape with formats: one row of the benchmark. `o` of one bit is written through thresholds, of 16 through an identity table. */
export interface Case extends Shape {
  readonly a: Format;
  readonly b: Format;
  readonly o: Format;
  /** Two-bit operand whose codes are -1, 0 and +1. */
  readonly ternary: boolean;
}

export const SHAPES: readonly Shape[] = [
  { name: 'project', role: 'linear', m: 128, k: 768, n: 768, heads: 1 },
  { name: 'up', role: 'linear', m: 128, k: 768, n: 3072, heads: 1 },
  { name: 'down', role: 'linear', m: 128, k: 3072, n: 768, heads: 1 },
  { name: 'value', role: 'value', m: 768, k: 768, n: 128, heads: 1 },
  { name: 'scores', role: 'scores', m: 128, k: 64, n: 128, heads: 12 },
  { name: 'context', role: 'context', m: 128, k: 128, n: 64, heads: 12 },
];

/** Widths of activations. */
export const ACTIVATION_BITS = [1, 2, 4, 8] as const;

const PM1: Format = { bits: 1, encoding: 'PM1' };
const TERNARY: Format = { bits: 2, encoding: 'S' };

/** Codes on both sides of zero: Q, K, V, and what a LayerNorm leaves. */
const signed = (bits: Width): Format => (bits === 1 ? PM1 : { bits, encoding: 'S' });
/** Codes from zero up: probabilities, and what a ReLU leaves. */
const unsigned = (bits: Width): Format => ({ bits, encoding: 'U' });

/** What a vector step is left to read: int16 where every sum fits, as the compiler decides. */
const integers = (a: Format, b: Format, k: number): Format => ({
  bits: integerBits(formatByte(a), formatByte(b), k),
  encoding: 'S',
});

/** Operands of a shape with activations of `bits`, and the one-bit format that its result goes on in, where there is one. */
function operands({ name, role }: Shape, bits: Width): { a: Format; b: Format; next: Format | null } {
  switch (role) {
    case 'value':
      return { a: PM1, b: signed(bits), next: PM1 };
    case 'scores':
      return { a: signed(bits), b: signed(bits), next: null };
    case 'context':
      return { a: unsigned(bits), b: signed(bits), next: PM1 };
    case 'linear':
      if (name === 'down') return { a: unsigned(bits), b: PM1, next: null };
      return { a: signed(bits), b: PM1, next: name === 'up' ? unsigned(1) : PM1 };
  }
}

/**
 * Operands and result of a shape with activations of `bits`, as the compiler writes them: one-bit results through thresholds,
 * everything else as integers, for a vector step to requantise. Scores and the lower half of the feed-forward (whose residual and
 * LayerNorm want the integers) are integers at every width.
 */
function formats(shape: Shape, bits: Width): Pick<Case, 'a' | 'b' | 'o'> {
  const { a, b, next } = operands(shape, bits);
  return { a, b, o: bits === 1 && next ? next : integers(a, b, shape.k) };
}

/** Every case of the shapes: each width, and ternary weights with activations of 8 bits where there are weights in B. */
export function casesOf(shapes: readonly Shape[], widths: readonly Width[]): Case[] {
  return shapes.flatMap((shape) => {
    const cases = widths.map((bits): Case => ({ ...shape, ...formats(shape, bits), ternary: false }));
    if (shape.role === 'linear' && widths.includes(8)) {
      const [a, b] = [signed(8), TERNARY];
      cases.push({ ...shape, a, b, o: integers(a, b, shape.k), ternary: true });
    }
    return cases;
  });
}

/** Multiplications of one case, all heads. */
export function multiplications({ m, k, n, heads }: Shape): number {
  return m * k * n * heads;
}

/** The largest M or N of a given shape: results are then at most 1 GiB. */
const SIDE_MAX = 16384;

/**
 * A shape by its name in SHAPES, or a linear layer `MxKxN`. Returns undefined where the text is neither; whether the
 * device takes that K is the device's to say.
 */
export function parseShape(text: string): Shape | undefined {
  const named = SHAPES.find(({ name }) => name === text);
  if (named) return named;
  const match = /^(\d{1,5})x(\d{1,5})x(\d{1,5})$/.exec(text);
  if (!match) return undefined;
  const [m, k, n] = match.slice(1).map(Number) as [number, number, number];
  if (Math.min(m, k, n) < 1 || Math.max(m, n) > SIDE_MAX) return undefined;
  return { name: text, role: 'linear', m, k, n, heads: 1 };
}
