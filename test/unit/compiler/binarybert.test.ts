/** What the compiler makes of two branches, and of steps and offsets that are found at run time. */
import { describe, expect, it } from 'vitest';
import { STEP_ACTIVATION, STEP_QUANTISER } from '../../../src/native/steps.generated.js';
import { randomBinaryBertCheckpoint } from '../../oracle/random-binarybert.js';
import {
  affine,
  codeAt,
  compiled,
  doubles,
  LENGTHS,
  linears,
  named,
  PM1,
  S4,
  S8,
  signedOnes,
  U1,
  U4,
  U8,
} from './compiled.js';
import { binaryBert, bit, SIZES } from './models.js';

describe('BinaryBERT', () => {
  it('has two branches everywhere, with an accumulator, a scale and a quantiser each', async () => {
    const { plan, groups } = await compiled(binaryBert());
    for (const linear of [...plan.layers.flatMap(linears), plan.pooler]) {
      expect(linear.branches, linear.name).toHaveLength(2);
      const { terms } = affine(linear.epilogue);
      expect(terms, linear.name).toHaveLength(2);
      expect(terms[0]!.scale, linear.name).not.toBe(terms[1]!.scale);
      const [first, second] = linear.branches.map(({ weight }) => weight);
      expect([first!.format, second!.format]).toEqual([PM1, PM1]);
      expect(first!.tensor).not.toBe(second!.tensor);
    }
    for (const { terms, producer } of [...named(groups, 'NORM'), ...named(groups, 'AFFINE')]) {
      const context = terms[0]!.fields.block !== producer.fields.width;
      expect(terms).toHaveLength(context ? 1 : 2);
      expect(new Set(terms.map(({ fields }) => fields.acc_off)).size).toBe(terms.length);
      for (const { fields } of terms) expect(fields.found_a_off).not.toBe(0);
    }
    // Two consumers for each of Q, K and V; the last LayerNorm has none.
    expect(named(groups, 'EMBED')[0]!.consumers).toHaveLength(6);
    expect(named(groups, 'NORM').map(({ consumers }) => consumers.length)).toEqual([2, 6, 2, 0]);
  });

  it('adds two word tables', async () => {
    const { layout, plan, groups } = await compiled(binaryBert());
    const { words } = plan.embeddings;
    expect(words).toHaveLength(2);
    const [embed] = named(groups, 'EMBED');
    expect(embed!.terms.map(({ name, fields }) => [name, fields.word_off, fields.word_scale_off])).toEqual(
      words.map(({ planes, scale }) => ['TABLE', layout.address(planes.tensor), layout.address(scale)]),
    );
    const one = await compiled(bit());
    expect(one.plan.embeddings.words).toHaveLength(1);
    expect(named(one.groups, 'EMBED')[0]!.terms).toHaveLength(1);
  });

  it('A8: takes clips into the records; signed ranges are symmetric, P and the second FFN input are not', async () => {
    const { plan, groups } = await compiled(binaryBert());
    for (const quantiser of signedOnes(plan))
      expect(quantiser).toMatchObject({ kind: 'symmetric', format: S8, qmin: -127, qmax: 127, step: 1 });
    for (const { attention, down, up } of plan.layers) {
      const { probabilities } = attention;
      const p = probabilities.kind === 'softmax' ? probabilities.probability : undefined;
      const inputs = down.branches.map(({ input }) => input);
      for (const quantiser of [p, ...inputs])
        expect(quantiser).toMatchObject({ kind: 'asymmetric', format: U8, qmin: 0, qmax: 255 });
      expect(affine(up.epilogue).quantisers).toEqual(inputs);
      expect(inputs[0]!.clip).not.toEqual(inputs[1]!.clip);
      // One real unit of a score is 1/sqrt(16) times the two steps that are found.
      expect(probabilities).toMatchObject({ scale: 0.25, exponentials: null });
    }
    const gelu = named(groups, 'AFFINE').find(
      ({ producer }) => producer.fields.activation === STEP_ACTIVATION.GELU,
    )!;
    expect(gelu.consumers.map(({ fields }) => [fields.kind, fields.clip_low, fields.clip_high])).toEqual(
      plan.layers[0]!.down.branches.map(({ input: { clip } }) => [
        STEP_QUANTISER.ASYMMETRIC,
        clip!.low,
        clip!.high,
      ]),
    );
  });

  it('A4: steps are fixed, so scales hold them; offsets of P and the second FFN input are found', async () => {
    const { plan } = await compiled(binaryBert({ bits: 4, method: 'lsq' }));
    for (const quantiser of signedOnes(plan))
      expect(quantiser).toMatchObject({ kind: 'round', format: S4, qmin: -8, qmax: 7, clip: null });
    for (const { attention, query, key, value, down } of plan.layers) {
      const { probabilities, valueStep } = attention;
      if (probabilities.kind !== 'softmax') throw new Error('a softmax was expected');
      expect(probabilities.probability).toMatchObject({ kind: 'round-from-min', format: U4, qmax: 15 });
      const [q, k, v] = [query, key, value].map(({ epilogue }) => affine(epilogue).quantisers[0]!.step);
      expect(probabilities.scale).toBe((q! * k!) / 4);
      expect(valueStep).toBe(v);
      // The found entry of P brings its step.
      expect(affine(attention.context).terms).toEqual([{ scale: v, sums: null }]);
      for (const { input } of down.branches)
        expect(input).toMatchObject({ kind: 'round-from-min', format: U4 });
    }
  });

  it('A4: one unit of a product is the step of its branch times the mean magnitude of its weights', async () => {
    const options = { ...SIZES, attention: 32, bits: 4, method: 'lsq' } as const;
    const { tensors } = randomBinaryBertCheckpoint(options);
    const { plan } = await compiled(binaryBert(options));
    for (const { name, branches, epilogue } of plan.layers.map(({ up }) => up)) {
      branches.forEach(({ input }, index) => {
        const weights = Array.from(tensors.get(`${name}_${index + 1}.weight`)!.data);
        const magnitude = weights.reduce((sum, weight) => sum + Math.abs(weight), 0) / weights.length;
        expect(input.step).toBe(tensors.get(`${name}_${index + 1}.input_clip_val`)!.data[0]);
        expect(affine(epilogue).terms[index]!.scale).toBeCloseTo(input.step * magnitude, 14);
      });
    }
  });

  it('knows the sums of weights that an offset multiplies: scale times the sum of a row of codes', async () => {
    for (const weightLayerwise of [true, false]) {
      const { plan, tensors } = await compiled(binaryBert({ weightLayerwise }));
      for (const { down } of plan.layers) {
        affine(down.epilogue).terms.forEach(({ scale, sums }, index) => {
          const { tensor, rows, cols, stride, format } = down.branches[index]!.weight;
          const scales =
            typeof scale === 'number' ? new Array(rows).fill(scale) : doubles(tensors.get(scale.tensor)!);
          expect(typeof scale === 'number').toBe(weightLayerwise);
          const bytes = tensors.get(tensor)!;
          const expected = scales.map((each: number, row) => {
            let sum = 0;
            for (let k = 0; k < cols; k++) sum += codeAt(bytes, stride, format, row, k);
            return sum * each;
          });
          expect(doubles(tensors.get(sums!)!)).toEqual(expected);
        });
      }
      for (const linear of plan.layers.flatMap(({ query, output, up }) => [query, output, up]))
        expect(affine(linear.epilogue).terms.map(({ sums }) => sums)).toEqual([null, null]);
    }
  });

  it('counts the sums of V in the engine, and reads sums of both kinds', async () => {
    const { layout, plan, tensors, products, groups } = await compiled(binaryBert());
    expect([...tensors.get(plan.ones!)!]).toEqual(new Array(16).fill(0xff));
    const counts = products.filter(({ aOff }) => aOff === layout.address(plan.ones!));
    expect(counts.map(({ m, n, k, aFormat }) => [m, n, k, aFormat])).toEqual(
      plan.layers.flatMap(() => LENGTHS.map((length) => [1, 32, length, U1])),
    );
    const withSums = groups.flatMap(({ producer, terms }) =>
      terms
        .filter(({ name, fields }) => name === 'TERM' && fields.sums_off !== 0)
        .map(({ fields }) => ({
          name: producer.name,
          counted: fields.sums_stride !== 0,
          scale: fields.sums_scale,
        })),
    );
    const context = { name: 'AFFINE', counted: true, scale: 1 };
    const down = { name: 'NORM', counted: false, scale: 1 };
    expect(withSums).toEqual([context, down, down, context, down, down]);
  });

  it('reads both found entries of a product of two activations', async () => {
    const { groups, plan } = await compiled(binaryBert());
    const softmaxes = named(groups, 'SOFTMAX');
    expect(softmaxes).toHaveLength(plan.layers.length * LENGTHS.length);
    for (const { producer } of softmaxes) {
      expect(producer.fields.found_a_off).not.toBe(0);
      expect(producer.fields.found_b_off).not.toBe(0);
    }
    // Each sequence its own entries, 16 bytes on; one after another in a layer.
    const offsets = softmaxes.slice(0, 3).map(({ producer }) => producer.fields.found_a_off!);
    expect(offsets.map((off) => off - offsets[0]!)).toEqual([0, 16, 32]);
    const contexts = groups.filter(({ terms }) => terms.some(({ fields }) => fields.block === 16));
    expect(contexts).toHaveLength(plan.layers.length);
    for (const { terms } of contexts) {
      expect(terms[0]!.fields.found_a_off).not.toBe(0);
      expect(terms[0]!.fields.found_b_off).not.toBe(0);
    }
  });

  it('may have an attention narrower than the hidden state', async () => {
    const { plan } = await compiled(binaryBert({ attention: 16 }));
    expect(plan).toMatchObject({ hidden: 32, attentionSize: 16, heads: 2 });
    for (const { query, output, attention } of plan.layers) {
      expect(query.branches[0]!.weight).toMatchObject({ rows: 16, cols: 32 });
      expect(output.branches[0]!.weight).toMatchObject({ rows: 32, cols: 16 });
      expect(attention.probabilities).toMatchObject({ scale: 1 / Math.sqrt(8) });
    }
  });
});
