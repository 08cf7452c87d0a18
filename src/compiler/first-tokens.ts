/**
 * A classifier looks at the first token of a sequence only. In the last layer every token is a key and a value, but the first one alone
 * has to ask: its rows are all that is computed from the scores on. Results are the same, bit for bit, unless a quantiser on the way
 * takes its range from all tokens; then all of them are computed.
 */
import type { EpiloguePlan, LinearPlan, Plan, QuantiserPlan } from '../model/plan.js';
import { storesFound } from './formats.js';

const quantisersOf = (epilogue: EpiloguePlan): readonly QuantiserPlan[] =>
  epilogue.kind === 'affine' ? epilogue.quantisers : [];

const inputsOf = ({ branches }: LinearPlan): readonly QuantiserPlan[] => branches.map(({ input }) => input);

/** True where the last layer may be computed for the first tokens alone. */
export function answersFromFirstTokens({ head, layers }: Plan): boolean {
  if (head.task !== 'sequence-classification') return false;
  const { query, key, attention, up, value } = layers.at(-1)!;
  const { probabilities, context } = attention;
  // An offset of V multiplies the sums of P's rows, which are laid out for all tokens.
  const ranges = [
    ...inputsOf(query),
    ...inputsOf(key),
    ...inputsOf(value),
    ...quantisersOf(query.epilogue),
    ...quantisersOf(value.epilogue),
    ...(probabilities.kind === 'softmax' ? [probabilities.probability] : []),
    ...quantisersOf(context),
    ...inputsOf(up),
    ...quantisersOf(up.epilogue),
  ];
  return !ranges.some(storesFound);
}
