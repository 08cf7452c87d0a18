/** A session on the emulator: what it refuses, what it survives, and what it gives back. */
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { readOperations } from '../../../src/compiler/operations.js';
import type { Program } from '../../../src/compiler/program.js';
import { DESCRIPTOR } from '../../../src/device/contract.generated.js';
import { Device } from '../../../src/device/device.js';
import { CompatibilityError, FaultError } from '../../../src/device/errors.js';
import { Artifact } from '../../../src/model/artifact/read.js';
import { InputError } from '../../../src/runtime/errors.js';
import { type Sequence, Session } from '../../../src/runtime/session.js';
import { bytesOf } from '../../golden/support.js';
import { biBert, binaryBert, ternaryBert } from '../compiler/models.js';
import { artifactOf, randomArtifact, removeFolder, sequencesOf, temporaryFolder, thrown } from './support.js';

let folder: string;
let small: Artifact;
let other: Artifact;
/** One of every other family: boolean attention, two branches with found and with fixed steps, ternary weights. */
const families: Artifact[] = [];

beforeAll(async () => {
  folder = temporaryFolder();
  small = Artifact.open(await randomArtifact(folder, 'small'));
  other = Artifact.open(
    await randomArtifact(folder, 'other', { bits: 4, seed: 2, hidden: 40, intermediate: 64, labels: 3 }),
  );
  const writers = {
    bibert: biBert(),
    'binarybert-a8': binaryBert({ attention: 16 }),
    'binarybert-a4': binaryBert({ bits: 4, method: 'lsq' }),
    ternarybert: ternaryBert(),
  };
  for (const [name, write] of Object.entries(writers))
    families.push(Artifact.open(await artifactOf(folder, name, write)));
});
afterAll(() => removeFolder(folder));

const devices: Device[] = [];
function open(uri = 'emu:?window=4M'): Device {
  const device = Device.open(uri);
  devices.push(device);
  return device;
}
afterEach(() => {
  vi.restoreAllMocks();
  for (const device of devices.splice(0)) device.close();
});

/** Answers of one program where they fit one: a mixture of lengths that is not announced runs in parts. */
const answers = (session: Session, sequences: readonly Sequence[]) => {
  session.prepare(sequences);
  return session.run(sequences).logits.map(bytesOf);
};
/** The same sequences, each in a run of its own. */
const alone = (session: Session, sequences: readonly Sequence[]) =>
  sequences.flatMap((sequence) => answers(session, [sequence]));

describe('an input that the model cannot take', () => {
  it.each<[string, Sequence, RegExp]>([
    ['no tokens', { ids: [] }, /input 1 has 0 tokens, small takes 1 to 40/],
    ['too many tokens', { ids: Array(41).fill(1) }, /input 1 has 41 tokens, small takes 1 to 40/],
    ['an id beyond the vocabulary', { ids: [1, 100] }, /input 1: token id 100 at 1 is not one of 0 to 99/],
    ['a negative id', { ids: [-1] }, /token id -1 at 0/],
    ['a fraction', { ids: [1, 2, 1.5] }, /token id 1.5 at 2/],
    ['no number', { ids: [Number.NaN] }, /token id NaN at 0/],
    ['fewer types than tokens', { ids: [1, 2], types: [0] }, /input 1 has 1 token types for 2 tokens/],
    ['a type beyond the table', { ids: [1, 2], types: [0, 2] }, /token type 2 at 1 is not one of 0 to 1/],
  ])('%s: is named, and nothing runs', (_, bad, message) => {
    const device = open();
    const session = new Session(device, small);
    const run = vi.spyOn(device, 'run');
    const [good] = sequencesOf([5]);
    const error = thrown(() => session.run([good!, bad]));
    expect(error).toBeInstanceOf(InputError);
    expect(error.code).toBe('bad-input');
    expect(error.message).toMatch(message);
    expect(run).not.toHaveBeenCalled();
    expect(answers(session, [good!])).toHaveLength(1);
  });
});

