/**
 * Contestants timed in turns. What else the machine does, and what its clock does, changes from second to second; short
 * slices in turn give each its share of it, and medians leave out the slices that were interrupted.
 */
import { coreHz } from '../../native/clock.js';
import { median } from './statistics.js';

export interface Contestant {
  /** Multiplications of one turn. */
  readonly multiplications: number;
  /** Computes and returns when everything is done. */
  run(turns: number): void;
}

export interface ContestTimes {
  /** Measuring time, all contestants together. */
  readonly seconds: number;
}

export interface Outcome {
  /** Multiplications in a second of each contestant: the median of its slices. */
  readonly rates: readonly number[];
  /** Cycles in a second of the host's core, the median over the rounds. */
  readonly hz: number;
  readonly rounds: number;
}

const ROUNDS_MIN = 5;
/** Rounds that the time should do for. */
const ROUNDS = 15;
/**
 * A hundred times what a call and a fence cost, and short beside a scheduler's turn: a neighbour on the machine spoils some
 * slices and not all.
 */
const SLICE_MS_MAX = 2;
const CLOCK_US = 100;

function timed(contestant: Contestant, turns: number): number {
  const begin = performance.now();
  contestant.run(turns);
  return performance.now() - begin;
}

/** Turns that fill a slice; also warms up caches, and what a contestant keeps of constant operands. */
function calibrate(contestant: Contestant, sliceMs: number): number {
  contestant.run(1);
  let turns = 1;
  for (;;) {
    const ms = timed(contestant, turns);
    if (ms >= sliceMs / 2) return Math.max(Math.round((turns * sliceMs) / ms), 1);
    turns *= 2;
  }
}

/** Runs a contest. Throws what a contestant throws. */
export function contest(contestants: readonly Contestant[], { seconds }: ContestTimes): Outcome {
  const sliceMs = Math.min((seconds * 1000) / (ROUNDS * contestants.length), SLICE_MS_MAX);
  const turns = contestants.map((contestant) => calibrate(contestant, sliceMs));
  const rates: number[][] = contestants.map(() => []);
  const clock: number[] = [];
  const end = performance.now() + seconds * 1000;
  while (clock.length < ROUNDS_MIN || performance.now() < end) {
    contestants.forEach((contestant, index) => {
      // Not timed: nobody pays for the caches that the one before left, nor for an engine that fell asleep.
      contestant.run(1);
      const ms = timed(contestant, turns[index]!);
      rates[index]!.push((contestant.multiplications * turns[index]! * 1000) / ms);
    });
    clock.push(coreHz(CLOCK_US));
  }
  return { rates: rates.map(median), hz: median(clock), rounds: clock.length };
}
