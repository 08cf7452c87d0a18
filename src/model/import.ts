/** Checkpoint folder to canonical model: finds the family and lets its importer work. */
import type { Checkpoint } from './checkpoint/open.js';
import type { ModelDescription } from './description.js';
import { biBert } from './families/bibert.js';
import { binaryBert } from './families/binarybert.js';
import { bit } from './families/bit.js';
import type { Family, ImportContext } from './families/family.js';
import { ternaryBert } from './families/ternarybert.js';
import { ImportError } from './import-error.js';

const FAMILIES: readonly Family[] = [bit, binaryBert, biBert, ternaryBert];

/** Names that `ImportContext.family` may have. */
export const FAMILY_NAMES: readonly string[] = FAMILIES.map(({ name }) => name);

/** What the error says of tensors that no fingerprint fits; `key` is such a tensor. */
const KNOWN: readonly {
  readonly matches: (key: string) => boolean;
  readonly says: (key: string, weightBits: unknown) => string;
}[] = [
  {
    matches: (key) => key.endsWith('.weight_clip_val'),
    says: (key, weightBits) =>
      `${key} is in files of TernaryBERT and of BiBERT, and nothing says which this is: weight_bits 2 in config.json would make it TernaryBERT (it is ${JSON.stringify(weightBits) ?? 'absent'}), a ".gate" or ".dense.scale" tensor BiBERT; --family decides`,
  },
  {
    matches: (key) => key.endsWith('.input_clip_val'),
    says: () =>
      'this looks like the ternary model of BinaryBERT\'s first step, which has to be split and trained further first (a ".move.bias" tensor would make it BiT, tensors ending in _1 and _2 BinaryBERT)',
  },
  {
    matches: (key) => /(^|\.)bert\.encoder\.layer\./.test(key),
    says: () => 'this looks like full-precision BERT, which has to be binarised by training first',
  },
];

function unknownFamily(checkpoint: Checkpoint): ImportError {
  const keys = [...checkpoint.tensors.keys()];
  const known = KNOWN.map(({ matches, says }) => {
    const key = keys.find(matches);
    return key && says(key, checkpoint.config.weight_bits);
  }).find((text) => text !== undefined);
  return new ImportError(
    'unknown-family',
    `${checkpoint.file}: ${known ?? 'no known family of binary Transformers has such tensors'}; supported: ${FAMILY_NAMES.join(', ')}`,
  );
}

/** The family of a checkpoint: the one that was named, or the only one whose fingerprint it has. */
function familyOf(checkpoint: Checkpoint, name: string | undefined): Family {
  if (name !== undefined) {
    const named = FAMILIES.find((family) => family.name === name);
    if (named) return named;
    throw new ImportError('bad-option', `family ${name}: supported are ${FAMILY_NAMES.join(', ')}`);
  }
  const found = FAMILIES.flatMap((family) => {
    const tensor = family.fingerprint(checkpoint);
    return tensor === undefined ? [] : [{ family, tensor }];
  });
  if (found.length > 1) {
    const evidence = found.map(({ family, tensor }) => `${family.name} (${tensor})`).join(' and ');
    throw new ImportError(
      'ambiguous-family',
      `${checkpoint.file}: it has tensors of ${evidence}, which no released code writes together; remove what does not belong, or say --family ${found.map(({ family }) => family.name).join(' or --family ')}`,
    );
  }
  if (found.length === 0) throw unknownFamily(checkpoint);
  return found[0]!.family;
}

/** Imports a checkpoint. Throws ImportError: unknown or ambiguous family, missing or misshapen tensors, settings without support. */
export function importModel(checkpoint: Checkpoint, context: ImportContext): ModelDescription {
  return familyOf(checkpoint, context.family).import(checkpoint, context);
}
