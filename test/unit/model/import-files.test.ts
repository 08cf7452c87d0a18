// Refusals that come from the files of a checkpoint: the weights file, the vocabulary, the output path.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { importCheckpoint } from '../../../src/cli/import-model.js';
import { vocabulary } from '../../oracle/random.js';
import { random, torchEntries } from '../checkpoint/build.js';
import { dict, global, pickle } from '../checkpoint/build-pickle.js';
import { zipBytes } from '../checkpoint/build-zip.js';
import { checkpointWith, refusedImport, saved, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const source = () => saved(folder, checkpointWith());

/** A BERT tokenizer.json, as the common tools write it. */
const tokenizerJson = (words: readonly string[]) => ({
  version: '1.0',
  truncation: null,
  padding: null,
  added_tokens: ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'].map((content, id) => ({
    id,
    content,
    special: true,
  })),
  normalizer: {
    type: 'BertNormalizer',
    clean_text: true,
    handle_chinese_chars: true,
    strip_accents: null,
    lowercase: true,
  },
  pre_tokenizer: { type: 'BertPreTokenizer' },
  post_processor: null,
  decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
  model: {
    type: 'WordPiece',
    unk_token: '[UNK]',
    continuing_subword_prefix: '##',
    max_input_chars_per_word: 100,
    vocab: Object.fromEntries(words.map((word, id) => [word, id])) as Record<string, number>,
  },
});

test('a truncated pytorch_model.bin, wherever it was cut', async () => {
  const from = source();
  const file = join(from, 'pytorch_model.bin');
  const whole = readFileSync(file);
  for (const share of [0, 0.001, 0.3, 0.6, 0.9, 0.999]) {
    writeFileSync(file, whole.subarray(0, Math.floor(whole.length * share)));
    const error = await refusedImport(folder, from, expect.any(String) as unknown as string, [
      'pytorch_model.bin',
    ]);
    expect(error.name).toBe('CheckpointError');
  }
});

test('a corrupted pytorch_model.bin: nothing but clear refusals, or a checkpoint that was not touched', async () => {
  const from = source();
  const file = join(from, 'pytorch_model.bin');
  const whole = readFileSync(file);
  const next = random(77);
  let refused = 0;
  for (let round = 0; round < 60; round++) {
    const bytes = Buffer.from(whole);
    for (let flips = 0; flips < 4; flips++)
      bytes[Math.floor(next() * bytes.length)]! ^= 1 << Math.floor(next() * 8);
    writeFileSync(file, bytes);
    const target = mkdtempSync(join(folder, 'corrupt-'));
    try {
      await importCheckpoint(
        from,
        join(target, 'model.beta'),
        {},
        { warn: () => undefined, progress: () => undefined },
      );
    } catch (error) {
      refused++;
      expect(['CheckpointError', 'ImportError']).toContain((error as Error).name);
      expect(readdirSync(target)).toEqual([]);
    }
  }
  // A flip may hit padding; most hit a tensor, whose checksum then fails.
  expect(refused).toBeGreaterThan(40);
});

test('a pickle that calls something is refused before anything is called', async () => {
  const from = source();
  const evil = pickle(dict([['bert.x.move.bias', global('os', 'system')]]));
  writeFileSync(join(from, 'pytorch_model.bin'), zipBytes(torchEntries(evil, [])));
  await refusedImport(folder, from, 'forbidden-pickle', ['os', 'system']);
});

test('no vocabulary', async () => {
  const from = source();
  rmSync(join(from, 'vocab.txt'));
  await refusedImport(folder, from, 'bad-vocabulary', ['tokenizer.json', 'vocab.txt']);
});

test.each(['[CLS]', '[SEP]', '[UNK]'])('vocab.txt without %s', async (special) => {
  const from = source();
  const words = vocabulary(90).filter((word) => word !== special);
  writeFileSync(join(from, 'vocab.txt'), words.join('\n'));
  await refusedImport(folder, from, 'bad-vocabulary', ['vocab.txt', special.slice(1, -1)]);
});