describe('geometries', () => {
  it('in any sequence, with growing and shrinking arenas, never change an answer', () => {
    const sequences = sequencesOf([1, 40, 3, 17, 8, 9, 31, 2, 40, 25]);
    for (const artifact of [small, ...families]) {
      const session = new Session(open(), artifact);
      const expected = alone(new Session(open(), artifact), sequences);
      expect(new Set(expected).size).toBe(sequences.length);
      for (const order of [
        [0],
        [1],
        [0, 1, 2],
        [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
        [3],
        [4, 5],
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        [0],
      ]) {
        expect(
          answers(
            session,
            order.map((index) => sequences[index]!),
          ),
          `${artifact.name}, order [${order}]`,
        ).toEqual(order.map((index) => expected[index]));
      }
    }
  });

  it('beyond one program are split, and answers come in the order of the inputs', () => {
    const session = new Session(open('emu:?window=16M'), small);
    const lengths = Array.from({ length: 90 }, (_, i) => 1 + ((i * 7) % 40));
    const sequences = sequencesOf(lengths);
    expect(lengths.reduce((sum, length) => sum + length, 0)).toBeGreaterThan(1024);
    expect(answers(session, sequences)).toEqual(alone(session, sequences));
  });

  it('of no sequence at all are no work', () => {
    expect(new Session(open(), small).run([]).logits).toEqual([]);
  });

  it('tell token types apart', () => {
    const session = new Session(open(), small);
    const ids = sequencesOf([6])[0]!.ids;
    const [plain, zeros, ones] = answers(session, [
      { ids },
      { ids, types: [0, 0, 0, 0, 0, 0] },
      { ids, types: [1, 1, 1, 1, 1, 1] },
    ]);
    expect(zeros).toBe(plain);
    expect(ones).not.toBe(plain);
  });

  it('account for all of their time', () => {
    const { total, engine, vector, host } = new Session(open(), small).run(sequencesOf([9, 9])).times;
    expect(Math.min(engine, vector, host)).toBeGreaterThanOrEqual(0);
    expect(engine + vector + host).toBeCloseTo(total, 6);
  });
});

describe('a mixture of lengths', () => {
  const lengths = [9, 4, 9, 17, 4, 9];

  it('runs in parts of one length, which serve other mixtures too, and has a program of its own when it comes again', () => {
    const device = open();
    const session = new Session(device, small);
    const load = vi.spyOn(device, 'load');
    const sequences = sequencesOf(lengths);
    const first = session.run(sequences).logits.map(bytesOf);
    expect(first).toEqual(alone(new Session(open(), small), sequences));
    expect(load).toHaveBeenCalledTimes(3);
    session.run(sequencesOf([17, 9, 9, 9]));
    expect(load).toHaveBeenCalledTimes(3);
    for (let i = 0; i < 3; i++)
      expect(session.run(sequences.toReversed()).logits.map(bytesOf)).toEqual(first.toReversed());
    expect(load).toHaveBeenCalledTimes(4);
  });

  it('gets none where more of them take turns than would be kept', () => {
    const device = open();
    const session = new Session(device, small);
    const load = vi.spyOn(device, 'load');
    const count = 250;
    /** Rows of the programs that were built for whole mixtures: `short` sequences of 3 tokens, the others of 4. */
    const mixturesBuilt = (shorts: readonly number[]) => {
      load.mockClear();
      for (const short of shorts)
        session.run(sequencesOf(Array.from({ length: count }, (_, i) => (i < short ? 3 : 4))));
      const rows = new Set(load.mock.calls.map(([program]) => (program as Program).inputs.rows));
      return shorts.filter((short) => rows.has(4 * count - short));
    };
    // Odd, so that no part of one length has as many rows.
    const many = Array.from({ length: 20 }, (_, i) => 2 * i + 1);
    expect(mixturesBuilt(many)).toEqual([]);
    expect(mixturesBuilt(many)).toEqual([]);
    const few = many.slice(0, 3);
    mixturesBuilt(few);
    expect(mixturesBuilt(few)).toEqual(few);
  });

  it('that is announced has its program at once', () => {
    const device = open();
    const session = new Session(device, small);
    const load = vi.spyOn(device, 'load');
    session.prepare(sequencesOf(lengths));
    session.run(sequencesOf(lengths));
    expect(load).toHaveBeenCalledTimes(1);
  });
});

describe('the window', () => {
  it('holds several models, which do not disturb each other', () => {
    const device = open();
    const sequences = sequencesOf([5, 12, 40]);
    const expected = [small, other].map((artifact) => alone(new Session(open(), artifact), sequences));
    const sessions = [small, other].map((artifact) => new Session(device, artifact));
    for (let round = 0; round < 3; round++) {
      sessions.forEach((session, index) => {
        expect(answers(session, sequences.slice(round))).toEqual(expected[index]!.slice(round));
      });
    }
  });

  it('gets everything back from an unloaded session, which then refuses to run', () => {
    const device = open();
    const before = device.allocator.freeBytes;
    for (let i = 0; i < 3; i++) {
      const session = new Session(device, small);
      session.run(sequencesOf([3]));
      session.run(sequencesOf([30, 40]));
      expect(device.allocator.freeBytes).toBeLessThan(before);
      session.unload();
      session.unload();
      expect(device.allocator.freeBytes).toBe(before);
      expect(device.allocator.largestFree).toBe(before);
      expect(() => session.run(sequencesOf([3]))).toThrow(/small is not loaded/);
    }
  });

  it('that is too small for the model is full, with both numbers, and stays empty', () => {
    const device = open('emu:?window=128K');
    const before = device.allocator.freeBytes;
    const keep = device.allocator.allocate(before - small.dataBytes + 64, 'something else');
    const error = thrown(() => new Session(device, small));
    expect(error.code).toBe('window-full');
    expect(error.message).toContain(`model small needs ${small.dataBytes} bytes`);
    expect(error.message).toContain(`${small.dataBytes - 64} of its ${before} are free`);
    device.allocator.free(keep);
    expect(device.allocator.freeBytes).toBe(before);
  });

  it('that is too small for a batch takes it in parts', () => {
    const device = open('emu:?window=256K');
    const session = new Session(device, small);
    const sequences = sequencesOf(Array.from({ length: 60 }, (_, i) => 1 + ((i * 7) % 40)));
    const allocate = vi.spyOn(device.allocator, 'allocate');
    const expected = alone(new Session(open(), small), sequences);
    for (let i = 0; i < 2; i++) expect(answers(session, sequences)).toEqual(expected);
    // What did not fit once is not tried again.
    const refused = allocate.mock.results.filter(({ type }) => type === 'throw').length;
    expect(refused).toBeGreaterThan(0);
    answers(session, sequences);
    expect(allocate.mock.results.filter(({ type }) => type === 'throw')).toHaveLength(refused);
  });

  it('that is too small for one sequence is full, and the session goes on with shorter ones', () => {
    const device = open('emu:?window=192K');
    const session = new Session(device, small);
    const long = sequencesOf([40, 3]);
    const short = sequencesOf([3, 2]);
    const expected = answers(session, short);
    const keep = device.allocator.allocate(device.allocator.largestFree - 4096, 'something else');
    for (let i = 0; i < 2; i++) {
      const error = thrown(() => session.run(long));
      expect(error.code).toBe('window-full');
      expect(error.message).toMatch(
        /activations of model small needs \d+ bytes of the DMA window; \d+ of its \d+ are free/,
      );
      expect(answers(session, short)).toEqual(expected);
    }
    device.allocator.free(keep);
    expect(answers(session, long)[1]).toBe(answers(session, [long[1]!])[0]);
  });

  it('gets the space of a model back whose file is damaged', () => {
    const device = open();
    const before = device.allocator.freeBytes;
    const damaged = Object.create(small, { load: { value: () => expect.fail('damaged') } }) as Artifact;
    expect(() => new Session(device, damaged)).toThrow('damaged');
    expect(device.allocator.freeBytes).toBe(before);
  });
});

describe('a device', () => {
  it.each<[string, string, string, string, () => Artifact]>([
    ['max_k=40', 'MAX_K', '40', '48', () => small],
    ['max_k=63', 'MAX_K', '63', '64', () => other],
    ['max_kp=3', 'MAX_KP', '3', '4', () => other],
  ])('with %s is refused: both sides and the model are named', (option, field, has, needs, artifact) => {
    const device = open(`emu:?${option}`);
    const before = device.allocator.freeBytes;
    const error = thrown(() => new Session(device, artifact()));
    expect(error).toBeInstanceOf(CompatibilityError);
    expect(error.message).toMatch(
      new RegExp(`^${field}: the device has ${has}, the host needs ${needs} for model ${artifact().name}`),
    );
    expect(device.allocator.freeBytes).toBe(before);
  });

  it('with just enough is taken', () => {
    const sequences = sequencesOf([40, 40, 40, 40, 40]);
    for (const artifact of [small, other, ...families]) {
      const { maxK, maxKp } = artifact.plan.requirements;
      const session = new Session(open(`emu:?max_k=${maxK}&max_kp=${maxKp}&ring_log2=2`), artifact);
      expect(answers(session, sequences)).toEqual(alone(new Session(open(), artifact), sequences));
    }
  });

  it.each([0, 3, -1])(
    'that faults at submission %d works again after a reset, and so does the session',
    (nth) => {
      const device = open();
      const session = new Session(device, small);
      const sequences = sequencesOf([4, 9, 21]);
      const expected = answers(session, sequences);
      // A session of its own, whose program is broken at the first descriptor of its nth submission.
      const load = device.load.bind(device);
      vi.spyOn(device, 'load').mockImplementation((program) => {
        const descriptors = program.descriptors.slice();
        const submissions = readOperations(program.operations).filter(({ kind }) => kind === 'submit');
        const { first } = submissions.at(nth) as { first: number };
        new DataView(descriptors.buffer).setUint32(first * 64 + DESCRIPTOR.o_off.offset, 0xffff_fff0, true);
        return load({ ...program, descriptors });
      });
      const broken = new Session(device, small);
      const error = thrown(() => broken.run(sequences));
      expect(error).toBeInstanceOf(FaultError);
      expect(error.message).toMatch(/BOUNDS in field o_off/);
      vi.mocked(device.load).mockRestore();
      // Sticky until the reset, which is the caller's decision.
      expect(thrown(() => session.run(sequences))).toBe(error);
      device.reset();
      expect(answers(session, sequences)).toEqual(expected);
    },
  );
});
