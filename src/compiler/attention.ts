/** The attention half of an encoder block: projections, scores, softmax, context, output projection. */
import { BLOCK_ELEMENTS, FLAG, TABLE_ENTRY_BYTES } from '../device/contract.generated.js';
import { blockOffset, formatByte } from '../device/descriptor.js';
import type { LayerPlan, LinearPlan } from '../model/plan.js';
import { STEP_ACTIVATION } from '../native/steps.generated.js';
import { formatBits, resultFormat, resultQuantiser, storesOffset } from './formats.js';
import type { SequencePlace } from './geometry.js';
import {
  accRole,
  accumulatorStride,
  branchRole,
  operandStride,
  probabilityBytes,
  probabilityFormat,
  type Role,
  scoreBytes,
  valueBytes,
} from './memory.js';
import { INT32, type ProgramWriter } from './program-writer.js';

const U1 = formatByte({ bits: 1, encoding: 'U' });

/** A sequence with its parts of the buffers that attention fills per sequence. */
interface AttentionPlace extends SequencePlace {
  readonly value: number;
  readonly valueAcc: number;
  readonly scores: number;
  readonly probabilities: number;
}

/** Where each sequence's V, scores and probabilities lie. */
function places(w: ProgramWriter, layer: LayerPlan): AttentionPlace[] {
  let value = 0;
  let valueAcc = 0;
  let scores = 0;
  let probabilities = 0;
  return w.geometry.sequences.map((place) => {
    const here = { ...place, value, valueAcc, scores, probabilities };
    value += valueBytes(w.plan, layer, place.length);
    valueAcc += w.plan.attentionSize * accumulatorStride(place.length);
    scores += scoreBytes(w.plan, place.length);
    probabilities += probabilityBytes(w.plan, layer, place.length);
    return here;
  });
}

/** Q and K for all rows at once, V^T for each sequence. */
export function project(w: ProgramWriter, layer: LayerPlan): void {
  const { query, key, value } = layer;
  w.linear(query, 'queryIn', 'query');
  w.linear(key, 'keyIn', 'key');
  const sequences = places(w, layer);
  for (const place of sequences) projectValue(w, value, place);
  w.submit();
  w.requantiseLinear(query, 'queryIn', 'query', STEP_ACTIVATION.IDENTITY);
  w.requantiseLinear(key, 'keyIn', 'key', STEP_ACTIVATION.IDENTITY);
  for (const place of sequences) requantiseValue(w, value, place);
}

/** V comes out transposed because its weights are the A operand: tokens are then contiguous, as P.V needs them. */
function projectValue(
  w: ProgramWriter,
  { branches, epilogue }: LinearPlan,
  { start, length, value, valueAcc }: AttentionPlace,
): void {
  branches.forEach(({ input, weight }, index) => {
    const stride = operandStride(weight.cols, input.format);
    const operands = {
      a: { off: w.address(weight.tensor), stride: weight.stride, format: weight.format },
      b: { off: w.at(branchRole('valueIn', index)) + start * stride, stride, format: input.format },
      m: weight.rows,
      n: length,
      k: weight.cols,
    };
    w.descriptors.push(
      epilogue.kind === 'threshold'
        ? {
            ...operands,
            o: {
              off: w.at('value') + value,
              stride: operandStride(length, epilogue.format),
              format: epilogue.format,
            },
            flags: FLAG.TABLE_BY_ROW,
            table: w.address(epilogue.table),
          }
        : {
            ...operands,
            o: {
              off: w.at(branchRole(accRole('value'), index)) + valueAcc,
              stride: accumulatorStride(length),
              format: INT32,
            },
          },
    );
  });
}

