/** What tests of compiled models share: a plan with the products and step groups of one of its programs. */
import type { Program } from '../../../src/compiler/program.js';
import type { AffinePlan, EpiloguePlan, LayerPlan, LinearPlan, Plan } from '../../../src/model/plan.js';
import { readFields } from '../../oracle/qmm.js';
import { classificationHead } from '../model/head.js';
import { readGroups, type StepGroup } from './accesses.js';
import { compileRandom, Layout, type Writer } from './models.js';

export const LENGTHS = [3, 5, 8];
export const [U1, U4, U8, S4, S8, PM1, S2] = [0x00, 0x02, 0x03, 0x12, 0x13, 0x20, 0x11];

export async function compiled(write: Writer) {
  const layout = new Layout(await compileRandom(write));
  const { plan, tensors } = layout.compiled;
  const program = layout.build(LENGTHS);
  const { descriptors } = program;
  const products = Array.from({ length: descriptors.byteLength / 64 }, (_, i) =>
    readFields(descriptors.subarray(i * 64, (i + 1) * 64)),
  );
  return { layout, plan, tensors, program, products, groups: readGroups(program.steps) };
}

/** Values of an index array that a session writes. */
export const indicesAt = ({ inputs: { indices, indexValues } }: Program, off: number, count: number) => [
  ...indexValues.subarray((off - indices) / 4, (off - indices) / 4 + count),
];

export const affine = (epilogue: EpiloguePlan): AffinePlan => {
  if (epilogue.kind !== 'affine') throw new Error('an affine epilogue was expected');
  return epilogue;
};
export const linears = ({ query, key, value, output, up, down }: LayerPlan): LinearPlan[] => [
  query,
  key,
  value,
  output,
  up,
  down,
];
/** Every quantiser of a plan except those of the probabilities: of inputs and of results. */
export const signedOnes = ({ layers, head }: Plan) => [
  ...layers.flatMap(({ query, key, value, output, up }) =>
    [query, key, value, output, up].flatMap(({ branches }) => branches.map(({ input }) => input)),
  ),
  ...classificationHead({ head }).pooler.branches.map(({ input }) => input),
  ...layers.flatMap(({ query, key, value }) =>
    [query, key, value].flatMap(({ epilogue }) => affine(epilogue).quantisers),
  ),
];
export const named = (groups: readonly StepGroup[], name: string) =>
  groups.filter(({ producer }) => producer.name === name);

/** Codes of +-1 or ternary weights, bit by bit as the contract lays them out. */
export function codeAt(bytes: Uint8Array, stride: number, format: number, row: number, k: number): number {
  const bits = format === S2 ? 2 : 1;
  const at = row * stride + Math.floor(k / 128) * 16 * bits + Math.floor((k % 128) / 8);
  const low = (bytes[at]! >> (k % 8)) & 1;
  return bits === 1 ? 2 * low - 1 : low - 2 * ((bytes[at + 16]! >> (k % 8)) & 1);
}
export const doubles = (bytes: Uint8Array) => [...new Float64Array(bytes.slice().buffer)];
