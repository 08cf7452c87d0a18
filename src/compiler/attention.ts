/** The attention half of an encoder block: projections, scores, softmax, context, output projection. */
import { BLOCK_ELEMENTS, FLAG } from '../device/contract.generated.js';
import { blockOffset, formatByte } from '../device/descriptor.js';
import type { LayerPlan, LinearPlan } from '../model/plan.js';
import { resultFormat } from './formats.js';
import type { SequencePlace } from './geometry.js';
import { accumulatorStride, operandStride, type Role } from './memory.js';
import { INT32, type ProgramWriter } from './program-writer.js';

const U1 = formatByte({ bits: 1, encoding: 'U' });

/** Q, K and V^T. V comes out transposed because its weights are the A operand, so tokens are contiguous for P.V. */
export function project(w: ProgramWriter, { query, key, value }: LayerPlan): void {
  const { rows } = w.geometry;
  const { hidden } = w.plan;
  w.linear(query, 'queryIn', query.epilogue.kind === 'threshold' ? 'query' : 'queryAcc');
  w.linear(key, 'keyIn', key.epilogue.kind === 'threshold' ? 'key' : 'keyAcc');
  const direct = value.epilogue.kind === 'threshold';
  w.descriptors.push({
    a: {
      off: w.address(value.weight.tensor),
      stride: value.weight.stride,
      format: value.weight.format,
    },
    b: {
      off: w.at('valueIn'),
      stride: operandStride(hidden, value.input.format),
      format: value.input.format,
    },
    o: direct
      ? {
          off: w.at('value'),
          stride: operandStride(rows, resultFormat(value.epilogue)!),
          format: resultFormat(value.epilogue)!,
        }
      : { off: w.at('valueAcc'), stride: accumulatorStride(rows), format: INT32 },
    m: hidden,
    n: rows,
    k: hidden,
    ...(value.epilogue.kind === 'threshold' && {
      flags: FLAG.TABLE_BY_ROW,
      table: w.address(value.epilogue.table),
    }),
  });
  w.submit();
  w.requantise(query.epilogue, 'queryAcc', 'query', rows, hidden, {});
  w.requantise(key.epilogue, 'keyAcc', 'key', rows, hidden, {});
  w.requantise(value.epilogue, 'valueAcc', 'value', hidden, rows, { by_row: 1 });
}

/** Scores, softmax and context, a sequence at a time, so that the engine multiplies one while the CPU exponentiates another. */
export function attend(w: ProgramWriter, layer: LayerPlan): void {
  const { sequences } = w.geometry;
  const { attention } = layer;
  if (attention.probability.kind === 'round-from-min') sumValues(w, layer);
  let scores = w.at('scores');
  const places = sequences.map((place) => {
    const off = scores;
    scores += w.plan.heads * place.length * accumulatorStride(place.length);
    score(w, layer, place, off);
    return { ...place, scores: off, counted: w.descriptors.count };
  });
  w.submit();
  let probabilities = w.at('probabilities');
  places.forEach((place, index) => {
    const stride = operandStride(place.length, attention.probability.format, place.k0);
    softmax(w, layer, index, place, place.scores, place.counted, probabilities, stride);
    weighValues(w, layer, place, probabilities, stride);
    probabilities += w.plan.heads * place.length * stride;
  });
  const { context } = attention;
  const sums = attention.probability.kind === 'round-from-min';
  w.requantise(
    context,
    'contextAcc',
    'context',
    w.geometry.rows,
    w.plan.hidden,
    {
      acc_stride: accumulatorStride(w.headSize),
      block: w.headSize,
      block_stride: w.geometry.rows * accumulatorStride(w.headSize),
      ...w.bySequence(),
      ...(sums && {
        t_off: w.at('probabilityMinima'),
        sums_off: w.at('valueSums'),
        sums_stride: accumulatorStride(w.plan.hidden),
        offset_scale: attention.valueStep,
      }),
    },
    { reads: sums ? ['valueSums'] : [] },
  );
  w.linear(layer.output, 'context', 'projected');
  w.submit();
  w.residualNorm(layer.output, layer.attentionNorm, null, [{ quantiser: layer.up.input, role: 'upIn' }]);
}

