/**
 * A device of chosen speeds that plays a program's operations through: an engine that takes descriptors one after another, and a CPU
 * that does what the operations say. Written from the contract and the records alone; the scheduler's own clocks are not consulted.
 */
import { readOperations } from '../../../src/compiler/operations.js';
import type { Program } from '../../../src/compiler/program.js';
import { readFields } from '../../oracle/qmm.js';
import { readGroup, type StepGroup } from './accesses.js';

export interface Speeds {
  /** Nanoseconds of one descriptor. */
  readonly tile: (descriptor: ReturnType<typeof readFields>) => number;
  /** Nanoseconds of one step. */
  readonly step: (group: StepGroup) => number;
}

export interface Played {
  readonly makespan: number;
  readonly engine: number;
  readonly cpu: number;
}

export function play({ operations, descriptors, steps }: Program, speeds: Speeds): Played {
  let now = 0;
  let free = 0;
  const work = { engine: 0, cpu: 0 };
  const complete: number[] = [];
  for (const operation of readOperations(operations)) {
    if (operation.kind === 'submit') {
      for (let i = operation.first; i < operation.first + operation.count; i++) {
        const ns = speeds.tile(readFields(descriptors.subarray(i * 64, (i + 1) * 64)));
        free = Math.max(free, now) + ns;
        work.engine += ns;
        complete.push(free);
      }
    } else if (operation.kind === 'wait') now = Math.max(now, complete[operation.count - 1]!);
    else if (operation.kind === 'vector') {
      for (let i = operation.first; i < operation.first + operation.count; ) {
        const group = readGroup(steps, i);
        const ns = speeds.step(group);
        now += ns;
        work.cpu += ns;
        i += group.count;
      }
    }
  }
  return { makespan: Math.max(now, free), ...work };
}

/** Elements that a step computes. */
function elements({ producer: { name, fields: s } }: StepGroup): number {
  if (name === 'DENSE') return s.rows! * s.width! * s.out_width!;
  const lines = name === 'SOFTMAX' ? s.heads! * s.tokens! : s.rows!;
  const rows = (s.end_row || lines) - (s.first_row ?? 0);
  return rows * (name === 'SOFTMAX' ? s.tokens! : s.width!);
}

/** An 8x8x128 engine at 200 MHz that moves 64 bytes a cycle, and four slow cores: `ns` of each element of a step, by its name. */
export function board(ns: Readonly<Record<string, number>>, overhead = { tile: 300, step: 2000 }): Speeds {
  return {
    tile: (d) => {
      const [a, b] = [2 ** (d.aFormat & 7), 2 ** (d.bFormat & 7)];
      const blocks = Math.ceil((d.k0 + d.k) / 128);
      const compute = Math.ceil(d.m / 8) * Math.ceil(d.n / 8) * blocks * a * b;
      const moved = (blocks * 16 * (d.m * a + d.n * b) + (d.m * d.n * 2 ** (d.oFormat & 7)) / 8) / 64;
      return overhead.tile + Math.max(compute, moved) * 5;
    },
    step: (group) => {
      const each = ns[group.producer.name];
      if (each === undefined) throw new Error(`no speed of ${group.producer.name}`);
      return overhead.step + elements(group) * (each + group.consumers.length * ns.QUANTISE!);
    },
  };
}
