/** Programs: well-formed by the contract, inside their memory, complete, and free of races between the CPU and the engine. */
import { beforeAll, describe, expect, it } from 'vitest';
import { boardModel } from '../../../src/compiler/cost.js';
import { readOperations } from '../../../src/compiler/operations.js';
import type { Program } from '../../../src/compiler/program.js';
import { readFields, validateDescriptor } from '../../oracle/qmm.js';
import { readStep } from './accesses.js';
import { CASES, compileRandom, Layout } from './models.js';

/** Batches whose packed rows cross bytes and blocks, and one sequence of the greatest length. */
function batches(maxTokens: number): number[][] {
  return [
    [1],
    [7],
    [maxTokens],
    [1, 1],
    [3, 5, 8],
    [2, 9, 16, 31, 33, 40],
    Array(20).fill(8),
    [maxTokens, 1, maxTokens],
  ];
}

/** A board where nothing costs anything before it begins: everything is cut as finely as it can be. */
const board = boardModel({ dm: 8, dn: 8, dk: 128 });
const BUSY = {
  ...board,
  engine: { ...board.engine, tileNs: 1e-3, bytesPerCycle: 1e6 },
  cpu: { ...board.cpu, stepNs: 1e-3 },
};

describe.each(CASES)('%s', (_, write) => {
  let layout: Layout;
  beforeAll(async () => {
    layout = new Layout(await compileRandom(write));
  });

  it('has only descriptors that a device with exactly the required widths and limits takes', () => {
    const { plan } = layout.compiled;
    for (const lengths of batches(plan.maxTokens)) {
      const { descriptors, arenaBytes } = layout.build(lengths);
      for (let index = 0; index * 64 < descriptors.byteLength; index++) {
        const descriptor = descriptors.subarray(index * 64, (index + 1) * 64);
        expect(
          validateDescriptor(descriptor, layout.base + arenaBytes, plan.requirements, 0),
          `descriptor ${index} of [${lengths}]`,
        ).toBeUndefined();
      }
    }
  });

  it('asks a device for no more than its programs use', () => {
    const { requirements, maxTokens } = layout.compiled.plan;
    const used = { a: new Set<number>(), b: new Set<number>(), o: new Set<number>(), k: 0, blocks: 0 };
    for (const lengths of [[maxTokens], [1, maxTokens]]) {
      for (const d of descriptorsOf(layout.build(lengths))) {
        const bits = (format: number) => 2 ** (format & 7);
        used.a.add(bits(d.aFormat));
        used.b.add(bits(d.bFormat));
        used.o.add(bits(d.oFormat));
        used.k = Math.max(used.k, d.k);
        used.blocks = Math.max(
          used.blocks,
          Math.ceil((d.k0 + d.k) / 128) * Math.max(bits(d.aFormat), bits(d.bFormat)),
        );
      }
    }
    const sorted = (set: Set<number>) => [...set].sort((x, y) => x - y);
    expect(requirements).toEqual({
      aBits: sorted(used.a),
      bBits: sorted(used.b),
      oBits: sorted(used.o),
      maxK: used.k,
      maxKp: used.blocks,
    });
  });

  it('submits every descriptor and runs every step once, in order', () => {
    for (const lengths of batches(layout.compiled.plan.maxTokens)) {
      const program = layout.build(lengths);
      expect(indices(program, 'submit')).toEqual(upTo(program.descriptors.byteLength / 64));
      expect(indices(program, 'vector')).toEqual(upTo(program.steps.byteLength / 128));
    }
  });

  it('keeps CPU and engine apart: every read behind the wait and the sync that it needs, no write over what is in use', () => {
    for (const lengths of batches(layout.compiled.plan.maxTokens)) {
      expect(layout.hazards(layout.build(lengths)), `batch [${lengths}]`).toEqual([]);
    }
  });

  it('is as sound where it is cut into blocks and heads, for an engine beside the CPU', () => {
    for (const lengths of batches(layout.compiled.plan.maxTokens)) {
      const program = layout.build(lengths, layout.base, BUSY);
      expect(layout.hazards(program), `batch [${lengths}]`).toEqual([]);
      for (let index = 0; index * 64 < program.descriptors.byteLength; index++) {
        expect(
          validateDescriptor(
            program.descriptors.subarray(index * 64, (index + 1) * 64),
            layout.base + program.arenaBytes,
            layout.compiled.plan.requirements,
            0,
          ),
          `descriptor ${index} of [${lengths}]`,
        ).toBeUndefined();
      }
    }
  });

  it('is the same every time, and moves as a whole with its base', () => {
    const lengths = [3, 5, 8];
    const program = layout.build(lengths);
    expect(layout.build(lengths)).toEqual(program);
    const moved = layout.build(lengths, layout.base + 0x4000);
    expect(moved.arenaBytes).toBe(program.arenaBytes);
    expect(moved.outputs).toEqual({ ...program.outputs, off: program.outputs.off + 0x4000 });
    expect(addresses(moved)).toEqual(
      addresses(program).map((off) => (off >= layout.base ? off + 0x4000 : off)),
    );
  });

  it('gives a sequence of a batch the same products as alone', () => {
    for (const length of [7, 10]) {
      const alone = attention(layout.build([length]), length);
      expect(alone.length).toBeGreaterThan(0);
      expect(attention(layout.build([7, 10]), length)).toEqual(alone);
    }
  });
});

const upTo = (count: number) => Array.from({ length: count }, (_, i) => i);

const descriptorsOf = ({ descriptors }: Program) =>
  upTo(descriptors.byteLength / 64).map((index) =>
    readFields(descriptors.subarray(index * 64, (index + 1) * 64)),
  );

/** Products over the tokens of one sequence, without their addresses and in no order; `length` is no other size of the model. */
function attention(program: Program, length: number): string[] {
  return descriptorsOf(program)
    .filter(({ m, n, k }) => k === length || (m === length && n === length))
    .map(({ aOff, bOff, oOff, eOff, ...product }) => JSON.stringify(product))
    .sort();
}

/** Numbers of the descriptors or step records in the order in which the operations name them. */
function indices({ operations }: Program, kind: 'submit' | 'vector'): number[] {
  return readOperations(operations).flatMap((operation) =>
    operation.kind === kind ? upTo(operation.count).map((i) => operation.first + i) : [],
  );
}

/** Every window offset in the descriptors and the steps that is not absent. */
function addresses(program: Program): number[] {
  const ofSteps = upTo(program.steps.byteLength / 128).flatMap((index) =>
    Object.entries(readStep(program.steps, index).fields).flatMap(([name, value]) =>
      name.endsWith('_off') ? value : [],
    ),
  );
  const ofDescriptors = descriptorsOf(program).flatMap(({ aOff, bOff, oOff, eOff }) => [
    aOff,
    bOff,
    oOff,
    eOff,
  ]);
  return [...ofDescriptors, ...ofSteps].filter((off) => off !== 0);
}
