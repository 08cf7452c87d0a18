// Test support: small random checkpoints of the families beside BiT, which a test may alter.
import type { ModelDescription } from '../../../src/model/description.js';
import type { RandomBitCheckpoint } from '../../oracle/random.js';
import { type RandomBiBertOptions, randomBiBertCheckpoint } from '../../oracle/random-bibert.js';
import { type RandomBinaryBertOptions, randomBinaryBertCheckpoint } from '../../oracle/random-binarybert.js';
import {
  type RandomTernaryBertOptions,
  randomTernaryBertCheckpoint,
} from '../../oracle/random-ternarybert.js';
import { described, saved } from './support.js';

/** As small as a model can be that still has two heads. */
const SIZES = {
  seed: 6,
  layers: 1,
  hidden: 16,
  heads: 2,
  intermediate: 24,
  vocab: 90,
  positions: 12,
  labels: 3,
};

/** What every maker makes. */
export type AnyCheckpoint = RandomBitCheckpoint;
export type Change = (checkpoint: AnyCheckpoint) => void;

function altered(checkpoint: AnyCheckpoint, change: Change): AnyCheckpoint {
  change(checkpoint);
  return checkpoint;
}

export const biBert = (change: Change = () => undefined, options: Partial<RandomBiBertOptions> = {}) =>
  altered(randomBiBertCheckpoint({ ...SIZES, ...options }), change);

/** W1A8 with ranges and an attention of 8 columns, unless the options say otherwise. */
export const binaryBert = (
  change: Change = () => undefined,
  options: Partial<RandomBinaryBertOptions> = {},
) =>
  altered(
    randomBinaryBertCheckpoint({ ...SIZES, attention: 8, bits: 8, method: 'uniform', ...options }),
    change,
  );

export const ternaryBert = (
  change: Change = () => undefined,
  options: Partial<RandomTernaryBertOptions> = {},
) => altered(randomTernaryBertCheckpoint({ ...SIZES, ...options }), change);

/** What the importer makes of a checkpoint. */
export const describeIn = (parent: string, checkpoint: AnyCheckpoint) => described(saved(parent, checkpoint));

/** Every quantised linear layer of a one-layer model. */
export function linears({ layers, pooler }: ModelDescription) {
  const { query, key, value, output, up, down } = layers[0]!;
  return [query, key, value, output, up, down, pooler];
}

/** The epsilons of all LayerNorms of a one-layer model. */
export function epsilons({ embeddings, layers }: ModelDescription): number[] {
  const { attentionNorm, outputNorm } = layers[0]!;
  return [embeddings.norm, attentionNorm, outputNorm].map(({ epsilon }) => epsilon);
}

/** All names with the prefix of DataParallel. */
export const wrapped = (checkpoint: AnyCheckpoint): AnyCheckpoint => ({
  ...checkpoint,
  tensors: new Map([...checkpoint.tensors].map(([name, tensor]) => [`module.${name}`, tensor])),
});
