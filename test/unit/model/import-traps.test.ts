// What the released code of BiT really computes, against what one would expect of it: each trap of the importer.
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { Branch, Linear, ModelDescription, Norm } from '../../../src/model/description.js';
import type { LinearPlan } from '../../../src/model/plan.js';
import { withModel } from '../../golden/support.js';
import { BitOracle } from '../../oracle/bit.js';
import type { RandomBitCheckpoint } from '../../oracle/random.js';
import {
  checkpointWith,
  compiled,
  described,
  imported,
  parseArtifact,
  saved,
  temporaryFolder,
  values,
} from './support.js';

const folder = temporaryFolder();
const LAYER = 'bert.encoder.layer.0';
const SELF = `${LAYER}.attention.self`;
const QUERY = `${SELF}.query`;
const WORDS = 'bert.embeddings.word_embeddings.weight';

const describe = async (checkpoint: RandomBitCheckpoint) => described(saved(folder, checkpoint));

/** The one branch that every linear layer of BiT has. */
function branch({ branches }: Linear): Branch {
  expect(branches).toHaveLength(1);
  return branches[0]!;
}

/** Every quantised linear layer of a one-layer model. */
function linears({ layers, pooler }: ModelDescription): Linear[] {
  const { query, key, value, output, up, down } = layers[0]!;
  return [query, key, value, output, up, down, pooler];
}

test('move_q, move_k and move_v are dead: values, zeros or nothing give the same artifact, without a warning', async () => {
  const dead = ['q', 'k', 'v'].map((part) => `${SELF}.move_${part}.bias`);
  const zero = checkpointWith();
  for (const name of dead) expect([...values(zero, name)]).toEqual(new Array(16).fill(0));
  const filled = checkpointWith((checkpoint) => {
    for (const name of dead) values(checkpoint, name).fill(7.5);
  });
  const absent = checkpointWith(({ tensors }) => {
    for (const name of dead) tensors.delete(name);
  });
  const expected = await compiled(folder, zero);
  expect(await compiled(folder, filled)).toEqual(expected);
  expect(await compiled(folder, absent)).toEqual(expected);
  for (const checkpoint of [filled, absent]) expect((await describe(checkpoint)).warnings).toEqual([]);
});

test('the sign of a weight is taken after centring, its scale from the uncentred matrix', async () => {
  // A quarter each of 3, -1, 0.5, 1.5: mean 1, mean magnitude 1.5. 0.5 is positive and yet below the mean.
  const pattern = [3, -1, 0.5, 1.5];
  const { description } = await describe(
    checkpointWith((checkpoint) => {
      values(checkpoint, `${QUERY}.weight`).forEach((_, i, all) => {
        all[i] = pattern[i % 4]!;
      });
    }),
  );
  const { weight, weightScale } = branch(description.layers[0]!.query);
  expect([...weightScale]).toEqual([1.5]);
  expect({ rows: weight.rows, cols: weight.cols }).toEqual({ rows: 16, cols: 16 });
  expect([...weight.codes]).toEqual(new Array(64).fill([1, -1, -1, 1]).flat());
});

/** Row r of a matrix is +-(r + 1), one more + than - in each: the mean is that of the whole, the scale of row r is r + 1. */
function rowsOfGrowingMagnitude(matrix: Float32Array | Float64Array, cols: number): void {
  matrix.forEach((_, i) => {
    const row = Math.floor(i / cols);
    matrix[i] = (i % cols) % 4 === 0 ? -(row + 1) : row + 1;
  });
}

test.each([
  [true, [8.5]],
  [false, Array.from({ length: 16 }, (_, row) => row + 1)],
])('weight_layerwise %s', async (layerwise, scales) => {
  const { description } = await describe(
    checkpointWith((checkpoint) => rowsOfGrowingMagnitude(values(checkpoint, `${QUERY}.weight`), 16), {
      weightLayerwise: layerwise,
    }),
  );
  const { weight, weightScale } = branch(description.layers[0]!.query);
  expect([...weightScale]).toEqual(scales);
  // The centre is the mean of the whole matrix either way: 8.5 * (12 - 4) / 16 = 4.25, so rows 0 to 3 are all -1.
  const expected = Array.from({ length: 256 }, (_, i) => (Math.floor(i / 16) >= 4 && i % 4 !== 0 ? 1 : -1));
  expect([...weight.codes]).toEqual(expected);
});

