import { beforeAll, describe, expect, it } from 'vitest';
import { packSequences } from '../../../src/compiler/geometry.js';
import { accumulatorStride, operandStride, planMemory, ROLES } from '../../../src/compiler/memory.js';
import type { Plan } from '../../../src/model/plan.js';
import { CASES, compileRandom } from './models.js';

it('pads rows to beats, and rows of planes to blocks', () => {
  expect([1, 4, 5, 768].map(accumulatorStride)).toEqual([16, 16, 32, 3072]);
  const [u1, s4, s8] = [0x00, 0x12, 0x13];
  expect([1, 128, 129, 768].map((columns) => operandStride(columns, u1))).toEqual([16, 16, 32, 96]);
  expect(operandStride(128, s4)).toBe(64);
  expect(operandStride(128, s8)).toBe(128);
  expect(operandStride(2, u1, 127)).toBe(32);
});

describe.each(CASES)('%s', (_, options) => {
  let plan: Plan;
  beforeAll(async () => {
    plan = (await compileRandom(options)).plan;
  });

  it('has buffers that never overlap, each on cache lines of its own, in what it asks for', () => {
    for (const lengths of [[1], [plan.maxTokens], [3, 5, 8], Array(50).fill(7)]) {
      for (const base of [0, 0x12340]) {
        const { buffers, bytes } = planMemory(plan, packSequences(lengths), base);
        let end = base;
        for (const role of ROLES) {
          expect(buffers[role].off % 64, role).toBe(0);
          expect(buffers[role].off, role).toBeGreaterThanOrEqual(end);
          end = buffers[role].off + buffers[role].bytes;
        }
        expect(end).toBeLessThanOrEqual(base + bytes);
        expect(bytes).toBeLessThan(end - base + 64);
      }
    }
  });

  it('holds what every sequence needs: inputs, residual rows and logits by their definitions', () => {
    const lengths = [3, 5, 8];
    const { buffers } = planMemory(plan, packSequences(lengths), 0);
    const rows = 16;
    expect(buffers.ids.bytes).toBe(rows * 4);
    expect(buffers.starts.bytes).toBe(4 * 4);
    expect(buffers.x.bytes).toBe(rows * plan.hidden * 4);
    expect(buffers.logits.bytes).toBe(3 * plan.labels.length * 4);
    // int32 scores of every head: a square for each sequence, its rows padded to 16 bytes.
    expect(buffers.scores.bytes).toBe(plan.heads * (3 * 16 + 5 * 32 + 8 * 32));
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
  const direct = (await compileRandom({})).plan;
  const affine = (await compileRandom({ zeroBias: true, zeroMove: true })).plan;
  const sizes = (layers: Plan['layers']) => {
    const { buffers } = planMemory({ ...direct, layers }, packSequences([3, 5, 8]), 0);
    return ROLES.map((role) => buffers[role].bytes);
  };
  const [a, b] = [direct.layers[0]!, affine.layers[0]!];
  const [ofA, ofB] = [sizes([a]), sizes([b])];
  expect(ofA).not.toEqual(ofB);
  const largest = ofA.map((bytes, index) => Math.max(bytes, ofB[index]!));
  expect(sizes([a, b])).toEqual(largest);
  expect(sizes([b, a])).toEqual(largest);
});
