// What the importer of BinaryBERT refuses: each with its stable code and the name of the tensor or setting, and nothing written.
import { expect, test } from 'vitest';
import type { RandomBinaryBertOptions } from '../../oracle/random-binarybert.js';
import { binaryBert, type Change, describeIn } from './families-support.js';
import { refusedImport, saved, temporaryFolder, values } from './support.js';

const folder = temporaryFolder();
const LAYER = 'bert.encoder.layer.0';
const SELF = `${LAYER}.attention.self`;
const QUERY = `${SELF}.query`;
const WORDS = 'bert.embeddings.word_embeddings';
const LSQ = { method: 'lsq', bits: 4 } as const;
const RESULTS = ['query', 'key', 'value', 'attn'].map((part) => `${SELF}.clip_${part}`);

const describe = (...args: Parameters<typeof binaryBert>) => describeIn(folder, binaryBert(...args));
const refuses = (
  code: string,
  says: (string | RegExp)[],
  change: Change,
  options: Partial<RandomBinaryBertOptions> = {},
) => refusedImport(folder, saved(folder, binaryBert(change, options)), code, says);

test('steps are not clamped as in BiT: one that is not above 0 is refused', async () => {
  for (const name of [`${QUERY}_1.input_clip_val`, `${LAYER}.output.dense_2.input_clip_val`, RESULTS[3]!]) {
    for (const step of [0, -0.5])
      await refuses(
        'bad-values',
        [name, String(step), 'above 0'],
        (each) => values(each, name).fill(step),
        LSQ,
      );
  }
  const { description } = await describe((each) => values(each, RESULTS[0]!).fill(2 ** -20), LSQ);
  expect(description.layers[0]!.q).toMatchObject({ step: 2 ** -20 });
});

test.each([`${QUERY}_1.input_clip_val`, `${LAYER}.output.dense_2.input_clip_val`, RESULTS[3]!])(
  'clips without a range between them: %s',
  async (name) => {
    for (const bounds of [
      [2.5, -2.5],
      [1, 1],
    ])
      await refuses('bad-values', [name, `[${bounds.join(', ')}]`, 'no range'], (each) =>
        values(each, name).set(bounds),
      );
    await refuses('bad-values', [name, 'NaN'], (each) => values(each, name).fill(Number.NaN, 1));
  },
);

test('clips where a step is needed, and the other way round', async () => {
  const name = `${QUERY}_2.input_clip_val`;
  const other = (config: Record<string, unknown>, method: string) => {
    config.input_quant_method = method;
  };
  // Steps of the first Linear that is read: the first branch of Q.
  await refuses('wrong-shape', [/query_1\.input_clip_val has shape \[2\]/], ({ config }) =>
    other(config, 'lsq'),
  );
  await refuses(
    'wrong-shape',
    [/query_1\.input_clip_val has shape \[\]/],
    ({ config }) => other(config, 'uniform'),
    LSQ,
  );
  await refuses('missing-tensor', [name], ({ tensors }) => tensors.delete(name));
});

test.each([
  ['bad-config', 'weight_bits', 2, /not split/],
  ['bad-config', 'weight_bits', 32, /must be 1/],
  ['bad-config', 'input_bits', 32, /2 or 4 or 8/],
  ['bad-config', 'input_bits', 1, /2 or 4 or 8/],
  ['bad-config', 'input_quant_method', 'elastic', /"uniform" or "lsq"/],
  ['bad-config', 'input_quant_method', undefined, /absent/],
  ['bad-config', 'hidden_act', 'swish', /"relu" or "gelu"/],
  ['unsupported', 'weight_quant_method', 'twn', /bwn/],
  ['bad-config', 'sym_quant_qkvo', 'yes', /true or false/],
  ['unsupported', 'input_layerwise', false, /only true/],
  ['unsupported', 'not_quantize_attention', true, /only false/],
] as const)('%s: %s = %j', async (code, setting, value, says) => {
  await refuses(code, [`config.json: ${setting} is`, says], ({ config }) => {
    if (value === undefined) delete config[setting];
    else config[setting] = value;
  });
});

test.each([
  `${QUERY}_2.weight`,
  `${LAYER}.output.dense_2.bias`,
  `${WORDS}_2.weight`,
  'bert.pooler.dense_1.weight',
])('a branch that is not there: %s', async (name) => {
  await refuses('missing-tensor', [name], ({ tensors }) => tensors.delete(name));
});

test('branches of different shape', async () => {
  await refuses('wrong-shape', [`${WORDS}_2.weight`, '[80,16]'], ({ tensors }) => {
    tensors.set(`${WORDS}_2.weight`, { shape: [80, 16], data: new Float32Array(80 * 16).fill(0.1) });
  });
});

test('the ternary model before the splitting is named, and refused', async () => {
  // Names without a branch, clips but neither a move nor a clip of weights.
  const before = binaryBert(({ config, tensors }) => {
    Object.assign(config, { weight_bits: 2, weight_quant_method: 'twn' });
    for (const [name, tensor] of [...tensors]) {
      tensors.delete(name);
      if (!/_2\./.test(name)) tensors.set(name.replace(/_1\./, '.'), tensor);
    }
  });
  await refusedImport(folder, saved(folder, before), 'unknown-family', [/first step.*split/]);
});

test('an attention of another width than the tensors have, or that the heads do not divide', async () => {
  await refuses('wrong-shape', [`${QUERY}_1.weight`, '[16,16]'], ({ config }) => {
    delete config.dyna_hidden_size;
  });
  await refuses('bad-config', ['8 columns', 'num_attention_heads 3'], ({ config }) => {
    config.num_attention_heads = 3;
  });
  await refuses('bad-config', ['dyna_hidden_size'], ({ config }) => {
    config.dyna_hidden_size = 0;
  });
});
