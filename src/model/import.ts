/** Checkpoint folder to canonical model: finds the family and lets its importer work. */
import type { Checkpoint } from './checkpoint/open.js';
import type { ModelDescription } from './description.js';
import { biBert } from './families/bibert.js';
import { binaryBert } from './families/binarybert.js';
import { bit } from './families/bit.js';
import type { Family, ImportContext } from './families/family.js';
import { ternaryBert } from './families/ternarybert.js';
import { ImportError } from './import-error.js';

/** In the order in which their fingerprints are unmistakable. */
const FAMILIES: readonly Family[] = [bit, binaryBert, biBert, ternaryBert];

/** Fingerprints of what no importer takes, so that the error can say what it is. */
const KNOWN: readonly { readonly says: string; readonly matches: (key: string) => boolean }[] = [
  {
    says: 'this looks like TernaryBERT, but weight_bits in config.json is not 2',
    matches: (key) => key.endsWith('.weight_clip_val'),
  },
  {
    says: "this looks like the ternary model of BinaryBERT's first step, which has to be split and trained further first",
    matches: (key) => key.endsWith('.input_clip_val'),
  },
  {
    says: 'this looks like full-precision BERT, which has to be binarised by training first',
    matches: (key) => /(^|\.)bert\.encoder\.layer\./.test(key),
  },
];

/** Imports a checkpoint. Throws ImportError: unknown family, missing or misshapen tensors, settings without support. */
export function importModel(checkpoint: Checkpoint, context: ImportContext): ModelDescription {
  const family = FAMILIES.find((candidate) => candidate.recognises(checkpoint));
  if (family) return family.import(checkpoint, context);
  const keys = [...checkpoint.tensors.keys()];
  const known = KNOWN.find(({ matches }) => keys.some(matches));
  const supported = FAMILIES.map(({ name }) => name).join(', ');
  throw new ImportError(
    'unknown-family',
    `${checkpoint.file}: ${known?.says ?? 'no known family of binary Transformers has such tensors'}; supported: ${supported}`,
  );
}
