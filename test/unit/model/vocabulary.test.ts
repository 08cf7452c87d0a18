// Finding and reading a checkpoint's tokeniser. Refusals of whole checkpoints are in import-files.test.ts.
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { TextTokenizer } from '../../../src/model/tokenizer.js';
import { readTokenizer } from '../../../src/model/vocabulary.js';
import { temporaryFolder } from './support.js';

const folder = temporaryFolder();
const WORDS = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'a', '##b', '中', 'Ä'];

beforeEach(() => {
  for (const name of ['vocab.txt', 'tokenizer.json', 'tokenizer_config.json'])
    rmSync(join(folder, name), { force: true });
});

const write = (name: string, content: string | object) =>
  writeFileSync(join(folder, name), typeof content === 'string' ? content : JSON.stringify(content));

function tokenizerJson(change: Record<string, unknown> = {}, model: Record<string, unknown> = {}): object {
  return {
    normalizer: { type: 'BertNormalizer' },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    model: { vocab: Object.fromEntries(WORDS.map((word, id) => [word, id])), ...model },
    ...change,
  };
}

test.each([
  ['line feeds', `${WORDS.join('\n')}\n`],
  ['no last line feed', WORDS.join('\n')],
  ['empty lines at the end', `${WORDS.join('\n')}\n\n\n`],
  ['carriage returns and line feeds', `${WORDS.join('\r\n')}\r\n`],
  ['carriage returns', `${WORDS.join('\r')}\r`],
  ['spaces around the words', WORDS.map((word) => ` ${word}\t`).join('\n')],
  ['a byte-order mark', `\ufeff${WORDS.join('\n')}`],
])('vocab.txt with %s', (_, text) => {
  write('vocab.txt', text);
  expect(readTokenizer(folder, WORDS.length).vocabulary).toEqual(WORDS);
});

test('an empty line in the middle keeps its id; a word given twice has the later one', () => {
  write('vocab.txt', '[UNK]\n[CLS]\n[SEP]\nword\n\nother\nword\n');
  const settings = readTokenizer(folder, 7);
  expect(settings.vocabulary).toEqual(['[UNK]', '[CLS]', '[SEP]', null, '', 'other', 'word']);
  expect([...new TextTokenizer(settings).encode('word other', 9).ids]).toEqual([1, 6, 5, 2]);
});

test('vocab.txt alone is uncased BERT', () => {
  write('vocab.txt', WORDS.join('\n'));
  expect(readTokenizer(folder, 100)).toEqual({
    type: 'bert-wordpiece',
    lowercase: true,
    stripAccents: null,
    cleanText: true,
    handleChineseChars: true,
    unknown: '[UNK]',
    classification: '[CLS]',
    separator: '[SEP]',
    continuation: '##',
    maxCharsPerWord: 100,
    vocabulary: WORDS,
  });
});

test('tokenizer_config.json beside vocab.txt', () => {
  write('vocab.txt', WORDS.join('\n'));
  write('tokenizer_config.json', {
    do_lower_case: false,
    strip_accents: true,
    tokenize_chinese_chars: false,
    other: [1],
  });
  expect(readTokenizer(folder, 100)).toMatchObject({
    lowercase: false,
    stripAccents: true,
    handleChineseChars: false,
  });
  write('tokenizer_config.json', { do_basic_tokenize: false });
  expect(() => readTokenizer(folder, 100)).toThrow(/tokenizer_config\.json.*do_basic_tokenize/s);
  write('tokenizer_config.json', { do_lower_case: 'no' });
  expect(() => readTokenizer(folder, 100)).toThrow(/tokenizer_config\.json.*do_lower_case/s);
});

test('tokenizer.json goes before vocab.txt; what it leaves out has the usual defaults', () => {
  write('vocab.txt', 'not this');
  write('tokenizer.json', tokenizerJson());
  const expected = {
    lowercase: true,
    stripAccents: null,
    cleanText: true,
    handleChineseChars: true,
    maxCharsPerWord: 100,
  };
  expect(readTokenizer(folder, 100)).toMatchObject({ ...expected, vocabulary: WORDS });
});

test('settings of tokenizer.json', () => {
  const normalizer = {
    type: 'BertNormalizer',
    clean_text: false,
    handle_chinese_chars: false,
    strip_accents: true,
    lowercase: false,
  };
  const vocab = { '<unk>': 0, '[CLS]': 1, '[SEP]': 4 };
  const model = { unk_token: '<unk>', continuing_subword_prefix: '@@', max_input_chars_per_word: 200, vocab };
  write(
    'tokenizer.json',
    tokenizerJson({ normalizer, truncation: { max_length: 5 }, post_processor: { type: 'Any' } }, model),
  );
  expect(readTokenizer(folder, 5)).toEqual({
    type: 'bert-wordpiece',
    lowercase: false,
    stripAccents: true,
    cleanText: false,
    handleChineseChars: false,
    unknown: '<unk>',
    classification: '[CLS]',
    separator: '[SEP]',
    continuation: '@@',
    maxCharsPerWord: 200,
    // Ids may leave holes.
    vocabulary: ['<unk>', '[CLS]', null, null, '[SEP]'],
  });
});

test('added tokens that repeat the vocabulary are fine', () => {
  const added_tokens = [2, 3].map((id) => ({ id, content: WORDS[id], special: true }));
  write('tokenizer.json', tokenizerJson({ added_tokens }));
  expect(readTokenizer(folder, 100).vocabulary).toEqual(WORDS);
});

test('a vocabulary may be smaller than the embedding table, not larger', () => {
  write('vocab.txt', WORDS.join('\n'));
  expect(readTokenizer(folder, 1000).vocabulary).toHaveLength(9);
  expect(() => readTokenizer(folder, 8)).toThrow(/9 tokens.*8 rows/);
});
