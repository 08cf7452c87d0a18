// What the importer refuses: each with its stable code, a message that names the tensor or the setting, and nothing written.
import { expect, test } from 'vitest';
import type { RandomBitCheckpoint, RandomBitOptions } from '../../oracle/random.js';
import { checkpointWith, refusedImport, saved, temporaryFolder, values } from './support.js';

const folder = temporaryFolder();
const LAYER = 'bert.encoder.layer.0';
const QUERY = `${LAYER}.attention.self.query`;
const WORDS = 'bert.embeddings.word_embeddings.weight';
const POSITIONS = 'bert.embeddings.position_embeddings.weight';

type Says = readonly (string | RegExp)[];

async function refuses(
  code: string,
  says: Says,
  change: (checkpoint: RandomBitCheckpoint) => void,
  options: Partial<RandomBitOptions> = {},
): Promise<Error> {
  return refusedImport(folder, saved(folder, checkpointWith(change, options)), code, says);
}

/** Gives a tensor another shape, with values to match. */
function reshape({ tensors }: RandomBitCheckpoint, name: string, shape: number[]): void {
  const count = shape.reduce((product, size) => product * size, 1);
  tensors.set(name, { shape, data: new Float32Array(count).fill(0.25) });
}

test.each([
  WORDS,
  POSITIONS,
  'bert.embeddings.token_type_embeddings.weight',
  'bert.embeddings.LayerNorm.weight',
  `${QUERY}.weight`,
  `${QUERY}.bias`,
  `${QUERY}.move.bias`,
  `${QUERY}.input_clip_val`,
  `${LAYER}.attention.self.clip_attn`,
  `${LAYER}.attention.output.LayerNorm.bias`,
  `${LAYER}.output.dense.input_clip_val`,
  'bert.pooler.dense.weight',
  'classifier.weight',
  'classifier.bias',
])('missing tensor %s', async (name) => {
  await refuses('missing-tensor', [name], ({ tensors }) => tensors.delete(name));
});

test.each([
  [`${QUERY}.weight`, [16, 15]],
  [`${QUERY}.weight`, [256]],
  [`${QUERY}.bias`, [15]],
  [`${QUERY}.bias`, [1, 16]],
  [`${QUERY}.move.bias`, [24]],
  [`${QUERY}.input_clip_val`, [2]],
  [`${QUERY}.input_clip_val`, [1, 1]],
  [`${LAYER}.intermediate.dense.weight`, [16, 24]],
  [`${LAYER}.output.LayerNorm.weight`, [24]],
  [WORDS, [90, 15]],
  [WORDS, [1440]],
  [WORDS, [0, 16]],
  [POSITIONS, [12, 17]],
  [POSITIONS, [2, 16]],
  ['bert.embeddings.token_type_embeddings.weight', [0, 16]],
  ['classifier.weight', [3]],
  ['classifier.weight', [0, 16]],
  ['classifier.bias', [4]],
] as [string, number[]][])('wrong shape: %s as %j', async (name, shape) => {
  await refuses('wrong-shape', [name, `[${shape}]`], (checkpoint) => reshape(checkpoint, name, shape));
});

test.each([
  [`${QUERY}.weight`, Number.NaN],
  [`${LAYER}.output.dense.weight`, Number.POSITIVE_INFINITY],
  [WORDS, Number.NEGATIVE_INFINITY],
  [POSITIONS, Number.NaN],
  [`${QUERY}.bias`, Number.NaN],
  [`${QUERY}.input_clip_val`, Number.NaN],
  [`${LAYER}.attention.self.clip_value`, Number.POSITIVE_INFINITY],
  [`${LAYER}.output.LayerNorm.weight`, Number.NaN],
  ['classifier.bias', Number.NaN],
])('%s with %d in it', async (name, value) => {
  await refuses('bad-values', [name, String(value)], (checkpoint) => {
    const data = values(checkpoint, name);
    data[data.length - 1] = value;
  });
});

test.each([`${QUERY}.weight`, `${QUERY}.bias`, `${QUERY}.input_clip_val`, WORDS, 'classifier.weight'])(
  'a float64 value in %s that float32 cannot hold',
  async (name) => {
    await refuses('bad-values', [name, '1e+300'], ({ tensors }) => {
      const tensor = tensors.get(name)!;
      tensor.data = Float64Array.from(tensor.data);
      tensor.data[0] = 1e300;
    });
  },
);

