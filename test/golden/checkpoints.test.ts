/**
 * Real checkpoints with golden files, where the environment variable BETA_CHECKPOINTS names a folder that has them (one folder a
 * checkpoint: config.json, pytorch_model.bin, vocab.txt, golden.json, predictions.tsv; and test.tsv beside the folders). They are too
 * large for the repository; the demo model's part of them is in intents.test.ts.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { argmax, bytesOf, largestDifference, withModel } from './support.js';

interface GoldenSentence {
  readonly text: string;
  readonly input_ids: number[];
  readonly predicted: number;
  readonly min_decision_margin: number;
  readonly logits_float64: number[];
}

const root = process.env.BETA_CHECKPOINTS;
const folders =
  root === undefined
    ? []
    : readdirSync(root).filter(
        (name) => existsSync(join(root, name, 'golden.json')) && existsSync(join(root, 'test.tsv')),
      );

const table = (file: string) =>
  readFileSync(file, 'utf8')
    .trimEnd()
    .split('\n')
    .slice(1)
    .map((line) => line.split('\t'));

describe.skipIf(root === undefined)('checkpoints in BETA_CHECKPOINTS', () => {
  test('there are some', () => expect(folders).not.toEqual([]));

  test.each(folders)('%s', { timeout: 600_000 }, async (name) => {
    const folder = join(root!, name);
    const golden = (
      JSON.parse(readFileSync(join(folder, 'golden.json'), 'utf8')) as { sentences: GoldenSentence[] }
    ).sentences;
    await withModel(folder, ({ artifact, session }) => {
      const packed = session.run(golden.map(({ input_ids }) => ({ ids: input_ids }))).logits;
      golden.forEach(({ text, input_ids, logits_float64, predicted, min_decision_margin }, index) => {
        expect([...artifact.tokenizer.encode(text, 32).ids], text).toEqual(input_ids);
        const alone = session.run([{ ids: input_ids }]).logits[0]!;
        expect(bytesOf(alone), text).toBe(bytesOf(packed[index]!));
        if (min_decision_margin <= 1e-5) return;
        expect(largestDifference(alone, logits_float64), text).toBeLessThan(1e-3);
        expect(argmax(alone), text).toBe(predicted);
      });
      const sentences = table(join(root!, 'test.tsv'));
      const official = table(join(folder, 'predictions.tsv')).map(
        (row) => artifact.plan.labels[Number(row[3])]!,
      );
      const inputs = sentences.map(([text]) => artifact.tokenizer.encode(text!, 32));
      const predicted = session.run(inputs).logits.map((logits) => artifact.plan.labels[argmax(logits)]!);
      const share = (labels: string[], of: (string | undefined)[]) =>
        labels.filter((label, index) => label === of[index]).length / labels.length;
      const truth = sentences.map((row) => row[1]);
      expect(share(predicted, official)).toBeGreaterThanOrEqual(0.998);
      expect(Math.abs(share(predicted, truth) - share(official, truth))).toBeLessThanOrEqual(0.002);
    });
  });
});
