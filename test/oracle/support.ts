/** What the oracle's own tests share. */
import { expect } from 'vitest';
import { BitOracle, type OracleTensor } from './bit.js';
import { type RandomBitCheckpoint, type RandomBitOptions, randomBitCheckpoint } from './random.js';

/** A token sequence for `small()`, with one id twice. */
export const IDS = [2, 17, 93, 44, 17, 108, 66, 30, 3];

/** A random checkpoint of 2 layers, width 32, 4 heads, 7 labels and one-bit activations, with changes. */
export function small(changes: Partial<RandomBitOptions> = {}): RandomBitCheckpoint {
  return randomBitCheckpoint({
    seed: 7,
    layers: 2,
    hidden: 32,
    heads: 4,
    intermediate: 48,
    vocab: 120,
    positions: 24,
    labels: 7,
    bits: 1,
    ...changes,
  });
}

export function logits(checkpoint: RandomBitCheckpoint, ids: number[] = IDS): Float64Array {
  return new BitOracle(checkpoint.config, checkpoint.tensors).forward(ids).logits;
}

/** Every traced tensor of one run by its name. */
export function traces(checkpoint: RandomBitCheckpoint, ids: number[] = IDS): Map<string, Float64Array> {
  const seen = new Map<string, Float64Array>();
  new BitOracle(checkpoint.config, checkpoint.tensors).forward(ids, undefined, (name, shape, data) => {
    expect(data.length, name).toBe(shape.reduce((a, b) => a * b, 1));
    seen.set(name, data);
  });
  return seen;
}

export function tensor(checkpoint: RandomBitCheckpoint, name: string): OracleTensor {
  const found = checkpoint.tensors.get(name);
  if (found === undefined) throw new Error(`no tensor ${name}`);
  return found;
}

/** Largest |a - b|; the lengths must be equal. A NaN anywhere gives NaN, which no bound accepts. */
export function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  let largest = 0;
  for (let i = 0; i < a.length; i++) largest = Math.max(largest, Math.abs(a[i]! - b[i]!));
  return largest;
}
