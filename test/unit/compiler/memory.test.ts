import { beforeAll, describe, expect, it } from 'vitest';
import { packSequences } from '../../../src/compiler/geometry.js';
import { integerStride, operandStride, planMemory } from '../../../src/compiler/memory.js';
import type { Plan } from '../../../src/model/plan.js';
import { biBert, binaryBert, bit, CASES, compileRandom, ternaryBert } from './models.js';

/** Bytes of every buffer. */
const sizesOf = (buffers: ReadonlyMap<string, { readonly bytes: number }>) =>
  new Map([...buffers].map(([role, { bytes }]) => [role, bytes]));

it('pads rows to beats, and rows of planes to blocks', () => {
  expect([1, 4, 5, 768].map((columns) => integerStride(columns, 32))).toEqual([16, 16, 32, 3072]);
  expect([1, 8, 9, 768].map((columns) => integerStride(columns, 16))).toEqual([16, 16, 32, 1536]);
  const [u1, s4, s8] = [0x00, 0x12, 0x13];
  expect([1, 128, 129, 768].map((columns) => operandStride(columns, u1))).toEqual([16, 16, 32, 96]);
  expect(operandStride(128, s4)).toBe(64);
  expect(operandStride(128, s8)).toBe(128);
});

describe.each(CASES)('%s', (_, write) => {
  let plan: Plan;
  beforeAll(async () => {
    plan = (await compileRandom(write)).plan;
  });

  it('has buffers that never overlap, each on cache lines of its own, in what it asks for', () => {
    for (const lengths of [[1], [plan.maxTokens], [3, 5, 8], Array(50).fill(7)]) {
      for (const base of [0, 0x12340]) {
        const { buffers, bytes } = planMemory(plan, packSequences(lengths), base);
        let end = base;
        for (const [role, buffer] of buffers) {
          expect(buffer.off % 64, role).toBe(0);
          expect(buffer.off, role).toBeGreaterThanOrEqual(end);
          expect(buffer.bytes, role).toBeGreaterThan(0);
          end = buffer.off + buffer.bytes;
        }
        expect(end).toBeLessThanOrEqual(base + bytes);
        expect(bytes).toBeLessThan(end - base + 64);
      }
    }
  });

  it('holds what every sequence needs: inputs, residual rows and logits by their definitions', () => {
    const lengths = [3, 5, 8];
    const bytes = sizesOf(planMemory(plan, packSequences(lengths), 0).buffers);
    const rows = 16;
    for (const role of ['ids', 'positions', 'types']) expect(bytes.get(role), role).toBe(rows * 4);
    expect(bytes.get('x')).toBe(rows * plan.hidden * 4);
    expect(bytes.get('pooled')).toBe(3 * plan.hidden * 4);
    expect(bytes.get('logits')).toBe(3 * plan.labels.length * 4);
    // Scores of every head: a square for each sequence, its rows padded to 16 bytes; int32 only of 8-bit codes. Boolean attention has none.
    const boolean = plan.layers[0]!.attention.probabilities.kind === 'boolean';
    const wide = plan.requirements.aBits.includes(8);
    const scores = plan.heads * (3 * 16 + (5 + 8) * (wide ? 32 : 16));
    expect(bytes.get('scores')).toBe(boolean ? undefined : scores);
  });

  it('grows with the batch', () => {
    const bytes = (lengths: number[]) => planMemory(plan, packSequences(lengths), 0).bytes;
    expect(bytes([2])).toBeGreaterThanOrEqual(bytes([1]));
    expect(bytes([8, 8])).toBeGreaterThan(bytes([8]));
    expect(bytes([8, 8, 8])).toBeGreaterThan(bytes([8, 8]));
  });
});

it('gives layers of different kinds buffers as large as the largest of them needs', async () => {
  // Thresholds leave planes at once; exact zeros need accumulators and a second plane.
  const direct = (await compileRandom(bit())).plan;
  const affine = (await compileRandom(bit({ zeroBias: true, zeroMove: true }))).plan;
  const sizes = (layers: Plan['layers']) =>
    sizesOf(planMemory({ ...direct, layers }, packSequences([3, 5, 8]), 0).buffers);
  const [a, b] = [direct.layers[0]!, affine.layers[0]!];
  const [ofA, ofB] = [sizes([a]), sizes([b])];
  expect(ofA).not.toEqual(ofB);
  const roles = new Set([...ofA.keys(), ...ofB.keys()]);
  const largest = new Map([...roles].map((role) => [role, Math.max(ofA.get(role) ?? 0, ofB.get(role) ?? 0)]));
  expect(sizes([a, b])).toEqual(largest);
  expect(sizes([b, a])).toEqual(largest);
});

