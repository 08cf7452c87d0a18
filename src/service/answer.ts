/** Logits -> answer payload. */
import type { LabelResult, RequestPayload, Result } from '../client/wire.js';
import type { ServedModel } from './engine.js';
import type { Sequence } from './sequences.js';

/** Softmax in double precision; the largest logit is subtracted so that nothing overflows. */
export function softmax(logits: Float32Array): Float64Array {
  const largest = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const exponentials = Float64Array.from(logits, (value) => Math.exp(value - largest));
  const sum = exponentials.reduce((a, b) => a + b, 0);
  return exponentials.map((value) => value / sum);
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
  // Logits decide the order: scores may be equal where logits are not. Equal logits: the first label, as argmax does.
  const order = Array.from(logits.keys()).sort(
    (a, b) => (logits[b] as number) - (logits[a] as number) || a - b,
  );
  const labelled = (index: number) => ({ label: labels[index] as string, score: scores[index] as number });
  return {
    ...labelled(order[0] as number),
    // Nine significant digits bring every float32 back unchanged.
    ...(withLogits ? { logits: Array.from(logits, (value) => Number(value.toPrecision(9))) } : {}),
    ...(top === undefined ? {} : { top: order.slice(0, top).map(labelled) }),
    tokens: sequence.tokens,
    ...(sequence.truncated ? { truncated: true as const } : {}),
  };
}
