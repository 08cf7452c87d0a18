/** What can be asked, and the payload that asks it. */
import type { Priority, RequestPayload } from './wire.js';

/** Token ids, one list for each sequence, special tokens in place, and token types where they are not all 0. */
export interface TokenInput {
  readonly ids: readonly (readonly number[] | Uint32Array)[];
  readonly types?: readonly (readonly number[] | Uint32Array)[];
}

/** Two sentences that are one input, such as a question and the text that answers it. */
export interface TextPair {
  readonly text: string;
  readonly textPair: string;
}

export type Single = string | TextPair;
export type Input = Single | readonly string[] | readonly TextPair[] | TokenInput;

/** What a request may ask for beside its inputs. */
export interface Wishes {
  /** Adds the logits to the results. */
  readonly logits?: boolean | undefined;
  /** Adds the n most probable labels to the results. */
  readonly top?: number | undefined;
  /** Cuts texts that are too long for the model instead of refusing them. */
  readonly truncate?: boolean | undefined;
  /** Share of the engine while there is more work than engine. */
  readonly priority?: Priority | undefined;
}

export const isSingle = (input: Input): input is Single => typeof input === 'string' || 'textPair' in input;

const lists = (rows: TokenInput['ids']) => rows.map((row) => Array.from(row));

export function requestPayload(input: Input, wishes: Wishes): RequestPayload {
  return { ...inputFields(input), ...wishFields(wishes) };
}

function inputFields(input: Input): RequestPayload {
  if (isSingle(input))
    return typeof input === 'string' ? { text: input } : { text: input.text, text_pair: input.textPair };
  if ('ids' in input)
    return { input_ids: lists(input.ids), ...(input.types ? { token_type_ids: lists(input.types) } : {}) };
  const texts = input.map((one) => (typeof one === 'string' ? one : one.text));
  const pairs = input.flatMap((one) => (typeof one === 'string' ? [] : [one.textPair]));
  return pairs.length > 0 ? { texts, text_pairs: pairs } : { texts };
}

function wishFields({ logits, top, truncate, priority }: Wishes): RequestPayload {
  return {
    ...(logits ? { logits } : {}),
    ...(top === undefined ? {} : { top }),
    ...(truncate ? { truncate } : {}),
    ...(priority === undefined ? {} : { priority }),
  };
}
