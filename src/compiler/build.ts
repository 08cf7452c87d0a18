/**
 * Plan and batch geometry to program: the forward pass of a post-LayerNorm encoder. The engine gets work as early as its operands
 * exist; the CPU waits for a count, never for "everything".
 */
import type { AffinePlan, LayerPlan, LinearPlan, Plan } from '../model/plan.js';
import { STEP_ACTIVATION } from '../native/steps.generated.js';
import { attend, project } from './attention.js';
import { accumulatorStride, operandStride } from './memory.js';
import type { Program } from './program.js';
import { INT32, ProgramWriter, type TensorAddress } from './program-writer.js';

const ACTIVATION = { relu: STEP_ACTIVATION.RELU, gelu: STEP_ACTIVATION.GELU } as const;

function embed(w: ProgramWriter, first: LayerPlan): void {
  const { hidden, embeddings } = w.plan;
  const { word, position, type } = embeddings;
  w.vector('EMBED', w.inputsOf(first), {
    rows: w.geometry.rows,
    width: hidden,
    ids_off: w.at('ids'),
    positions_off: w.at('positions'),
    types_off: w.at('types'),
    word_off: w.address(word.tensor),
    word_stride: word.stride,
    word_format: word.format,
    word_scale_off: w.address(embeddings.wordScale),
    position_off: w.address(position.tensor),
    type_off: w.address(type.tensor),
    words: word.rows,
    positions: position.rows,
    types: type.rows,
    ...w.norm(embeddings.norm),
    out_off: w.at('x'),
  });
}

function feedForward(w: ProgramWriter, layer: LayerPlan, next: LayerPlan | undefined): void {
  const { up, down } = layer;
  w.linear(up, 'upIn', up.epilogue.kind === 'threshold' ? 'up' : 'upAcc');
  w.submit();
  w.requantise(
    up.epilogue,
    'upAcc',
    'up',
    w.geometry.rows,
    w.plan.intermediate,
    {
      activation: ACTIVATION[layer.activation],
      ...w.bySequence(),
    },
    { minima: 'upMinima' },
  );
  w.linear(down, 'up', 'projected');
  w.submit();
  const consumers = next ? w.inputsOf(next) : [{ quantiser: w.plan.pooler.input, role: 'queryIn' as const }];
  w.residualNorm(
    down,
    layer.outputNorm,
    down.input.kind === 'round-from-min' ? w.at('upMinima') : null,
    consumers,
  );
}

/** Pooler on the first token of every sequence, tanh, classifier. */
function classify(w: ProgramWriter, pooler: LinearPlan): void {
  const { hidden, classifier, labels } = w.plan;
  const { sequences } = w.geometry;
  const stride = operandStride(hidden, pooler.input.format);
  sequences.forEach(({ start }, index) => {
    w.descriptors.push({
      a: { off: w.at('queryIn') + start * stride, stride, format: pooler.input.format },
      b: {
        off: w.address(pooler.weight.tensor),
        stride: pooler.weight.stride,
        format: pooler.weight.format,
      },
      o: {
        off: w.at('poolerAcc') + index * accumulatorStride(hidden),
        stride: accumulatorStride(hidden),
        format: INT32,
      },
      m: 1,
      n: hidden,
      k: hidden,
    });
  });
  w.submit();
  w.wait(['poolerAcc']);
  const rows = sequences.length;
  w.vector('AFFINE', [], {
    rows,
    width: hidden,
    acc_off: w.at('poolerAcc'),
    acc_stride: accumulatorStride(hidden),
    block: hidden,
    sequences: 1,
    activation: STEP_ACTIVATION.TANH,
    ...w.scale(pooler.epilogue as AffinePlan),
    out_off: w.at('pooled'),
  });
  w.vector('DENSE', [], {
    rows,
    width: hidden,
    out_width: labels.length,
    x_off: w.at('pooled'),
    weight_off: w.address(classifier.weight.tensor),
    bias_off: w.address(classifier.bias),
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
  const { layers, pooler } = plan;
  embed(writer, layers[0]!);
  layers.forEach((layer, index) => {
    project(writer, layer);
    attend(writer, layer);
    feedForward(writer, layer, layers[index + 1]);
  });
  classify(writer, pooler);
  return writer.finish();
}
