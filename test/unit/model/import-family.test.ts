// Which family a checkpoint is of: by its tensors, by name where these tell nothing or two things, and what an error says would decide it.
import { expect, test } from 'vitest';
import { type AnyCheckpoint, biBert, binaryBert, ternaryBert } from './families-support.js';
import { checkpointWith, imported, refusedImport, saved, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const LAYER = 'bert.encoder.layer.0';

const MAKERS: Readonly<Record<string, () => AnyCheckpoint>> = {
  BiT: () => checkpointWith(),
  BinaryBERT: () => binaryBert(),
  BiBERT: () => biBert(),
  TernaryBERT: () => ternaryBert(),
};
const names = Object.keys(MAKERS);

/** A checkpoint with a tensor of another family beside its own. */
function withTensor(checkpoint: AnyCheckpoint, ...added: string[]): AnyCheckpoint {
  for (const name of added) checkpoint.tensors.set(name, { shape: [], data: Float32Array.of(1) });
  return checkpoint;
}

test.each(names)('%s is known by its tensors, and may be named', async (name) => {
  const source = saved(folder, MAKERS[name]!());
  const told = await imported(source);
  expect(told.plan.family).toMatch(new RegExp(`^${name} `));
  const named = await imported(source, { family: name });
  expect(named.plan).toEqual(told.plan);
});

test.each([
  ['BiT', `${LAYER}.output.gate`, 'BiBERT'],
  ['BinaryBERT', `${LAYER}.output.dense.move.bias`, 'BiT'],
  ['TernaryBERT', `${LAYER}.output.dense.move.bias`, 'BiT'],
  ['BiBERT', `${LAYER}.output.dense.move.bias`, 'BiT'],
])('%s with %s, a tensor of %s as well', async (family, tensor, other) => {
  const source = saved(folder, withTensor(MAKERS[family]!(), tensor));
  await refusedImport(folder, source, 'ambiguous-family', [
    tensor,
    new RegExp(`${family} \\(`),
    new RegExp(`${other} \\(`),
    new RegExp(`--family ${family}\\b`),
    new RegExp(`--family ${other}\\b`),
  ]);
  // The one that was meant, by name: what does not belong to it is not read.
  expect((await imported(source, { family })).plan.family).toMatch(new RegExp(`^${family} `));
});

test('clips of weights alone are TernaryBERT or BiBERT: the error says what would decide it, the name does', async () => {
  const bare = biBert(({ tensors }) => {
    for (const name of [...tensors.keys()]) if (/\.(gate|scale)$/.test(name)) tensors.delete(name);
  });
  const source = saved(folder, bare);
  await refusedImport(folder, source, 'unknown-family', [
    /\.weight_clip_val is in files of TernaryBERT and of BiBERT/,
    /weight_bits 2 .*TernaryBERT \(it is 1\)/,
    /"\.gate" or "\.dense\.scale" tensor BiBERT/,
    /--family/,
  ]);
  expect((await imported(source, { family: 'BiBERT' })).plan.family).toBe('BiBERT W1A1');
  // As TernaryBERT the setting is wrong, and that is what is said.
  await refusedImport(folder, source, 'bad-config', ['weight_bits is 1'], { family: 'TernaryBERT' });
  const absent = biBert(({ tensors, config }) => {
    for (const name of [...tensors.keys()]) if (/\.(gate|scale)$/.test(name)) tensors.delete(name);
    delete config.weight_bits;
  });
  await refusedImport(folder, saved(folder, absent), 'unknown-family', [/\(it is absent\)/]);
});

test("BiBERT's own tensors decide where weight_bits is TernaryBERT's", async () => {
  const source = saved(
    folder,
    biBert(({ config }) => {
      config.weight_bits = 2;
    }),
  );
  await refusedImport(folder, source, 'bad-config', ['weight_bits is 2', /BiBERT has one-bit weights/]);
});

test('a family that does not exist', async () => {
  const source = saved(folder, biBert());
  await refusedImport(folder, source, 'bad-option', ['ReActBERT', ...names], { family: 'ReActBERT' });
});
