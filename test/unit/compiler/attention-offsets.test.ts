/** Switches of attention: unsigned Q, K and V, and probabilities that stay real. What the compiler makes of them. */
import { describe, expect, it } from 'vitest';
import { explainLayer } from '../../../src/compiler/explain.js';
import { STEP_QUANTISER } from '../../../src/native/steps.generated.js';
import { affine, compiled, LENGTHS, linears, named, S2, U1, U4 } from './compiled.js';
import { binaryBert, bit } from './models.js';

const ROWS = LENGTHS.reduce((sum, length) => sum + length, 0);
const HEAD = 16;

describe('unsigned Q, K and V of one bit', () => {
  it('are thresholds in the engine, with no offsets and no sums', async () => {
    const { plan, groups, products } = await compiled(bit({ symQuantQkvo: false }));
    expect(plan.ones).toBeNull();
    for (const layer of plan.layers) {
      for (const { epilogue } of [layer.query, layer.key, layer.value])
        expect(epilogue).toMatchObject({ kind: 'threshold', format: U1 });
      for (const { branches } of linears(layer)) expect(branches[0]!.input).toMatchObject({ format: U1 });
    }
    for (const { producer } of named(groups, 'SOFTMAX')) expect(producer.fields.key_sums_off).toBe(0);
    // Products of one row are none of sums, but those of the last layer's first tokens: Q of each length, scores and context of each head.
    const { heads } = plan;
    expect(products.filter(({ m }) => m === 1)).toHaveLength(LENGTHS.length * (1 + 2 * heads));
  });
});

describe.each([
  ['BiT', bit({ bits: 4, symQuantQkvo: false }), 'round-from-min'],
  ['BinaryBERT', binaryBert({ bits: 4, symQuantQkvo: false }), 'asymmetric'],
] as const)('unsigned Q, K and V of %s, 4 bits', (_, write, kind) => {
  it('have offsets, and so has every input of a linear layer', async () => {
    const { plan } = await compiled(write);
    expect(plan.ones).not.toBeNull();
    for (const layer of plan.layers) {
      for (const { epilogue } of [layer.query, layer.key, layer.value])
        expect(affine(epilogue).quantisers).toMatchObject([{ kind, format: U4, qmin: 0, qmax: 15 }]);
      for (const { branches, epilogue } of linears(layer)) {
        branches.forEach(({ input }, index) => {
          expect(input.kind).toBe(kind);
          expect(affine(epilogue).terms[index]!.sums).not.toBeNull();
        });
      }
    }
  });

  it('have the codes of every key added up by head, once for the batch', async () => {
    const { plan, products, groups } = await compiled(write);
    const sums = products.filter(({ m, n, k }) => m === 1 && n === ROWS && k === HEAD);
    expect(sums).toHaveLength(plan.layers.length * plan.heads);
    for (const [index, { aFormat, bFormat, k0, oOff, oStride }] of sums.entries()) {
      const head = index % plan.heads;
      expect([aFormat, bFormat, k0]).toEqual([U1, U4, head * HEAD]);
      expect(oOff).toBe(sums[0]!.oOff + head * oStride);
    }
    const softmaxes = named(groups, 'SOFTMAX');
    expect(softmaxes).toHaveLength(plan.layers.length * LENGTHS.length);
    // Each sequence reads the sums of its own keys.
    LENGTHS.forEach((_length, index) => {
      const { key_sums_off, key_sums_stride } = softmaxes[index]!.producer.fields;
      const start = LENGTHS.slice(0, index).reduce((sum, length) => sum + length, 0);
      expect(key_sums_off).toBe(sums[0]!.oOff + start * 4);
      expect(key_sums_stride).toBe(sums[0]!.oStride);
    });
  });

  it('have the rows of P added up where the context reads them', async () => {
    const { plan, groups } = await compiled(write);
    const context = named(groups, 'AFFINE').find(({ terms }) => terms[0]!.fields.row_sums_off !== 0)!;
    const { row_sums_off, row_sums_stride, block } = context.terms[0]!.fields;
    expect(block).toBe(HEAD);
    let start = 0;
    named(groups, 'SOFTMAX')
      .slice(0, LENGTHS.length)
      .forEach(({ consumers }, index) => {
        expect(consumers[0]!.fields).toMatchObject({
          sums_off: row_sums_off! + start * 8,
          sums_rows: LENGTHS[index],
          sums_stride: row_sums_stride,
        });
        start += LENGTHS[index]!;
      });
    expect(row_sums_stride).toBe(ROWS * 8);
    expect(plan.layers[0]!.attention.context).toMatchObject({ kind: 'affine' });
  });
});

describe('probabilities that stay real', () => {
  it('are multiplied with V on the CPU: no product of the engine, no planes of P', async () => {
    const { plan, products, groups } = await compiled(bit({ bits: 4, notQuantizeAttention: true }));
    for (const { attention } of plan.layers) {
      expect(attention.probabilities.kind).toBe('real');
      expect(affine(attention.context).why).toBe('P is not quantised');
    }
    const attended = named(groups, 'SOFTMAX');
    expect(attended).toHaveLength(plan.layers.length * LENGTHS.length);
    attended.forEach(({ producer, terms, consumers }, index) => {
      expect(producer.fields.tokens).toBe(LENGTHS[index % LENGTHS.length]);
      expect(terms.map(({ name }) => name)).toEqual(['VALUE']);
      expect(terms[0]!.fields.width).toBe(plan.attentionSize);
      expect(consumers[0]!.fields.kind).toBe(STEP_QUANTISER.ROUND);
    });
    for (const length of LENGTHS)
      expect(products.filter(({ m, n, k }) => m === length && n === HEAD && k === length)).toEqual([]);
    expect(plan.requirements.oBits).toEqual([16]);
  });

  it('can give a context of exactly zero, so one signed bit takes two planes', async () => {
    const { plan } = await compiled(bit({ notQuantizeAttention: true }));
    for (const { attention, output } of plan.layers) {
      expect(affine(attention.context).quantisers).toMatchObject([{ kind: 'sign', format: S2 }]);
      expect(output.branches[0]!.input.format).toBe(S2);
    }
  });

  it('still have a table of exponentials where scores are few', async () => {
    const { plan, groups } = await compiled(bit({ notQuantizeAttention: true }));
    expect(plan.layers[0]!.attention.probabilities).toMatchObject({ exponentials: { length: 2 * HEAD + 1 } });
    expect(named(groups, 'SOFTMAX')[0]!.producer.fields.table_length).toBe(2 * HEAD + 1);
  });

  it('save nothing of the context in what explain counts', async () => {
    const { plan } = await compiled(bit({ notQuantizeAttention: true }));
    const context = explainLayer(plan, plan.layers[0]!, 8).products.find(({ name }) => name === 'context')!;
    expect(context.before).toEqual({ multiplies: 8 * 32 * 8, adds: 8 * 32 * 7 });
    expect(context.thresholds).toEqual(context.before);
    expect(context).toMatchObject({ decided: 'cpu', aBits: null, leaves: 'real' });
  });
});
