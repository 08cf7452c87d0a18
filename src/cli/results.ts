/** Results of heads that look at every token, for people. */
import type { HiddenStatesResult, Result, SpanResult, TokenLabelsResult } from '../client/wire.js';
import { printable } from './output.js';

export type TokenTaskResult = TokenLabelsResult | SpanResult | HiddenStatesResult;

/** Values that a line of hidden states shows. */
const VALUES_SHOWN = 8;

export const isTokenResult = (result: Result): result is TokenTaskResult => Array.isArray(result.tokens);

/** Lines of a result; `name` says at the end of the first one which input it is of. */
export function tokenResultLines(result: TokenTaskResult, name: string): string[] {
  if ('hidden' in result) {
    const [tokens, width] = result.shape;
    const values = result.hidden.slice(0, VALUES_SHOWN).map((value) => value.toFixed(4));
    return [
      `${tokens} x ${width}  ${name}`,
      `  ${values.join(' ')}${result.hidden.length > VALUES_SHOWN ? ' ...' : ''}`,
    ];
  }
  if ('answer' in result) {
    const { answer } = result;
    if (answer === null) return [`(no answer)  ${name}`];
    const { text, score, start, end } = answer;
    return [`${printable(text)}  ${score.toFixed(4)}  tokens ${start} to ${end}  ${name}`];
  }
  const width = result.tokens.reduce((most, { length }) => Math.max(most, length), 0);
  return [
    name,
    ...result.tokens.map((token, index) => {
      const [label, score] = [result.labels[index]!, result.scores[index]!];
      return `  ${printable(token).padEnd(width)}  ${score.toFixed(4)}  ${printable(label)}`;
    }),
  ];
}