/** Where V needs a vector step: one sequence's V^T to planes. Its found entries are those of that sequence alone. */
function requantiseValue(
  w: ProgramWriter,
  { branches, epilogue }: LinearPlan,
  { index, length, value, valueAcc }: AttentionPlace,
): void {
  const quantiser = resultQuantiser(epilogue);
  if (epilogue.kind !== 'affine' || quantiser === null) return;
  const rows = branches[0]!.weight.rows;
  const stride = operandStride(length, quantiser.format);
  const bytes = rows * accumulatorStride(length);
  const accumulators = branches.map((_, branch) => ({
    off: w.at(branchRole(accRole('value'), branch)) + valueAcc,
    bytes,
  }));
  w.wait(accumulators);
  const terms = branches.map(({ input }, branch) => {
    const { sums } = epilogue.terms[branch]!;
    return {
      off: accumulators[branch]!.off,
      stride: accumulatorStride(length),
      foundA: w.found(branchRole('valueIn', branch), input, index),
      ...(sums !== null && { sums: { off: w.address(sums), stride: 0, scale: 1 } }),
    };
  });
  const out = { off: w.at('value') + value, bytes: rows * stride };
  w.affine(epilogue, terms, [{ quantiser, out, stride, found: w.found('value', quantiser, index) }], {
    rows,
    width: length,
    sequences: 1,
    by_row: 1,
  });
}

/** Scores, softmax and context, a sequence at a time, so that the engine multiplies one while the CPU exponentiates another. */
export function attend(w: ProgramWriter, layer: LayerPlan): void {
  const { probabilities } = layer.attention;
  const sums =
    probabilities.kind === 'softmax' && storesOffset(probabilities.probability) && w.plan.ones !== null;
  const sequences = places(w, layer);
  if (sums) for (const place of sequences) sumValues(w, layer, place);
  const counted = sequences.map((place) => {
    score(w, layer, place);
    return w.descriptors.count;
  });
  w.submit();
  sequences.forEach((place, index) => {
    if (probabilities.kind === 'softmax') softmax(w, layer, place, counted[index]!);
    weighValues(w, layer, place);
    w.submit();
  });
  requantiseContext(w, layer, sums);
  w.linear(layer.output, 'context', 'projected');
  w.submit();
  w.residualNorm(layer.output, 'context', layer.attentionNorm, w.inputsOf(layer.up, 'upIn'));
}

/** valueSums[sequence][channel] = sum of V's codes over the sequence, as a product with a row of ones. */
function sumValues(w: ProgramWriter, layer: LayerPlan, place: AttentionPlace): void {
  const { attentionSize } = w.plan;
  const stride = accumulatorStride(attentionSize);
  w.descriptors.push({
    a: { off: w.address(w.plan.ones!), stride: operandStride(place.length, U1), format: U1 },
    b: valueOperand(w, layer, place, 0),
    o: { off: w.at('valueSums') + place.index * stride, stride, format: INT32 },
    m: 1,
    n: attentionSize,
    k: place.length,
  });
}

/** V^T of one sequence from channel `channel` on. */
function valueOperand(
  w: ProgramWriter,
  { value: { epilogue } }: LayerPlan,
  { length, value }: AttentionPlace,
  channel: number,
) {
  const format = resultFormat(epilogue);
  const stride = operandStride(length, format);
  return { off: w.at('value') + value + channel * stride, stride, format };
}

/** Q.K^T of every head of one sequence: int32, or P itself where a threshold decides it. */
function score(
  w: ProgramWriter,
  layer: LayerPlan,
  { start, length, scores, probabilities: p }: AttentionPlace,
): void {
  const { attentionSize, heads } = w.plan;
  const { query, key, attention } = layer;
  const operand = (role: Role, { epilogue }: LinearPlan, column: number) => {
    const format = resultFormat(epilogue);
    const stride = operandStride(attentionSize, format);
    return {
      off: w.at(branchRole(role, 0)) + start * stride + blockOffset(column, formatBits(format)),
      stride,
      format,
    };
  };
  const { probabilities } = attention;
  const boolean = probabilities.kind === 'boolean';
  const stride = boolean ? operandStride(length, probabilities.format) : accumulatorStride(length);
  for (let head = 0; head < heads; head++) {
    const column = head * w.headSize;
    w.descriptors.push({
      a: operand('query', query, column),
      b: operand('key', key, column),
      o: {
        off: (boolean ? w.at('probabilities') + p : w.at('scores') + scores) + head * length * stride,
        stride,
        format: boolean ? probabilities.format : INT32,
      },
      m: length,
      n: length,
      k: w.headSize,
      k0: column % BLOCK_ELEMENTS,
      ...(boolean && { table: w.address(probabilities.table) }),
    });
  }
}

