import { describe, expect, it } from 'vitest';
import { TextTokenizer } from '../../../src/model/tokenizer.js';
import { UNCASED } from '../../../src/model/vocabulary.js';
import { bestSpan, tokenResult } from '../../../src/runtime/results.js';

const tokenizer = new TextTokenizer({
  ...UNCASED,
  vocabulary: ['[PAD]', '[UNK]', '[CLS]', '[SEP]', 'who', 'it', 'was', 'ad', '##a'],
});
// [CLS] who [SEP] it was ad ##a [SEP]
const ids = Uint32Array.of(2, 4, 3, 5, 6, 7, 8, 3);
const types = Uint32Array.of(0, 0, 0, 1, 1, 1, 1, 1);

describe('the best span', () => {
  it('is the best of all pairs: in order, at most 31 tokens, among neighbours', () => {
    let state = 9;
    const next = () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state / 2 ** 32;
    };
    for (let round = 0; round < 200; round++) {
      const length = 1 + Math.floor(next() * 60);
      const start = Array.from({ length }, () => 8 * next() - 4);
      const end = Array.from({ length }, () => 8 * next() - 4);
      const candidates = Array.from(start.keys()).filter(() => next() < 0.95);
      const all = candidates.flatMap((from) =>
        candidates
          .filter((to) => to >= from && to <= from + 30)
          .filter((to) => candidates.filter((at) => at >= from && at <= to).length === to - from + 1)
          .map((to) => ({ from, to, sum: start[from]! + end[to]! })),
      );
      const best = all.reduce<(typeof all)[number] | null>((a, b) => (a && a.sum >= b.sum ? a : b), null);
      const sum = (logits: number[]) => candidates.reduce((total, at) => total + Math.exp(logits[at]!), 0);
      const found = bestSpan(start, end, candidates);
      if (best === null) {
        expect(found).toBeNull();
        continue;
      }
      expect(found).toEqual({
        start: best.from,
        end: best.to,
        score: expect.closeTo(
          (Math.exp(start[best.from]!) / sum(start)) * (Math.exp(end[best.to]!) / sum(end)),
          12,
        ),
      });
    }
  });

  it('has 31 tokens at most', () => {
    const peak = (at: number) => Array.from({ length: 40 }, (_, token) => (token === at ? 9 : 0));
    const all = Array.from({ length: 40 }, (_, token) => token);
    expect(bestSpan(peak(4), peak(34), all)).toMatchObject({ start: 4, end: 34 });
    const { start, end } = bestSpan(peak(4), peak(35), all)!;
    expect([start, end]).not.toEqual([4, 35]);
    expect(end - start).toBeLessThanOrEqual(30);
  });

  it('is not led astray by huge logits, and takes the first of equals', () => {
    expect(bestSpan([1000, 1000, 0], [0, 1000, 1000], [0, 1, 2])).toEqual({
      start: 0,
      end: 1,
      score: expect.closeTo(0.25, 12),
    });
    expect(bestSpan([5, 1], [1, 5], [])).toBeNull();
  });
});

describe('question answering', () => {
  /** Logits that point at one token each. */
  const at = (start: number, end: number) => {
    const values = new Float32Array(16);
    values[start * 2] = 9;
    values[end * 2 + 1] = 9;
    return values;
  };

  it('takes the answer from the second text, joined to words', () => {
    const result = tokenResult('question-answering', at(5, 6), { ids, types }, [], tokenizer);
    expect(result).toMatchObject({
      tokens: ['[CLS]', 'who', '[SEP]', 'it', 'was', 'ad', '##a', '[SEP]'],
      start_logits: [0, 0, 0, 0, 0, 9, 0, 0],
      end_logits: [0, 0, 0, 0, 0, 0, 9, 0],
      answer: { start: 5, end: 6, text: 'ada', score: expect.any(Number) },
    });
    // The question and the separators are no answers, however much the model likes them.
    for (const [start, end] of [
      [1, 1],
      [2, 2],
      [7, 7],
      [0, 0],
    ] as const) {
      const { answer } = tokenResult('question-answering', at(start, end), { ids, types }, [], tokenizer) as {
        answer: { start: number; end: number };
      };
      expect(answer.start).toBeGreaterThanOrEqual(3);
      expect(answer.end).toBeLessThanOrEqual(6);
    }
  });

  it('takes any word of a single text, and none where there are none', () => {
    const one = tokenResult('question-answering', at(1, 1), { ids }, [], tokenizer);
    expect(one).toMatchObject({ answer: { start: 1, end: 1, text: 'who' } });
    const none = tokenResult(
      'question-answering',
      new Float32Array(4),
      { ids: Uint32Array.of(2, 3) },
      [],
      tokenizer,
    );
    expect(none).toMatchObject({ answer: null });
  });
});

it('token classification: the best label of each token with its softmax probability, and all logits', () => {
  const values = Float32Array.of(0, 2, 1, 1, 3, -1);
  const input = { ids: Uint32Array.of(2, 5, 3) };
  expect(tokenResult('token-classification', values, input, ['O', 'B'], tokenizer)).toEqual({
    tokens: ['[CLS]', 'it', '[SEP]'],
    labels: ['B', 'O', 'O'],
    scores: [expect.closeTo(1 / (1 + Math.exp(-2)), 12), 0.5, expect.closeTo(1 / (1 + Math.exp(-4)), 12)],
    logits: [
      [0, 2],
      [1, 1],
      [3, -1],
    ],
  });
});

it('hidden states: every value, which float32 gets back unchanged', () => {
  const values = Float32Array.of(0.1, -1 / 3, 1e-30, 123456.789);
  const result = tokenResult('hidden-states', values, { ids: Uint32Array.of(2, 3) }, [], tokenizer);
  expect(result).toMatchObject({ tokens: ['[CLS]', '[SEP]'], shape: [2, 2] });
  expect(Float32Array.from((result as { hidden: number[] }).hidden)).toEqual(values);
});

it('refuses values that no engine should give', () => {
  const input = { ids: Uint32Array.of(2, 3) };
  for (const values of [new Float32Array(3), Float32Array.of(1, Number.NaN)])
    expect(() => tokenResult('hidden-states', values, input, [], tokenizer)).toThrow(/values for 2 tokens/);
});
