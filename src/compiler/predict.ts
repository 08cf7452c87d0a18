/** What a program should take on a device, layer by layer, and what holds it up: read off its graph and schedule. */
import type { Program } from './program.js';
import { REASONS } from './schedule.js';

/** Tiles, steps and times of a part of a program. Times in microseconds. */
export interface PartPrediction {
  /** Products, and vector steps. */
  readonly tiles: number;
  readonly steps: number;
  /** What the engine reads and writes. */
  readonly bytes: number;
  readonly engine_us: number;
  readonly cpu_us: number;
}

export interface Prediction extends PartPrediction {
  /** From the first step to the last result. */
  readonly total_us: number;
  /** Whose work takes longest; 'order' where both wait for each other more than either works. */
  readonly bottleneck: 'engine' | 'cpu' | 'order';
  /** total_us over the longer of engine_us and cpu_us: 1 is perfect overlap. */
  readonly over_bottleneck: number;
  /** -1 is what comes before the first layer, the number of layers what comes after the last. */
  readonly layers: readonly (PartPrediction & { readonly layer: number })[];
}

const micros = (ns: number) => Math.round(ns) / 1000;

/** Where waiting for each other costs more than this, neither resource is to blame. */
const ORDER_BOUND = 1.5;

export function predict({ graph, schedule }: Program, overlap: boolean): Prediction {
  const parts = new Map<
    number,
    { tiles: number; steps: number; bytes: number; engine: number; cpu: number }
  >();
  for (const { resource, layer, count, bytes, ns } of graph.nodes) {
    const part = parts.get(layer) ?? { tiles: 0, steps: 0, bytes: 0, engine: 0, cpu: 0 };
    parts.set(layer, part);
    part[resource] += ns;
    part.bytes += bytes;
    if (resource === 'engine') part.tiles += count;
    else part.steps++;
  }
  const layers = [...parts]
    .sort(([a], [b]) => a - b)
    .map(([layer, { engine, cpu, ...counts }]) => ({
      layer,
      ...counts,
      engine_us: micros(engine),
      cpu_us: micros(cpu),
    }));
  const sum = (field: 'tiles' | 'steps' | 'bytes') => layers.reduce((total, part) => total + part[field], 0);
  const { makespan, engineNs, cpuNs } = schedule;
  const longest = Math.max(engineNs, cpuNs);
  return {
    tiles: sum('tiles'),
    steps: sum('steps'),
    bytes: sum('bytes'),
    engine_us: micros(engineNs),
    cpu_us: micros(cpuNs),
    total_us: micros(makespan),
    bottleneck: overlap && makespan > ORDER_BOUND * longest ? 'order' : engineNs >= cpuNs ? 'engine' : 'cpu',
    over_bottleneck: Math.round((makespan / longest) * 1000) / 1000,
    layers,
  };
}

/** One line of a schedule, for people. */
export interface Choice {
  readonly begin_us: number;
  readonly end_us: number;
  readonly on: 'engine' | 'cpu';
  readonly layer: number;
  readonly what: string;
  readonly why: string;
}

/** Every tile and step in its place, and why it stands there. */
export function choices({ graph, schedule }: Program): Choice[] {
  return schedule.order.map((node) => {
    const { resource, layer, what } = graph.nodes[node]!;
    return {
      begin_us: micros(schedule.begin[node]!),
      end_us: micros(schedule.end[node]!),
      on: resource,
      layer,
      what,
      why: REASONS[schedule.reasons[node]!],
    };
  });
}
