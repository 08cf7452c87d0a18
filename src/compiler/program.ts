/**
 * A program: the whole forward pass of one batch geometry as QMM descriptors, vector steps, and the order in which the
 * session submits, waits and computes. Built from a plan without a device; offsets are window offsets.
 */

/** A range of the window, bytes. */
export interface WindowRange {
  readonly off: number;
  readonly bytes: number;
}

/** One thing the session does. Counts and indices are within the program. */
export type Operation =
  /** Hands descriptors first... to the engine. */
  | { readonly kind: 'submit'; readonly first: number; readonly count: number }
  /** Waits until the program's first `count` descriptors are complete; `reads` is what the CPU reads next. */
  | { readonly kind: 'wait'; readonly count: number; readonly reads: readonly WindowRange[] }
  /** Runs step records first...; `writes` is what the engine reads next. */
  | {
      readonly kind: 'vector';
      readonly first: number;
      readonly count: number;
      readonly writes: readonly WindowRange[];
    };

export interface Program {
  readonly descriptors: Uint8Array;
  readonly steps: Uint8Array;
  readonly operations: readonly Operation[];
  /** Bytes of the arena, from the base it was built for. */
  readonly arenaBytes: number;
  /** Window offsets of the inputs that the session writes: u32[rows] each; u32[sequences+1] starts, and 0, 1, 2, ... */
  readonly inputs: Readonly<Record<'ids' | 'positions' | 'types' | 'starts' | 'ordinals', number>>;
  /** What the head leaves, f32[rows][width] at a window offset: one row for each token, or one for each sequence. */
  readonly outputs: {
    readonly off: number;
    readonly rows: number;
    readonly width: number;
    readonly perToken: boolean;
  };
}
