/** Logits -> answer payload. */
import type { LabelResult, RequestPayload, Result } from '../client/wire.js';
import type { ServedModel } from './engine.js';
import type { Sequence } from './sequences.js';

/** Softmax in double precision; the largest logit is subtracted so that nothing overflows. */
export function softmax(logits: Float32Array): Float64Array {
  let most = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < logits.length; i++) most = Math.max(most, logits[i]!);
  const scores = new Float64Array(logits.length);
  let sum = 0;
  for (let i = 0; i < logits.length; i++) {
    scores[i] = Math.exp(logits[i]! - most);
    sum += scores[i]!;
  }
  for (let i = 0; i < scores.length; i++) scores[i]! /= sum;
  return scores;
}

/** The result for one sequence of a model, by its task. `values`: what the head gave. Throws where they are not what it should give. */
export function toTaskResult(
  values: Float32Array,
  model: ServedModel,
  sequence: Sequence,
  request: Pick<RequestPayload, 'logits' | 'top'>,
): Result {
  if (model.task === 'sequence-classification') return toResult(values, model.labels, sequence, request);
  const result = model.tokenResult(model.task, values, sequence);
  const truncated = sequence.truncated ? { truncated: true as const } : {};
  if ('logits' in result && !request.logits) {
    const { logits: _, ...rest } = result;
    return { ...rest, ...truncated };
  }
  return { ...result, ...truncated };
}

/** The label of one sequence. Throws if the logits are not finite or not one for each label. */
export function toResult(
  logits: Float32Array,
  labels: readonly string[],
  sequence: Sequence,
  { logits: withLogits, top }: Pick<RequestPayload, 'logits' | 'top'>,
): LabelResult {
  if (logits.length !== labels.length || !logits.every(Number.isFinite))
    throw new Error(
      `the engine gave ${logits.length} logits for ${labels.length} labels, or some are not finite`,
    );
  const scores = softmax(logits);
  const labelled = (index: number) => ({ label: labels[index] as string, score: scores[index] as number });
  return {
    ...labelled(largest(logits)),
    // Nine significant digits bring every float32 back unchanged.
    ...(withLogits ? { logits: Array.from(logits, (value) => Number(value.toPrecision(9))) } : {}),
    ...(top === undefined ? {} : { top: ordered(logits).slice(0, top).map(labelled) }),
    tokens: sequence.tokens,
    ...(sequence.truncated ? { truncated: true as const } : {}),
  };
}

/** Number of the largest logit, the first of equals, as argmax has it. */
function largest(logits: Float32Array): number {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i]! > logits[best]!) best = i;
  return best;
}

/** Numbers of the logits, largest first. Logits decide, not scores: these may be equal where logits are not. */
function ordered(logits: Float32Array): number[] {
  return Array.from(logits.keys()).sort((a, b) => logits[b]! - logits[a]! || a - b);
}
