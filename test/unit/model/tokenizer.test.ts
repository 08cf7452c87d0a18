// TextTokenizer against the definition of BERT's tokenisation, on tricky and on random text.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { TextTokenizer, type TokenizerSettings } from '../../../src/model/tokenizer.js';
import { UNCASED } from '../../../src/model/vocabulary.js';
import { naivePieces } from './naive-tokenizer.js';

const SPECIAL = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];

function settings(words: readonly string[], changes: Partial<TokenizerSettings> = {}): TokenizerSettings {
  return {
    ...UNCASED,
    vocabulary: [...SPECIAL, ...words],
    ...changes,
  };
}

/** Pieces, as texts, between [CLS] and [SEP]. */
function pieces(tokenizer: TextTokenizer, text: string): string[] {
  const { ids, tokens, truncated } = tokenizer.encode(text, 1_000_000);
  const texts = [...ids].map((id) => tokenizer.settings.vocabulary[id]!);
  expect([texts[0], texts.at(-1), truncated, tokens]).toEqual(['[CLS]', '[SEP]', false, ids.length]);
  return texts.slice(1, -1);
}

/** Characters that each do something different to a tokeniser. */
const TRICKY = [
  ...'abzAZ09éÉñÅßİıΣσςſ',
  'a\u0301',
  'e\u0323\u0302',
  '\u0301',
  ...'中文㐀鿿豈你',
  ...'𠀀𪛟𪜀𫝀𫠠𬺯丽𰀀𮯰', // extensions B to F, compatibility, and two beyond the published blocks
  ...'ひカ한글',
  ...' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u2003\u2028\u2029\u202f\u205f\u3000\u200b\ufeff',
  ...'\u0000\u0007\u001f\u007f\u009f\u00ad\u200d\u200e\u202e\ue000\ufffd\uffff\u0378',
  ...'!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~',
  ...'_‿–—([«“»”¡§·…、。「」؟।', // every category of punctuation
  ...'€±©→√²½Ⅷ', // symbols and numbers that are no punctuation
  '\u037e', // Greek question mark: NFD makes it a semicolon
  '\u1fef', // Greek varia: NFD makes it a grave accent
  '\u2260', // not equal: NFD makes it "=" and a mark
  ...'😀👩‍💻🏽🇨🇭',
  '\ud800',
  '\udc00',
  '[SEP]',
  '[UNK]',
  '##a',
];

/** About half of what normalised text can be made of, alone and as a continuation, and some longer pieces. */
function vocabularyOf(strings: readonly string[]): string[] {
  const characters = new Set(
    strings.flatMap((text) =>
      [...text, ...text.toLowerCase().normalize('NFD')].filter((char) => !/\p{Cs}/u.test(char)),
    ),
  );
  const words = new Set([
    'ab',
    'abz',
    '##bz',
    '##09',
    'sep',
    'unk',
    '##中文',
    '##ab',
    'σσ',
    '##ς',
    '한글'.normalize('NFD'),
  ]);
  [...characters].forEach((char, index) => {
    if (index % 7 !== 3) words.add(char);
    if (index % 5 !== 2) words.add(`##${char}`);
  });
  return [...words];
}

const VOCABULARY = vocabularyOf(TRICKY);

/** Text of tricky pieces, of whole words, and of any code points. */
const anyText = fc
  .array(
    fc.oneof(
      { weight: 6, arbitrary: fc.constantFrom(...TRICKY) },
      { weight: 2, arbitrary: fc.constantFrom('ab', 'abz', ' ', 'AB09', 'σΣ', 'ΑΣ.Α') },
      { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 3 }) },
    ),
    { maxLength: 40 },
  )
  .map((parts) => parts.join(''));