/** Only what a family's fingerprint needs, instead of BiT's tensors. */
const only =
  (...names: string[]) =>
  (checkpoint: RandomBitCheckpoint) => {
    checkpoint.tensors = new Map(names.map((name) => [name, { shape: [2, 2], data: new Float32Array(4) }]));
  };

test.each([
  ['TernaryBERT and of BiBERT', [`${QUERY}.weight`, `${QUERY}.weight_clip_val`]],
  ['full-precision BERT', [`${QUERY}.weight`, `${QUERY}.bias`]],
  ['full-precision BERT', [`module.${QUERY}.weight`, `module.${QUERY}.bias`]],
])('%s: no importer takes it', async (says, names) => {
  await refuses('unknown-family', ['pytorch_model.bin', says, 'BiT, BinaryBERT, BiBERT'], only(...names));
});

test('tensors of no known family', async () => {
  const error = await refuses('unknown-family', ['BiT'], only('conv1.weight'));
  expect(error.message).not.toMatch(/looks like/);
});

test.each([
  ['bad-config', 'input_bits', 32],
  ['bad-config', 'input_bits', 3],
  ['bad-config', 'input_bits', '1'],
  ['bad-config', 'input_bits', undefined],
  ['bad-config', 'weight_bits', 2],
  ['bad-config', 'weight_bits', 32],
  ['bad-config', 'weight_bits', undefined],
  ['bad-config', 'hidden_act', 'swish'],
  ['bad-config', 'weight_layerwise', 'yes'],
  ['bad-config', 'not_quantize_attention', 'no'],
  ['bad-config', 'sym_quant_qkvo', 1],
  ['unsupported', 'weight_quant_method', 'twn'],
  ['unsupported', 'input_quant_method', 'uniform'],
  ['unsupported', 'input_layerwise', false],
])('%s: %s = %j', async (code, setting, value) => {
  await refuses(
    code,
    [`config.json: ${setting} is`, value === undefined ? /absent/ : JSON.stringify(value)],
    ({ config }) => {
      if (value === undefined) delete config[setting];
      else config[setting] = value;
    },
  );
});

test('heads that do not divide the hidden size', async () => {
  await refuses('bad-config', ['16 columns', 'num_attention_heads 3'], ({ config }) => {
    config.num_attention_heads = 3;
  });
});

test.each(['hidden_size', 'num_attention_heads', 'num_hidden_layers', 'intermediate_size'])(
  'absurd values of %s',
  async (setting) => {
    for (const value of [0, -16, 1.5, 2 ** 31, 2 ** 53, 1e300, null, 'many', [16], { a: 1 }]) {
      await refuses('bad-config', [setting], ({ config }) => {
        config[setting] = value;
      });
    }
  },
);

test('sizes that the tensors do not have', async () => {
  await refuses('missing-tensor', ['bert.encoder.layer.1.'], ({ config }) => {
    config.num_hidden_layers = 1000;
  });
  await refuses('wrong-shape', [WORDS, '30000'], ({ config }) => {
    config.hidden_size = 30000;
  });
  await refuses('wrong-shape', [`${LAYER}.intermediate.dense.weight`, '30000'], ({ config }) => {
    config.intermediate_size = 30000;
  });
});

test('a position table beyond what a step can hold', async () => {
  await refuses('wrong-shape', [POSITIONS, '40000'], (checkpoint) =>
    reshape(checkpoint, POSITIONS, [40000, 16]),
  );
});

test.each([
  ['a list', ['a', 'b', 'c']],
  ['a string', 'a'],
  ['null', null],
  ['a gap', { 0: 'a', 1: 'b', 3: 'd' }],
  ['a name that is no string', { 0: 'a', 1: 'b', 2: 3 }],
  ['a key that is no number', { 0: 'a', 1: 'b', two: 'c' }],
  ['a negative key', { '-1': 'x', 0: 'a', 1: 'b' }],
  ['one class under two keys', { 0: 'a', '00': 'b', 1: 'c' }],
])('id2label as %s', async (_, id2label) => {
  await refuses('bad-config', ['id2label'], ({ config }) => {
    config.id2label = id2label;
  });
});

test('max tokens that the model does not have', async () => {
  const source = saved(folder, checkpointWith());
  for (const maxTokens of [2, 13]) {
    await refusedImport(folder, source, 'bad-option', [`max tokens ${maxTokens}`, '12 positions'], {
      maxTokens,
    });
  }
});
