/** Softmax in a program: integer scores of one sequence to probabilities, or, where these stay real, to the rows of the context. */
import { scoreIntegers } from '../model/integers.js';
import type { LayerPlan, QuantiserPlan } from '../model/plan.js';
import { type AttentionPlace, headGroups, scoreMatrix, scoreRows } from './attention-place.js';
import { contextConsumers, valueRecord } from './context.js';
import { resultQuantiser } from './formats.js';
import {
  branchRole,
  integerStride,
  needsKeySums,
  needsProbabilitySums,
  operandStride,
  valueBytes,
} from './memory.js';
import type { Access, Consumer, ProgramWriter } from './program-writer.js';

/** What depends on the sequence and not on the heads. */
function fieldsOf(w: ProgramWriter, layer: LayerPlan, place: AttentionPlace) {
  const { probabilities } = layer.attention;
  if (probabilities.kind === 'boolean') throw new Error('boolean probabilities need no softmax');
  const { index, start, length } = place;
  const { exponentials, scale } = probabilities;
  const { off, stride } = scoreMatrix(w, layer, place);
  return {
    tokens: length,
    heads: w.plan.heads,
    acc_off: off,
    acc_stride: stride,
    acc_int16: Number(scoreIntegers(w.plan, layer) === 16),
    scale,
    found_a_off: w.found(branchRole('query', 0), resultQuantiser(layer.query.epilogue), index),
    found_b_off: w.found(branchRole('key', 0), resultQuantiser(layer.key.epilogue), index),
    table_off: exponentials ? w.address(exponentials.tensor) : 0,
    table_length: exponentials?.length ?? 0,
    ...(needsKeySums(layer) && {
      key_sums_off: w.at('keySums') + start * 4,
      key_sums_stride: integerStride(w.geometry.rows, 32),
    }),
  };
}

/** What a softmax over heads [first, end) reads. */
function readsOf(
  w: ProgramWriter,
  layer: LayerPlan,
  place: AttentionPlace,
  first: number,
  end: number,
): Access[] {
  const { index, start, length, queries } = place;
  const { buffer, off, stride } = scoreMatrix(w, layer, place);
  const rows = scoreRows(layer, place);
  const reads: Access[] = [];
  if (rows === queries) {
    reads.push({ buffer: buffer!, off: off + first * rows * stride, bytes: (end - first) * rows * stride });
  } else {
    for (let head = first; head < end; head++)
      reads.push({ buffer: buffer!, off: off + head * rows * stride, bytes: queries * stride });
  }
  if (needsKeySums(layer)) {
    const keyStride = integerStride(w.geometry.rows, 32);
    for (let head = first; head < end; head++)
      reads.push(w.access('keySums', head * keyStride + start * 4, length * 4));
  }
  for (const [role, plan] of [
    ['query', layer.query],
    ['key', layer.key],
  ] as const) {
    const found = w.foundEntries(branchRole(role, 0), resultQuantiser(plan.epilogue), index, 1);
    if (found) reads.push(found);
  }
  return reads;
}

/** P of one sequence to planes, and its row sums where an offset of V multiplies them. */
function probabilityConsumer(
  w: ProgramWriter,
  layer: LayerPlan,
  { index, start, length, probabilities: p }: AttentionPlace,
  probability: QuantiserPlan,
): Consumer {
  const { rows } = w.geometry;
  return {
    quantiser: probability,
    matrix: w.operand('probabilities', length, probability.format, p),
    found: w.foundEntries('probabilities', probability, index, 1),
    ...(needsProbabilitySums(layer) && {
      sums: { off: w.at('probabilitySums') + start * 8, rows: length, stride: rows * 8 },
    }),
  };
}

/** What P's consumer writes for heads [first, end). */
function probabilityWrites(
  w: ProgramWriter,
  layer: LayerPlan,
  { start, length, queries, probabilities: p }: AttentionPlace,
  { quantiser, found }: Consumer,
  first: number,
  end: number,
): Access[] {
  const stride = operandStride(length, quantiser.format);
  const writes = [w.access('probabilities', p + first * queries * stride, (end - first) * queries * stride)];
  if (found) writes.push(found);
  if (needsProbabilitySums(layer)) {
    for (let head = first; head < end; head++)
      writes.push(w.access('probabilitySums', (head * w.geometry.rows + start) * 8, length * 8));
  }
  return writes;
}

/** The softmax of one sequence, in as many steps as are worth it. */
export function softmax(w: ProgramWriter, layer: LayerPlan, place: AttentionPlace): void {
  const { probabilities } = layer.attention;
  if (probabilities.kind === 'boolean') return;
  if (probabilities.kind === 'real') {
    contextRows(w, layer, place);
    return;
  }
  const { heads } = w.plan;
  const { length, queries } = place;
  const { probability, exponentials } = probabilities;
  const fields = fieldsOf(w, layer, place);
  const consumer = probabilityConsumer(w, layer, place, probability);
  for (const { first, end } of headGroups(w, layer, place)) {
    w.step(
      'SOFTMAX',
      {
        what: 'softmax',
        // Rows follow head after head. Where only first tokens ask, those are the first rows of as many as all tokens would have.
        part: { first: first * queries, rows: (end - first) * queries, of: heads * length },
        elements: (end - first) * queries * length,
        kinds: [exponentials ? 'softmaxTable' : 'softmaxExp'],
        reads: readsOf(w, layer, place, first, end),
        writes: probabilityWrites(w, layer, place, consumer, first, end),
      },
      () => undefined,
      [consumer],
      fields,
    );
  }
}

/** Probabilities that stay real: the step has V behind it and leaves the context's rows of the sequence. */
function contextRows(w: ProgramWriter, layer: LayerPlan, place: AttentionPlace): void {
  const { heads, attentionSize } = w.plan;
  const { index, length, queries, value } = place;
  const consumers = contextConsumers(w, layer, place);
  const valueFound = w.foundEntries('value', resultQuantiser(layer.value.epilogue), index, 1);
  const codes = w.access('valueCodes', 0, length * attentionSize * 4);
  const found = consumers.flatMap((consumer) => (consumer.found ? [consumer.found] : []));
  w.step(
    'SOFTMAX',
    {
      what: 'softmax',
      part: { first: 0, rows: queries, of: length },
      elements: queries * length * heads,
      // For each probability its head's columns of V.
      kinds: ['softmaxExp', ...Array<'realContext'>(w.headSize).fill('realContext')],
      quantised: queries * attentionSize,
      reads: [
        ...readsOf(w, layer, place, 0, heads),
        w.access('value', value, valueBytes(w.plan, layer, length)),
        ...(valueFound ? [valueFound] : []),
      ],
      writes: [
        codes,
        ...consumers.map(({ matrix: { buffer, off, stride } }) => ({
          buffer: buffer!,
          off,
          bytes: queries * stride,
        })),
        ...found,
      ],
    },
    () => valueRecord(w, layer, place),
    consumers,
    { ...fieldsOf(w, layer, place), terms: 1 },
  );
}
