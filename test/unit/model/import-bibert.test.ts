// What the released code of BiBERT really computes, against what one would expect of it: each trap of the importer.
import { expect, test } from 'vitest';
import { biBert, type Change, describeIn, epsilons, linears, wrapped } from './families-support.js';
import { compiled, refusedImport, saved, temporaryFolder, values } from './support.js';

const folder = temporaryFolder();
const LAYER = 'bert.encoder.layer.0';
const SELF = `${LAYER}.attention.self`;
const QUERY = `${SELF}.query`;
const WORDS = 'bert.embeddings.word_embeddings.weight';

const describe = (...args: Parameters<typeof biBert>) => describeIn(folder, biBert(...args));
const refuses = (code: string, says: (string | RegExp)[], change: Change) =>
  refusedImport(folder, saved(folder, biBert(change)), code, says);

test('the family, one branch everywhere, and nothing left over in the file', async () => {
  const { description, warnings } = await describe();
  expect(description).toMatchObject({ family: 'BiBERT W1A1', hidden: 16, attentionSize: 16, heads: 2 });
  expect(linears(description).map(({ branches }) => branches.length)).toEqual(new Array(7).fill(1));
  expect(description.embeddings.words).toHaveLength(1);
  expect(warnings).toEqual([]);
});

test('the sign of a weight is taken around the mean of its row, its scale from the uncentred row', async () => {
  // Row r holds r + {3, -1, 0.5, 1.5}: mean r + 1; -1 alone is negative and its row may still lie above 0.
  const pattern = [3, -1, 0.5, 1.5];
  const rows = (matrix: Float32Array | Float64Array) =>
    matrix.forEach((_, i, all) => {
      all[i] = Math.floor(i / 16) + pattern[i % 4]!;
    });
  const { description } = await describe((checkpoint) => {
    rows(values(checkpoint, `${QUERY}.weight`));
    rows(values(checkpoint, WORDS));
  });
  const { weight, weightScale } = description.layers[0]!.query.branches[0]!;
  const [table] = description.embeddings.words;
  const scale = (row: number) => (row === 0 ? 1.5 : row + 1);
  for (const [codes, scales, count] of [
    [weight, weightScale, 16],
    [table!.codes, table!.scale, 90],
  ] as const) {
    expect([codes.rows, codes.cols]).toEqual([count, 16]);
    expect([...codes.codes]).toEqual(new Array(count * 4).fill([1, -1, -1, 1]).flat());
    expect([...scales]).toEqual(Array.from({ length: count }, (_, row) => scale(row)));
  }
});

test('activations are bare signs, the same for Q, K and V; attention is boolean', async () => {
  const { description } = await describe();
  const sign = { kind: 'fixed', signed: true, bits: 1, step: 1, offset: 'none', shift: null };
  const { q, k, v, p } = description.layers[0]!;
  for (const quantiser of [q, k, v, ...linears(description).map(({ branches }) => branches[0]!.input)])
    expect(quantiser).toEqual(sign);
  expect(p).toBe('boolean');
});

test('scale, gate and all clips are dead: any value, or none at all, gives the same artifact without a warning', async () => {
  const dead = /\.(scale|gate|weight_clip_val|act_clip_val|clip_\w+)$/;
  const expected = await compiled(folder, biBert());
  const filled = biBert(({ tensors }) => {
    for (const [name, { data }] of tensors) if (dead.test(name)) data.fill(7.5);
  });
  // One gate stays: it is what tells the family.
  const fewer = biBert(({ tensors }) => {
    for (const name of [...tensors.keys()])
      if (dead.test(name) && name !== `${LAYER}.output.gate`) tensors.delete(name);
  });
  expect(biBert().tensors.size - fewer.tensors.size).toBeGreaterThan(20);
  for (const checkpoint of [filled, fewer, biBert(undefined, { deadParameters: true })]) {
    expect(await compiled(folder, checkpoint)).toEqual(expected);
    expect((await describeIn(folder, checkpoint)).warnings).toEqual([]);
  }
});

test('it is known by a gate, or by the scale of a layer alone', async () => {
  const without = (pattern: RegExp) =>
    biBert(({ tensors }) => {
      for (const name of [...tensors.keys()]) if (pattern.test(name)) tensors.delete(name);
    });
  for (const pattern of [/\.gate$/, /\.scale$/])
    expect((await describeIn(folder, without(pattern))).description.family).toBe('BiBERT W1A1');
});

test('hidden_act, embedding_bits and num_labels have no say', async () => {
  const expected = await compiled(folder, biBert());
  const other = biBert(({ config }) => {
    Object.assign(config, { hidden_act: 'relu', embedding_bits: 32, num_labels: 2, clip_val: 9 });
  });
  expect(await compiled(folder, other)).toEqual(expected);
  expect((await describeIn(folder, other)).description.layers[0]!.activation).toBe('gelu');
});