/** The probabilities of one sequence, once the program's first `counted` descriptors have given its scores. */
function softmax(
  w: ProgramWriter,
  layer: LayerPlan,
  { index, length, scores, probabilities: p }: AttentionPlace,
  counted: number,
): void {
  const { probabilities } = layer.attention;
  if (probabilities.kind !== 'softmax') return;
  const { probability, exponentials, scale } = probabilities;
  const acc = w.at('scores') + scores;
  w.wait([{ off: acc, bytes: scoreBytes(w.plan, length) }], counted);
  const out = { off: w.at('probabilities') + p, bytes: probabilityBytes(w.plan, layer, length) };
  const consumer = {
    quantiser: probability,
    out,
    stride: operandStride(length, probability.format),
    found: w.found('probabilities', probability, index),
  };
  w.vector('SOFTMAX', () => undefined, [consumer], {
    tokens: length,
    heads: w.plan.heads,
    acc_off: acc,
    acc_stride: accumulatorStride(length),
    scale,
    found_a_off: w.found(branchRole('query', 0), resultQuantiser(layer.query.epilogue), index),
    found_b_off: w.found(branchRole('key', 0), resultQuantiser(layer.key.epilogue), index),
    table_off: exponentials ? w.address(exponentials.tensor) : 0,
    table_length: exponentials?.length ?? 0,
  });
}

/** P.V of every head of one sequence, back in place beside the other heads, or as int32 per head. */
function weighValues(w: ProgramWriter, layer: LayerPlan, place: AttentionPlace): void {
  const { attentionSize, heads } = w.plan;
  const { context } = layer.attention;
  const { start, length, probabilities } = place;
  const format = probabilityFormat(layer);
  const stride = operandStride(length, format);
  for (let head = 0; head < heads; head++) {
    const column = head * w.headSize;
    const operands = {
      a: { off: w.at('probabilities') + probabilities + head * length * stride, stride, format },
      b: valueOperand(w, layer, place, column),
      m: length,
      n: w.headSize,
      k: length,
    };
    if (context.kind === 'threshold') {
      const outStride = operandStride(attentionSize, context.format);
      const off =
        w.at(branchRole('context', 0)) + start * outStride + blockOffset(column, formatBits(context.format));
      w.descriptors.push({
        ...operands,
        o: { off, stride: outStride, format: context.format },
        n0: column % BLOCK_ELEMENTS,
        table: w.address(context.table) + column * TABLE_ENTRY_BYTES,
      });
    } else {
      const outStride = accumulatorStride(w.headSize);
      const off = w.at(accRole('context')) + (head * w.geometry.rows + start) * outStride;
      w.descriptors.push({ ...operands, o: { off, stride: outStride, format: INT32 } });
    }
  }
}

/** Where the context needs a vector step: all heads of all sequences to the operands of the output projection. */
function requantiseContext(w: ProgramWriter, layer: LayerPlan, sums: boolean): void {
  const { probabilities, valueStep, context } = layer.attention;
  if (context.kind !== 'affine') return;
  const { rows } = w.geometry;
  const stride = accumulatorStride(w.headSize);
  w.requantise(
    context,
    () => [
      {
        off: w.at(accRole('context')),
        stride,
        block: w.headSize,
        blockStride: rows * stride,
        foundA: probabilities.kind === 'softmax' ? w.found('probabilities', probabilities.probability) : 0,
        foundB: w.found('value', resultQuantiser(layer.value.epilogue)),
        ...(sums && {
          sums: { off: w.at('valueSums'), stride: accumulatorStride(w.plan.attentionSize), scale: valueStep },
        }),
      },
    ],
    () => w.consumers('context', context.quantisers, w.plan.attentionSize),
    { rows, width: w.plan.attentionSize, ...w.bySequence() },
    [w.range(accRole('context')), ...(sums ? [w.range('valueSums')] : [])],
  );
}
