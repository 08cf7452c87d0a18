/** V and what is made of it: P.V by the engine, or of real probabilities on the CPU, to the operands of the output projection. */
import { BLOCK_ELEMENTS, TABLE_ENTRY_BYTES } from '../device/contract.generated.js';
import { blockOffset } from '../device/descriptor.js';
import { contextIntegers, formatBits, probabilityFormat, resultFormat } from '../model/integers.js';
import type { LayerPlan } from '../model/plan.js';
import { resultQuantiser } from './formats.js';
import type { SequencePlace } from './geometry.js';
import { accRole, branchRole, integerStride, needsProbabilitySums, operandStride } from './memory.js';
import type { Consumer, ProgramWriter } from './program-writer.js';

/** A sequence with its parts of the buffers that attention fills per sequence. */
export interface AttentionPlace extends SequencePlace {
  readonly value: number;
  readonly valueAcc: number;
  readonly scores: number;
  readonly probabilities: number;
}

/** V^T of one sequence from channel `channel` on. */
export function valueOperand(
  w: ProgramWriter,
  { value: { epilogue } }: LayerPlan,
  { length, value }: AttentionPlace,
  channel: number,
) {
  const format = resultFormat(epilogue);
  const stride = operandStride(length, format);
  return { off: w.at('value') + value + channel * stride, stride, format };
}

/** Quantisers of real context rows: those of one sequence among all. */
export function contextConsumers(
  w: ProgramWriter,
  { attention: { context } }: LayerPlan,
  { index, start, length }: AttentionPlace,
): Consumer[] {
  if (context.kind !== 'affine') return [];
  return context.quantisers.map((quantiser, branch) => {
    const role = branchRole('context', branch);
    const stride = operandStride(w.plan.attentionSize, quantiser.format);
    return {
      quantiser,
      out: { off: w.at(role) + start * stride, bytes: length * stride },
      stride,
      found: w.found(role, quantiser, index),
    };
  });
}

/** The record behind a SOFTMAX whose probabilities stay real: V of one sequence, and where its codes are unpacked. */
export function pushValue(w: ProgramWriter, layer: LayerPlan, place: AttentionPlace): void {
  const { context } = layer.attention;
  const scale = context.kind === 'affine' ? context.terms[0]!.scale : 1;
  const { off, stride, format } = valueOperand(w, layer, place, 0);
  w.value({
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
  const { attentionSize, heads } = w.plan;
  const { context } = layer.attention;
  const { start, length, probabilities } = place;
  const format = probabilityFormat(layer);
  if (format === null) return;
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
    if (context.kind !== 'affine') {
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
      const bits = contextIntegers(w.plan, layer)!;
      const row = head * w.geometry.rows + start;
      const off = w.at(accRole('context')) + row * integerStride(w.headSize, bits);
      w.descriptors.push({ ...operands, ...w.integers(off, w.headSize, bits) });
    }
  }
}

/**
 * Where the context needs a vector step: all heads of all sequences to the operands of the output projection. `sums`: an offset of P
 * multiplies sums over V.
 */
export function requantiseContext(w: ProgramWriter, layer: LayerPlan, sums: boolean): void {
  const { probabilities, valueStep, context } = layer.attention;
  if (context.kind !== 'affine' || probabilities.kind === 'real') return;
  const { rows } = w.geometry;
  const bits = contextIntegers(w.plan, layer)!;
  const stride = integerStride(w.headSize, bits);
  w.requantise(
    context,
    () => [
      {
        off: w.at(accRole('context')),
        stride,
        bits,
        block: w.headSize,
        blockStride: rows * stride,
        foundA: probabilities.kind === 'softmax' ? w.found('probabilities', probabilities.probability) : 0,
        foundB: w.found('value', resultQuantiser(layer.value.epilogue)),
        ...(sums && {
          sums: { off: w.at('valueSums'), stride: integerStride(w.plan.attentionSize, 32), scale: valueStep },
        }),
        ...(needsProbabilitySums(layer) && { rowSums: { off: w.at('probabilitySums'), stride: rows * 8 } }),
      },
    ],
    () => w.consumers('context', context.quantisers, w.plan.attentionSize),
    { rows, width: w.plan.attentionSize, ...w.bySequence() },
    [w.range(accRole('context')), ...(sums ? [w.range('valueSums')] : [])],
  );
}
