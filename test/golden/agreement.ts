/** A random checkpoint through the whole stack against its float64 oracle, for sequences of many lengths, alone and packed. */
import { join } from 'node:path';
import { expect } from 'vitest';
import { bytesOf, largestDifference, withFolder, withModel } from './support.js';

/** Below this margin (in quantiser steps) a float32 residual stream may decide differently. */
const MARGIN = 1e-5;
const TOLERANCE = 1e-3;

interface Oracle {
  forward(ids: number[]): { logits: Float64Array; minDecisionMargin: number; ties?: number };
}

/** Lengths that cross byte and block borders when packed. */
function lengthsUpTo(positions: number): number[] {
  return [1, 2, 3, 7, 8, 9, 31, Math.min(33, positions), positions];
}

function sequences(seed: number, lengths: readonly number[], vocab: number): number[][] {
  let state = seed;
  const next = (limit: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
  return lengths.map((length) => Array.from({ length }, () => next(vocab)));
}

/**
 * Imports what `write` puts into a folder, and compares. Sequences that hold an exact tie, or a decision closer to its threshold than
 * single precision can tell, may differ; at least `comparable` of them must not be of that kind.
 */
export async function expectAgreement(
  { seed, positions, vocab }: { seed: number; positions: number; vocab: number },
  write: (folder: string) => void,
  oracle: Oracle,
  { comparable = 4, tiesAreLevels = false, lengths = lengthsUpTo(positions), margin = MARGIN } = {},
): Promise<void> {
  await withFolder(async (folder) => {
    write(join(folder, 'source'));
    await withModel(join(folder, 'source'), ({ session }) => {
      const inputs = sequences(seed, lengths, vocab);
      const together = inputs.map((ids) => ({ ids }));
      session.prepare(together);
      const packed = session.run(together).logits;
      let compared = 0;
      inputs.forEach((ids, index) => {
        const { logits, minDecisionMargin, ties = 0 } = oracle.forward(ids);
        const alone = session.run([{ ids }]).logits[0]!;
        expect(bytesOf(packed[index]!), `length ${ids.length}: batch composition changed the answer`).toBe(
          bytesOf(alone),
        );
        if (minDecisionMargin < margin || (ties > 0 && !tiesAreLevels)) return;
        compared++;
        expect(
          largestDifference(alone, logits),
          `length ${ids.length}, margin ${minDecisionMargin}`,
        ).toBeLessThan(TOLERANCE);
      });
      expect(compared, 'sequences with a comfortable margin').toBeGreaterThanOrEqual(comparable);
    });
  });
}
