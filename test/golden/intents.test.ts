/**
 * The bundled demo model against the official BiT code's outputs: the whole test split, and the logits of 64 sentences.
 */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Device } from '../../src/device/device.js';
import { Artifact } from '../../src/model/artifact/read.js';
import { Session } from '../../src/runtime/session.js';
import { argmax, bytesOf, largestDifference } from './support.js';

interface GoldenSentence {
  readonly text: string;
  readonly input_ids: number[];
  readonly predicted: string;
  readonly min_decision_margin: number;
  readonly logits_float64: number[];
}

const data = (name: string) => readFileSync(new URL(`./clinc150/${name}`, import.meta.url), 'utf8');
const golden = (JSON.parse(data('w1a1.json')) as { sentences: GoldenSentence[] }).sentences;
const split = data('split.tsv')
  .trimEnd()
  .split('\n')
  .slice(1)
  .map((line) => line.split('\t') as [string, string, string]);

let device: Device;
let artifact: Artifact;
let session: Session;

beforeAll(() => {
  artifact = Artifact.open(new URL('../../models/intents.beta', import.meta.url).pathname);
  device = Device.open('emu:');
  session = new Session(device, artifact);
});

afterAll(() => device.close());

test('token ids of all 64 sentences', () => {
  for (const { text, input_ids } of golden)
    expect([...artifact.tokenizer.encode(text, 32).ids], text).toEqual(input_ids);
});

test('logits within 1e-3 of the official float64 ones, packed and alone, in identical bytes', () => {
  const together = golden.map(({ input_ids }) => ({ ids: input_ids }));
  session.prepare(together);
  const packed = session.run(together).logits;
  golden.forEach(({ text, input_ids, logits_float64, predicted, min_decision_margin }, index) => {
    const alone = session.run([{ ids: input_ids }]).logits[0]!;
    expect(bytesOf(alone), text).toBe(bytesOf(packed[index]!));
    expect(artifact.plan.labels[argmax(alone)], text).toBe(predicted);
    if (min_decision_margin > 1e-5) expect(largestDifference(alone, logits_float64), text).toBeLessThan(1e-3);
  });
});

test('predictions of the whole test split: at least 99.8 % as the official code, accuracy within 0.2 points', {
  timeout: 300_000,
}, () => {
  const inputs = split.map(([text]) => artifact.tokenizer.encode(text, artifact.plan.maxTokens));
  const predictions = session.run(inputs).logits.map((logits) => artifact.plan.labels[argmax(logits)]!);
  const share = (column: 1 | 2) =>
    split.filter((row, index) => row[column] === predictions[index]).length / split.length;
  const official = split.filter((row) => row[1] === row[2]).length / split.length;
  expect(share(2)).toBeGreaterThanOrEqual(0.998);
  expect(Math.abs(share(1) - official)).toBeLessThanOrEqual(0.002);
});