test.each([true, false])('random text as the definition has it, lowercase %s', (lowercase) => {
  const tokenizer = new TextTokenizer(settings(VOCABULARY, { lowercase }));
  const known = new Set([...SPECIAL, ...VOCABULARY]);
  fc.assert(
    fc.property(anyText, (text) => {
      expect(pieces(tokenizer, text)).toEqual(naivePieces(text, known, { lowercase }));
    }),
    { numRuns: 3000, seed: 20231 },
  );
});

test('every code point of the first planes inside a word', () => {
  const words = ['x', '##x', 'y', '##y', 'xy', '##xy', ...SPECIAL];
  const known = new Set(words);
  const tokenizer = new TextTokenizer(settings(words.slice(0, 6)));
  for (let from = 0; from < 0x32000; from += 0x1000) {
    const text = Array.from({ length: 0x1000 }, (_, i) => `x${String.fromCodePoint(from + i)}y`).join(' ');
    const found = pieces(tokenizer, text).join(' ');
    const expected = naivePieces(text, known, { lowercase: true }).join(' ');
    expect(found === expected, `U+${from.toString(16)} to U+${(from + 0xfff).toString(16)}`).toBe(true);
  }
});

/** Fixed expectations: they do not depend on what this machine's Unicode tables say. */
test.each([
  ['Hello, World!', 'hello , world !'],
  ['ÀÉÎõü', 'aeiou'],
  ['naïve cafe\u0301', 'naive cafe'],
  ['it’s “fine” – really…', 'it ’ s “ fine ” – really …'],
  ['a_b «c» ¿d? (e)', 'a _ b « c » ¿ d ? ( e )'],
  ['5€ ±1 ©', '[UNK] [UNK] [UNK]'],
  ['$5 1+1 a^b `x` ~', '$ 5 1 + 1 a ^ b ` x ` ~'],
  ['我爱a', '我 爱 a'],
  ['a𠀀b𪜀', 'a 𠀀 b 𪜀'],
  ['co\u00adop\u200b\u0000er\ufffdate', 'cooperate'],
  ['a\u00a0b\u3000c\u2028d\te\r\nf', 'a b c d e f'],
  ['a\u000bb', 'ab'],
  ['unaffable', 'un ##aff ##able'],
  ['unaffableq', '[UNK]'],
  ['[SEP] [CLS]', '[ sep ] [ cls ]'],
  ['##able', '# # able'],
  ['a\ud800b', 'ab'],
])('%j is %j', (text, expected) => {
  const words =
    'hello world ! , aeiou naive cafe it s fine really ’ “ ” – … _ « » ¿ ? ( ) $ 1 + ^ ` ~ 5 x 我 爱 𠀀 𪜀 a b c d e f ab cooperate un ##aff ##able able # [ ] sep cls';
  expect(pieces(new TextTokenizer(settings(words.split(' '))), text).join(' ')).toBe(expected);
});

test('a cased vocabulary keeps case and accents', () => {
  const tokenizer = new TextTokenizer(
    settings(['Zürich', 'Zurich', 'zürich', 'I', '.'], { lowercase: false }),
  );
  expect(pieces(tokenizer, 'Zürich zürich ZÜRICH I.')).toEqual(['Zürich', 'zürich', '[UNK]', 'I', '.']);
});

test.each([
  [{ lowercase: true, stripAccents: false }, ['zürich', 'zürich']],
  [{ lowercase: false, stripAccents: true }, ['Zurich', 'zurich']],
  [{ handleChineseChars: false }, ['zurich', 'zurich']],
] as [Partial<TokenizerSettings>, string[]][])('settings %j', (changes, expected) => {
  const tokenizer = new TextTokenizer(settings(['Zurich', 'zürich', 'zurich', '##', '中', '中中'], changes));
  expect(pieces(tokenizer, 'Zürich zürich')).toEqual(expected);
  const ideographs = changes.handleChineseChars === false ? ['中中'] : ['中', '中'];
  expect(pieces(tokenizer, '中中')).toEqual(ideographs);
});

