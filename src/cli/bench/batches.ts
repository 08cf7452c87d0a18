/** What forward passes are measured on: batches of random sentences of one length, or of real ones of their own. */

import { readFileSync } from 'node:fs';
import type { Artifact } from '../../model/artifact/read.js';
import type { Sequence } from '../../runtime/session.js';
import { random32 } from './random.js';

/** Batches that are run in turn, and their tokens. */
export interface Batches {
  readonly batch: number;
  /** Of each sentence; null where they differ. */
  readonly tokens: number | null;
  readonly batches: readonly (readonly Sequence[])[];
}

/** One batch of random words, the same for the same shape: times must not depend on luck. */
export function randomBatches(batch: number, tokens: number, words: number): Batches {
  const random = random32(12345);
  const next = () => random() % words;
  return {
    batch,
    tokens,
    batches: [Array.from({ length: batch }, () => ({ ids: Uint32Array.from({ length: tokens }, next) }))],
  };
}

/** Batches of different geometry that are run in turn: more would only make a row longer. */
const BATCHES_MAX = 16;

/** The lines of a file that are not empty; of a line with tabs, what stands before the first. */
export function readTexts(file: string): string[] {
  const texts = readFileSync(file, 'utf8')
    .split('\n')
    .map((line) => line.split('\t')[0]!.trim())
    .filter((text) => text !== '');
  if (texts.length === 0) throw new Error(`${file}: has no text`);
  return texts;
}

/** The first lines of a file, in batches. */
export function textBatches(file: string, batch: number, { tokenizer, plan }: Artifact): Batches {
  const texts = readTexts(file);
  if (texts.length < batch) throw new Error(`${file}: has ${texts.length} lines, a batch takes ${batch}`);
  const sequences = texts.slice(0, batch * BATCHES_MAX).map((text) => tokenizer.encode(text, plan.maxTokens));
  const batches: Sequence[][] = [];
  for (let at = 0; at + batch <= sequences.length; at += batch) batches.push(sequences.slice(at, at + batch));
  return { batch, tokens: null, batches };
}
