/**
 * Plan and batch geometry to program: the forward pass of a post-LayerNorm encoder. The engine gets work as early as its operands
 * exist; the CPU waits for a count, never for "everything".
 */
import type { AffinePlan, LayerPlan, LinearPlan, Plan } from '../model/plan.js';
import { STEP_ACTIVATION } from '../native/steps.generated.js';
import { attend, project } from './attention.js';
import { accRole, branchRole } from './memory.js';
import type { Program } from './program.js';
import { type Consumer, ProgramWriter, type TensorAddress } from './program-writer.js';

export type { TensorAddress } from './program-writer.js';

const ACTIVATION = { relu: STEP_ACTIVATION.RELU, gelu: STEP_ACTIVATION.GELU } as const;

/** The projections of a layer read the hidden states. */
function readers(w: ProgramWriter, next: LayerPlan | undefined): Consumer[] {
  if (next === undefined) return [];
  return [
    ...w.inputsOf(next.query, 'queryIn'),
    ...w.inputsOf(next.key, 'keyIn'),
    ...w.inputsOf(next.value, 'valueIn'),
  ];
}

function embed(w: ProgramWriter, consumers: readonly Consumer[]): void {
  const { hidden, embeddings } = w.plan;
  const { words, position, type } = embeddings;
  w.vector('EMBED', () => w.tables(), consumers, {
    terms: words.length,
    rows: w.geometry.rows,
    width: hidden,
    ...w.bySequence(),
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
  });
}

function feedForward(w: ProgramWriter, layer: LayerPlan, consumers: readonly Consumer[]): void {
  const { up, down } = layer;
  w.linear(up, 'upIn', 'up');
  w.submit();
  w.requantiseLinear(up, 'upIn', 'up', ACTIVATION[layer.activation]);
  w.linear(down, 'up', 'projected');
  w.submit();
  w.residualNorm(down, 'up', layer.outputNorm, consumers);
}

/** Pooler on the first token of every sequence and tanh: `pooled`. Each first token is a sequence of its own for the pooler's quantisers. */
function pool(w: ProgramWriter, pooler: LinearPlan): void {
  const { hidden } = w.plan;
  const { sequences, rows } = w.geometry;
  const oneEach = {
    rows: sequences.length,
    width: hidden,
    starts_off: w.indices(Array.from({ length: sequences.length + 1 }, (_, index) => index)),
    sequences: sequences.length,
  };
  w.vector('PICK', () => undefined, w.inputsOf(pooler, 'poolerIn'), {
    ...oneEach,
    index_off: w.indices(sequences.map(({ start }) => start)),
    x_off: w.at('x'),
    x_rows: rows,
  });
  w.linear(pooler, 'poolerIn', 'pooler', sequences.length);
  w.submit();
  w.wait(pooler.branches.map((_, branch) => w.range(branchRole(accRole('pooler'), branch))));
  w.affine(pooler.epilogue as AffinePlan, w.linearTerms(pooler, 'poolerIn', accRole('pooler')), [], {
    ...oneEach,
    activation: STEP_ACTIVATION.TANH,
    out_off: w.at('pooled'),
  });
}

/** The full-precision layer of a head, on the pooled rows or on every token; hidden states are there already. */
function head(w: ProgramWriter): void {
  const { head: plan, hidden } = w.plan;
  if (plan.task === 'hidden-states') return;
  const pooled = plan.task === 'sequence-classification';
  if (pooled) pool(w, plan.pooler);
  w.vector('DENSE', () => undefined, [], {
    rows: pooled ? w.geometry.sequences.length : w.geometry.rows,
    width: hidden,
    out_width: plan.dense.weight.rows,
    x_off: w.at(pooled ? 'pooled' : 'x'),
    weight_off: w.address(plan.dense.weight.tensor),
    bias_off: w.address(plan.dense.bias),
    out_off: w.at('logits'),
  });
}

/**
 * Builds the program of a batch of sequences of the given lengths (tokens), with its arena at window offset `base`.
 * Lengths must be 1 to plan.maxTokens.
 */
export function buildProgram(
  plan: Plan,
  address: TensorAddress,
  lengths: readonly number[],
  base: number,
): Program {
  const writer = new ProgramWriter(plan, address, lengths, base);
  const { layers } = plan;
  embed(writer, readers(writer, layers[0]));
  layers.forEach((layer, index) => {
    project(writer, layer);
    attend(writer, layer);
    feedForward(writer, layer, readers(writer, layers[index + 1]));
  });
  head(writer);
  return writer.finish();
}