test('a word of 100 characters is looked up, one of 101 is unknown; characters, not UTF-16 units', () => {
  const words = ['a', '##a', '𝒳', '##𝒳', 'é', '##é'];
  const tokenizer = new TextTokenizer(settings(words, { lowercase: false }));
  for (const char of ['a', '𝒳', 'é']) {
    expect(pieces(tokenizer, char.repeat(100))).toHaveLength(100);
    expect(pieces(tokenizer, char.repeat(101))).toEqual(['[UNK]']);
  }
  // Accents are gone before characters are counted.
  const uncased = new TextTokenizer(settings(['a', '##a']));
  expect(pieces(uncased, 'a\u0301'.repeat(100))).toHaveLength(100);
});

test('texts are cut to the first pieces, and the whole count is told', () => {
  const tokenizer = new TextTokenizer(settings(['a', 'b', 'c', 'd']));
  const encoded = (text: string, most: number) => {
    const { ids, tokens, truncated } = tokenizer.encode(text, most);
    return { ids: [...ids], tokens, truncated };
  };
  const [CLS, SEP, a, b, c, d] = [2, 3, 5, 6, 7, 8];
  expect(encoded('a b c d', 6)).toEqual({ ids: [CLS, a, b, c, d, SEP], tokens: 6, truncated: false });
  expect(encoded('a b c d', 5)).toEqual({ ids: [CLS, a, b, c, SEP], tokens: 6, truncated: true });
  expect(encoded('a b c d', 3)).toEqual({ ids: [CLS, a, SEP], tokens: 6, truncated: true });
  for (const empty of ['', ' \n\t', '\u0000\u200b\ufffd', '\u0301']) {
    expect(encoded(empty, 8), JSON.stringify(empty)).toEqual({
      ids: [CLS, SEP],
      tokens: 2,
      truncated: false,
    });
  }
});

test('words named like members of objects are words', () => {
  const words = ['constructor', 'tostring', '__proto__', 'hasownproperty'];
  const tokenizer = new TextTokenizer(settings(words));
  expect(pieces(tokenizer, 'constructor toString valueOf hasOwnProperty')).toEqual([
    'constructor',
    'tostring',
    '[UNK]',
    'hasownproperty',
  ]);
});

test('the time for a text of marks does not grow with the square of its length', () => {
  const tokenizer = new TextTokenizer(settings(['a']));
  const begin = performance.now();
  expect(pieces(tokenizer, `a${'\u0301\u0316'.repeat(200_000)}`)).toEqual(['a']);
  // Sorting the marks would take about a minute.
  expect(performance.now() - begin).toBeLessThan(5_000);
});

test('a vocabulary without a special token is refused', () => {
  for (const special of ['[UNK]', '[CLS]', '[SEP]']) {
    const vocabulary = [...SPECIAL, 'a'].map((word) => (word === special ? null : word));
    expect(() => new TextTokenizer(settings([], { vocabulary }))).toThrow(special);
  }
});

test('a vocabulary that comes in pieces gives the same tokeniser, and lets others have their turn between them', async () => {
  const all = settings(['a', 'b', '##b', 'a']);
  const { vocabulary, ...rules } = all;
  const list = [...vocabulary, null, 'c'];
  let turns = 0;
  const count = () => {
    turns++;
    next = setImmediate(count);
  };
  let next = setImmediate(count);
  const tokenizer = await TextTokenizer.fromPieces(
    rules,
    Array.from({ length: list.length }, (_, index) => list.slice(index, index + 1)),
  );
  clearImmediate(next);
  expect(turns).toBeGreaterThanOrEqual(list.length - 1);
  expect(tokenizer.settings.vocabulary).toEqual(list);
  const whole = new TextTokenizer({ ...all, vocabulary: list });
  for (const text of ['a b ab abb c', 'a c d', 'bab'])
    expect(tokenizer.encode(text, 40)).toEqual(whole.encode(text, 40));
  await expect(TextTokenizer.fromPieces(rules, [['a']])).rejects.toThrow('[UNK]');
});
