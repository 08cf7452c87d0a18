/** The attention half of an encoder block: projections, scores, softmax, context. */
import { BLOCK_ELEMENTS, FLAG } from '../device/contract.generated.js';
import { formatByte } from '../device/descriptor.js';
import { linearIntegers, resultFormat, scoreIntegers } from '../model/integers.js';
import type { LayerPlan, LinearPlan } from '../model/plan.js';
import { type AttentionPlace, headGroups, places, scoreMatrix, scoreRows } from './attention-place.js';
import { softmax } from './attention-softmax.js';
import { requantiseContext, valueMatrix, weighValues } from './context.js';
import { resultQuantiser, storesOffset } from './formats.js';
import { linear, type Rows, requantise, weightsOf, writeTerms } from './linear-steps.js';
import {
  accRole,
  branchRole,
  integerStride,
  needsKeySums,
  operandStride,
  type Role,
  valueIntegerBytes,
} from './memory.js';
import type { Matrix, Place, ProgramWriter } from './program-writer.js';

const U1 = formatByte({ bits: 1, encoding: 'U' });

/**
 * One layer's attention: from the operands of the projections (of `rows`) to those of the output projection (of `queries`, which are
 * the same rows or the first one of every sequence).
 */
export function attend(w: ProgramWriter, layer: LayerPlan, rows: Rows, queries: Rows): void {
  const { query, key, value } = layer;
  const sequences = places(w, layer, queries.geometry);
  for (const block of rows.blocks) {
    linear(w, key, 'keyIn', 'key', block);
    requantise(w, key, 'keyIn', 'key', 'identity', rows, block);
  }
  project(w, query, rows, queries);
  for (const place of sequences) {
    for (const { start, rows: count } of rows.blocks) {
      const begin = Math.max(start, place.start);
      const end = Math.min(start + count, place.start + place.length);
      if (begin < end) projectValue(w, value, place, begin - place.start, end - begin);
    }
    requantiseValue(w, value, place);
  }
  const { probabilities } = layer.attention;
  const sums =
    probabilities.kind === 'softmax' && storesOffset(probabilities.probability) && w.plan.ones !== null;
  if (sums) for (const place of sequences) sumValues(w, layer, place);
  if (needsKeySums(layer)) sumKeys(w, layer);
  for (const place of sequences) score(w, layer, place);
  for (const place of sequences) {
    softmax(w, layer, place);
    weighValues(w, layer, place);
  }
  requantiseContext(w, layer, sums, queries);
}

/** Q of the rows that ask. Where these are first tokens, runs of equally long sequences are one product, a sequence's rows apart. */
function project(w: ProgramWriter, query: LinearPlan, rows: Rows, queries: Rows): void {
  if (rows === queries) {
    for (const block of rows.blocks) {
      linear(w, query, 'queryIn', 'query', block);
      requantise(w, query, 'queryIn', 'query', 'identity', rows, block);
    }
    return;
  }
  const { sequences } = w.geometry;
  for (let first = 0; first < sequences.length; ) {
    const { start, length } = sequences[first]!;
    let count = 1;
    while (sequences[first + count]?.length === length) count++;
    linear(w, query, 'queryIn', 'query', { start: first, rows: count }, { start, step: length });
    first += count;
  }
  for (const block of queries.blocks) requantise(w, query, 'queryIn', 'query', 'identity', queries, block);
}

/**
 * V^T of `count` tokens from `token` on. It comes out transposed because its weights are the A operand: tokens are then contiguous, as
 * P.V needs them.
 */
function projectValue(
  w: ProgramWriter,
  plan: LinearPlan,
  { start, length, value, valueAcc }: AttentionPlace,
  token: number,
  count: number,
): void {
  const { branches, epilogue } = plan;
  branches.forEach((branch, index) => {
    const { input, weight } = branch;
    const bits = linearIntegers(plan);
    w.product('value', {
      a: { matrix: weightsOf(w, branch), row: 0, column: 0 },
      b: {
        matrix: w.operand(branchRole('valueIn', index), weight.cols, input.format),
        row: start + token,
        column: 0,
      },
      m: weight.rows,
      n: count,
      k: weight.cols,
      ...(epilogue.kind === 'affine'
        ? {
            o: {
              matrix: w.integers(branchRole(accRole('value'), index), length, bits!, valueAcc),
              row: 0,
              column: token,
            },
            ...w.integerTable(bits!),
          }
        : {
            o: { matrix: w.operand('value', length, epilogue.format, value), row: 0, column: token },
            flags: FLAG.TABLE_BY_ROW,
            table: w.address(epilogue.table),
          }),
    });
  });
}

