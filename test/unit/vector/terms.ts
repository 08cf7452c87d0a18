/** TERM records: drawn at random, written, and added up by their definition. */
import { type Bench, type Draw, type Found, NOT_FOUND, upTo } from './bench.js';

/** What the terms of a producer have in common. */
export interface TermShape {
  readonly rows: number;
  readonly width: number;
  readonly sequences: number;
  /** Columns of each block; a divisor of the width. */
  readonly block: number;
  readonly byRow: boolean;
}

/** A term's record, not written yet, and what it adds to one element. */
export interface Term {
  readonly push: () => void;
  readonly value: (sequence: number, row: number, column: number) => number;
  /** Whether value() is `scale*D` alone, the expression that the compiler searches. */
  readonly plain: boolean;
}

export interface TermOptions {
  readonly quarters: boolean;
  /** Accumulators lie in -most..most. */
  readonly most: number;
}

export function drawTerm(bench: Bench, draw: Draw, shape: TermShape, { quarters, most }: TermOptions): Term {
  const { rows, width, sequences, block, byRow } = shape;
  const real = () => (quarters ? draw.quarter() : draw.real());
  const blocks = width / block;
  const d = upTo(blocks).map(() => upTo(rows).map(() => upTo(block).map(() => draw.int(-most, most))));
  const int16 = most < 2 ** 15 && draw.chance();
  const bytes = int16 ? 2 : 4;
  const accStride = bytes * (block + draw.int(0, 5));
  const blockStride = rows * accStride + bytes * draw.int(0, 3);
  const acc = bench.putBlocks(d, blockStride, accStride, int16);
  const channels = byRow ? rows : width;
  const scales = draw.chance()
    ? Float64Array.from({ length: channels }, () => Math.abs(real()) + 0.25)
    : null;
  const scale = Math.abs(real()) + 0.25;
  const found = () => (draw.chance() ? draw.found(sequences, quarters) : null);
  const [a, b] = [found(), found()];
  const sums = drawSums(bench, draw, shape);
  const sumsScale = quarters ? draw.pick([0.5, 1]) : draw.real();
  const rowSums = draw.chance(0.3) ? upTo(blocks).map(() => upTo(rows).map(real)) : null;
  const fields = {
    acc_off: acc,
    acc_int16: Number(int16),
    acc_stride: accStride,
    block,
    block_stride: blockStride,
    scale_off: scales ? bench.put(scales) : 0,
    scale,
    found_a_off: a ? bench.putFound(a) : 0,
    found_b_off: b ? bench.putFound(b) : 0,
    sums_off: sums?.off ?? 0,
    sums_stride: sums?.stride ?? 0,
    sums_scale: sumsScale,
    row_sums_off: rowSums ? bench.put(Float64Array.from(rowSums.flat())) : 0,
    row_sums_stride: rows * 8,
  };
  const entry = (list: readonly Found[] | null, sequence: number) => list?.[sequence] ?? NOT_FOUND;
  return {
    push: () => bench.steps.push('TERM', fields),
    plain: !a && !b,
    value(sequence, row, column) {
      const [A, B] = [entry(a, sequence), entry(b, sequence)];
      const s = (scales ? scales[byRow ? row : column]! : scale) * A.step * B.step;
      const offsetA = sums ? A.t * B.step * sumsScale * sums.of(sequence, row, column) : 0;
      const offsetB = rowSums ? B.t * rowSums[Math.floor(column / block)]![row]! : 0;
      const offset = offsetA + offsetB;
      return s * d[Math.floor(column / block)]![row]![column % block]! + offset;
    },
  };
}

interface Sums {
  readonly off: number;
  readonly stride: number;
  readonly of: (sequence: number, row: number, column: number) => number;
}

/** Sums of both kinds, f64 fixed with the weights or i32 by sequence, or none. By rows there are only the former. */
function drawSums(bench: Bench, draw: Draw, { rows, width, sequences, byRow }: TermShape): Sums | null {
  if (draw.chance(0.3)) return null;
  if (byRow || draw.chance()) {
    const fixed = Float64Array.from({ length: byRow ? rows : width }, () => draw.int(-9, 9));
    return { off: bench.put(fixed), stride: 0, of: (_, row, column) => fixed[byRow ? row : column]! };
  }
  const counted = upTo(sequences).map(() => upTo(width).map(() => draw.int(-9, 9)));
  const stride = width * 4 + 4 * draw.int(0, 2);
  return {
    off: bench.putBlocks([counted], sequences * stride, stride),
    stride,
    of: (sequence, _, column) => counted[sequence]![column]!,
  };
}
