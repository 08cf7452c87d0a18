/** Finds a checkpoint's tokeniser: tokenizer.json, or vocab.txt with tokenizer_config.json beside it if there is one. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { ImportError } from './import-error.js';
import { type TokenizerSettings, tokenizerSchema, WORD_CHARS_MAX } from './tokenizer.js';

/** A vocabulary of a million words is about 10 MB. */
const FILE_BYTES_MAX = 64 * 2 ** 20;

/** How the uncased BERT splits texts. */
export const UNCASED = {
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
} as const;

function readText(file: string): string {
  const stat = statSync(file);
  if (!stat.isFile()) throw new ImportError('bad-vocabulary', `${file}: it is not a regular file`);
  if (stat.size > FILE_BYTES_MAX)
    throw new ImportError(
      'bad-vocabulary',
      `${file}: ${stat.size} bytes are more than a tokeniser has (${FILE_BYTES_MAX})`,
    );
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(file));
  } catch (error) {
    if (error instanceof TypeError)
      throw new ImportError('bad-vocabulary', `${file}: not UTF-8; convert it, or fetch it again`);
    throw error;
  }
}

function readJson<T>(file: string, schema: z.ZodType<T>): T {
  let value: unknown;
  try {
    value = JSON.parse(readText(file));
  } catch (error) {
    if (error instanceof ImportError) throw error;
    throw new ImportError('bad-vocabulary', `${file}: not JSON (${(error as Error).message})`);
  }
  const result = schema.safeParse(value);
  if (!result.success) {
    throw new ImportError(
      'bad-vocabulary',
      `${file}: only BERT WordPiece tokenisers are supported:\n${z.prettifyError(result.error).slice(0, 2000)}`,
    );
  }
  return result.data;
}

/**
 * What is read of tokenizer.json. Templates and decoders do not change the ids of a text; added tokens would, so they are
 * only accepted where they repeat the vocabulary.
 */
const tokenizerJson = z.object({
  added_tokens: z.array(z.object({ id: z.number(), content: z.string() })).default([]),
  normalizer: z.object({
    type: z.literal('BertNormalizer'),
    clean_text: z.boolean().default(true),
    handle_chinese_chars: z.boolean().default(true),
    strip_accents: z.boolean().nullable().default(null),
    lowercase: z.boolean().default(true),
  }),
  pre_tokenizer: z.object({ type: z.literal('BertPreTokenizer') }),
  model: z.object({
    type: z.literal('WordPiece').default('WordPiece'),
    unk_token: z.string().default('[UNK]'),
    continuing_subword_prefix: z.string().default('##'),
    max_input_chars_per_word: z.number().int().min(1).max(WORD_CHARS_MAX).default(100),
    vocab: z.record(z.string(), z.number().int().nonnegative().max(4_000_000)),
  }),
});

/** What is read of tokenizer_config.json. */
const tokenizerConfig = z.object({
  do_lower_case: z.boolean().optional(),
  strip_accents: z.boolean().nullish(),
  tokenize_chinese_chars: z.boolean().optional(),
  /** false would leave text as it is before WordPiece. */
  do_basic_tokenize: z.literal(true).optional(),
});

function fromTokenizerJson(file: string): TokenizerSettings {
  const { added_tokens, normalizer, model } = readJson(file, tokenizerJson);
  const entries = Object.entries(model.vocab);
  const size = entries.reduce((most, [, id]) => Math.max(most, id + 1), 0);
  const vocabulary = new Array<string | null>(size).fill(null);
  for (const [text, id] of entries) {
    if (vocabulary[id] !== null)
      throw new ImportError('bad-vocabulary', `${file}: more than one word has id ${id}; save it again`);
    vocabulary[id] = text;
  }
  for (const { id, content } of added_tokens) {
    if (vocabulary[id] !== content)
      throw new ImportError(
        'bad-vocabulary',
        `${file}: the added token ${JSON.stringify(content).slice(0, 80)} is no word of the vocabulary; only plain BERT WordPiece is supported`,
      );
  }
  return {
    ...UNCASED,
    lowercase: normalizer.lowercase,
    stripAccents: normalizer.strip_accents,
    cleanText: normalizer.clean_text,
    handleChineseChars: normalizer.handle_chinese_chars,
    unknown: model.unk_token,
    continuation: model.continuing_subword_prefix,
    maxCharsPerWord: model.max_input_chars_per_word,
    vocabulary,
  };
}

function fromVocabulary(file: string, configFile: string): TokenizerSettings {
  // As the published loader reads: any line end, and no space around a word.
  const lines = readText(file)
    .split(/\r\n|\r|\n/)
    .map((line) => line.trim());
  while (lines.at(-1) === '') lines.pop();
  const config = existsSync(configFile) ? readJson(configFile, tokenizerConfig) : {};
  // A word given twice has the later id, as in the published loader; the earlier id then has no text.
  const last = new Map(lines.map((text, id) => [text, id]));
  return {
    ...UNCASED,
    lowercase: config.do_lower_case ?? UNCASED.lowercase,
    stripAccents: config.strip_accents ?? UNCASED.stripAccents,
    handleChineseChars: config.tokenize_chinese_chars ?? UNCASED.handleChineseChars,
    vocabulary: lines.map((text, id) => (last.get(text) === id ? text : null)),
  };
}

/**
 * The tokeniser of a checkpoint folder. `words` is the number of rows of the embedding table: ids beyond it could not be
 * looked up. Throws ImportError 'bad-vocabulary'.
 */
export function readTokenizer(folder: string, words: number): TokenizerSettings {
  const json = join(folder, 'tokenizer.json');
  const text = join(folder, 'vocab.txt');
  const file = existsSync(json) ? json : text;
  if (!existsSync(file))
    throw new ImportError(
      'bad-vocabulary',
      `${folder}: neither tokenizer.json nor vocab.txt is there; copy it from the model it was trained from`,
    );
  const settings =
    file === json ? fromTokenizerJson(json) : fromVocabulary(text, join(folder, 'tokenizer_config.json'));
  const checked = tokenizerSchema.safeParse(settings);
  if (!checked.success)
    throw new ImportError('bad-vocabulary', `${file}: ${z.prettifyError(checked.error).slice(0, 500)}`);
  if (settings.vocabulary.length > words) {
    throw new ImportError(
      'bad-vocabulary',
      `${file}: ${settings.vocabulary.length} tokens, but the embedding table has only ${words} rows; this vocabulary belongs to another model`,
    );
  }
  for (const special of [settings.unknown, settings.classification, settings.separator]) {
    if (!settings.vocabulary.includes(special))
      throw new ImportError('bad-vocabulary', `${file}: no ${special} in it`);
  }
  return settings;
}
