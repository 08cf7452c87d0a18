// What the released code of BinaryBERT really computes, against what one would expect of it: each trap of the importer.
import { expect, test } from 'vitest';
import { binaryBert, describeIn, epsilons, linears, wrapped } from './families-support.js';
import { compiled, temporaryFolder, values } from './support.js';

const folder = temporaryFolder();
const LAYER = 'bert.encoder.layer.0';
const SELF = `${LAYER}.attention.self`;
const QUERY = `${SELF}.query`;
const WORDS = 'bert.embeddings.word_embeddings';
const LSQ = { method: 'lsq', bits: 4 } as const;

const describe = (...args: Parameters<typeof binaryBert>) => describeIn(folder, binaryBert(...args));
test.each([
  ['uniform', 8],
  ['lsq', 4],
] as const)(
  '%s A%i: two branches and two word tables, and nothing left over in the file',
  async (method, bits) => {
    const { description, warnings } = await describe(undefined, { method, bits });
    expect(description).toMatchObject({ family: `BinaryBERT W1A${bits} (${method})`, hidden: 16, heads: 2 });
    expect(linears(description).map(({ branches }) => branches.length)).toEqual(new Array(7).fill(2));
    expect(description.embeddings.words).toHaveLength(2);
    expect(warnings).toEqual([]);
  },
);

test('weights are not centred; each branch has the scale of its own matrix', async () => {
  // All positive: centred, half of them would be -1.
  const { description } = await describe((checkpoint) => {
    values(checkpoint, `${QUERY}_1.weight`).forEach((_, i, all) => {
      all[i] = i % 2 === 0 ? 3 : 0.5;
    });
    values(checkpoint, `${QUERY}_2.weight`).forEach((_, i, all) => {
      all[i] = i % 2 === 0 ? -1 : 0.25;
    });
  });
  const [first, second] = description.layers[0]!.query.branches;
  expect({ rows: first!.weight.rows, cols: first!.weight.cols }).toEqual({ rows: 8, cols: 16 });
  expect([...first!.weight.codes]).toEqual(new Array(128).fill(1));
  expect([...second!.weight.codes]).toEqual(new Array(64).fill([-1, 1]).flat());
  expect([[...first!.weightScale], [...second!.weightScale]]).toEqual([[1.75], [0.625]]);
});

test('a weight of exactly 0 has code 0', async () => {
  const { description } = await describe((checkpoint) =>
    values(checkpoint, `${QUERY}_2.weight`).fill(0, 3, 4),
  );
  const [first, second] = description.layers[0]!.query.branches.map(({ weight }) => weight.codes);
  expect([first!.includes(0), second![3], second!.filter((code) => code === 0).length]).toEqual([
    false,
    0,
    1,
  ]);
});

/** Row r of a matrix is r + 1, with the sign of `sign`. */
const growing = (matrix: Float32Array | Float64Array, sign: number) =>
  matrix.forEach((_, i) => {
    matrix[i] = sign * (Math.floor(i / 16) + 1);
  });

test.each([
  [true, [4.5]],
  [false, [1, 2, 3, 4, 5, 6, 7, 8]],
])('weight_layerwise %s', async (weightLayerwise, scales) => {
  const { description } = await describe(
    (checkpoint) => growing(values(checkpoint, `${QUERY}_2.weight`), -1),
    { weightLayerwise },
  );
  expect([...description.layers[0]!.query.branches[1]!.weightScale]).toEqual(scales);
});

test.each([
  [false, (row: number) => row + 1],
  [true, () => 45.5],
])('embed_layerwise %s: both word tables have scales of their own', async (embedLayerwise, scale) => {
  const { description } = await describe(
    (checkpoint) => {
      growing(values(checkpoint, `${WORDS}_1.weight`), 1);
      growing(values(checkpoint, `${WORDS}_2.weight`), -2);
    },
    { embedLayerwise },
  );
  description.embeddings.words.forEach(({ codes, scale: scales }, branch) => {
    const [sign, unit] = branch === 0 ? [1, 1] : [-1, 2];
    expect(new Set(codes.codes)).toEqual(new Set([sign]));
    expect([...scales]).toEqual(Array.from({ length: 90 }, (_, row) => unit! * scale(row)));
  });
});

