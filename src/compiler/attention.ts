/** The attention half of an encoder block: projections, scores, softmax, context, output projection. */
import { BLOCK_ELEMENTS, FLAG } from '../device/contract.generated.js';
import { blockOffset, formatByte, type Qmm } from '../device/descriptor.js';
import { formatBits, linearIntegers, resultFormat, scoreIntegers } from '../model/integers.js';
import type { LayerPlan, LinearPlan, QuantiserPlan } from '../model/plan.js';
import { STEP_ACTIVATION } from '../native/steps.generated.js';
import {
  type AttentionPlace,
  contextConsumers,
  pushValue,
  requantiseContext,
  valueOperand,
  weighValues,
} from './context.js';
import { resultQuantiser, storesOffset } from './formats.js';
import {
  accRole,
  branchRole,
  integerStride,
  needsKeySums,
  needsProbabilitySums,
  operandStride,
  probabilityBytes,
  type Role,
  scoreBytes,
  valueBytes,
  valueIntegerBytes,
} from './memory.js';
import type { Consumer, ProgramWriter } from './program-writer.js';

const U1 = formatByte({ bits: 1, encoding: 'U' });

/** Where each sequence's V, scores and probabilities lie. */
function places(w: ProgramWriter, layer: LayerPlan): AttentionPlace[] {
  let value = 0;
  let valueAcc = 0;
  let scores = 0;
  let probabilities = 0;
  return w.geometry.sequences.map((place) => {
    const here = { ...place, value, valueAcc, scores, probabilities };
    value += valueBytes(w.plan, layer, place.length);
    valueAcc += valueIntegerBytes(layer.value, place.length);
    scores += scoreBytes(w.plan, layer, place.length);
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
  linear: LinearPlan,
  { start, length, value, valueAcc }: AttentionPlace,
): void {
  const { branches, epilogue } = linear;
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
      epilogue.kind === 'affine'
        ? {
            ...operands,
            ...w.integers(
              w.at(branchRole(accRole('value'), index)) + valueAcc,
              length,
              linearIntegers(linear)!,
            ),
          }
        : {
            ...operands,
            o: {
              off: w.at('value') + value,
              stride: operandStride(length, epilogue.format),
              format: epilogue.format,
            },
            flags: FLAG.TABLE_BY_ROW,
            table: w.address(epilogue.table),
          },
    );
  });
}

