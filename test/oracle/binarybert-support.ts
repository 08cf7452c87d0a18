/** What the tests of BinaryBERT's oracle share. */
import { expect } from 'vitest';
import { BinaryBertOracle } from './binarybert.js';
import type { OracleTensor } from './quantisers.js';
import {
  type RandomBinaryBertCheckpoint,
  type RandomBinaryBertOptions,
  randomBinaryBertCheckpoint,
} from './random-binarybert.js';
import { IDS } from './support.js';

export const UNIFORM = { bits: 8, method: 'uniform' } as const;
export const LSQ = { bits: 4, method: 'lsq' } as const;
export const BOTH = [UNIFORM, LSQ];

/** Hidden 32, attention width 24 of 4 heads, 2 layers; sizes that are no multiple of anything. */
export function small(changes: Partial<RandomBinaryBertOptions> = {}): RandomBinaryBertCheckpoint {
  return randomBinaryBertCheckpoint({
    seed: 7,
    layers: 2,
    hidden: 32,
    attention: 24,
    heads: 4,
    intermediate: 48,
    vocab: 120,
    positions: 24,
    labels: 7,
    ...UNIFORM,
    ...changes,
  });
}

export function logits({ config, tensors }: RandomBinaryBertCheckpoint, ids = IDS): Float64Array {
  return new BinaryBertOracle(config, tensors).forward(ids).logits;
}

export function traces(
  { config, tensors }: RandomBinaryBertCheckpoint,
  ids = IDS,
  types?: number[],
): Map<string, Float64Array> {
  const seen = new Map<string, Float64Array>();
  new BinaryBertOracle(config, tensors).forward(ids, types, (name, shape, data) => {
    expect(data.length, name).toBe(shape.reduce((a, b) => a * b, 1));
    expect(seen.has(name), name).toBe(false);
    seen.set(name, data);
  });
  return seen;
}

export function tensor({ tensors }: RandomBinaryBertCheckpoint, name: string): OracleTensor {
  const found = tensors.get(name);
  if (found === undefined) throw new Error(`no tensor ${name}`);
  return found;
}

export const SELF = 'bert.encoder.layer.0.attention.self';