test('the biases of both branches are added', async () => {
  const { description } = await describe((checkpoint) => {
    values(checkpoint, `${QUERY}_1.bias`).fill(0.25);
    values(checkpoint, `${QUERY}_2.bias`).fill(-1.5);
  });
  expect([...description.layers[0]!.query.bias]).toEqual(new Array(8).fill(-1.25));
});

const INPUTS = [
  QUERY,
  `${SELF}.key`,
  `${SELF}.value`,
  `${LAYER}.attention.output.dense`,
  `${LAYER}.intermediate.dense`,
  `${LAYER}.output.dense`,
  'bert.pooler.dense',
];
const RESULTS = ['query', 'key', 'value', 'attn'].map((part) => `${SELF}.clip_${part}`);

test('uniform: both bounds of every branch are its own and need not be opposite', async () => {
  const { description } = await describe((checkpoint) => {
    for (const [i, name] of INPUTS.entries()) {
      values(checkpoint, `${name}_1.input_clip_val`).set([-1 - i, 2 + i]);
      values(checkpoint, `${name}_2.input_clip_val`).set([0.5, 10 + i]);
    }
    for (const [i, name] of RESULTS.entries()) values(checkpoint, name).set([-20 - i, 30 + i]);
  });
  const range = (signed: boolean, low: number, high: number) => ({
    kind: 'range',
    signed,
    bits: 8,
    clip: { low, high },
    shift: null,
  });
  linears(description).forEach(({ name, branches }, i) => {
    expect(name).toBe(INPUTS[i]);
    // Of the inputs only that of the second FFN layer is unsigned.
    const signed = name !== `${LAYER}.output.dense`;
    expect(branches.map(({ input }) => input)).toEqual([
      range(signed, -1 - i, 2 + i),
      range(signed, 0.5, 10 + i),
    ]);
  });
  const { q, k, v, p } = description.layers[0]!;
  expect([q, k, v, p]).toEqual([0, 1, 2, 3].map((i) => range(i < 3, -20 - i, 30 + i)));
});

test('lsq: every branch has the step of its own; the minimum is taken from unsigned ones', async () => {
  const { description } = await describe((checkpoint) => {
    for (const [i, name] of INPUTS.entries()) {
      values(checkpoint, `${name}_1.input_clip_val`)[0] = 2 + i;
      values(checkpoint, `${name}_2.input_clip_val`)[0] = 12 + i;
    }
    for (const [i, name] of RESULTS.entries()) values(checkpoint, name)[0] = 30 + i;
  }, LSQ);
  const fixed = (signed: boolean, step: number) => ({
    kind: 'fixed',
    signed,
    bits: 4,
    step,
    offset: signed ? 'none' : 'minimum',
    shift: null,
  });
  linears(description).forEach(({ name, branches }, i) => {
    const signed = name !== `${LAYER}.output.dense`;
    expect(
      branches.map(({ input }) => input),
      name,
    ).toEqual([fixed(signed, 2 + i), fixed(signed, 12 + i)]);
  });
  const { q, k, v, p } = description.layers[0]!;
  expect([q, k, v, p]).toEqual([0, 1, 2, 3].map((i) => fixed(i < 3, 30 + i)));
});

test.each(['uniform', 'lsq'] as const)(
  'sym_quant_ffn_attn makes P and the second FFN input signed (%s)',
  async (method) => {
    const { description } = await describe(undefined, { method, bits: 4, symQuantFfnAttn: true });
    const { p, down } = description.layers[0]!;
    if (typeof p === 'string') throw new Error(`test: P is ${p}`);
    for (const quantiser of [p, ...down.branches.map(({ input }) => input)]) {
      expect(quantiser.signed).toBe(true);
      expect('offset' in quantiser ? quantiser.offset : 'none').toBe('none');
    }
  },
);