test('the classifier says how many classes there are', async () => {
  const { description, warnings } = await describe(undefined, { configuredLabels: 2 });
  expect(description.labels).toEqual(['LABEL_0', 'LABEL_1', 'LABEL_2']);
  expect(warnings).toEqual([expect.stringMatching(/id2label has 2 names.*classifier has 3 rows/)]);
});

test('LayerNorm adds what layer_norm_eps says, or 1e-12', async () => {
  expect(epsilons((await describe(undefined, { layerNormEps: 1e-5 })).description)).toEqual([
    1e-5, 1e-5, 1e-5,
  ]);
  const absent = await describe(({ config }) => {
    delete config.layer_norm_eps;
  });
  expect(epsilons(absent.description)).toEqual([1e-12, 1e-12, 1e-12]);
  for (const wrong of [0, -1e-12, 1, '1e-12']) {
    await refuses('bad-config', ['layer_norm_eps', 'between 0 and 1'], ({ config }) => {
      config.layer_norm_eps = wrong;
    });
  }
});

test('a weight equal to the mean of its row has code 0, and is reported', async () => {
  const { description, warnings } = await describe(undefined, { zeroWeights: true });
  let zeros = 0;
  for (const { codes } of [
    ...linears(description).map(({ branches }) => branches[0]!.weight),
    description.embeddings.words[0]!.codes,
  ]) {
    expect(codes).toContain(0);
    zeros += codes.filter((code) => code === 0).length;
  }
  expect(warnings).toEqual([expect.stringMatching(new RegExp(`^${zeros} weights lie within 1e-8`))]);
});

test('weights that a float32 mean could turn are counted; their sign is that of the exact mean', async () => {
  // 14 pairs around a mean of exactly 1, one of them so close that a mean off by 2^-24 puts both on one side.
  const near = 2 ** -27;
  const { description, warnings } = await describe(({ tensors }) => {
    const row = [1 + near, 1 - near, ...new Array(7).fill([1.25, 0.75]).flat()];
    tensors.get(`${QUERY}.weight`)!.data = Float64Array.from({ length: 256 }, (_, i) => row[i % 16]!);
  });
  expect([...description.layers[0]!.query.branches[0]!.weight.codes]).toEqual(
    new Array(128).fill([1, -1]).flat(),
  );
  expect(warnings).toEqual([
    expect.stringMatching(/^32 weights lie within 1e-8 of their row's mean.*float32/),
  ]);
});

test('a quantised save lost its centres and scales: refused, also where some of its weights are 0', async () => {
  const says = ['pytorch_model.bin', WORDS, 'quantised save', '--save_fp_model'];
  const quantised = biBert(undefined, { quantisedSave: true });
  await refusedImport(folder, saved(folder, quantised), 'unsupported', says);
  // sgn(0) = 0: the word table's row of [PAD], which training leaves at 0.
  values(quantised, WORDS).fill(0, 0, 16);
  await refusedImport(folder, saved(folder, quantised), 'unsupported', says);
  // And one matrix alone.
  await refuses('unsupported', [`${LAYER}.output.dense.weight`, 'quantised save'], (checkpoint) => {
    const weight = values(checkpoint, `${LAYER}.output.dense.weight`);
    weight.set(weight.map(Math.sign));
    weight[5] = 0;
  });
});

test('a row of zeros is no quantised save: its codes and its scale are 0', async () => {
  const { description } = await describe((checkpoint) => values(checkpoint, WORDS).fill(0, 0, 16));
  const { codes, scale } = description.embeddings.words[0]!;
  expect([...codes.codes.subarray(0, 16)]).toEqual(new Array(16).fill(0));
  expect([scale[0], scale[1]! > 0]).toEqual([0, true]);
});

test('the module. prefix of DataParallel, and the old names of LayerNorm', async () => {
  const expected = await describe();
  expect(await describeIn(folder, wrapped(biBert()))).toEqual(expected);
  expect(await describe(undefined, { legacyNorms: true })).toEqual(expected);
});

test.each([
  ['bad-config', 'weight_bits', 32],
  ['bad-config', 'weight_bits', 2],
  ['bad-config', 'input_bits', 8],
  ['bad-config', 'input_bits', undefined],
  ['unsupported', 'quantize_act', false],
])('%s: %s = %j', async (code, setting, value) => {
  await refuses(code, [`config.json: ${setting} is`], ({ config }) => {
    if (value === undefined) delete config[setting];
    else config[setting] = value;
  });
});

test.each([WORDS, `${QUERY}.weight`, `${LAYER}.output.dense.bias`, 'bert.pooler.dense.weight'])(
  'missing tensor %s',
  async (name) => {
    await refuses('missing-tensor', [name], ({ tensors }) => tensors.delete(name));
  },
);
