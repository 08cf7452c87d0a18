/** What the heads that look at every token say about one input. The classification of a whole input is in classify.ts. */
import type { TextTokenizer } from '../model/tokenizer.js';
import { classify } from './classify.js';

/** Most tokens of an answer, its first one not counted. */
const SPAN_LONGEST = 30;

/** A head that looks at every token. */
export type TokenTask = 'token-classification' | 'question-answering' | 'hidden-states';

export interface Span {
  /** First and last token of the answer. */
  readonly start: number;
  readonly end: number;
  /** Its tokens as text. */
  readonly text: string;
  /** Softmax probability of the start times that of the end, over the tokens that may be part of an answer. */
  readonly score: number;
}

/** Tokens, special ones included, and one entry for each of them; `logits` [tokens][labels]. */
export interface TokenLabels {
  readonly tokens: string[];
  readonly labels: string[];
  readonly scores: number[];
  readonly logits: number[][];
}

export interface SpanResult {
  readonly tokens: string[];
  readonly start_logits: number[];
  readonly end_logits: number[];
  /** Null where the input has nothing but special tokens. */
  readonly answer: Span | null;
}

/** `hidden`: row-major, of shape [tokens, width]. */
export interface HiddenStates {
  readonly tokens: string[];
  readonly shape: [number, number];
  readonly hidden: number[];
}

export type TokenResult = TokenLabels | SpanResult | HiddenStates;

/** One input as it went to the model. */
export interface TokenInput {
  readonly ids: Uint32Array;
  readonly types?: Uint32Array;
}

/** Nine significant digits bring every float32 back unchanged. */
export const compact = (value: number) => Number(value.toPrecision(9));

/** Column `column` of rows of `width`. */
const column = (values: Float32Array, width: number, at: number) =>
  Array.from({ length: values.length / width }, (_, row) => compact(values[row * width + at]!));

/** log of the sum of exp over the candidates. */
function logSum(logits: readonly number[], candidates: readonly number[]): number {
  const largest = candidates.reduce((most, at) => Math.max(most, logits[at]!), Number.NEGATIVE_INFINITY);
  return largest + Math.log(candidates.reduce((sum, at) => sum + Math.exp(logits[at]! - largest), 0));
}

/**
 * The span start <= end <= start + 30 of neighbouring candidates with the largest sum of logits, the first of equals. `candidates` ascend.
 */
export function bestSpan(
  start: readonly number[],
  end: readonly number[],
  candidates: readonly number[],
): Omit<Span, 'text'> | null {
  let best: { start: number; end: number; sum: number } | null = null;
  for (let first = 0; first < candidates.length; first++) {
    const from = candidates[first]!;
    for (let last = first; last < candidates.length && last <= first + SPAN_LONGEST; last++) {
      const to = candidates[last]!;
      if (to - from !== last - first) break;
      const sum = start[from]! + end[to]!;
      if (best === null || sum > best.sum) best = { start: from, end: to, sum };
    }
  }
  if (best === null) return null;
  return {
    start: best.start,
    end: best.end,
    score: Math.exp(best.sum - logSum(start, candidates) - logSum(end, candidates)),
  };
}

/** Tokens that an answer may have: of the second text where there is one, and never a special one. */
function answerTokens({ ids, types }: TokenInput, tokenizer: TextTokenizer): number[] {
  const pair = types?.includes(1) ?? false;
  return Array.from(ids.keys()).filter(
    (at) => !tokenizer.isSpecial(ids[at]!) && (!pair || types?.[at] === 1),
  );
}

/** The result for one input. `values`: what the head gave, row-major, one row for each token. Throws Error where it is not that. */
export function tokenResult(
  task: TokenTask,
  values: Float32Array,
  input: TokenInput,
  labels: readonly string[],
  tokenizer: TextTokenizer,
): TokenResult {
  const rows = input.ids.length;
  const width = values.length / rows;
  if (!Number.isInteger(width) || !values.every(Number.isFinite))
    throw new Error(`the engine gave ${values.length} values for ${rows} tokens, or some are not finite`);
  const tokens = tokenizer.tokensOf(input.ids);
  switch (task) {
    case 'hidden-states':
      return { tokens, shape: [rows, width], hidden: Array.from(values, compact) };
    case 'question-answering': {
      const [start, end] = [column(values, 2, 0), column(values, 2, 1)];
      const span = bestSpan(start, end, answerTokens(input, tokenizer));
      return {
        tokens,
        start_logits: start,
        end_logits: end,
        answer: span && { ...span, text: tokenizer.joined(tokens.slice(span.start, span.end + 1)) },
      };
    }
    case 'token-classification': {
      const logits = Array.from({ length: rows }, (_, row) =>
        Array.from(values.subarray(row * width, (row + 1) * width), compact),
      );
      const best = logits.map((row) => classify(row, labels));
      return {
        tokens,
        labels: best.map(({ label }) => label),
        scores: best.map(({ score }) => score),
        logits,
      };
    }
  }
}
