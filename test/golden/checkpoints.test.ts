/**
 * Real checkpoints with golden files, where the environment variable BETA_CHECKPOINTS names a folder that has them, at most two levels
 * down: one folder a checkpoint with config.json, pytorch_model.bin, vocab.txt, golden.json, predictions.tsv; and one test.tsv. They
 * are too large for the repository; the demo model's part of them is in intents.test.ts. A sentence of the split that gets another label
 * must be explained: by an exact tie, or by a decision that single precision cannot tell.
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { describe, expect, test } from 'vitest';
import { oracleOf } from '../oracle/any.js';
import { argmax, bytesOf, largestDifference, withModel } from './support.js';

/** A decision this close to its threshold (in quantiser steps) may fall to either side in single precision. */
const FLOAT32_MARGIN = 1e-5;

interface GoldenSentence {
  readonly text: string;
  readonly input_ids: number[];
  readonly predicted: number;
  readonly min_decision_margin: number;
  /** Ties between two codes; at one bit, zeros, which are a level of their own. */
  readonly quantiser_inputs_exactly_on_a_threshold?: number;
  readonly logits_float64: number[];
}

/** Folders at or below `folder`. */
function foldersBelow(folder: string, depth: number): string[] {
  const below = readdirSync(folder)
    .map((name) => join(folder, name))
    .filter((path) => depth > 0 && statSync(path).isDirectory());
  return [folder, ...below.flatMap((path) => foldersBelow(path, depth - 1))];
}

const root = process.env.BETA_CHECKPOINTS;
const everywhere = root === undefined ? [] : foldersBelow(root, 2);
const folders = everywhere.filter((folder) => existsSync(join(folder, 'golden.json')));
const split = everywhere.map((folder) => join(folder, 'test.tsv')).find((file) => existsSync(file));

const table = (file: string) =>
  readFileSync(file, 'utf8')
    .trimEnd()
    .split('\n')
    .slice(1)
    .map((line) => line.split('\t'));

describe.skipIf(root === undefined)('checkpoints in BETA_CHECKPOINTS', () => {
  test('there are some, and a test split', () => {
    expect(folders).not.toEqual([]);
    expect(split).toBeDefined();
  });

  test.each(folders.map((folder) => relative(root!, folder)))('%s', { timeout: 900_000 }, async (name) => {
    const folder = join(root!, name);
    const { sentences } = JSON.parse(readFileSync(join(folder, 'golden.json'), 'utf8')) as {
      sentences: GoldenSentence[];
    };
    const { input_bits: bits } = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as {
      input_bits: number;
    };
    await withModel(folder, ({ artifact, session }) => {
      const together = sentences.map(({ input_ids }) => ({ ids: input_ids }));
      session.prepare(together);
      const packed = session.run(together).logits;
      sentences.forEach((sentence, index) => {
        const { text, input_ids } = sentence;
        expect([...artifact.tokenizer.encode(text, 32).ids], text).toEqual(input_ids);
        const alone = session.run([{ ids: input_ids }]).logits[0]!;
        expect(bytesOf(alone), text).toBe(bytesOf(packed[index]!));
        const ties = bits > 1 ? (sentence.quantiser_inputs_exactly_on_a_threshold ?? 0) : 0;
        if (sentence.min_decision_margin <= FLOAT32_MARGIN || ties > 0) return;
        expect(largestDifference(alone, sentence.logits_float64), text).toBeLessThan(1e-3);
        expect(argmax(alone), text).toBe(sentence.predicted);
      });
      const rows = table(split!);
      const official = table(join(folder, 'predictions.tsv')).map(
        (row) => artifact.plan.labels[Number(row[3])]!,
      );
      const inputs = rows.map(([text]) => artifact.tokenizer.encode(text!, 32));
      const predicted = session.run(inputs).logits.map((logits) => artifact.plan.labels[argmax(logits)]!);
      const share = (labels: string[], of: (string | undefined)[]) =>
        labels.filter((label, index) => label === of[index]).length / labels.length;
      const differing = predicted.flatMap((label, index) => (label === official[index] ? [] : [index]));
      const oracle = differing.length > 0 ? oracleOf(folder) : undefined;
      for (const index of differing) {
        const { minDecisionMargin, ties = 0 } = oracle!.forward([...inputs[index]!.ids]);
        // Zero is a level of its own at one bit, and no excuse.
        const tied = bits > 1 && ties > 0;
        expect(
          tied || minDecisionMargin <= FLOAT32_MARGIN,
          `sentence ${index}, "${rows[index]![0]}": another label than the official one, with no decision closer than ${minDecisionMargin} to its threshold and no tie`,
        ).toBe(true);
      }
      const truth = rows.map((row) => row[1]);
      expect(share(predicted, official)).toBeGreaterThanOrEqual(bits === 1 ? 0.998 : 0.995);
      expect(Math.abs(share(predicted, truth) - share(official, truth))).toBeLessThanOrEqual(0.002);
    });
  });
});
