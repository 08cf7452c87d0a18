/**
 * How the packed rows of a batch are cut into blocks, so that the engine multiplies one while the CPU computes another. A pure
 * function of lengths and of costs.
 */
import { formatBits } from '../model/integers.js';
import type { Plan } from '../model/plan.js';
import { type CostModel, tileTime } from './cost.js';
import { storesFound } from './formats.js';
import type { Geometry } from './geometry.js';

/** Rows of one block: whole sequences, or part of one. */
export interface RowBlock {
  readonly start: number;
  readonly rows: number;
}

/** Blocks begin this many rows apart inside a sequence: at a byte of V's planes, and at a cache line of every row. */
const STEP = 16;

/**
 * Cuts rows into blocks of about `target`. Short sequences go together; a longer one is cut in equal parts, but only where
 * `divisible`: quantisers that find their range need all rows of a sequence at once.
 */
export function cutRows({ sequences }: Geometry, target: number, divisible: boolean): RowBlock[] {
  const blocks: RowBlock[] = [];
  let begin = 0;
  for (const { start, length } of sequences) {
    const end = start + length;
    if (divisible && length > target) {
      if (start > begin) blocks.push({ start: begin, rows: start - begin });
      const parts = Math.ceil(length / target);
      const rows = Math.ceil(length / parts / STEP) * STEP;
      for (let at = start; at < end; at += rows) blocks.push({ start: at, rows: Math.min(rows, end - at) });
      begin = end;
    } else if (end - begin >= target) {
      blocks.push({ start: begin, rows: end - begin });
      begin = end;
    }
  }
  const rows = sequences.reduce((sum, { length }) => sum + length, 0);
  if (begin < rows) blocks.push({ start: begin, rows: rows - begin });
  return blocks;
}

/** Cuts a block so that the first token of every sequence is a piece of its own. */
export function cutAfterFirsts({ sequences }: Geometry, block: RowBlock): RowBlock[] {
  const end = block.start + block.rows;
  const cuts = new Set([block.start, end]);
  for (const { start } of sequences) {
    if (start >= block.start && start < end) cuts.add(start).add(Math.min(start + 1, end));
  }
  const rows = [...cuts].sort((a, b) => a - b);
  return rows.slice(1).map((row, index) => ({ start: rows[index]!, rows: row - rows[index]! }));
}

/** True where no quantiser of a model takes its range from all rows of a sequence. */
export function isDivisible({ layers }: Plan): boolean {
  const quantisers = layers.flatMap(({ query, key, value, output, up, down, attention }) => [
    ...[query, key, value, output, up, down].flatMap(({ branches, epilogue }) => [
      ...branches.map(({ input }) => input),
      ...(epilogue.kind === 'affine' ? epilogue.quantisers : []),
    ]),
    ...(attention.context.kind === 'affine' ? attention.context.quantisers : []),
  ]);
  return !quantisers.some(storesFound);
}

/**
 * Rows of a block. With b blocks, the work of one cannot overlap with anything, which is 1/b of a layer's; and every block costs what
 * its tiles and steps cost before they begin. b = sqrt(work / cost of a block) makes the sum least. A block has no fewer rows than
 * keep the array busy while it loads the weights.
 */
export function blockTarget({ layers }: Plan, { rows }: Geometry, { engine, cpu }: CostModel): number {
  const { query, key, value, output, up, down } = layers[0]!;
  let work = 0;
  let block = 0;
  let least = STEP;
  for (const plan of [query, key, value, output, up, down]) {
    for (const { input, weight } of plan.branches) {
      const [aBits, bBits] = [formatBits(input.format), formatBits(weight.format)];
      const shape = { m: rows, n: weight.rows, k: weight.cols, k0: 0, aBits, bBits, oBits: 1, table: true };
      work += tileTime(engine, shape);
      block += engine.tileNs;
      least = Math.max(
        least,
        (16 * engine.dm * engine.dn * (engine.dk / 128)) / (engine.bytesPerCycle * aBits),
      );
    }
    if (plan.epilogue.kind !== 'affine') continue;
    // Output and down are followed by a norm, the others by a requantisation.
    const each = plan === output || plan === down ? cpu.elementNs.norm : cpu.elementNs.affine;
    work += rows * plan.branches[0]!.weight.rows * each;
    block += cpu.stepNs;
  }
  const blocks = Math.max(1, Math.round(Math.sqrt(work / block)));
  return Math.max(Math.ceil(least / STEP) * STEP, Math.ceil(rows / blocks / STEP) * STEP);
}
