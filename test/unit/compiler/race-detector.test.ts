/** The race detector itself: it must see every fault that is put into a sound program. */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Operation, Program } from '../../../src/compiler/program.js';
import { STEP, STEP_BYTES } from '../../../src/native/steps.generated.js';
import { readStep } from './accesses.js';
import { binaryBert, bit, compileRandom, Layout, type Writer } from './models.js';

/**
 * Affine epilogues and what is found at run time: the most waits; two branches and every kind of found entry. One layer: a second one
 * would find the first one's bytes.
 */
const MODELS: readonly [string, Writer][] = [
  ['BiT A2', bit({ bits: 2, seed: 2, layers: 1 })],
  ['BinaryBERT A8', binaryBert({ seed: 30, layers: 1 })],
];

describe.each(MODELS)('the race detector on %s', (_, write) => {
  const lengths = [3, 5, 8];
  let layout: Layout;
  let program: Program;
  beforeAll(async () => {
    layout = new Layout(await compileRandom(write));
    program = layout.build(lengths);
  });

  /** Hazards with operations `index`... replaced by others. */
  const hazards = (index: number, count: number, ...others: Operation[]) =>
    layout.hazards(
      { ...program, operations: program.operations.toSpliced(index, count, ...others) },
      lengths,
    );

  /** Hazards with one field of one step record moved. */
  const moved = (record: number, offset: number, by: number) => {
    const steps = program.steps.slice();
    const view = new DataView(steps.buffer);
    const at = record * STEP_BYTES + offset;
    view.setUint32(at, view.getUint32(at, true) + by, true);
    return layout.hazards({ ...program, steps }, lengths);
  };

  it('finds nothing in the program as it is', () => {
    expect(layout.hazards(program, lengths)).toEqual([]);
  });

  it('finds every submission that is missing, and every wait and sync that is', () => {
    let waited = 0;
    program.operations.forEach((operation, index) => {
      const name = `operation ${index}, ${operation.kind}`;
      if (operation.kind === 'submit') expect(hazards(index, 1), name).not.toEqual([]);
      if (operation.kind === 'wait') {
        expect(hazards(index, 1, { ...operation, reads: [] }), name).not.toEqual([]);
        // Several epilogues of one submission: the first one has waited for all.
        if (operation.count > waited)
          expect(hazards(index, 1, { ...operation, count: 0 }), name).not.toEqual([]);
        waited = operation.count;
      }
      if (operation.kind === 'vector' && operation.writes.length > 0) {
        expect(hazards(index, 1, { ...operation, writes: [] }), name).not.toEqual([]);
      }
    });
  });

  it('finds every range that is left out of a sync', () => {
    let tried = 0;
    program.operations.forEach((operation, index) => {
      if (operation.kind === 'submit') return;
      const key = operation.kind === 'wait' ? 'reads' : 'writes';
      const ranges = operation.kind === 'wait' ? operation.reads : operation.writes;
      ranges.forEach((_range, left) => {
        const fewer = { ...operation, [key]: ranges.toSpliced(left, 1) } as Operation;
        expect(hazards(index, 1, fewer), `operation ${index}, range ${left}`).not.toEqual([]);
        tried++;
      });
    });
    expect(tried).toBeGreaterThan(15);
  });

  it('finds every step that runs before its wait, and every submission before the step that makes its operand', () => {
    let tried = 0;
    program.operations.slice(1).forEach((operation, index) => {
      const before = program.operations[index]!;
      const depends =
        (before.kind === 'wait' && operation.kind === 'vector') ||
        (before.kind === 'vector' && operation.kind === 'submit');
      if (!depends) return;
      tried++;
      expect(hazards(index, 2, operation, before), `operations ${index} and ${index + 1}`).not.toEqual([]);
    });
    expect(tried).toBeGreaterThan(10);
  });

  it('finds an output that is a beat off', () => {
    const view = new DataView(program.descriptors.buffer);
    for (let at = 0; at < program.descriptors.byteLength; at += 64) {
      const off = view.getUint32(at + 0x24, true);
      view.setUint32(at + 0x24, off - 16, true);
      expect(layout.hazards(program, lengths), `descriptor ${at / 64}`).not.toEqual([]);
      view.setUint32(at + 0x24, off, true);
    }
    expect(layout.hazards(program, lengths)).toEqual([]);
  });

  it('finds steps and offsets that are written or read one entry off', () => {
    let tried = 0;
    for (let record = 0; record * STEP_BYTES < program.steps.byteLength; record++) {
      const { name, fields } = readStep(program.steps, record);
      for (const [field, { offset }] of Object.entries(STEP[name].fields)) {
        if (!/^found/.test(field) || fields[field] === 0) continue;
        expect(moved(record, offset, 16), `record ${record} (${name}), ${field}`).not.toEqual([]);
        expect(moved(record, offset, -16), `record ${record} (${name}), ${field}`).not.toEqual([]);
        tried++;
      }
    }
    expect(tried).toBeGreaterThanOrEqual(6);
  });

  it('finds a sum that is read a row off', () => {
    let tried = 0;
    for (let record = 0; record * STEP_BYTES < program.steps.byteLength; record++) {
      const { name, fields } = readStep(program.steps, record);
      if (name !== 'TERM' || fields.sums_off === 0) continue;
      const stride = fields.sums_stride === 0 ? 128 * 8 : fields.sums_stride!;
      expect(moved(record, STEP.TERM.fields.sums_off.offset, stride), `record ${record}`).not.toEqual([]);
      tried++;
    }
    // Of the second FFN layer: fixed with the weights; of the context: counted by the engine.
    expect(tried).toBeGreaterThanOrEqual(2);
  });
});
