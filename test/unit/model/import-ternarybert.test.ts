// What the released code of TernaryBERT really computes, against what one would expect of it: each trap of the importer.
import { expect, test } from 'vitest';
import { type Change, describeIn, epsilons, linears, ternaryBert, wrapped } from './families-support.js';
import { compiled, refusedImport, saved, temporaryFolder, values } from './support.js';

const folder = temporaryFolder();
const LAYER = 'bert.encoder.layer.0';
const SELF = `${LAYER}.attention.self`;
const QUERY = `${SELF}.query`;
const WORDS = 'bert.embeddings.word_embeddings.weight';

const describe = (...args: Parameters<typeof ternaryBert>) => describeIn(folder, ternaryBert(...args));
const refuses = (code: string, says: (string | RegExp)[], change: Change) =>
  refusedImport(folder, saved(folder, ternaryBert(change)), code, says);

test('the family, one branch everywhere, and nothing left over in the file', async () => {
  const { description, warnings } = await describe();
  expect(description).toMatchObject({ family: 'TernaryBERT W2A8', hidden: 16, attentionSize: 16, heads: 2 });
  expect(linears(description).map(({ branches }) => branches.length)).toEqual(new Array(7).fill(1));
  expect(warnings).toEqual([]);
});

/** Fills a matrix with rows of this pattern. */
const fill = (matrix: Float32Array | Float64Array, pattern: readonly number[]) =>
  matrix.forEach((_, i, all) => {
    all[i] = pattern[i % pattern.length]!;
  });

test('weights: clipped first, 0 up to 0.7 of their mean magnitude, the scale that of the others; not centred', async () => {
  // Clipped to 2.5, 0.5, -1, 0: mean magnitude 1, threshold 0.7. Unclipped the 40 would leave nothing but itself.
  const { description } = await describe((checkpoint) =>
    fill(values(checkpoint, `${QUERY}.weight`), [40, 0.5, -1, 0]),
  );
  const { weight, weightScale } = description.layers[0]!.query.branches[0]!;
  expect([...weight.codes]).toEqual(new Array(64).fill([1, 0, -1, 0]).flat());
  expect([...weightScale]).toEqual([1.75]);
});

test('the clips of the weights are those in the file, of every matrix its own', async () => {
  const { description } = await describe((checkpoint) => {
    fill(values(checkpoint, `${QUERY}.weight`), [40, 0.5, -1, 0]);
    values(checkpoint, `${QUERY}.weight_clip_val`).set([-0.75, 8]);
    checkpoint.config.clip_val = 1;
  });
  // 8, 0.5, -0.75, 0: mean magnitude 2.3125, threshold 1.61875.
  const { weight, weightScale } = description.layers[0]!.query.branches[0]!;
  expect([...weight.codes.subarray(0, 4)]).toEqual([1, 0, 0, 0]);
  expect([...weightScale]).toEqual([8]);
});

test('a weight exactly at the threshold is 0', async () => {
  // 7, 13, 13, 7: mean magnitude 10, and 0.7 * 10 is 7 in float64.
  const { description } = await describe((checkpoint) => {
    fill(values(checkpoint, `${QUERY}.weight`), [7, 13, -13, -7]);
    values(checkpoint, `${QUERY}.weight_clip_val`).set([-20, 20]);
  });
  const { weight, weightScale } = description.layers[0]!.query.branches[0]!;
  expect([...weight.codes.subarray(0, 4)]).toEqual([0, 1, -1, 0]);
  expect([...weightScale]).toEqual([13]);
});

test('the word table has a threshold and a scale for every row; a layer has one of each', async () => {
  // Row r is r + 1 times the pattern: by row all have the same codes, over the matrix the first ones would be 0.
  const pattern = [2, 0.5, -1, 0.5];
  const rows = (matrix: Float32Array | Float64Array, unit: number) =>
    matrix.forEach((_, i, all) => {
      all[i] = unit * (Math.floor(i / 16) + 1) * pattern[i % 4]!;
    });
  const { description } = await describe((checkpoint) => {
    rows(values(checkpoint, WORDS), 2 ** -7);
    rows(values(checkpoint, `${QUERY}.weight`), 2 ** -7);
  });
  const { codes, scale } = description.embeddings.words[0]!;
  expect([...codes.codes]).toEqual(new Array(90 * 4).fill([1, 0, -1, 0]).flat());
  expect([...scale]).toEqual(Array.from({ length: 90 }, (_, row) => ((row + 1) * 1.5) / 128));
  const { weight, weightScale } = description.layers[0]!.query.branches[0]!;
  expect(weightScale).toHaveLength(1);
  expect([...weight.codes.subarray(0, 4)]).toEqual([0, 0, 0, 0]);
  expect([...weight.codes.subarray(15 * 16, 15 * 16 + 4)]).toEqual([1, 1, -1, 1]);
});

