/**
 * Heads other than the makers' sequence classification: the same checkpoints with another head in the file, and what that head gives, in
 * float64, from the hidden states that an oracle traces. Nothing here knows src/.
 */
import type { OracleTensor } from './quantisers.js';

export interface Checkpoint {
  config: Record<string, unknown>;
  tensors: Map<string, OracleTensor>;
}

/** A float64 oracle of an encoder, of any family. */
export interface TracingOracle {
  forward(
    ids: number[],
    types?: number[],
    trace?: (name: string, shape: number[], data: Float64Array) => void,
  ): { logits: Float64Array; minDecisionMargin: number; ties?: number };
}

/** Small numbers in [-1, 1), the same for the same seed. */
function numbers(seed: number, count: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state / 2 ** 31 - 1) * 0.5;
  });
}

/** The checkpoint with `rows` outputs called `name` for every token instead of a classifier; the pooler stays only where `pooler` says so. */
export function withTokenHead(
  { config, tensors }: Checkpoint,
  name: 'classifier' | 'qa_outputs',
  rows: number,
  { pooler = false, seed = 77, architecture = undefined as string | undefined } = {},
): Checkpoint {
  const hidden = config.hidden_size as number;
  const changed = withoutHead({ config, tensors }, { pooler, architecture });
  changed.tensors.set(`${name}.weight`, { shape: [rows, hidden], data: numbers(seed, rows * hidden) });
  changed.tensors.set(`${name}.bias`, { shape: [rows], data: numbers(seed + 1, rows) });
  return changed;
}

/** The checkpoint with nothing on the encoder. */
export function withoutHead(
  { config, tensors }: Checkpoint,
  { pooler = false, architecture = undefined as string | undefined } = {},
): Checkpoint {
  const kept = [...tensors].filter(
    ([name]) => !name.startsWith('classifier.') && (pooler || !name.startsWith('bert.pooler.')),
  );
  return {
    config: { ...config, ...(architecture !== undefined && { architectures: [architecture] }) },
    tensors: new Map(kept),
  };
}

/** Output of the last layer, [tokens][hidden], and how close the closest decision was. */
export function hiddenStates(
  oracle: TracingOracle,
  layers: number,
  ids: number[],
  types?: number[],
): { x: Float64Array; minDecisionMargin: number; ties: number } {
  let x = new Float64Array();
  const { minDecisionMargin, ties = 0 } = oracle.forward(ids, types, (name, _, data) => {
    if (name === `bert.encoder.layer.${layers - 1} (output)`) x = Float64Array.from(data);
  });
  if (x.length === 0) throw new Error('oracle: the last layer was not traced');
  return { x, minDecisionMargin, ties };
}

/** x W^T + bias for every token, [tokens][rows], with the tensors `name` of the checkpoint. */
export function tokenHead(x: Float64Array, { tensors }: Checkpoint, name: string): Float64Array {
  const { shape, data: weight } = tensors.get(`${name}.weight`)!;
  const { data: bias } = tensors.get(`${name}.bias`)!;
  const [rows, hidden] = shape as [number, number];
  const out = new Float64Array((x.length / hidden) * rows);
  for (let token = 0; token < x.length / hidden; token++) {
    for (let row = 0; row < rows; row++) {
      let sum = bias[row]!;
      for (let i = 0; i < hidden; i++) sum += x[token * hidden + i]! * weight[row * hidden + i]!;
      out[token * rows + row] = sum;
    }
  }
  return out;
}