/** valueSums[sequence][channel] = sum of V's codes over the sequence, as a product with a row of ones. */
function sumValues(w: ProgramWriter, { value }: LayerPlan): void {
  const { hidden } = w.plan;
  w.geometry.sequences.forEach(({ length, k0 }, index) => {
    w.descriptors.push({
      a: { off: w.address(w.plan.ones!), stride: operandStride(length, U1, k0), format: U1 },
      b: valueOperand(w, value, 0, w.geometry.sequences[index]!.start),
      o: {
        off: w.at('valueSums') + index * accumulatorStride(hidden),
        stride: accumulatorStride(hidden),
        format: INT32,
      },
      m: 1,
      n: hidden,
      k: length,
      k0,
    });
  });
}

/** V^T from channel `channel` and the block that holds token `start`. */
function valueOperand(w: ProgramWriter, { epilogue }: LinearPlan, channel: number, start: number) {
  const format = resultFormat(epilogue)!;
  const stride = operandStride(w.geometry.rows, format);
  return {
    off: w.at('value') + channel * stride + blockOffset(start, 2 ** (format & 7)),
    stride,
    format,
  };
}

/** Q.K^T of every head of one sequence. */
function score(
  w: ProgramWriter,
  { query, key }: LayerPlan,
  { start, length }: SequencePlace,
  scores: number,
): void {
  const { hidden, heads } = w.plan;
  const operand = (role: Role, { epilogue }: LinearPlan, column: number) => {
    const format = resultFormat(epilogue)!;
    const stride = operandStride(hidden, format);
    return {
      off: w.at(role) + start * stride + blockOffset(column, 2 ** (format & 7)),
      stride,
      format,
    };
  };
  const stride = accumulatorStride(length);
  for (let head = 0; head < heads; head++) {
    const column = head * w.headSize;
    w.descriptors.push({
      a: operand('query', query, column),
      b: operand('key', key, column),
      o: { off: scores + head * length * stride, stride, format: INT32 },
      m: length,
      n: length,
      k: w.headSize,
      k0: column % BLOCK_ELEMENTS,
    });
  }
}

function softmax(
  w: ProgramWriter,
  { attention }: LayerPlan,
  index: number,
  { length, k0 }: SequencePlace,
  scores: number,
  counted: number,
  probabilities: number,
  stride: number,
): void {
  const { heads } = w.plan;
  const scoreStride = accumulatorStride(length);
  const { probability, exponentials } = attention;
  w.operations.push({
    kind: 'wait',
    count: counted,
    reads: [{ off: scores, bytes: heads * length * scoreStride }],
  });
  const first = w.steps.count;
  w.steps.push('SOFTMAX', {
    consumers: 1,
    tokens: length,
    heads,
    acc_off: scores,
    acc_stride: scoreStride,
    head_stride: length * scoreStride,
    scale: attention.scale,
    table_off: exponentials ? w.address(exponentials.tensor) : 0,
    table_length: exponentials?.length ?? 0,
  });
  w.quantise(probability, {
    out_off: probabilities,
    out_stride: stride,
    out_head_stride: length * stride,
    k0,
    ...(probability.kind === 'round-from-min' && { found_off: w.at('probabilityMinima') + index * 8 }),
  });
  w.operations.push({
    kind: 'vector',
    first,
    count: 2,
    writes: [{ off: probabilities, bytes: heads * length * stride }],
  });
}

/** P.V of every head of one sequence, back in place beside the other heads, or as int32 per head. */
function weighValues(
  w: ProgramWriter,
  { value, attention }: LayerPlan,
  { start, length, k0 }: SequencePlace,
  probabilities: number,
  stride: number,
): void {
  const { hidden, heads } = w.plan;
  const { probability, context } = attention;
  const headSize = w.headSize;
  for (let head = 0; head < heads; head++) {
    const column = head * headSize;
    const common = {
      a: { off: probabilities + head * length * stride, stride, format: probability.format },
      b: valueOperand(w, value, column, start),
      m: length,
      n: headSize,
      k: length,
      k0,
    };
    if (context.kind === 'threshold') {
      const outStride = operandStride(hidden, context.format);
      w.descriptors.push({
        ...common,
        o: {
          off: w.at('context') + start * outStride + blockOffset(column, 2 ** (context.format & 7)),
          stride: outStride,
          format: context.format,
        },
        n0: column % BLOCK_ELEMENTS,
        table: w.address(context.table) + column * 8,
      });
    } else {
      const outStride = accumulatorStride(headSize);
      w.descriptors.push({
        ...common,
        o: {
          off: w.at('contextAcc') + (head * w.geometry.rows + start) * outStride,
          stride: outStride,
          format: INT32,
        },
      });
    }
  }
  w.submit();
}
