/** The oracle of a checkpoint folder, whichever family it is of: told by names that only one family has. */
import { BiBertOracle } from './bibert.js';
import { BinaryBertOracle } from './binarybert.js';
import { BitOracle } from './bit.js';
import { loadTensors } from './checkpoint.js';
import { TernaryBertOracle } from './ternarybert.js';

/** What every oracle answers for one sequence without padding. */
export interface AnyOracle {
  forward(ids: number[]): { logits: Float64Array; minDecisionMargin: number; ties?: number };
}

/** Reads a folder with its own reader. Throws on a checkpoint of no known family. */
export function oracleOf(folder: string): AnyOracle {
  const { config, tensors } = loadTensors(folder);
  const has = (suffix: string) => [...tensors.keys()].some((name) => name.endsWith(suffix));
  if (has('.move.bias')) return new BitOracle(config, tensors);
  if (has('.dense_1.weight')) return new BinaryBertOracle(config, tensors);
  if (has('.gate')) return new BiBertOracle(config, tensors);
  if (has('.weight_clip_val') && config.weight_bits === 2) return new TernaryBertOracle(config, tensors);
  throw new Error(`oracle: ${folder} is of no known family`);
}
