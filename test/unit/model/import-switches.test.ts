// Switches that choose the quantisers of attention and of linear inputs: what the importers make of them.
import { expect, test } from 'vitest';
import type { EncoderLayer, ModelDescription } from '../../../src/model/description.js';
import { classificationHead } from './head.js';
import { checkpointWith, described, saved, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const CLIP = 'bert.encoder.layer.0.attention.self.clip_attn';

const inputs = (description: ModelDescription) => {
  const { query, key, value, output, up } = description.layers[0]!;
  return [query, key, value, output, up, classificationHead(description).pooler].flatMap(({ branches }) =>
    branches.map(({ input }) => input),
  );
};
const projections = ({ q, k, v }: EncoderLayer) => [q, k, v];

test.each([1, 2, 4, 8] as const)('BiT A%i, sym_quant_qkvo: every quantiser but two', async (bits) => {
  for (const symQuantQkvo of [true, false]) {
    for (const symQuantFfnAttn of [true, false]) {
      const checkpoint = checkpointWith(undefined, { bits, symQuantQkvo, symQuantFfnAttn });
      const { description, warnings } = await described(saved(folder, checkpoint));
      expect(warnings).toEqual([]);
      const offset = (signed: boolean) => (signed || bits === 1 ? 'none' : 'minimum');
      const layer = description.layers[0]!;
      for (const quantiser of [...inputs(description), ...projections(layer)])
        expect(quantiser).toMatchObject({ signed: symQuantQkvo, bits, offset: offset(symQuantQkvo) });
      for (const quantiser of [layer.p, layer.down.branches[0]!.input])
        expect(quantiser).toMatchObject({ signed: symQuantFfnAttn, bits, offset: offset(symQuantFfnAttn) });
    }
  }
});

test('BiT, not_quantize_attention: P stays real, and its clip is neither needed nor reported', async () => {
  for (const change of [
    () => undefined,
    ({ tensors }: ReturnType<typeof checkpointWith>) => void tensors.delete(CLIP),
  ]) {
    const checkpoint = checkpointWith(change, { bits: 4, notQuantizeAttention: true });
    const { description, warnings } = await described(saved(folder, checkpoint));
    expect(description.layers[0]!.p).toBe('real');
    expect(warnings).toEqual([]);
  }
});

test.each([
  ['sym_quant_qkvo', true],
  ['not_quantize_attention', false],
])('BiT without %s takes %j and says so', async (setting, value) => {
  const checkpoint = checkpointWith(({ config }) => {
    delete config[setting];
  });
  const { description, warnings } = await described(saved(folder, checkpoint));
  expect(warnings).toHaveLength(1);
  expect(warnings[0]).toMatch(new RegExp(`${setting}; taking ${value}`));
  expect(description.layers[0]!.q.signed).toBe(true);
  expect(description.layers[0]!.p).not.toBe('real');
});