test('a row without a weight but 0 has a scale of 0, not 0 / 0', async () => {
  const { description } = await describe((checkpoint) => values(checkpoint, WORDS).fill(0, 0, 16));
  const { codes, scale } = description.embeddings.words[0]!;
  expect([...codes.codes.subarray(0, 16)]).toEqual(new Array(16).fill(0));
  expect(scale[0]).toBe(0);
  expect(scale.every(Number.isFinite)).toBe(true);
});

test('every activation is signed with a range inside its own clips, the probabilities included', async () => {
  const names = [
    QUERY,
    `${SELF}.key`,
    `${SELF}.value`,
    `${LAYER}.attention.output.dense`,
    `${LAYER}.intermediate.dense`,
    `${LAYER}.output.dense`,
    'bert.pooler.dense',
  ];
  const results = ['query', 'key', 'value', 'attn'].map((part) => `${SELF}.clip_${part}`);
  const { description } = await describe((checkpoint) => {
    for (const [i, name] of names.entries()) values(checkpoint, `${name}.act_clip_val`).set([-1 - i, 2 + i]);
    for (const [i, name] of results.entries()) values(checkpoint, name).set([-20 - i, 30 + i]);
  });
  const range = (low: number, high: number) => ({
    kind: 'range',
    signed: true,
    bits: 8,
    clip: { low, high },
    shift: null,
  });
  linears(description).forEach(({ name, branches }, i) => {
    expect(name).toBe(names[i]);
    expect(branches[0]!.input).toEqual(range(-1 - i, 2 + i));
  });
  const { q, k, v, p } = description.layers[0]!;
  expect([q, k, v, p]).toEqual([0, 1, 2, 3].map((i) => range(-20 - i, 30 + i)));
});

test('hidden_act, num_labels and clip_val of the configuration have no say', async () => {
  const expected = await compiled(folder, ternaryBert());
  const other = ternaryBert(({ config }) => {
    Object.assign(config, { hidden_act: 'relu', num_labels: 2, clip_val: 1 });
  });
  expect(await compiled(folder, other)).toEqual(expected);
  const { description, warnings } = await describe(undefined, { configuredLabels: 2 });
  expect(description.layers[0]!.activation).toBe('gelu');
  expect(description.labels).toEqual(['LABEL_0', 'LABEL_1', 'LABEL_2']);
  expect(warnings).toEqual([expect.stringMatching(/id2label has 2 names.*classifier has 3 rows/)]);
});

test('LayerNorm adds what layer_norm_eps says', async () => {
  expect(epsilons((await describe(undefined, { layerNormEps: 1e-5 })).description)).toEqual([
    1e-5, 1e-5, 1e-5,
  ]);
});

test('a quantised save has one scale for the word table, so it is another function: refused', async () => {
  const quantised = ternaryBert(undefined, { quantisedSave: true });
  await refusedImport(folder, saved(folder, quantised), 'unsupported', [
    'pytorch_model.bin',
    WORDS,
    'three values',
    'full-precision save',
  ]);
});

test('the module. prefix of DataParallel, and the old names of LayerNorm', async () => {
  const expected = await describe();
  expect(await describeIn(folder, wrapped(ternaryBert()))).toEqual(expected);
  expect(await describe(undefined, { legacyNorms: true })).toEqual(expected);
});

const CLIPS = [
  `${QUERY}.weight_clip_val`,
  `${LAYER}.output.dense.act_clip_val`,
  `${SELF}.clip_attn`,
  'bert.embeddings.word_embeddings.weight_clip_val',
];

test.each(CLIPS)('clips without a range between them: %s', async (name) => {
  for (const bounds of [
    [2.5, -2.5],
    [1, 1],
  ]) {
    await refuses('bad-values', [name, `[${bounds.join(', ')}]`, 'no range'], (checkpoint) =>
      values(checkpoint, name).set(bounds),
    );
  }
});

test.each(CLIPS)('clips that are missing, misshapen or no numbers: %s', async (name) => {
  await refuses('missing-tensor', [name], ({ tensors }) => tensors.delete(name));
  await refuses('wrong-shape', [name, '[]'], ({ tensors }) =>
    tensors.set(name, { shape: [], data: Float32Array.of(2.5) }),
  );
  await refuses('bad-values', [name, 'NaN'], (checkpoint) => values(checkpoint, name).fill(Number.NaN, 1));
});

test.each([
  ['unknown-family', 'weight_bits', 1],
  ['unknown-family', 'weight_bits', 8],
  ['bad-config', 'input_bits', 4],
  ['bad-config', 'input_bits', undefined],
  ['unsupported', 'quantize_act', false],
])('%s: %s = %j', async (code, setting, value) => {
  await refuses(code, [setting], ({ config }) => {
    if (value === undefined) delete config[setting];
    else config[setting] = value;
  });
});
