/** Linear layers: weights to bit-planes, and how their integers become the next operands. */
import { formatByte } from '../device/descriptor.js';
import { hasZero } from '../model/binarise.js';
import type { Activation, Branch, Linear, Norm, Quantiser, WeightCodes } from '../model/description.js';
import { isFound } from '../model/description.js';
import type { AffinePlan, EpiloguePlan, LinearPlan, PlanesPlan, TermPlan } from '../model/plan.js';
import { packWeights } from '../model/planes.js';
import type { Constants } from './constants.js';
import { chooseEpilogue } from './epilogues.js';
import {
  hasOffset,
  isSign,
  knownStep,
  largestCode,
  PM1,
  planQuantiser,
  resultQuantiser,
  TERNARY,
} from './formats.js';

/** Packs weight codes and returns their plan. */
export function planPlanes(name: string, weight: WeightCodes, constants: Constants): PlanesPlan {
  const ternary = hasZero(weight);
  const { bytes, stride } = packWeights(weight, ternary);
  return {
    tensor: constants.add(`${name}.planes`, bytes),
    rows: weight.rows,
    cols: weight.cols,
    format: formatByte(ternary ? TERNARY : PM1),
    stride,
  };
}

/** Name of the constants of one branch. */
const branchName = ({ name, branches }: Linear, index: number) =>
  branches.length > 1 ? `${name}.branch.${index}` : name;

const scaleOf = ({ weightScale }: Branch, row: number) => weightScale[weightScale.length > 1 ? row : 0]!;

/** f64 per output channel: weight scale times the sum of the row's codes; the run-time offset of the input multiplies it. */
function columnSums(branch: Branch): Float64Array {
  const { rows, cols, codes } = branch.weight;
  return Float64Array.from({ length: rows }, (_, row) => {
    let sum = 0;
    for (let i = row * cols; i < (row + 1) * cols; i++) sum += codes[i]!;
    return sum * scaleOf(branch, row);
  });
}

function planTerm(linear: Linear, branch: Branch, index: number, constants: Constants): TermPlan {
  const name = branchName(linear, index);
  const { input, weightScale } = branch;
  const step = knownStep(input);
  return {
    scale:
      weightScale.length > 1
        ? {
            tensor: constants.add(
              `${name}.scale`,
              weightScale.map((scale) => step * scale),
            ),
          }
        : step * weightScale[0]!,
    sums: hasOffset(input) ? constants.add(`${name}.sums`, columnSums(branch)) : null,
  };
}

function affine(linear: Linear, constants: Constants): Pick<AffinePlan, 'terms' | 'bias'> {
  return {
    terms: linear.branches.map((branch, index) => planTerm(linear, branch, index, constants)),
    bias: constants.add(`${linear.name}.bias`, linear.bias),
  };
}

/** Why a linear layer's real values are no function of one integer alone, or null where they are. */
function obstacleOf({ branches }: Linear): string | null {
  if (branches.length > 1) return 'two branches are added';
  return isFound(branches[0]!.input) ? 'the step or offset of the input is found at run time' : null;
}

/** Epilogue of a linear layer that quantisers follow, through `activation`. `inputZero`: its one-bit codes can be 0. */
export function quantisedEpilogue(
  linear: Linear,
  inputZero: boolean,
  activation: Activation | 'identity',
  next: readonly Quantiser[],
  constants: Constants,
): EpiloguePlan {
  const branch = linear.branches[0]!;
  const { input, weight } = branch;
  const obstacle = obstacleOf(linear);
  const twoValued = !inputZero && isSign(input) && !hasZero(weight);
  const site = {
    name: `${linear.name}.result`,
    channels: weight.rows,
    scale: (channel: number) => knownStep(input) * scaleOf(branch, channel),
    bias: linear.bias,
    activation,
    next,
    accumulators: {
      bound: obstacle === null ? largestCode(input) * weight.cols : 0,
      parityOf: twoValued ? weight.cols : null,
    },
    obstacle,
  };
  return chooseEpilogue(site, () => affine(linear, constants), constants);
}

/** Epilogue of a linear layer whose real values are needed: a residual, or the pooler's tanh. */
export function realEpilogue(linear: Linear, constants: Constants): EpiloguePlan {
  return { kind: 'affine', ...affine(linear, constants), quantisers: [], why: 'its real values are needed' };
}

/** A layer whose codes come from a LayerNorm: its quantisers are made there, shifts included. */
export function linearAfterNorm(
  linear: Linear,
  norm: Norm,
  epilogue: (inputZero: boolean) => EpiloguePlan,
  constants: Constants,
): LinearPlan {
  const zero = linear.branches.some(({ input }) => normCanBeZero(norm, input));
  return {
    name: linear.name,
    branches: linear.branches.map((branch, index) => ({
      input: planQuantiser(branch.input, zero, `${branchName(linear, index)}.input`, constants),
      weight: planPlanes(branchName(linear, index), branch.weight, constants),
    })),
    epilogue: epilogue(zero),
  };
}

/** A layer whose codes come from the epilogue `before`, which has used the shifts already. */
export function linearAfterEpilogue(linear: Linear, before: EpiloguePlan, constants: Constants): LinearPlan {
  const zero =
    resultQuantiser(before)?.kind === 'sign' && resultQuantiser(before)?.format === formatByte(TERNARY);
  return {
    name: linear.name,
    branches: linear.branches.map((branch, index) => ({
      input: planQuantiser(
        { ...branch.input, shift: null },
        zero,
        `${branchName(linear, index)}.input`,
        constants,
      ),
      weight: planPlanes(branchName(linear, index), branch.weight, constants),
    })),
    epilogue: realEpilogue(linear, constants),
  };
}

/**
 * True where a channel of a LayerNorm is a constant that the shift cancels: sign(0) = 0 is then the rule and not a rounding
 * accident, so the operand needs its third level.
 */
function normCanBeZero({ gamma, beta }: Norm, quantiser: Quantiser): boolean {
  if (!isSign(quantiser)) return false;
  return gamma.some(
    (value, channel) => value === 0 && beta[channel]! + (quantiser.shift?.[channel] ?? 0) === 0,
  );
}