test.each([
  [false, (row: number) => row + 1],
  [true, () => 45.5],
])('embed_layerwise %s: the word table has a scale of its own kind', async (layerwise, scale) => {
  const { description } = await describe(
    checkpointWith((checkpoint) => rowsOfGrowingMagnitude(values(checkpoint, WORDS), 16), {
      embedLayerwise: layerwise,
    }),
  );
  expect(description.embeddings.words).toHaveLength(1);
  const { codes, scale: scales } = description.embeddings.words[0]!;
  expect([...scales]).toEqual(Array.from({ length: 90 }, (_, row) => scale(row)));
  // The mean of the whole table is 45.5 / 2 = 22.75: rows 0 to 21 lie below it.
  const expected = Array.from({ length: 90 * 16 }, (_, i) =>
    Math.floor(i / 16) >= 22 && i % 4 !== 0 ? 1 : -1,
  );
  expect([...codes.codes]).toEqual(expected);
});

test('a missing embed_layerwise or weight_layerwise means the default of the released scripts, and is said', async () => {
  const { description, warnings } = await describe(
    checkpointWith((checkpoint) => {
      delete checkpoint.config.weight_layerwise;
      delete checkpoint.config.embed_layerwise;
      rowsOfGrowingMagnitude(values(checkpoint, WORDS), 16);
    }),
  );
  expect(branch(description.layers[0]!.query).weightScale).toHaveLength(1);
  expect(new Set(description.embeddings.words[0]!.scale).size).toBe(90);
  expect(warnings).toEqual([
    expect.stringMatching(/weight_layerwise.*true/),
    expect.stringMatching(/embed_layerwise.*false/),
  ]);
});

test.each([1e-7, 0, -3])('a learned step of %d is clamped to 1e-5', async (stored) => {
  const { description } = await describe(
    checkpointWith((checkpoint) => {
      values(checkpoint, `${QUERY}.input_clip_val`)[0] = stored;
      values(checkpoint, `${SELF}.clip_attn`)[0] = stored;
    }),
  );
  expect(branch(description.layers[0]!.query).input).toMatchObject({ kind: 'fixed', step: 1e-5 });
  expect(description.layers[0]!.p).toMatchObject({ kind: 'fixed', step: 1e-5 });
});

test('a step of exactly 1.0 is kept, with a warning that names the tensor and goes into the provenance', async () => {
  const checkpoint = checkpointWith((each) => {
    values(each, `${LAYER}.output.dense.input_clip_val`)[0] = 1;
    values(each, `${SELF}.clip_key`)[0] = 1;
  });
  const { warnings, provenance, plan } = await imported(saved(folder, checkpoint));
  expect(plan.layers[0]!.down.branches[0]!.input.step).toBe(1);
  expect(warnings).toHaveLength(2);
  expect(
    warnings.some((text) => text.startsWith(`${LAYER}.output.dense.input_clip_val is exactly 1.0`)),
  ).toBe(true);
  expect(warnings.some((text) => text.startsWith(`${SELF}.clip_key is exactly 1.0`))).toBe(true);
  expect(provenance.warnings).toEqual(warnings);
});