test('a vocabulary larger than the embedding table', async () => {
  const from = source();
  writeFileSync(join(from, 'vocab.txt'), `${vocabulary(91).join('\n')}\n`);
  await refusedImport(folder, from, 'bad-vocabulary', ['vocab.txt', '91 tokens', '90 rows']);
});

test('a vocab.txt that is a folder, or no text', async () => {
  const from = source();
  rmSync(join(from, 'vocab.txt'));
  mkdirSync(join(from, 'vocab.txt'));
  await refusedImport(folder, from, 'bad-vocabulary', ['vocab.txt']);
  rmSync(join(from, 'vocab.txt'), { recursive: true });
  writeFileSync(join(from, 'vocab.txt'), Buffer.from([0x5b, 0xff, 0xfe, 0x0a]));
  await refusedImport(folder, from, 'bad-vocabulary', ['vocab.txt', 'UTF-8']);
});

type Json = ReturnType<typeof tokenizerJson> & Record<string, unknown>;

test.each([
  [
    'a regular expression as pre-tokeniser',
    'pre_tokenizer',
    (json) => {
      json.pre_tokenizer = { type: 'Split', pattern: { Regex: '(a+)+$' } } as never;
    },
  ],
  [
    'a byte-level pre-tokeniser',
    'pre_tokenizer',
    (json) => {
      json.pre_tokenizer = { type: 'ByteLevel' };
    },
  ],
  [
    'no pre-tokeniser',
    'pre_tokenizer',
    (json) => {
      json.pre_tokenizer = null as never;
    },
  ],
  [
    'a list of normalisers',
    'normalizer',
    (json) => {
      json.normalizer = { type: 'Sequence', normalizers: [] } as never;
    },
  ],
  [
    'no normaliser',
    'normalizer',
    (json) => {
      json.normalizer = null as never;
    },
  ],
  [
    'another model',
    'model',
    (json) => {
      json.model = { type: 'BPE', vocab: {}, merges: [] } as never;
    },
  ],
  [
    'ids that are no numbers',
    'vocab',
    (json) => {
      json.model.vocab.the = 'one' as never;
    },
  ],
  [
    'a negative id',
    'vocab',
    (json) => {
      json.model.vocab.the = -1;
    },
  ],
  [
    'an enormous id',
    'vocab',
    (json) => {
      json.model.vocab.the = 2 ** 31;
    },
  ],
  [
    'two words with one id',
    'id 5',
    (json) => {
      json.model.vocab.the = 5;
    },
  ],
  [
    'words up to 10000 characters',
    'max_input_chars_per_word',
    (json) => {
      json.model.max_input_chars_per_word = 10000;
    },
  ],
  [
    'an added token that the vocabulary does not have',
    'E1',
    (json) => {
      json.added_tokens.push({ id: 89, content: '[E1]', special: false });
    },
  ],
  [
    'no [SEP]',
    'SEP',
    (json) => {
      delete json.model.vocab['[SEP]'];
    },
  ],
] as [string, string, (json: Json) => void][])('tokenizer.json with %s', async (_, says, change) => {
  const from = source();
  const json = tokenizerJson(vocabulary(80)) as Json;
  change(json);
  writeFileSync(join(from, 'tokenizer.json'), JSON.stringify(json));
  await refusedImport(folder, from, 'bad-vocabulary', ['tokenizer.json', says]);
});

test('tokenizer.json that is not JSON', async () => {
  const from = source();
  writeFileSync(join(from, 'tokenizer.json'), '{"model":');
  await refusedImport(folder, from, 'bad-vocabulary', ['tokenizer.json', 'JSON']);
});

test('an output path that cannot be written leaves nothing', async () => {
  const from = source();
  const target = mkdtempSync(join(folder, 'output-'));
  const silent = { warn: () => undefined, progress: () => undefined };
  await expect(importCheckpoint(from, join(target, 'no', 'model.beta'), {}, silent)).rejects.toThrow(
    /ENOENT/,
  );
  mkdirSync(join(target, 'model.beta'));
  await expect(importCheckpoint(from, join(target, 'model.beta'), {}, silent)).rejects.toThrow(/directory/i);
  expect(readdirSync(target)).toEqual(['model.beta']);
  expect(readdirSync(join(target, 'model.beta'))).toEqual([]);
});
