/** What the compiler makes of every family: the plan, and the records and products of its programs. */
import { describe, expect, it } from 'vitest';
import { STEP_ACTIVATION, STEP_QUANTISER } from '../../../src/native/steps.generated.js';
import { classificationHead } from '../model/head.js';
import {
  affine,
  compiled,
  doubles,
  indicesAt,
  LENGTHS,
  linears,
  named,
  PM1,
  S2,
  S8,
  U1,
} from './compiled.js';
import { biBert, binaryBert, bit, ternaryBert, type Writer } from './models.js';

describe('BiBERT', () => {
  it('decides probabilities in the engine: 1 where a score is above 0, no softmax', async () => {
    const { plan, tensors, groups, products } = await compiled(biBert());
    expect(named(groups, 'SOFTMAX')).toEqual([]);
    expect(plan.ones).toBeNull();
    for (const { attention } of plan.layers) {
      const { probabilities } = attention;
      expect(probabilities).toMatchObject({ kind: 'boolean', format: U1 });
      // r = s = D + bias, clamped to one bit, is D > 0 with bias 0. One entry for every key there can be.
      const table = tensors.get(probabilities.kind === 'boolean' ? probabilities.table : '')!;
      expect([...new Int32Array(table.slice().buffer)]).toEqual(new Array(40).fill([0, 2 ** 24]).flat());
    }
    for (const length of LENGTHS) {
      // In the last layer only the first token asks.
      const scores = products.filter(({ m, n, k }) => (m === length || m === 1) && n === length && k === 16);
      expect(scores).toHaveLength(plan.layers.length * plan.heads);
      for (const { oFormat, eOff } of scores) {
        expect(oFormat).toBe(U1);
        expect(eOff).not.toBe(0);
      }
    }
  });

  it('carries zeros of the context and of GELU in two planes, and those of projections where they occur', async () => {
    const { plan } = await compiled(biBert());
    for (const { attention, output, up, down, query } of plan.layers) {
      for (const { quantisers } of [affine(attention.context), affine(up.epilogue)])
        expect(quantisers).toMatchObject([{ kind: 'sign', format: S2 }]);
      expect([output, down].map(({ branches }) => branches[0]!.input.format)).toEqual([S2, S2]);
      expect(query.branches[0]!.input.format).toBe(PM1);
      expect(query.epilogue).toMatchObject({ kind: 'threshold', format: PM1 });
    }
    const zeros = await compiled(biBert({ zeroBias: true }));
    expect(affine(zeros.plan.layers[0]!.value.epilogue).quantisers).toMatchObject([{ format: S2 }]);
  });
});

describe('TernaryBERT', () => {
  it('has ternary weights in two planes and signed ranges, the probabilities included; no sums', async () => {
    const { plan, products } = await compiled(ternaryBert());
    expect(plan.ones).toBeNull();
    expect(products.some(({ aFormat }) => aFormat === U1)).toBe(false);
    expect(plan.embeddings.words[0]!.planes.format).toBe(S2);
    for (const linear of [...plan.layers.flatMap(linears), classificationHead(plan).pooler]) {
      expect(linear.branches).toHaveLength(1);
      expect(linear.branches[0]!.weight.format, linear.name).toBe(S2);
      expect(linear.branches[0]!.input).toMatchObject({ kind: 'symmetric', format: S8, qmax: 127 });
      expect(affine(linear.epilogue).terms[0]!.sums).toBeNull();
    }
    for (const { attention } of plan.layers)
      expect(attention.probabilities).toMatchObject({
        kind: 'softmax',
        probability: { kind: 'symmetric', format: S8, clip: { low: -2.5, high: 2.5 } },
      });
  });
});

describe.each<[string, Writer, boolean]>([
  ['BiT A1', bit(), true],
  ['BiBERT', biBert(), true],
  ['BinaryBERT', binaryBert(), false],
  ['TernaryBERT', ternaryBert(), false],
])('%s', (_, write, gathers) => {
  it('pools the first token of every sequence, each a sequence of its own for what is found', async () => {
    const { program, groups } = await compiled(write);
    const picks = named(groups, 'PICK');
    const pick = picks.at(-1);
    expect(picks).toHaveLength(gathers ? 2 : 1);
    if (gathers) {
      // Where no range is taken of all tokens, the last layer computes the first ones alone, and the pooler finds them together.
      const { index_off, x_off, out_off, rows, x_rows } = picks[0]!.producer.fields;
      expect([rows, x_rows]).toEqual([3, 16]);
      expect(indicesAt(program, index_off!, 3)).toEqual([0, 3, 8]);
      expect(pick!.producer.fields).toMatchObject({ x_off: out_off, x_rows: 3 });
      expect(x_off).not.toBe(out_off);
      expect(indicesAt(program, pick!.producer.fields.index_off!, 3)).toEqual([0, 1, 2]);
    }
    expect(pick!.producer.fields).toMatchObject({
      rows: 3,
      sequences: 3,
    });
    if (!gathers) {
      expect(pick!.producer.fields.x_rows).toBe(16);
      expect(indicesAt(program, pick!.producer.fields.index_off!, 3)).toEqual([0, 3, 8]);
    }
    expect(indicesAt(program, pick!.producer.fields.starts_off!, 4)).toEqual([0, 1, 2, 3]);
    const pooler = groups.at(-2)!;
    expect(pooler.producer.fields).toMatchObject({
      activation: STEP_ACTIVATION.TANH,
      rows: 3,
      sequences: 3,
      starts_off: pick!.producer.fields.starts_off,
    });
    expect(pooler.terms.map(({ fields }) => fields.found_a_off)).toEqual(
      pick!.consumers.map(({ fields }) => fields.found_off),
    );
    expect(groups.at(-1)!.producer.name).toBe('DENSE');
  });

  it('leaves no bound on what a quantiser without clips takes', async () => {
    const { groups } = await compiled(write);
    for (const { fields } of groups.flatMap(({ consumers }) => consumers)) {
      const clipped = fields.kind! >= STEP_QUANTISER.SYMMETRIC;
      expect(Number.isFinite(fields.clip_low)).toBe(clipped);
      expect(Number.isFinite(fields.clip_high)).toBe(clipped);
      expect(fields.clip_low).toBeLessThan(fields.clip_high!);
    }
  });
});

