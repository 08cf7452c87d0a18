/**
 * However a program is cut and ordered, its results are the same bytes: an engine beside the CPU gets blocks of rows and single heads,
 * the emulator whole tiles. And what a trace tells of a run.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { boardModel, type CostModel } from '../../../src/compiler/cost.js';
import { readOperations } from '../../../src/compiler/operations.js';
import { Device } from '../../../src/device/device.js';
import { Artifact } from '../../../src/model/artifact/read.js';
import { Session } from '../../../src/runtime/session.js';
import { measuredTrace, predictedTrace, type Trace } from '../../../src/runtime/trace.js';
import { bytesOf } from '../../golden/support.js';
import { biBert, binaryBert, bit, ternaryBert, type Writer } from '../compiler/models.js';
import { artifactOf, removeFolder, sequencesOf, temporaryFolder } from './support.js';

let folder: string;
beforeAll(() => {
  folder = temporaryFolder();
});
afterAll(() => removeFolder(folder));

/** A board on which nothing costs anything before it begins: everything is cut as finely as it can be. */
const board = boardModel({ dm: 8, dn: 8, dk: 128 });
const FINE: CostModel = {
  ...board,
  engine: { ...board.engine, tileNs: 1e-3, bytesPerCycle: 1e6 },
  cpu: { ...board.cpu, stepNs: 1e-3 },
};

it.each<[string, Writer]>([
  ['bit-a1', bit()],
  ['bit-a4', bit({ bits: 4 })],
  ['bit-real', bit({ notQuantizeAttention: true })],
  ['bit-unsigned', bit({ bits: 2, symQuantQkvo: false })],
  ['bibert', biBert()],
  ['binarybert', binaryBert()],
  ['ternarybert', ternaryBert()],
])('%s: cut as finely as possible, every answer is the same', async (name, write) => {
  const artifact = Artifact.open(await artifactOf(folder, name, write));
  const device = Device.open('emu:?window=4M');
  try {
    const [whole, cut] = [new Session(device, artifact), new Session(device, artifact, FINE)];
    for (const lengths of [[40], [1], [3, 5, 8], [40, 17, 40, 2], Array<number>(12).fill(9)]) {
      const sequences = sequencesOf(lengths);
      for (const session of [whole, cut]) session.prepare(sequences);
      expect(cut.run(sequences).logits.map(bytesOf), `[${lengths}]`).toEqual(
        whole.run(sequences).logits.map(bytesOf),
      );
      // A single sequence may have to stay whole: ranges are taken of all its rows.
      if (lengths.length < 4) continue;
      const { program } = cut.trace(sequences);
      expect(program.operations.length).toBeGreaterThan(whole.trace(sequences).program.operations.length);
    }
  } finally {
    device.close();
  }
});

describe('a trace', () => {
  const slices = ({ traceEvents }: Trace, tid: number) =>
    traceEvents.filter((event) => event.ph === 'X' && event.tid === tid) as {
      ts: number;
      dur: number;
      name: string;
      args?: { steps?: number };
    }[];

  const isOneTrack = (events: { ts: number; dur: number }[]) => {
    let end = 0;
    for (const { ts, dur } of events) {
      expect(ts).toBeGreaterThanOrEqual(end - 1e-6);
      expect(dur).toBeGreaterThanOrEqual(0);
      end = ts + dur;
    }
  };

  it.each(['emu:?window=4M', 'emu:?window=4M&threads=2'])(
    'of a run on %s has every tile, fence and step, each track in order',
    async (uri) => {
      const artifact = Artifact.open(await artifactOf(folder, 'traced', bit()));
      const device = Device.open(uri);
      try {
        const session = new Session(device, artifact);
        const { program, timeline } = session.trace(sequencesOf([4, 6, 8]));
        const trace = measuredTrace('test', program, artifact.plan.layers.length, timeline);
        const [engine, cpu] = [slices(trace, 1), slices(trace, 2)];
        expect(engine).toHaveLength(program.descriptors.byteLength / 64);
        expect(cpu).toHaveLength(readOperations(program.operations).length);
        isOneTrack(engine);
        isOneTrack(cpu);
        expect(new Set(engine.map(({ name }) => name))).toContain('layer 1 scores');
        const names = new Set(cpu.map(({ name }) => name));
        for (const name of [
          'embed',
          'submit',
          'fence',
          'sync-for-cpu',
          'layer 0 softmax',
          'layer 1 norm',
          'head',
        ])
          expect(names).toContain(name);
        // The softmaxes of the three sequences run side by side; all steps are there.
        expect(cpu.find(({ name }) => name === 'layer 0 softmax')?.args).toEqual({ steps: 3 });
        const steps = program.graph.nodes.filter(({ resource }) => resource === 'cpu').length;
        const isStep = ({ name }: { name: string }) => !/^(submit|fence|sync-.*)$/.test(name);
        expect(cpu.filter(isStep).reduce((sum, { args }) => sum + (args?.steps ?? 1), 0)).toBe(steps);
        expect(JSON.parse(JSON.stringify(trace))).toEqual(trace);
      } finally {
        device.close();
      }
    },
  );

  it('of a prediction shows what the scheduler thought, and why', async () => {
    const artifact = Artifact.open(await artifactOf(folder, 'predicted', bit()));
    const device = Device.open('emu:?window=4M');
    try {
      const { program } = new Session(device, artifact, FINE).trace(sequencesOf([40]));
      const trace = predictedTrace('test', program, artifact.plan.layers.length);
      const [engine, cpu] = [slices(trace, 1), slices(trace, 2)];
      expect(engine.length + cpu.length).toBe(program.graph.nodes.length);
      isOneTrack(engine);
      isOneTrack(cpu);
      for (const event of trace.traceEvents) if (event.ph === 'X') expect(event.args!.why).toMatch(/\w/);
    } finally {
      device.close();
    }
  });
});