describe('what is found at run time', () => {
  const lengths = [3, 5, 8];
  const sizesFor = async (write: Parameters<typeof compileRandom>[0]) => {
    const { plan } = await compileRandom(write);
    return sizesOf(planMemory(plan, packSequences(lengths), 0).buffers);
  };
  const found = (sizes: ReadonlyMap<string, number>) =>
    [...sizes.keys()].filter((role) => role.endsWith('.found')).sort();

  it('has an entry {step, t} for every sequence of every operand whose quantiser finds it', async () => {
    const sizes = await sizesFor(ternaryBert());
    const roles = ['context.0', 'keyIn.0', 'key.0', 'poolerIn.0', 'probabilities', 'queryIn.0', 'query.0'];
    const all = [...roles, 'up.0', 'upIn.0', 'value', 'valueIn.0'].map((role) => `${role}.found`);
    expect(found(sizes)).toEqual(all.sort());
    for (const role of all) expect(sizes.get(role), role).toBe(lengths.length * 16);
  });

  it('is one set for each branch', async () => {
    const sizes = await sizesFor(binaryBert());
    for (const role of ['queryIn', 'keyIn', 'valueIn', 'context', 'upIn', 'up', 'poolerIn'])
      for (const branch of [0, 1]) expect(sizes.get(`${role}.${branch}.found`), role).toBe(3 * 16);
    // A projection has one result, quantised once.
    expect(sizes.has('query.0.found')).toBe(true);
    expect(sizes.has('query.1.found')).toBe(false);
  });

  it('is only offsets where steps are fixed, and nothing where offsets are 0', async () => {
    expect(found(await sizesFor(bit({ bits: 4 })))).toEqual(['probabilities.found', 'up.0.found']);
    expect(found(await sizesFor(bit()))).toEqual([]);
    expect(found(await sizesFor(biBert()))).toEqual([]);
  });

  it('needs sums of V where probabilities have an offset: an int32 for every channel and sequence', async () => {
    for (const write of [bit({ bits: 4 }), binaryBert(), binaryBert({ bits: 4, method: 'lsq' })])
      expect((await sizesFor(write)).get('valueSums')).toBe(3 * 32 * 4);
    for (const write of [bit(), biBert(), ternaryBert(), bit({ bits: 4, symQuantFfnAttn: true })])
      expect((await sizesFor(write)).has('valueSums')).toBe(false);
  });
});

it('gives every branch operands and accumulators of its own', async () => {
  const { plan } = await compileRandom(binaryBert());
  const sizes = sizesOf(planMemory(plan, packSequences([3, 5, 8]), 0).buffers);
  // 16 rows; a row of 32 or 48 codes of 8 bits is one block, of as many int16 results 64 or 96 bytes.
  for (const branch of [0, 1]) {
    for (const role of ['queryIn', 'keyIn', 'valueIn', 'context', 'upIn', 'up'])
      expect(sizes.get(`${role}.${branch}`), `${role}.${branch}`).toBe(16 * 128);
    for (const role of ['query', 'key', 'projected'])
      expect(sizes.get(`${role}.acc.${branch}`), `${role}.acc.${branch}`).toBe(16 * 64);
    expect(sizes.get(`up.acc.${branch}`)).toBe(16 * 96);
    // Transposed: 32 channels, rows of 3, 5 and 8 tokens.
    expect(sizes.get(`value.acc.${branch}`)).toBe(32 * (16 + 16 + 16));
  }
  expect(sizes.get('value')).toBe(3 * 32 * 128);
  expect(sizes.has('value.1')).toBe(false);
});

it('is as narrow as the attention is', async () => {
  const sizes = async (attention: number) => {
    const { plan } = await compileRandom(binaryBert({ attention }));
    return sizesOf(planMemory(plan, packSequences([3, 5, 8]), 0).buffers);
  };
  const [wide, narrow] = [await sizes(32), await sizes(16)];
  for (const role of ['query.acc.0', 'key.acc.1', 'value', 'value.acc.0', 'valueSums', 'context.acc'])
    expect(narrow.get(role)! * 2, role).toBe(wide.get(role));
  for (const role of ['x', 'queryIn.0', 'scores', 'probabilities', 'projected.acc.0', 'up.acc.0'])
    expect(narrow.get(role), role).toBe(wide.get(role));
});