test.each(['uniform', 'lsq'] as const)(
  'sym_quant_qkvo false makes all others unsigned (%s)',
  async (method) => {
    const { description } = await describe(undefined, { method, bits: 4, symQuantQkvo: false });
    const { q, k, v, p } = description.layers[0]!;
    const inputs = linears(description).flatMap(({ branches }) => branches.map(({ input }) => input));
    for (const quantiser of [q, k, v, p, ...inputs])
      expect(quantiser).toMatchObject({ signed: false, ...(method === 'lsq' && { offset: 'minimum' }) });
  },
);

test('a step of exactly 1.0 is kept, with a warning that names the tensor', async () => {
  const { description, warnings } = await describe((checkpoint) => {
    values(checkpoint, `${QUERY}_2.input_clip_val`)[0] = 1;
  }, LSQ);
  expect(description.layers[0]!.query.branches[1]!.input).toMatchObject({ step: 1 });
  expect(warnings).toEqual([expect.stringMatching(new RegExp(`^${QUERY}_2.input_clip_val is exactly 1.0`))]);
  // No trap of clips, and none of a bound that is 1.
  expect((await describe((checkpoint) => values(checkpoint, RESULTS[0]!).set([-1, 1]))).warnings).toEqual([]);
});

test('LayerNorm adds 1e-12 whatever layer_norm_eps says', async () => {
  const { description } = await describe(({ config }) => {
    config.layer_norm_eps = 0.5;
  });
  expect(epsilons(description)).toEqual([1e-12, 1e-12, 1e-12]);
});

test.each(['relu', 'gelu'] as const)('hidden_act %s is what counts, not the method', async (hiddenAct) => {
  for (const method of ['uniform', 'lsq'] as const) {
    const { description } = await describe(undefined, { method, bits: 8, hiddenAct });
    expect(description.layers[0]!.activation).toBe(hiddenAct);
  }
});

test('the attention is as wide as dyna_hidden_size, or as the hidden state where it says nothing', async () => {
  expect((await describe()).description).toMatchObject({ hidden: 16, attentionSize: 8 });
  for (const absent of [undefined, null]) {
    const { description } = await describe(
      ({ config }) => {
        config.dyna_hidden_size = absent;
      },
      { attention: 16 },
    );
    expect(description).toMatchObject({ hidden: 16, attentionSize: 16 });
  }
});

test('float64 biases and clips, as the splitting writes them, beside float32 weights', async () => {
  for (const options of [{}, LSQ]) {
    const { description, warnings } = await describe(undefined, { ...options, doubles: true });
    expect(warnings).toEqual([]);
    const once = await describe(undefined, options);
    expect(description.layers[0]!.up.branches[0]!.weight).toEqual(
      once.description.layers[0]!.up.branches[0]!.weight,
    );
    description.layers[0]!.up.bias.forEach((bias, i) => {
      expect(bias).toBeCloseTo(once.description.layers[0]!.up.bias[i]!, 6);
    });
  }
});

test('names with the module. prefix, old LayerNorm names, steps of shape [1]', async () => {
  for (const options of [{}, LSQ]) {
    const expected = await describe(undefined, options);
    expect(await describeIn(folder, wrapped(binaryBert(undefined, options)))).toEqual(expected);
    expect(await describe(undefined, { ...options, legacyNorms: true })).toEqual(expected);
  }
  expect(await describe(undefined, { ...LSQ, stepShape: [1] })).toEqual(await describe(undefined, LSQ));
});

test('missing weight_layerwise, embed_layerwise and sym_quant_ffn_attn mean the defaults, and are said', async () => {
  const checkpoint = binaryBert(({ config }) => {
    for (const name of ['weight_layerwise', 'embed_layerwise', 'sym_quant_ffn_attn']) delete config[name];
  });
  expect(await compiled(folder, checkpoint)).toEqual(await compiled(folder, binaryBert()));
  expect((await describeIn(folder, checkpoint)).warnings).toEqual([
    expect.stringMatching(/weight_layerwise.*true/),
    expect.stringMatching(/embed_layerwise.*false/),
    expect.stringMatching(/sym_quant_ffn_attn.*false/),
  ]);
});
