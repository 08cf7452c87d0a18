/** The race detector itself: it must see every fault that is put into a sound program. */
import { beforeAll, describe, expect, it } from 'vitest';
import { type Operation, OperationWriter, readOperations } from '../../../src/compiler/operations.js';
import type { Program } from '../../../src/compiler/program.js';
import { STEP, STEP_BYTES } from '../../../src/native/steps.generated.js';
import { readGroup, readStep, type StepGroup } from './accesses.js';
import { binaryBert, bit, compileRandom, Layout, type Writer } from './models.js';

/**
 * Affine epilogues and what is found at run time: the most waits; two branches and every kind of found entry. One layer: a second one
 * would find the first one's bytes.
 */
const MODELS: readonly [string, Writer][] = [
  ['BiT A2', bit({ bits: 2, seed: 2, layers: 1 })],
  ['BinaryBERT A8', binaryBert({ seed: 30, layers: 1 })],
];

/** Operations back to words. */
function words(operations: readonly Operation[]): Uint32Array {
  const writer = new OperationWriter();
  for (const operation of operations) {
    if (operation.kind === 'submit') writer.submit(operation.first, operation.count);
    else if (operation.kind === 'wait') writer.wait(operation.count);
    else if (operation.kind === 'vector') writer.vector(operation.first, operation.count);
    else if (operation.kind === 'sync-for-device') writer.syncForDevice(operation.off, operation.bytes);
    else writer.syncForCpu(operation.off, operation.bytes);
  }
  return writer.finish();
}

describe.each(MODELS)('the race detector on %s', (_, write) => {
  const lengths = [3, 5, 8];
  let layout: Layout;
  let program: Program;
  let operations: readonly Operation[];
  beforeAll(async () => {
    layout = new Layout(await compileRandom(write));
    program = layout.build(lengths);
    operations = readOperations(program.operations);
  });

  /** The steps of a vector operation, with their first records. */
  const stepsOf = (operation: Operation) => {
    const steps: { first: number; group: StepGroup }[] = [];
    if (operation.kind !== 'vector') return steps;
    for (let first = operation.first; first < operation.first + operation.count; ) {
      const group = readGroup(program.steps, first);
      steps.push({ first, group });
      first += group.count;
    }
    return steps;
  };

  /** Hazards with operations `index`... replaced by others. */
  const hazards = (index: number, count: number, ...others: Operation[]) =>
    layout.hazards({ ...program, operations: words(operations.toSpliced(index, count, ...others)) });

  /** Hazards with one field of one step record moved. */
  const moved = (record: number, offset: number, by: number) => {
    const steps = program.steps.slice();
    const view = new DataView(steps.buffer);
    const at = record * STEP_BYTES + offset;
    view.setUint32(at, view.getUint32(at, true) + by, true);
    return layout.hazards({ ...program, steps });
  };

  it('finds nothing in the program as it is', () => {
    expect(words(operations)).toEqual(program.operations);
    expect(layout.hazards(program)).toEqual([]);
  });

  it('finds every operation that is missing', () => {
    operations.forEach((operation, index) => {
      expect(hazards(index, 1), `operation ${index}, ${operation.kind}`).not.toEqual([]);
    });
  });

  it('finds every range of a sync that is a line too short', () => {
    let tried = 0;
    operations.forEach((operation, index) => {
      if (operation.kind !== 'sync-for-device' && operation.kind !== 'sync-for-cpu') return;
      tried++;
      const { off, bytes } = operation;
      for (const shorter of [
        { off, bytes: bytes - 16 },
        { off: off + 16, bytes: bytes - 16 },
      ])
        expect(hazards(index, 1, { ...operation, ...shorter }), `operation ${index}`).not.toEqual([]);
    });
    expect(tried).toBeGreaterThan(10);
  });

  it('finds every step that runs before its wait, and every submission before the step that makes its operand', () => {
    let tried = 0;
    operations.forEach((operation, index) => {
      if (operation.kind === 'wait') {
        // Behind the next step, and the syncs with it.
        const next = operations.findIndex(({ kind }, at) => at > index && kind === 'vector');
        const between = operations.slice(index + 1, next).filter(({ kind }) => kind === 'sync-for-cpu');
        expect(between).toHaveLength(next - index - 1);
        expect(hazards(index, next + 1 - index, operations[next]!, operation, ...between)).not.toEqual([]);
        tried++;
      }
      if (operation.kind === 'submit' && index > 0) {
        const before = operations.findLastIndex(({ kind }, at) => at < index && kind === 'vector');
        const between = operations.slice(before, index);
        expect(hazards(before, between.length + 1, operation, ...between), `operation ${index}`).not.toEqual(
          [],
        );
        tried++;
      }
    });
    expect(tried).toBeGreaterThan(8);
  });

  it('finds steps that are not independent, wherever they become one operation', () => {
    let tried = 0;
    operations.forEach((operation, index) => {
      if (operation.kind !== 'vector') return;
      const before = operations.findLastIndex(({ kind }, at) => at < index && kind === 'vector');
      const earlier = operations[before];
      if (earlier?.kind !== 'vector') return;
      // Everything between them first, so that nothing but the steps themselves can be at fault.
      const joined = { ...operation, first: earlier.first, count: earlier.count + operation.count };
      const found = hazards(before, index - before + 1, ...operations.slice(before + 1, index), joined);
      if (found.some((hazard) => hazard.includes('another step of its operation'))) tried++;
    });
    expect(tried).toBeGreaterThanOrEqual(2);
  });

  it('finds two steps of one operation that write or read what the other writes', () => {
    const several = operations.find(
      (operation) => operation.kind === 'vector' && stepsOf(operation).length > 1,
    );
    const [one, other] = stepsOf(several!);
    const meet = (hazard: string) => hazard.includes('another step of its operation');
    for (const record of [one!, other!]) {
      // The planes of the one lie where the planes of the other are; then where it reads its integers.
      const next = record === one ? other! : one!;
      const planes = (of: StepGroup) => of.consumers[0]!.fields.out_off!;
      const quantise = record.first + record.group.count - record.group.consumers.length;
      const field = STEP.QUANTISE.fields.out_off.offset;
      expect(moved(quantise, field, planes(next.group) - planes(record.group)).some(meet)).toBe(true);
      const integers = next.group.producer.fields.acc_off ?? next.group.terms[0]!.fields.acc_off!;
      expect(moved(quantise, field, integers - planes(record.group)).some(meet)).toBe(true);
    }
  });

  it('finds an output that is a beat off', () => {
    const view = new DataView(program.descriptors.buffer);
    for (let at = 0; at < program.descriptors.byteLength; at += 64) {
      const off = view.getUint32(at + 0x24, true);
      view.setUint32(at + 0x24, off - 16, true);
      expect(layout.hazards(program), `descriptor ${at / 64}`).not.toEqual([]);
      view.setUint32(at + 0x24, off, true);
    }
    expect(layout.hazards(program)).toEqual([]);
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
