/**
 * Every task on encoders of several families, through the whole stack, against the hidden states of the float64 oracles and a head
 * multiplied here; sequences with token types, as sentence pairs have them.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { BiBertOracle } from '../oracle/bibert.js';
import { BinaryBertOracle } from '../oracle/binarybert.js';
import { BitOracle } from '../oracle/bit.js';
import {
  type Checkpoint,
  hiddenStates,
  type TracingOracle,
  tokenHead,
  withoutHead,
  withTokenHead,
} from '../oracle/heads.js';
import { randomBitCheckpoint, vocabulary } from '../oracle/random.js';
import { randomBiBertCheckpoint } from '../oracle/random-bibert.js';
import { randomBinaryBertCheckpoint } from '../oracle/random-binarybert.js';
import { randomTernaryBertCheckpoint } from '../oracle/random-ternarybert.js';
import { TernaryBertOracle } from '../oracle/ternarybert.js';
import { torchSave } from '../oracle/torch-file.js';
import { bytesOf, largestDifference, withFolder, withModel } from './support.js';

const LAYERS = 2;
const BASE = {
  seed: 400,
  layers: LAYERS,
  hidden: 48,
  heads: 3,
  intermediate: 80,
  vocab: 120,
  positions: 40,
  labels: 4,
};

/** Below this margin (in quantiser steps) a float32 residual stream may decide differently. */
const MARGIN = 1e-5;
const TOLERANCE = 1e-3;

const FAMILIES: [string, Checkpoint, (checkpoint: Checkpoint) => TracingOracle, boolean?][] = [
  ['BiT W1A1', randomBitCheckpoint({ ...BASE, bits: 1 }), (c) => new BitOracle(c.config, c.tensors)],
  ['BiT W1A4', randomBitCheckpoint({ ...BASE, bits: 4 }), (c) => new BitOracle(c.config, c.tensors)],
  // Zero is a level of its own there, not a tie between two.
  ['BiBERT', randomBiBertCheckpoint(BASE), (c) => new BiBertOracle(c.config, c.tensors), true],
  [
    'BinaryBERT uniform A8',
    randomBinaryBertCheckpoint({ ...BASE, attention: BASE.hidden, bits: 8, method: 'uniform' }),
    (c) => new BinaryBertOracle(c.config, c.tensors),
  ],
  ['TernaryBERT', randomTernaryBertCheckpoint(BASE), (c) => new TernaryBertOracle(c.config, c.tensors)],
];

/** Sequences with types that change in the middle; one of a single token. */
const INPUTS = [1, 2, 5, 8, 9, 17, 31, 40].map((length, number) => ({
  ids: Array.from({ length }, (_, i) => (number * 37 + i * 11 + ((i * i) % 7)) % BASE.vocab),
  types: Array.from({ length }, (_, i) => (i > length / 3 ? 1 : 0)),
}));

function write(folder: string, { config, tensors }: Checkpoint): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  writeFileSync(join(folder, 'pytorch_model.bin'), torchSave(tensors, ['']));
  writeFileSync(join(folder, 'vocab.txt'), vocabulary(config.vocab_size as number).join('\n'));
}

/** The head in the file, the task it must be imported as, and what it gives for the hidden states x. */
const HEADS: [
  string,
  (full: Checkpoint) => Checkpoint,
  (x: Float64Array, checkpoint: Checkpoint) => Float64Array,
  number,
][] = [
  [
    'question-answering',
    (full) => withTokenHead(full, 'qa_outputs', 2, { architecture: 'BertForQuestionAnswering' }),
    (x, checkpoint) => tokenHead(x, checkpoint, 'qa_outputs'),
    2,
  ],
  [
    'token-classification',
    (full) => withTokenHead(full, 'classifier', 7),
    (x, checkpoint) => tokenHead(x, checkpoint, 'classifier'),
    7,
  ],
  ['hidden-states', (full) => withoutHead(full), (x) => x, BASE.hidden],
];

describe.each(FAMILIES)('%s', (_, full, makeOracle, tiesAreLevels = false) => {
  test.each(HEADS)('%s', async (task, change, give, width) => {
    const checkpoint = change(full);
    const oracle = makeOracle(full);
    await withFolder(async (folder) => {
      write(join(folder, 'source'), checkpoint);
      await withModel(join(folder, 'source'), ({ artifact, session, warnings }) => {
        expect(warnings.filter((text) => /tensor/.test(text))).toEqual([]);
        expect(artifact.plan.head.task).toBe(task);
        session.prepare(INPUTS);
        const packed = session.run(INPUTS).logits;
        let compared = 0;
        INPUTS.forEach(({ ids, types }, index) => {
          const alone = session.run([{ ids, types }]).logits[0]!;
          expect(alone).toHaveLength(ids.length * width);
          expect(bytesOf(packed[index]!)).toBe(bytesOf(alone));
          const { x, minDecisionMargin, ties } = hiddenStates(oracle, LAYERS, ids, types);
          if (minDecisionMargin < MARGIN || (ties > 0 && !tiesAreLevels)) return;
          compared++;
          expect(largestDifference(alone, give(x, checkpoint)), `length ${ids.length}`).toBeLessThan(
            TOLERANCE,
          );
        });
        expect(compared, 'sequences with a comfortable margin').toBeGreaterThanOrEqual(1);
      });
    });
  });

  test('token types count: sequence classification with types, as pairs have them', async () => {
    const oracle = makeOracle(full);
    await withFolder(async (folder) => {
      write(join(folder, 'source'), full);
      await withModel(join(folder, 'source'), ({ session }) => {
        let [compared, different] = [0, 0];
        for (const { ids, types } of INPUTS) {
          const [typed, plain] = session.run([{ ids, types }, { ids }]).logits;
          if (bytesOf(typed!) !== bytesOf(plain!)) different++;
          const { logits, minDecisionMargin, ties = 0 } = oracle.forward(ids, types);
          if (minDecisionMargin < MARGIN || (ties > 0 && !tiesAreLevels)) continue;
          compared++;
          expect(largestDifference(typed!, logits), `length ${ids.length}`).toBeLessThan(TOLERANCE);
        }
        expect(compared).toBeGreaterThanOrEqual(1);
        expect(different).toBeGreaterThan(3);
      });
    });
  });
});
