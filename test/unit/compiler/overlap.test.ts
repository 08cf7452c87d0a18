/**
 * Engine and CPU at the same time, on simulated devices: a program's makespan against the work of whichever has more to do, where that
 * work is what an uncut program would have, without the overhead of cutting.
 */
import { describe, expect, it } from 'vitest';
import { buildProgram } from '../../../src/compiler/build.js';
import { boardModel, type CostModel, EMULATOR } from '../../../src/compiler/cost.js';
import { predict } from '../../../src/compiler/predict.js';
import { basePlan } from './base-plan.js';
import { board, play, type Speeds } from './simulated-device.js';

const plan = basePlan();
const MODEL = boardModel({ dm: 8, dn: 8, dk: 128 });
const ARENA = 0x200_0000;
const build = (lengths: readonly number[], cost = MODEL) =>
  buildProgram(plan, () => 0x1_0000, lengths, ARENA, cost);

/** Whole machine, nanoseconds of an element. */
const CORES = { EMBED: 3, AFFINE: 1.8, NORM: 3.6, SOFTMAX: 0.75, PICK: 0.3, DENSE: 0.9, QUANTISE: 0.45 };
const times = (factor: number) =>
  Object.fromEntries(Object.entries(CORES).map(([name, ns]) => [name, ns * factor]));

/** What the scheduler believes of such cores. */
const belief = (factor: number): CostModel => ({
  ...MODEL,
  cpu: {
    stepNs: MODEL.cpu.stepNs,
    elementNs: Object.fromEntries(
      Object.entries(MODEL.cpu.elementNs).map(([kind, ns]) => [kind, ns * factor]),
    ) as CostModel['cpu']['elementNs'],
  },
});

/** Makespan over the longer work of the uncut program. */
function ratio(lengths: readonly number[], speeds: Speeds, cost = MODEL): number {
  const { engine, cpu } = play(build(lengths, EMULATOR), speeds);
  return play(build(lengths, cost), speeds).makespan / Math.max(engine, cpu);
}

describe('BERT-base W1A1 on a board of an 8x8x128 engine at 200 MHz and four slow cores', () => {
  it('takes at most 1.15 times the larger of the two works for 128 tokens', () => {
    expect(ratio([128], board(CORES))).toBeLessThanOrEqual(1.15);
  });

  it.each([0.25, 0.7, 1.4, 2])(
    'and where the cores take %f of that time, and the scheduler knows',
    (factor) => {
      expect(ratio([128], board(times(factor)), belief(factor))).toBeLessThanOrEqual(1.15);
    },
  );

  it('at most 1.25 times where both have as much to do: then every wait of either counts', () => {
    expect(ratio([128], board(times(0.5)), belief(0.5))).toBeLessThanOrEqual(1.25);
  });

  it.each([0.25, 0.5, 0.7, 1.4, 2])(
    'at most 1.3 times where they take %f of it, and it does not know',
    (factor) => {
      expect(ratio([128], board(times(factor)))).toBeLessThanOrEqual(1.3);
    },
  );

  it.each([
    ['eight sentences of 16', Array<number>(8).fill(16)],
    ['one of 512', [512]],
    ['one of 300 and short ones', [4, 4, 300, 7]],
  ])('%s', (_, lengths) => {
    expect(ratio(lengths, board(CORES))).toBeLessThanOrEqual(1.15);
  });

  it('beats an uncut program, which leaves one of the two idle', () => {
    const uncut = play(build([128], EMULATOR), board(CORES));
    expect(uncut.makespan).toBeGreaterThan(1.3 * Math.max(uncut.engine, uncut.cpu));
    expect(play(build([128]), board(CORES)).makespan).toBeLessThan(uncut.makespan / 1.3);
  });
});

it('the scheduler predicts what the simulated device does, where it is told the same speeds', () => {
  for (const lengths of [[128], [5, 9, 40]]) {
    const program = build(lengths);
    const nodes = program.schedule.order.map((node) => program.graph.nodes[node]!);
    // The simulated device takes the predicted time of each node, one after another.
    const [tiles, steps] = (['engine', 'cpu'] as const).map((resource) =>
      nodes
        .filter((node) => node.resource === resource)
        .flatMap(({ ns, count }) => (resource === 'engine' ? Array<number>(count).fill(ns / count) : [ns])),
    ) as [number[], number[]];
    const { makespan } = play(program, { tile: () => tiles.shift()!, step: () => steps.shift()! });
    expect(makespan).toBeCloseTo(program.schedule.makespan, 0);
    expect(tiles.length + steps.length).toBe(0);
  }
});

it('an emulator gets large tiles and few operations: nothing overlaps there', () => {
  const program = build([128], EMULATOR);
  const { tiles, steps } = predict(program, false);
  // Q, K, V, twelve scores and contexts, output, up, down in each layer, and the pooler.
  expect(tiles).toBe(12 * (6 + 2 * 12) + 1);
  // Softmax and two norms a layer; the embedding, the last layer's queries apart, the gathered rows, pooler and head.
  expect(steps).toBe(12 * 3 + 1 + 1 + 1 + 3);
});

it('the last layer of a classifier asks from first tokens alone', () => {
  const { layers } = predict(build([128]), true);
  const [before, last] = [layers.at(-3)!, layers.at(-2)!];
  expect(last.layer).toBe(11);
  expect(last.engine_us).toBeLessThan(before.engine_us / 3);
  expect(last.cpu_us).toBeLessThan(before.cpu_us / 20);
});
