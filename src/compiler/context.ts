/** V and what is made of it: P.V by the engine, or of real probabilities on the CPU, to the operands of the output projection. */
import { TABLE_ENTRY_BYTES } from '../device/contract.generated.js';
import { contextIntegers, probabilityFormat, resultFormat } from '../model/integers.js';
import type { LayerPlan } from '../model/plan.js';
import { type AttentionPlace, headGroups } from './attention-place.js';
import { resultQuantiser } from './formats.js';
import { blockWrites, partOf, type Rows, sequencesIn, writeTerms } from './linear-steps.js';
import { accRole, branchRole, integerStride, needsProbabilitySums, operandStride } from './memory.js';
import type { Access, Consumer, Matrix, ProgramWriter } from './program-writer.js';

/** V^T of one sequence. */
export function valueMatrix(
  w: ProgramWriter,
  { value: { epilogue } }: LayerPlan,
  { length, value }: AttentionPlace,
): Matrix {
  return w.operand('value', length, resultFormat(epilogue), value);
}

/** Quantisers of real context rows: those of one sequence among all. */
export function contextConsumers(
  w: ProgramWriter,
  { attention: { context } }: LayerPlan,
  { index, queryStart }: AttentionPlace,
): Consumer[] {
  if (context.kind !== 'affine') return [];
  return context.quantisers.map((quantiser, branch) => {
    const role = branchRole('context', branch);
    const stride = operandStride(w.plan.attentionSize, quantiser.format);
    return {
      quantiser,
      matrix: w.operand(role, w.plan.attentionSize, quantiser.format, queryStart * stride),
      found: w.foundEntries(role, quantiser, index, 1),
    };
  });
}

/** The record behind a SOFTMAX whose probabilities stay real: V of one sequence, and where its codes are unpacked. */
export function valueRecord(w: ProgramWriter, layer: LayerPlan, place: AttentionPlace): void {
  const { context } = layer.attention;
  const scale = context.kind === 'affine' ? context.terms[0]!.scale : 1;
  const { off, stride, format } = valueMatrix(w, layer, place);
  w.record('VALUE', {
    width: w.plan.attentionSize,
    off,
    stride,
    format,
    found_off: w.found('value', resultQuantiser(layer.value.epilogue), place.index),
    scale: typeof scale === 'number' ? scale : 1,
    codes_off: w.at('valueCodes'),
  });
}

/** P.V of every head of one sequence, back in place beside the other heads, or as integers per head. */
export function weighValues(w: ProgramWriter, layer: LayerPlan, place: AttentionPlace): void {
  const { attentionSize } = w.plan;
  const { context } = layer.attention;
  const { length, queryStart, queries, probabilities } = place;
  const format = probabilityFormat(layer);
  if (format === null) return;
  const bits = contextIntegers(w.plan, layer);
  const value = valueMatrix(w, layer, place);
  const weights = w.operand('probabilities', length, format, probabilities);
  const out =
    context.kind === 'affine'
      ? w.integers(accRole('context'), w.headSize, bits!)
      : w.operand(branchRole('context', 0), attentionSize, context.format);
  const affine = context.kind === 'affine';
  const all = w.geometry.rows;
  const by = {
    a: { rows: queries, columns: 0 },
    b: { rows: w.headSize, columns: 0 },
    o: affine ? { rows: all, columns: 0 } : { rows: 0, columns: w.headSize },
    table: affine ? 0 : w.headSize * TABLE_ENTRY_BYTES,
  };
  for (const { first, end } of headGroups(w, layer, place)) {
    const heads = end - first;
    const column = first * w.headSize;
    const product = {
      a: { matrix: weights, row: first * queries, column: 0 },
      b: { matrix: value, row: column, column: 0 },
      o: affine
        ? { matrix: out, row: first * all + queryStart, column: 0 }
        : { matrix: out, row: queryStart, column },
      m: queries,
      n: w.headSize,
      k: length,
      ...(affine ? w.integerTable(bits!) : { table: w.address(context.table) + column * TABLE_ENTRY_BYTES }),
    };
    w.tile('context', product, heads, by);
    w.touch('read', product.a, heads * queries, length);
    w.touch('read', product.b, heads * w.headSize, length);
    if (!affine) w.touch('write', product.o, queries, heads * w.headSize);
    else
      for (let head = first; head < end; head++)
        w.touch('write', { matrix: out, row: head * all + queryStart, column: 0 }, queries, w.headSize);
  }
}

/**
 * Where the context needs a vector step: all heads of all sequences to the operands of the output projection. `sums`: an offset of P
 * multiplies sums over V.
 */
export function requantiseContext(w: ProgramWriter, layer: LayerPlan, sums: boolean, rows: Rows): void {
  const { probabilities, valueStep, context } = layer.attention;
  if (context.kind !== 'affine' || probabilities.kind === 'real') return;
  const { heads, attentionSize } = w.plan;
  const bits = contextIntegers(w.plan, layer)!;
  const stride = integerStride(w.headSize, bits);
  const all = w.geometry.rows;
  const sumStride = integerStride(attentionSize, 32);
  const valueQuantiser = resultQuantiser(layer.value.epilogue);
  const probability = probabilities.kind === 'softmax' ? probabilities.probability : null;
  const term = {
    off: w.at(accRole('context')),
    stride,
    bits,
    block: w.headSize,
    blockStride: all * stride,
    foundA: w.found('probabilities', probability),
    foundB: w.found('value', valueQuantiser),
    ...(sums && { sums: { off: w.at('valueSums'), stride: sumStride, scale: valueStep } }),
    ...(needsProbabilitySums(layer) && { rowSums: { off: w.at('probabilitySums'), stride: all * 8 } }),
  };
  for (const block of rows.blocks) {
    const { first, count } = sequencesIn(rows.geometry, block);
    const reads: Access[] = [];
    for (let head = 0; head < heads; head++) {
      const row = head * all + block.start;
      reads.push(w.access(accRole('context'), row * stride, block.rows * stride));
      if (needsProbabilitySums(layer)) reads.push(w.access('probabilitySums', row * 8, block.rows * 8));
    }
    for (const found of [
      w.foundEntries('probabilities', probability, first, count),
      w.foundEntries('value', valueQuantiser, first, count),
      sums ? w.access('valueSums', first * sumStride, count * sumStride) : null,
    ]) {
      if (found) reads.push(found);
    }
    const consumers = w.consumers('context', context.quantisers, attentionSize);
    w.step(
      'AFFINE',
      {
        what: 'context',
        part: partOf(rows, block),
        elements: block.rows * attentionSize,
        kinds: ['affine'],
        reads,
        writes: blockWrites(consumers, rows, block),
      },
      () => writeTerms(w, context, [term], attentionSize),
      consumers,
      { rows: rows.geometry.rows, width: attentionSize, ...rows.starts, terms: 1 },
    );
  }
}
