/** Pairs of texts: what stands where, and the cut of the published code, which takes pieces one by one from the longer text. */
import { describe, expect, it } from 'vitest';
import { TextTokenizer } from '../../../src/model/tokenizer.js';
import { UNCASED } from '../../../src/model/vocabulary.js';

const WORDS = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', 'a', 'b', 'c', 'd', '##x', '##y', '[', ']', 'cls', 'sep'];
const [CLS, SEP, A, B] = [2, 3, 4, 5];

const tokenizer = new TextTokenizer({
  ...UNCASED,
  vocabulary: WORDS,
});

const words = (word: string, count: number) => Array(count).fill(word).join(' ');

it('puts [CLS] a [SEP] b [SEP], types 0 up to the first [SEP] and 1 behind it', () => {
  const pair = tokenizer.encodePair('a axy', 'b c', 20);
  expect([...pair.ids]).toEqual([CLS, A, A, 8, 9, SEP, B, 6, SEP]);
  expect([...pair.types]).toEqual([0, 0, 0, 0, 0, 0, 1, 1, 1]);
  expect(pair).toMatchObject({ tokens: 9, truncated: false, pieces: [4, 2] });
});

it('is one text with a second [SEP] where a text is empty', () => {
  expect([...tokenizer.encodePair('a', '', 9).ids]).toEqual([CLS, A, SEP, SEP]);
  expect([...tokenizer.encodePair('', 'b', 9).ids]).toEqual([CLS, SEP, B, SEP]);
  expect(tokenizer.encodePair('', 'b', 9).pieces).toEqual([0, 1]);
});

describe('truncation', () => {
  it.each([
    // a, b, most tokens -> kept
    [5, 5, 13, 5, 5],
    [5, 5, 12, 5, 4],
    [5, 5, 11, 4, 4],
    [9, 2, 11, 6, 2],
    [2, 9, 11, 2, 6],
    [3, 4, 9, 3, 3],
    [4, 3, 8, 3, 2],
    [7, 0, 6, 3, 0],
    [1, 1, 3, 0, 0],
    [1, 1, 4, 1, 0],
  ])('%i and %i pieces in %i tokens: %i and %i', (a, b, most, keptA, keptB) => {
    const { ids, types, tokens, truncated, pieces } = tokenizer.encodePair(
      words('a', a),
      words('b', b),
      most,
    );
    expect([...ids]).toEqual([CLS, ...Array(keptA).fill(A), SEP, ...Array(keptB).fill(B), SEP]);
    expect([...types]).toEqual([...Array(keptA + 2).fill(0), ...Array(keptB + 1).fill(1)]);
    expect({ tokens, truncated, pieces }).toEqual({
      tokens: a + b + 3,
      truncated: keptA + keptB < a + b,
      pieces: [a, b],
    });
  });

  it('is the loop of the published code, for all small lengths', () => {
    for (let a = 0; a <= 9; a++) {
      for (let b = 0; b <= 9; b++) {
        for (let most = 3; most <= 24; most++) {
          let [keptA, keptB] = [a, b];
          while (keptA + keptB > most - 3) {
            if (keptA > keptB) keptA--;
            else keptB--;
          }
          const ids = [...tokenizer.encodePair(words('a', a), words('b', b), most).ids];
          const count = (id: number) => ids.filter((other) => other === id).length;
          expect([count(A), count(B)], `${a} and ${b} in ${most}`).toEqual([keptA, keptB]);
        }
      }
    }
  });
});

it('a separator in a text is text', () => {
  const { ids } = tokenizer.encodePair('a [SEP] b', '[CLS]', 30);
  expect([...ids].filter((id) => id === SEP)).toHaveLength(2);
  expect([...ids].filter((id) => id === CLS)).toHaveLength(1);
});

it('shows tokens, and joins them as text', () => {
  expect(tokenizer.tokensOf([CLS, A, 8, SEP, 99])).toEqual(['[CLS]', 'a', '##x', '[SEP]', '[99]']);
  expect(tokenizer.joined(['a', '##x', '##y', 'b'])).toBe('axy b');
  expect(tokenizer.joined(['##x', 'b'])).toBe('##x b');
  expect(tokenizer.joined([])).toBe('');
  expect([CLS, SEP, A, 99].map((id) => tokenizer.isSpecial(id))).toEqual([true, true, false, false]);
});
