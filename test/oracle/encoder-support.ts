/** What the tests of BiBERT's and TernaryBERT's oracles share. */
import { expect } from 'vitest';
import type { OracleResult, OracleTrace } from './encoder.js';
import type { OracleTensor } from './quantisers.js';
import type { RandomEncoderCheckpoint } from './random-encoder.js';
import { IDS } from './support.js';

/** Two layers of width 30 with 3 heads of 10; sizes that are no multiple of anything. */
export const SMALL = {
  seed: 7,
  layers: 2,
  hidden: 30,
  heads: 3,
  intermediate: 50,
  vocab: 120,
  positions: 24,
  labels: 7,
};

export const SELF = 'bert.encoder.layer.0.attention.self';

export type OracleClass = new (
  config: Record<string, unknown>,
  tensors: Map<string, OracleTensor>,
) => { forward(ids: number[], types?: number[], trace?: OracleTrace): OracleResult };

export function run(
  Oracle: OracleClass,
  { config, tensors }: RandomEncoderCheckpoint,
  ids: number[] = IDS,
  types?: number[],
): OracleResult & { seen: Map<string, Float64Array> } {
  const seen = new Map<string, Float64Array>();
  const result = new Oracle(config, tensors).forward(ids, types, (name, shape, data) => {
    expect(data.length, name).toBe(shape.reduce((a, b) => a * b, 1));
    expect(seen.has(name), name).toBe(false);
    seen.set(name, data);
  });
  return { ...result, seen };
}

export function tensor({ tensors }: RandomEncoderCheckpoint, name: string): OracleTensor {
  const found = tensors.get(name);
  if (found === undefined) throw new Error(`no tensor ${name}`);
  return found;
}

/** Numbers written as rows or alone, as float64 tensors. */
export function handTensors(
  values: Record<string, number[][] | number[] | number>,
): Map<string, OracleTensor> {
  return new Map(
    Object.entries(values).map(([name, value]) => {
      const rows = Array.isArray(value) ? value : [];
      const first = rows[0];
      const shape = !Array.isArray(value)
        ? []
        : [rows.length, ...(Array.isArray(first) ? [first.length] : [])];
      return [name, { shape, data: Float64Array.from([value].flat(2)) }];
    }),
  );
}

/** rows x width integer matrices times each other: a row of `a` with a row of `b`, both `width` long. */
export function products(a: ArrayLike<number>, b: ArrayLike<number>, width: number): number[] {
  const sums: number[] = [];
  for (let i = 0; i < a.length; i += width) {
    for (let j = 0; j < b.length; j += width) {
      let sum = 0;
      for (let k = 0; k < width; k++) sum += a[i + k]! * b[j + k]!;
      sums.push(sum);
    }
  }
  return sums;
}