test('a weight on the mean has code 0: two planes, and the logits of the definition', async () => {
  const checkpoint = checkpointWith((each) => {
    // One weight of each matrix on a mean of exactly 0, all others in pairs of opposite sign.
    for (const name of [
      `${QUERY}.weight`,
      `${LAYER}.intermediate.dense.weight`,
      'bert.pooler.dense.weight',
      WORDS,
    ]) {
      const matrix = values(each, name);
      for (let i = 0; i < matrix.length; i += 2) {
        matrix[i + 1] = -matrix[i]!;
      }
      matrix[0] = 0;
      matrix[1] = 0;
    }
  });
  await withModel(saved(folder, checkpoint), ({ artifact, session }) => {
    const { layers, pooler, embeddings } = artifact.plan;
    const ternary = { format: 0x11, stride: 32 };
    const planes = ({ branches }: LinearPlan) => branches[0]!.weight;
    const { query, key, up } = layers[0]!;
    expect([planes(query), planes(up), planes(pooler), embeddings.words[0]!.planes]).toMatchObject(
      new Array(4).fill(ternary),
    );
    expect(planes(key)).toMatchObject({ format: 0x20, stride: 16 });
    const ids = [2, 0, 17, 3];
    const expected = new BitOracle(checkpoint.config, checkpoint.tensors).forward(ids);
    expect(expected.minDecisionMargin).toBeGreaterThan(1e-5);
    const logits = session.run([{ ids }]).logits[0]!;
    expected.logits.forEach((logit, i) => {
      expect(logits[i]).toBeCloseTo(logit, 4);
    });
  });
});

test('LayerNorm adds 1e-12 whatever layer_norm_eps says', async () => {
  const { description } = await describe(
    checkpointWith(({ config }) => {
      config.layer_norm_eps = 0.5;
    }),
  );
  const { attentionNorm, outputNorm } = description.layers[0]!;
  const norms: Norm[] = [description.embeddings.norm, attentionNorm, outputNorm];
  expect(norms.map(({ epsilon }) => epsilon)).toEqual([1e-12, 1e-12, 1e-12]);
});

test('every quantiser has the step and the shift of its own tensors, Q, K and V included', async () => {
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
  const { description } = await describe(
    checkpointWith((checkpoint) => {
      names.forEach((name, i) => {
        values(checkpoint, `${name}.input_clip_val`)[0] = 2 + i;
        values(checkpoint, `${name}.move.bias`).fill(0.5 + i);
      });
      results.forEach((name, i) => {
        values(checkpoint, name)[0] = 20 + i;
      });
    }),
  );
  linears(description).forEach((linear, i) => {
    const { input } = branch(linear);
    expect(linear.name).toBe(names[i]);
    expect(input).toMatchObject({ kind: 'fixed', step: 2 + i });
    expect(new Set(input.shift), linear.name).toEqual(new Set([0.5 + i]));
  });
  const { q, k, v, p } = description.layers[0]!;
  expect([q, k, v, p]).toMatchObject([20, 21, 22, 23].map((step) => ({ kind: 'fixed', step, shift: null })));
});

test.each([
  [1, false, 'none'],
  [2, false, 'minimum'],
  [4, false, 'minimum'],
  [8, false, 'minimum'],
  [2, true, 'none'],
] as const)('W1A%d, sym_quant_ffn_attn %s: offset %s', async (bits, symmetric, offset) => {
  const { description } = await describe(checkpointWith(undefined, { bits, symQuantFfnAttn: symmetric }));
  const { q, k, v, p, query, output, up, down } = description.layers[0]!;
  const inputs = [query, output, up, description.pooler].map((linear) => branch(linear).input);
  for (const quantiser of [q, k, v, ...inputs]) {
    expect(quantiser).toMatchObject({ kind: 'fixed', signed: true, bits, offset: 'none' });
  }
  for (const quantiser of [p, branch(down).input])
    expect(quantiser).toMatchObject({ kind: 'fixed', signed: symmetric, bits, offset });
});

test('the pooler is quantised, the classifier is not', async () => {
  const checkpoint = checkpointWith();
  const { file, plan } = await imported(saved(folder, checkpoint));
  expect(plan.pooler.branches).toHaveLength(1);
  expect(plan.pooler.branches[0]).toMatchObject({
    weight: { format: 0x20, rows: 16, cols: 16 },
    input: { kind: 'sign', format: 0x20 },
  });
  const { tensors, data } = parseArtifact(readFileSync(file));
  const [begin] = tensors.get(plan.classifier.weight.tensor)!.data_offsets;
  const stored = new Float32Array(
    data.buffer.slice(data.byteOffset + begin, data.byteOffset + begin + 3 * 16 * 4),
  );
  expect(stored).toEqual(values(checkpoint, 'classifier.weight'));
});