/** Where V needs a vector step: one sequence's V^T to planes. Its found entries are those of that sequence alone. */
function requantiseValue(
  w: ProgramWriter,
  plan: LinearPlan,
  { index, length, value, valueAcc }: AttentionPlace,
): void {
  const { branches, epilogue } = plan;
  const quantiser = resultQuantiser(epilogue);
  if (epilogue.kind !== 'affine' || quantiser === null) return;
  const rows = branches[0]!.weight.rows;
  const bits = linearIntegers(plan)!;
  const bytes = valueIntegerBytes(plan, length);
  const accumulators = branches.map((_, branch) =>
    w.access(branchRole(accRole('value'), branch), valueAcc, bytes),
  );
  const terms = branches.map(({ input }, branch) => {
    const { sums } = epilogue.terms[branch]!;
    return {
      off: accumulators[branch]!.off,
      stride: integerStride(length, bits),
      bits,
      foundA: w.found(branchRole('valueIn', branch), input, index),
      ...(sums !== null && { sums: { off: w.address(sums), stride: 0, scale: 1 } }),
    };
  });
  const inputs = branches.flatMap(({ input }, branch) => {
    const found = w.foundEntries(branchRole('valueIn', branch), input, index, 1);
    return found ? [found] : [];
  });
  const matrix = w.operand('value', length, quantiser.format, value);
  const found = w.foundEntries('value', quantiser, index, 1);
  w.step(
    'AFFINE',
    {
      what: 'value',
      elements: rows * length,
      kinds: terms.map(() => 'affine'),
      reads: [...accumulators, ...inputs],
      writes: [w.access('value', value, rows * matrix.stride), ...(found ? [found] : [])],
    },
    () => writeTerms(w, epilogue, terms, length),
    [{ quantiser, matrix, found }],
    {
      rows,
      width: length,
      sequences: 1,
      by_row: 1,
      bias_off: epilogue.bias === null ? 0 : w.address(epilogue.bias),
      terms: terms.length,
    },
  );
}

/** valueSums[sequence][channel] = sum of V's codes over the sequence, as a product with a row of ones. */
function sumValues(w: ProgramWriter, layer: LayerPlan, place: AttentionPlace): void {
  const { attentionSize } = w.plan;
  w.product('value sums', {
    a: { matrix: onesOf(w, place.length), row: 0, column: 0 },
    b: { matrix: valueMatrix(w, layer, place), row: 0, column: 0 },
    o: { matrix: w.integers('valueSums', attentionSize, 32), row: place.index, column: 0 },
    m: 1,
    n: attentionSize,
    k: place.length,
  });
}

/** A row of `length` ones. */
const onesOf = (w: ProgramWriter, length: number): Matrix => ({
  buffer: null,
  off: w.address(w.plan.ones!),
  stride: operandStride(length, U1),
  format: U1,
});

/**
 * keySums[head][row] = sum over the codes of one head of a key, as products with a row of ones. An offset of Q multiplies them; what
 * else offsets of Q and K add to a score is the same for all keys of a row, and softmax does not see it.
 */
function sumKeys(w: ProgramWriter, layer: LayerPlan): void {
  const { rows } = w.geometry;
  for (let head = 0; head < w.plan.heads; head++) {
    const k0 = (head * w.headSize) % BLOCK_ELEMENTS;
    w.product('key sums', {
      a: { matrix: onesOf(w, k0 + w.headSize), row: 0, column: k0 },
      b: projected(w, 'key', layer.key, 0, head),
      o: { matrix: w.integers('keySums', rows, 32), row: head, column: 0 },
      m: 1,
      n: rows,
      k: w.headSize,
    });
  }
}

/** Q or K from row `row` on, one head. */
function projected(w: ProgramWriter, role: Role, { epilogue }: LinearPlan, row: number, head: number): Place {
  const matrix = w.operand(branchRole(role, 0), w.plan.attentionSize, resultFormat(epilogue));
  return { matrix, row, column: head * w.headSize };
}

/** Q.K^T of every head of one sequence: integers, or P itself where a threshold decides it. */
function score(w: ProgramWriter, layer: LayerPlan, place: AttentionPlace): void {
  const { query, key, attention } = layer;
  const { probabilities } = attention;
  const { start, length, queryStart, queries } = place;
  const rows = scoreRows(layer, place);
  const result =
    probabilities.kind === 'boolean'
      ? {
          matrix: w.operand('probabilities', length, probabilities.format, place.probabilities),
          table: { table: w.address(probabilities.table) },
        }
      : {
          matrix: scoreMatrix(w, layer, place),
          table: w.integerTable(scoreIntegers(w.plan, layer)!),
        };
  const head = { rows: 0, columns: w.headSize };
  for (const { first, end } of headGroups(w, layer, place)) {
    const product = {
      a: projected(w, 'query', query, queryStart, first),
      b: projected(w, 'key', key, start, first),
      o: { matrix: result.matrix, row: first * rows, column: 0 },
      m: queries,
      n: length,
      k: w.headSize,
      ...result.table,
    };
    w.tile('scores', product, end - first, { a: head, b: head, o: { rows, columns: 0 }, table: 0 });
    const columns = (end - first) * w.headSize;
    w.touch('read', product.a, queries, columns);
    w.touch('read', product.b, length, columns);
    w.touch('write', product.o, (end - first - 1) * rows + queries, length);
  }
}
