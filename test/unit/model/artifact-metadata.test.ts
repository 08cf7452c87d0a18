// The reader against wrong metadata and tensor entries: each refused with its code and a message that names what is wrong.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Artifact } from '../../../src/model/artifact/read.js';
import { changed, changedEntry, folder, outcome, refuses, whole } from './artifact-support.js';
import { parseArtifact } from './support.js';

test('a safetensors file that is no artifact', () => {
  refuses(
    changed(({ metadata }) => {
      for (const key of Object.keys(metadata)) delete metadata[key];
    }),
    'bad-header',
    /beta import/,
  );
});

test.each([
  ['beta.format', 'bad-header'],
  ['beta.plan', 'bad-plan'],
  ['beta.tokenizer', 'bad-tokenizer'],
  ['beta.provenance', 'bad-header'],
  ['beta.data.sha256', 'bad-header'],
])('without %s', (key, code) => {
  refuses(
    changed(({ metadata }) => {
      delete metadata[key];
    }),
    code,
    key === 'beta.format' ? /no \.beta artifact/ : key,
  );
});

test.each(['beta.plan', 'beta.tokenizer', 'beta.provenance'])('%s that is not what it should be', (key) => {
  for (const text of [
    '',
    '{',
    '{"a":',
    'null',
    '[]',
    '"text"',
    '7',
    '{}',
    '{"__proto__":{"family":"x"}}',
    '['.repeat(100_000),
  ]) {
    const error = outcome(
      changed(({ metadata }) => {
        metadata[key] = text;
      }),
    );
    expect(error?.message, text.slice(0, 20)).toContain(key);
  }
});

test.each([
  ['1', 'newer-format', /format 1.*reads 2.*import the checkpoint again/],
  ['3', 'newer-format', /format 3.*reads 2.*update/],
  ['99999999999999999999999', 'newer-format', /reads 2/],
  ['1.0', 'bad-header', /beta\.format/],
  ['', 'bad-header', /beta\.format/],
  ['one', 'bad-header', /beta\.format/],
])('format %j', (format, code, says) => {
  refuses(
    changed(({ metadata }) => {
      metadata['beta.format'] = format;
    }),
    code,
    says,
  );
});

test.each([
  '',
  'Intents',
  '-a',
  'a b',
  'a/b',
  '../a',
  'a\nb',
  'ä',
  '\u001b[31mred',
  'x'.repeat(64),
  'x'.repeat(1_000_000),
])('name %.20s', (name) => {
  const error = outcome(
    changed(({ metadata }) => {
      metadata['beta.name'] = name;
    }),
  );
  expect(error?.code).toBe('bad-header');
  expect(error?.message).toMatch(/no model name/);
  expect(error?.message).not.toMatch(/[\p{Cc}\p{Cf}]/u);
});

test('a file whose name has no letter or digit needs a name', () => {
  const nameless = join(folder, '___.beta');
  writeFileSync(nameless, whole);
  expect(() => Artifact.open(nameless)).toThrow(/no model name.*--name/);
});

test.each([
  [
    'more words than the table has rows',
    (value: { vocabulary: unknown[] }) => value.vocabulary.push('extra'),
    /91 tokens.*90 rows/,
  ],
  [
    'no [SEP]',
    (value: { vocabulary: unknown[] }) => {
      value.vocabulary[3] = null;
    },
    /\[SEP\]/,
  ],
  [
    'a [CLS] that is no word',
    (value: { classification: string }) => {
      value.classification = '[START]';
    },
    /\[START\]/,
  ],
  [
    'words of 10000 characters',
    (value: { maxCharsPerWord: number }) => {
      value.maxCharsPerWord = 10_000;
    },
    /maxCharsPerWord/,
  ],
  [
    'an unknown field',
    (value: Record<string, unknown>) => {
      value.pattern = '(a+)+$';
    },
    /pattern/,
  ],
  [
    'another type',
    (value: { type: string }) => {
      value.type = 'bpe';
    },
    /type/,
  ],
])('a tokeniser with %s', (_, change, says) => {
  refuses(changedEntry('beta.tokenizer', change), 'bad-tokenizer', says);
});

test('tensors: dtype, alignment, size, order', () => {
  const names = [...parseArtifact(whole).tensors.keys()];
  const plan = JSON.parse(parseArtifact(whole).metadata['beta.plan']!);
  const gamma = plan.embeddings.norm.gamma as string;
  refuses(
    changed(({ tensors }) => {
      tensors.get(gamma)!.dtype = 'I8';
    }),
    'bad-tensor',
    /I8.*U8/,
  );
  refuses(
    changed(({ tensors }) => {
      tensors.get(gamma)!.dtype = 'F8_E4M3';
    }),
    'unsupported-format',
    /F8_E4M3/,
  );
  refuses(
    changed(({ tensors }) => {
      tensors.get(gamma)!.shape = [16, 4];
      tensors.get(gamma)!.dtype = 'F32';
    }),
    'bad-tensor',
    gamma,
  );
  refuses(
    changed(({ tensors }) => {
      tensors.get(gamma)!.shape = [63];
    }),
    'bad-tensor',
    gamma,
  );
  refuses(
    changed(({ tensors }) => {
      tensors.get(gamma)!.data_offsets[1] += 64;
    }),
    'bad-tensor',
    gamma,
  );
  refuses(
    changed(({ tensors }) => {
      tensors.get(gamma)!.data_offsets = [2 ** 53, 2 ** 53];
    }),
    'bad-header',
    gamma,
  );
  refuses(
    changed(({ tensors }) => {
      tensors.delete(gamma);
    }),
    'bad-tensor',
    /hole/,
  );
  // One tensor of all the data: every name that the plan needs is gone.
  refuses(
    changed(({ tensors, data }) => {
      tensors.clear();
      tensors.set('all', { dtype: 'U8', shape: [data.length], data_offsets: [0, data.length] });
    }),
    'bad-plan',
    /there is no tensor/,
  );
  // The first two tensors exchange names; their sizes differ.
  const sizeOf = (name: string) => parseArtifact(whole).tensors.get(name)!.shape[0]!;
  const other = names.find((name) => sizeOf(name) !== sizeOf(names[0]!))!;
  refuses(
    changed((parts) => {
      const swap: Record<string, string> = { [names[0]!]: other, [other]: names[0]! };
      parts.tensors = new Map([...parts.tensors].map(([name, entry]) => [swap[name] ?? name, entry]));
    }),
    'bad-plan',
    /bytes are needed|bytes, \d+ are needed/,
  );
});
