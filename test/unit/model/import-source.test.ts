// What a checkpoint may look like and still be the same model: names, shapes, types and files of other versions; and what is
// said about the rest.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { withModel } from '../../golden/support.js';
import type { RandomBitCheckpoint } from '../../oracle/random.js';
import { writeSafetensors } from '../checkpoint/build.js';
import { biBert, binaryBert, ternaryBert } from './families-support.js';
import {
  checkpointWith,
  compiled,
  described,
  imported,
  parseArtifact,
  saved,
  temporaryFolder,
} from './support.js';

const folder = temporaryFolder();
const QUERY = 'bert.encoder.layer.0.attention.self.query';

const imports = async (checkpoint: RandomBitCheckpoint) => described(saved(folder, checkpoint));

test('LayerNorm parameters under their old names gamma and beta', async () => {
  const now = await imports(checkpointWith());
  const legacy = await imports(checkpointWith(undefined, { legacyNorms: true }));
  expect(legacy).toEqual(now);
  expect(legacy.description.embeddings.norm.gamma.some((value) => value !== 1)).toBe(true);
});

test('learned steps of shape [1] are the same as 0-dimensional ones', async () => {
  expect(await imports(checkpointWith(undefined, { clipShape: [1] }))).toEqual(
    await imports(checkpointWith()),
  );
});

test('a float64 file of float32 values gives the same artifact', async () => {
  const wide = checkpointWith(({ tensors }) => {
    for (const tensor of tensors.values()) tensor.data = Float64Array.from(tensor.data);
  });
  expect(await compiled(folder, wide)).toEqual(await compiled(folder, checkpointWith()));
});

test('a float64 file decides signs with all its bits', async () => {
  // Mean 1 exactly; float32 would round both to 1 and leave code 0.
  const { description } = await imports(
    checkpointWith(({ tensors }) => {
      const tensor = tensors.get(`${QUERY}.weight`)!;
      tensor.data = Float64Array.from({ length: 256 }, (_, i) => (i % 2 === 0 ? 1 + 2 ** -40 : 1 - 2 ** -40));
    }),
  );
  expect([...description.layers[0]!.query.branches[0]!.weight.codes]).toEqual(
    new Array(128).fill([1, -1]).flat(),
  );
});

test('names with the module. prefix of DataParallel', async () => {
  const wrapped = checkpointWith((checkpoint) => {
    checkpoint.tensors = new Map([...checkpoint.tensors].map(([name, tensor]) => [`module.${name}`, tensor]));
  });
  expect(await imports(wrapped)).toEqual(await imports(checkpointWith()));
});

test('a safetensors file gives the same artifact as a torch file', async () => {
  const checkpoint = checkpointWith();
  const source = saved(folder, checkpoint);
  const fromTorch = parseArtifact(readFileSync((await imported(source)).file));
  writeSafetensors(join(source, 'model.safetensors'), checkpoint.tensors);
  const { file, provenance } = await imported(source);
  expect(provenance.source).toBe('model.safetensors');
  const fromSafetensors = parseArtifact(readFileSync(file));
  expect(fromSafetensors.metadata['beta.plan']).toBe(fromTorch.metadata['beta.plan']);
  expect(fromSafetensors.data).toEqual(fromTorch.data);
});

test('the classifier says how many classes there are; id2label of another size is left out with a warning', async () => {
  const { description, warnings } = await imports(
    checkpointWith(({ config }) => {
      config.id2label = { 0: 'LABEL_0', 1: 'LABEL_1' };
      config.num_labels = 2;
    }),
  );
  expect(description.labels).toEqual(['LABEL_0', 'LABEL_1', 'LABEL_2']);
  expect(warnings).toEqual([expect.stringMatching(/id2label has 2 names.*classifier has 3 rows/)]);
});

test('tensors without a meaning are left out with a warning that names them', async () => {
  const { warnings } = await imports(
    checkpointWith(({ tensors }) => {
      tensors.set('bert.embeddings.position_ids', { shape: [12], data: new Float32Array(12) });
      tensors.set('cls.predictions.bias', { shape: [2], data: new Float32Array(2) });
    }),
  );
  expect(warnings).toEqual([expect.stringMatching(/^1 tensor.*cls\.predictions\.bias/)]);
});

describe('the head of masked language modelling', () => {
  const WORDS = 'bert.embeddings.word_embeddings';
  const MAKERS = {
    BiT: checkpointWith,
    BiBERT: biBert,
    BinaryBERT: binaryBert,
    TernaryBERT: ternaryBert,
  } as const;

  /** What pre-training leaves in a file; `tied`: the decoder's weights are the word table, in the same storage. */
  const withHead = (tied: boolean) => (checkpoint: RandomBitCheckpoint) => {
    const { tensors } = checkpoint;
    const table = tensors.get(`${WORDS}.weight`) ?? tensors.get(`${WORDS}_1.weight`)!;
    const [words, hidden] = table.shape as [number, number];
    const filled = (...shape: number[]) => ({
      shape,
      data: new Float32Array(shape.reduce((product, size) => product * size, 1)).fill(0.5),
    });
    tensors.set('cls.predictions.decoder.weight', tied ? { ...table } : filled(words, hidden));
    const bias = filled(words);
    tensors.set('cls.predictions.bias', bias);
    tensors.set('cls.predictions.decoder.bias', tied ? { ...bias } : filled(words));
    tensors.set('cls.predictions.transform.dense.weight', filled(hidden, hidden));
    tensors.set('cls.predictions.transform.LayerNorm.weight', filled(hidden));
    tensors.set('cls.seq_relationship.weight', filled(2, hidden));
  };

  test.each(Object.keys(MAKERS) as (keyof typeof MAKERS)[])(
    '%s: tied to the word table, of its own or absent, the artifact is the same',
    async (family) => {
      const expected = await compiled(folder, MAKERS[family]());
      for (const tied of [true, false]) {
        const checkpoint = MAKERS[family](withHead(tied));
        expect(await compiled(folder, checkpoint), `tied: ${tied}`).toEqual(expected);
        expect((await described(saved(folder, checkpoint))).warnings).toEqual([
          expect.stringMatching(/^6 tensors have no meaning.*cls\.predictions\.decoder\.weight/),
        ]);
      }
    },
  );
});

test('what the importer warns about can always be stored and read again', async () => {
  // Names as long as a checkpoint may have them, with characters that turn text on a terminal.
  const checkpoint = checkpointWith(({ tensors }) => {
    for (let i = 0; i < 6; i++)
      tensors.set(`\u001b[31m${'x'.repeat(1000)}\u202e${i}`, { shape: [1], data: new Float32Array(1) });
  });
  await withModel(saved(folder, checkpoint), ({ artifact }) => {
    expect(artifact.provenance.warnings).toHaveLength(1);
    expect(artifact.provenance.warnings[0]).toMatch(/^6 tensors/);
    expect(artifact.provenance.warnings[0]).not.toMatch(/[\p{Cc}\u202e]/u);
  });
});