it('has a table of exponentials where scores are few and their step is known', async () => {
  const length = async (write: Writer) => {
    const { plan, tensors } = await compiled(write);
    const { probabilities } = plan.layers[0]!.attention;
    if (probabilities.kind !== 'softmax') throw new Error('a softmax was expected');
    const { exponentials, scale } = probabilities;
    if (exponentials === null) return 0;
    const values = doubles(tensors.get(exponentials.tensor)!);
    expect(values).toEqual(values.map((_, i) => Math.exp(-scale * i)));
    return values.length;
  };
  // Two rows of 16 codes differ by at most 2 * 16 * (largest code)^2.
  expect(await length(bit())).toBe(33);
  expect(await length(bit({ bits: 2 }))).toBe(129);
  expect(await length(binaryBert({ bits: 2, method: 'lsq' }))).toBe(129);
  expect(await length(bit({ bits: 4 }))).toBe(0);
  expect(await length(binaryBert({ bits: 2 }))).toBe(0);
});

describe('products of several levels without biases', () => {
  const write = bit({ bits: 4, zeroBias: true, zeroMove: true, symQuantFfnAttn: true });

  it('are quantised in the engine by fixed point, and no vector step reads them', async () => {
    const { plan, layout, program, products, groups, tensors } = await compiled(write);
    const s4 = 0x12;
    for (const { query, key, value, attention } of plan.layers) {
      const epilogues = [query, key, value].map(({ epilogue }) => epilogue);
      for (const epilogue of [...epilogues, attention.context]) {
        if (epilogue.kind !== 'fixed-point') throw new Error(epilogue.why);
        expect(epilogue.format).toBe(s4);
        expect(tensors.get(epilogue.table)!.byteLength).toBe(32 * 8);
        expect(products.filter(({ eOff }) => eOff === layout.address(epilogue.table)).length).toBeGreaterThan(
          0,
        );
      }
    }
    // What is left: FFN1 where fixed point fails, and the pooler.
    const affines = plan.layers.filter(({ up }) => up.epilogue.kind === 'affine').length + 1;
    expect(named(groups, 'AFFINE')).toHaveLength(affines);
    expect(plan.requirements.oBits).toContain(4);
    expect(layout.hazards(program)).toEqual([]);
  });
});

describe('integers that vector steps read', () => {
  it('are int16 wherever the formats cannot exceed it, through one identity table', async () => {
    for (const [name, write, widths] of [
      ['BiT A1', bit(), [16]],
      ['BiT A4', bit({ bits: 4 }), [16, 32]],
      ['TernaryBERT', ternaryBert(), [16, 32]],
    ] as [string, Writer, number[]][]) {
      const { plan, layout, tensors, products } = await compiled(write);
      const table = new Int32Array(tensors.get(plan.identity!)!.slice().buffer);
      // The widest product has 48 columns.
      expect([...table], name).toEqual(new Array(48).fill([0, 2 ** 24]).flat());
      const seen = new Set<number>();
      for (const { aFormat, bFormat, oFormat, k, n, eOff } of products) {
        if (oFormat !== 0x14 && oFormat !== 0x15) continue;
        seen.add(2 ** (oFormat & 7));
        // Largest code of S4 is 8, of U4 15, of S8 128, of S2 2; that of one bit 1.
        const largest = (format: number) => ({ 0: 1, 1: 3, 2: 15, 32: 1, 17: 2, 18: 8, 19: 128 })[format]!;
        const most = largest(aFormat) * largest(bFormat) * k;
        expect(n).toBeLessThanOrEqual(48);
        expect(eOff, name).toBe(oFormat === 0x14 ? layout.address(plan.identity!) : 0);
        if (oFormat === 0x14) expect(most, name).toBeLessThan(2 ** 15);
      }
      expect(
        [...seen].sort((x, y) => x - y),
        name,
      ).toEqual(widths);
    }
  });

  it('need no table where all of them are int32', async () => {
    const { plan, products } = await compiled(ternaryBert({ hidden: 136, heads: 1, intermediate: 136 }));
    expect(plan.identity).toBeNull();
    expect(new Set(products.map(({ oFormat }) => oFormat))).toEqual(new Set([0x15]));
  });
});