/** Where V needs a vector step: one sequence's V^T to planes. Its found entries are those of that sequence alone. */
function requantiseValue(
  w: ProgramWriter,
  linear: LinearPlan,
  { index, length, value, valueAcc }: AttentionPlace,
): void {
  const { branches, epilogue } = linear;
  const quantiser = resultQuantiser(epilogue);
  if (epilogue.kind !== 'affine' || quantiser === null) return;
  const rows = branches[0]!.weight.rows;
  const stride = operandStride(length, quantiser.format);
  const integers = linearIntegers(linear)!;
  const bytes = valueIntegerBytes(linear, length);
  const accumulators = branches.map((_, branch) => ({
    off: w.at(branchRole(accRole('value'), branch)) + valueAcc,
    bytes,
  }));
  w.wait(accumulators);
  const terms = branches.map(({ input }, branch) => {
    const { sums } = epilogue.terms[branch]!;
    return {
      off: accumulators[branch]!.off,
      stride: integerStride(length, integers),
      bits: integers,
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
  if (needsKeySums(layer)) sumKeys(w, layer);
  const counted = sequences.map((place) => {
    score(w, layer, place);
    return w.descriptors.count;
  });
  w.submit();
  sequences.forEach((place, index) => {
    softmax(w, layer, place, counted[index]!);
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
  const stride = integerStride(attentionSize, 32);
  w.descriptors.push({
    a: { off: w.address(w.plan.ones!), stride: operandStride(place.length, U1), format: U1 },
    b: valueOperand(w, layer, place, 0),
    ...w.integers(w.at('valueSums') + place.index * stride, attentionSize, 32),
    m: 1,
    n: attentionSize,
    k: place.length,
  });
}

/**
 * keySums[head][row] = sum over the codes of one head of a key, as products with a row of ones. An offset of Q multiplies them; what
 * else offsets of Q and K add to a score is the same for all keys of a row, and softmax does not see it.
 */
function sumKeys(w: ProgramWriter, layer: LayerPlan): void {
  const { rows } = w.geometry;
  const stride = integerStride(rows, 32);
  for (let head = 0; head < w.plan.heads; head++) {
    const k0 = (head * w.headSize) % BLOCK_ELEMENTS;
    w.descriptors.push({
      a: { off: w.address(w.plan.ones!), stride: operandStride(k0 + w.headSize, U1), format: U1 },
      b: projected(w, 'key', layer.key, 0, head),
      ...w.integers(w.at('keySums') + head * stride, rows, 32),
      m: 1,
      n: rows,
      k: w.headSize,
      k0,
    });
  }
}

/** Q or K from row `start` on, one head. */
function projected(w: ProgramWriter, role: Role, { epilogue }: LinearPlan, start: number, head: number) {
  const format = resultFormat(epilogue);
  const stride = operandStride(w.plan.attentionSize, format);
  return {
    off: w.at(branchRole(role, 0)) + start * stride + blockOffset(head * w.headSize, formatBits(format)),
    stride,
    format,
  };
}

/** Q.K^T of every head of one sequence: integers, or P itself where a threshold decides it. */
function score(
  w: ProgramWriter,
  layer: LayerPlan,
  { start, length, scores, probabilities: p }: AttentionPlace,
): void {
  const { heads } = w.plan;
  const { query, key, attention } = layer;
  const { probabilities } = attention;
  const result = (head: number): Pick<Qmm, 'o' | 'table'> => {
    if (probabilities.kind !== 'boolean') {
      const bits = scoreIntegers(w.plan, layer)!;
      return w.integers(w.at('scores') + scores + head * length * integerStride(length, bits), length, bits);
    }
    const { format, table } = probabilities;
    const stride = operandStride(length, format);
    return {
      o: { off: w.at('probabilities') + p + head * length * stride, stride, format },
      table: w.address(table),
    };
  };
  for (let head = 0; head < heads; head++) {
    w.descriptors.push({
      a: projected(w, 'query', query, start, head),
      b: projected(w, 'key', key, start, head),
      ...result(head),
      m: length,
      n: length,
      k: w.headSize,
      k0: (head * w.headSize) % BLOCK_ELEMENTS,
    });
  }
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
    out: { off: w.at('probabilities') + p, bytes: probabilityBytes(w.plan, layer, length) },
    stride: operandStride(length, probability.format),
    found: w.found('probabilities', probability, index),
    ...(needsProbabilitySums(layer) && {
      sums: { off: w.at('probabilitySums') + start * 8, rows: length, stride: rows * 8 },
    }),
  };
}

/**
 * The probabilities of one sequence, once the program's first `counted` descriptors have given its scores; where they stay real, its
 * context as well.
 */
function softmax(w: ProgramWriter, layer: LayerPlan, place: AttentionPlace, counted: number): void {
  const { probabilities } = layer.attention;
  if (probabilities.kind === 'boolean') return;
  const { index, start, length } = place;
  const { exponentials, scale } = probabilities;
  const acc = w.at('scores') + place.scores;
  const integers = scoreIntegers(w.plan, layer)!;
  const keySums = needsKeySums(layer);
  const valueByEngine = probabilities.kind === 'real' && layer.value.epilogue.kind !== 'affine';
  w.wait(
    [
      { off: acc, bytes: scoreBytes(w.plan, layer, length) },
      ...(keySums ? [w.range('keySums')] : []),
      ...(valueByEngine
        ? [{ off: w.at('value') + place.value, bytes: valueBytes(w.plan, layer, length) }]
        : []),
    ],
    counted,
  );
  const fields = {
    tokens: length,
    heads: w.plan.heads,
    acc_off: acc,
    acc_stride: integerStride(length, integers),
    acc_int16: Number(integers === 16),
    scale,
    found_a_off: w.found(branchRole('query', 0), resultQuantiser(layer.query.epilogue), index),
    found_b_off: w.found(branchRole('key', 0), resultQuantiser(layer.key.epilogue), index),
    table_off: exponentials ? w.address(exponentials.tensor) : 0,
    table_length: exponentials?.length ?? 0,
    ...(keySums && {
      key_sums_off: w.at('keySums') + start * 4,
      key_sums_stride: integerStride(w.geometry.rows, 32),
    }),
  };
  if (probabilities.kind === 'real') {
    const consumers = contextConsumers(w, layer, place);
    w.vector('SOFTMAX', () => pushValue(w, layer, place), consumers, { ...fields, terms: 1 });
  } else {
    const consumer = probabilityConsumer(w, layer, place, probabilities.probability);
    w.vector('SOFTMAX', () => undefined, [consumer], fields);
  }
}
