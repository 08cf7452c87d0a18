/**
 * Plan and batch geometry to program: the forward pass of a post-LayerNorm encoder, written layer by layer and block by block, and put
 * in order by the scheduler.
 */
import type { LayerPlan, LinearPlan, Plan } from '../model/plan.js';
import { attend } from './attention.js';
import { blockTarget, cutAfterFirsts, cutRows, isDivisible, type RowBlock } from './blocks.js';
import { type CostModel, EMULATOR } from './cost.js';
import { answersFromFirstTokens } from './first-tokens.js';
import { type Geometry, packSequences } from './geometry.js';
import {
  blockWrites,
  inputsOf,
  linear,
  partOf,
  type Rows,
  realValues,
  requantise,
  residualNorm,
} from './linear-steps.js';
import { accRole, type Role } from './memory.js';
import type { Program } from './program.js';
import { type Consumer, ProgramWriter, type TensorAddress } from './program-writer.js';

export type { TensorAddress } from './program-writer.js';

function makeRows(w: ProgramWriter, geometry: Geometry): Rows {
  const { plan, cost } = w;
  const target = cost.overlap ? blockTarget(plan, geometry, cost) : geometry.rows;
  return {
    geometry,
    blocks: cutRows(geometry, target, isDivisible(plan)),
    starts: w.bySequence(geometry),
  };
}

/** Who reads the rows that a step leaves, piece by piece: a piece is part of a block. */
interface Readers {
  pieces(block: RowBlock): readonly RowBlock[];
  of(piece: RowBlock): readonly Consumer[];
}

/** The projections of a layer read the hidden states. Where only first tokens ask, only theirs become operands of Q. */
function readers(w: ProgramWriter, next: LayerPlan | undefined, onlyFirstsAsk: boolean): Readers {
  const others = next ? [...inputsOf(w, next.key, 'keyIn'), ...inputsOf(w, next.value, 'valueIn')] : [];
  const all = next ? [...inputsOf(w, next.query, 'queryIn'), ...others] : [];
  if (!onlyFirstsAsk) return { pieces: (block) => [block], of: () => all };
  const starts = new Set(w.geometry.sequences.map(({ start }) => start));
  return {
    pieces: (block) => cutAfterFirsts(w.geometry, block),
    of: ({ start }) => (starts.has(start) ? all : others),
  };
}

function embed(w: ProgramWriter, next: Readers, rows: Rows): void {
  const { hidden, embeddings } = w.plan;
  const { words, position, type } = embeddings;
  for (const block of rows.blocks.flatMap((whole) => next.pieces(whole))) {
    const consumers = next.of(block);
    w.step(
      'EMBED',
      {
        what: 'embed',
        part: partOf(rows, block),
        elements: block.rows * hidden,
        kinds: words.map(() => 'embed'),
        reads: [],
        writes: [
          w.access('x', block.start * hidden * 4, block.rows * hidden * 4),
          ...blockWrites(consumers, rows, block),
        ],
      },
      () => {
        for (const { planes, scale } of words) {
          w.record('TABLE', {
            word_off: w.address(planes.tensor),
            word_stride: planes.stride,
            word_format: planes.format,
            word_scale_off: w.address(scale),
          });
        }
      },
      consumers,
      {
        terms: words.length,
        rows: rows.geometry.rows,
        width: hidden,
        ...rows.starts,
        ids_off: w.at('ids'),
        positions_off: w.at('positions'),
        types_off: w.at('types'),
        position_off: w.address(position.tensor),
        type_off: w.address(type.tensor),
        words: words[0]!.planes.rows,
        positions: position.rows,
        types: type.rows,
        ...w.norm(embeddings.norm),
        out_off: w.at('x'),
      },
    );
  }
}

/** From the context to the hidden states of the next layer: output projection, feed-forward network, and both norms, on `x`. */
function feedForward(w: ProgramWriter, layer: LayerPlan, x: Role, next: Readers, rows: Rows): void {
  const { output, attentionNorm, up, down, outputNorm } = layer;
  for (const block of rows.blocks) {
    linear(w, output, 'context', 'projected', block);
    residualNorm(w, output, 'context', x, attentionNorm, inputsOf(w, up, 'upIn'), rows, block);
    linear(w, up, 'upIn', 'up', block);
    requantise(w, up, 'upIn', 'up', layer.activation, rows, block);
    linear(w, down, 'up', 'projected', block);
    for (const piece of next.pieces(block))
      residualNorm(w, down, 'up', x, outputNorm, next.of(piece), rows, piece);
  }
}

