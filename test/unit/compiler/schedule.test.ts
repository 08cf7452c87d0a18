/** The list scheduler on random graphs: what every schedule must keep, whatever the graph. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Schedule, schedule, type TaskGraph } from '../../../src/compiler/schedule.js';

/** A graph whose nodes depend on earlier ones only. */
const graphs: fc.Arbitrary<TaskGraph> = fc
  .array(
    fc.record({
      engine: fc.boolean(),
      ns: fc.integer({ min: 0, max: 1000 }),
      before: fc.array(fc.nat(), { maxLength: 4 }),
    }),
    { maxLength: 60 },
  )
  .map((nodes) => ({
    nodes: nodes.map(({ engine, ns, before }, index) => ({
      resource: engine ? ('engine' as const) : ('cpu' as const),
      ns,
      before: index === 0 ? [] : [...new Set(before.map((any) => any % index))].sort((a, b) => a - b),
    })),
  }));

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
const work = ({ nodes }: TaskGraph, resource: 'engine' | 'cpu') =>
  sum(nodes.filter((node) => node.resource === resource).map(({ ns }) => ns));

/** The longest chain of nodes that wait for each other. */
function criticalPath({ nodes }: TaskGraph): number {
  const ends: number[] = [];
  nodes.forEach(({ ns, before }, index) => {
    ends[index] = ns + Math.max(0, ...before.map((earlier) => ends[earlier]!));
  });
  return Math.max(0, ...ends);
}

function keepsDependencies(graph: TaskGraph, { order, begin, end }: Schedule): void {
  const place = new Map(order.map((node, at) => [node, at]));
  expect([...order].sort((a, b) => a - b)).toEqual(graph.nodes.map((_, index) => index));
  graph.nodes.forEach(({ before, ns }, node) => {
    expect(end[node]).toBe(begin[node]! + ns);
    for (const earlier of before) {
      expect(place.get(earlier)!).toBeLessThan(place.get(node)!);
      expect(begin[node]!).toBeGreaterThanOrEqual(end[earlier]!);
    }
  });
}

/** Each resource does one thing after another, in the order of the schedule. */
function doesOneThing(graph: TaskGraph, { order, begin, end }: Schedule): void {
  for (const resource of ['engine', 'cpu'] as const) {
    let free = 0;
    for (const node of order) {
      if (graph.nodes[node]!.resource !== resource) continue;
      expect(begin[node]!).toBeGreaterThanOrEqual(free);
      free = end[node]!;
    }
  }
}

describe('a schedule of any graph', () => {
  it('keeps every dependency, and lets each resource do one thing at a time', () => {
    fc.assert(
      fc.property(graphs, fc.boolean(), (graph, overlap) => {
        const result = schedule(graph, { overlap });
        keepsDependencies(graph, result);
        doesOneThing(graph, result);
      }),
    );
  });

  it('is never slower than one node after another, nor faster than work and chains allow', () => {
    fc.assert(
      fc.property(graphs, (graph) => {
        const [engine, cpu] = [work(graph, 'engine'), work(graph, 'cpu')];
        const { makespan, engineNs, cpuNs } = schedule(graph, { overlap: true });
        expect([engineNs, cpuNs]).toEqual([engine, cpu]);
        expect(makespan).toBeLessThanOrEqual(engine + cpu);
        expect(makespan).toBeGreaterThanOrEqual(Math.max(engine, cpu, criticalPath(graph)));
      }),
    );
  });

  it('takes exactly the sum where nothing overlaps', () => {
    fc.assert(
      fc.property(graphs, (graph) => {
        expect(schedule(graph, { overlap: false }).makespan).toBe(work(graph, 'engine') + work(graph, 'cpu'));
      }),
    );
  });

  it('is the same every time, and leaves its input alone', () => {
    fc.assert(
      fc.property(graphs, fc.boolean(), (graph, overlap) => {
        const before = structuredClone(graph);
        expect(schedule(graph, { overlap })).toEqual(schedule(before, { overlap }));
        expect(graph).toEqual(before);
      }),
    );
  });
});

describe('its choices', () => {
  const node = (resource: 'engine' | 'cpu', ns: number, ...before: number[]) => ({ resource, ns, before });

  it('prefer what more work waits for, and say so', () => {
    // Step 1 feeds a long tile, step 0 nothing.
    const graph = { nodes: [node('cpu', 10), node('cpu', 10), node('engine', 50, 1), node('cpu', 1, 2)] };
    const { order, reasons, makespan } = schedule(graph, { overlap: true });
    expect(order).toEqual([1, 2, 0, 3]);
    expect(order.map((index) => reasons[index])).toEqual(['urgent', 'submitted', 'only', 'first']);
    expect(makespan).toBe(61);
  });

  it('take what is ready rather than wait for what is more urgent', () => {
    const graph = { nodes: [node('engine', 5), node('cpu', 100, 0), node('cpu', 3)] };
    const { begin } = schedule(graph, { overlap: true });
    expect([...begin]).toEqual([0, 5, 0]);
  });

  it('submit a tile before the step that runs beside it', () => {
    const graph = { nodes: [node('cpu', 10), node('engine', 10, 0), node('cpu', 10)] };
    expect(schedule(graph, { overlap: true })).toMatchObject({ order: [0, 1, 2], makespan: 20 });
  });

  it('are those of fewest operations where nothing overlaps: all tiles, then all steps', () => {
    const graph = {
      nodes: [
        node('engine', 1),
        node('cpu', 1, 0),
        node('engine', 1, 1),
        node('engine', 1),
        node('cpu', 1, 3),
        node('engine', 1, 4),
      ],
    };
    expect(schedule(graph, { overlap: false }).order).toEqual([0, 3, 1, 4, 2, 5]);
  });
});
