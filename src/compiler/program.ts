/**
 * A program: the whole forward pass of one batch geometry as QMM descriptors, vector steps, and the order in which the
 * session submits, waits and computes. Built from a plan without a device; offsets are window offsets.
 */

import type { Graph } from './graph.js';
import type { Schedule } from './schedule.js';

/** A range of the window, bytes. */
export interface WindowRange {
  readonly off: number;
  readonly bytes: number;
}

export interface Program {
  readonly descriptors: Uint8Array;
  readonly steps: Uint8Array;
  /** What to do in which order (operations.ts). */
  readonly operations: Uint32Array;
  /** Its tiles and steps as they were written, and why they stand where they do: for tools. */
  readonly graph: Graph;
  readonly schedule: Schedule;
  /** Bytes of the arena, from the base it was built for. */
  readonly arenaBytes: number;
  readonly inputs: ProgramInputs;
  /** What the head leaves, f32[rows][width] at a window offset: one row for each token, or one for each sequence. */
  readonly outputs: {
    readonly off: number;
    readonly rows: number;
    readonly width: number;
    readonly perToken: boolean;
  };
}

/** What the session writes before a run: window offsets of u32 arrays. */
export interface ProgramInputs {
  /** Tokens of all sequences; each of the next three arrays has as many entries. */
  readonly rows: number;
  readonly ids: number;
  readonly positions: number;
  readonly types: number;
  /** Where `indexValues` go: row starts of sequences and chosen rows, the same for every run. */
  readonly indices: number;
  readonly indexValues: Uint32Array;
}