/** Rows `index` of x, as operands or as rows of float32 in `to`. */
function pick(
  w: ProgramWriter,
  x: Role,
  index: readonly number[],
  consumers: readonly Consumer[],
  to: Role | null,
  rows: Rows,
): void {
  const { hidden } = w.plan;
  const count = rows.geometry.rows;
  const whole = { start: 0, rows: count };
  w.step(
    'PICK',
    {
      what: 'pick',
      elements: count * hidden,
      kinds: ['copy'],
      reads: [w.access(x)],
      writes: [
        ...blockWrites(consumers, rows, whole),
        ...(to === null ? [] : [w.access(to, 0, count * hidden * 4)]),
      ],
    },
    () => undefined,
    consumers,
    {
      rows: count,
      width: hidden,
      ...rows.starts,
      index_off: w.indices(index),
      x_off: w.at(x),
      x_rows: w.buffer(x).bytes / (hidden * 4),
      out_off: to === null ? 0 : w.at(to),
    },
  );
}

/** Pooler on the rows `index` of x and tanh: `pooled`. Each is a sequence of its own for the pooler's quantisers. */
function pool(w: ProgramWriter, pooler: LinearPlan, x: Role, index: readonly number[], rows: Rows): void {
  pick(w, x, index, inputsOf(w, pooler, 'poolerIn'), null, rows);
  linear(w, pooler, 'poolerIn', 'pooler', { start: 0, rows: rows.geometry.rows });
  realValues(w, pooler, 'poolerIn', accRole('pooler'), 'pooled', 'tanh', rows);
}

/** The full-precision layer of a head, on the pooled rows or on every token. */
function dense(w: ProgramWriter, from: Role, rows: number): void {
  const { head: plan, hidden } = w.plan;
  if (plan.task === 'hidden-states') return;
  const { weight, bias } = plan.dense;
  w.step(
    'DENSE',
    {
      what: 'head',
      elements: rows * hidden * weight.rows,
      kinds: ['dense'],
      reads: [w.access(from, 0, rows * hidden * 4)],
      writes: [w.access('logits')],
    },
    () => undefined,
    [],
    {
      rows,
      width: hidden,
      out_width: weight.rows,
      x_off: w.at(from),
      weight_off: w.address(weight.tensor),
      bias_off: w.address(bias),
      out_off: w.at('logits'),
    },
  );
}

/**
 * Builds the program of a batch of sequences of the given lengths (tokens), with its arena at window offset `base`.
 * Lengths must be 1 to plan.maxTokens. `cost` decides order and tile sizes, never results.
 */
export function buildProgram(
  plan: Plan,
  address: TensorAddress,
  lengths: readonly number[],
  base: number,
  cost: CostModel = EMULATOR,
): Program {
  const geometry = packSequences(lengths);
  const w = new ProgramWriter(plan, address, geometry, base, cost);
  const { layers, head } = plan;
  const rows = makeRows(w, geometry);
  /** The first token of every sequence, one after another. */
  const firsts = makeRows(w, packSequences(lengths.map(() => 1)));
  const starts = geometry.sequences.map(({ start }) => start);
  const gathered = answersFromFirstTokens(plan);
  const readersOf = (index: number) => readers(w, layers[index], gathered && index === layers.length - 1);
  embed(w, readersOf(0), rows);
  layers.forEach((layer, index) => {
    w.layer = index;
    const last = index === layers.length - 1 && gathered;
    const queries = last ? firsts : rows;
    attend(w, layer, rows, queries);
    if (last) pick(w, 'x', starts, [], 'first', firsts);
    feedForward(w, layer, last ? 'first' : 'x', readersOf(index + 1), queries);
  });
  w.layer = layers.length;
  if (head.task === 'sequence-classification') {
    pool(
      w,
      head.pooler,
      gathered ? 'first' : 'x',
      gathered ? lengths.map((_, index) => index) : starts,
      firsts,
    );
    dense(w, 'pooled', lengths.length);
  } else dense(w, 'x', geometry.rows);
  return w.finish();
}
