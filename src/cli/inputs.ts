/** Texts and pairs of texts from the command line or from lines. */
import type { Artifact } from '../model/artifact/read.js';
import { InputError } from '../runtime/errors.js';
import { note } from './output.js';

/** One text, or two that are one input. */
export interface TextInput {
  readonly text: string;
  readonly pair?: string;
}

/** `text<TAB>text_pair` taken apart at the first TAB; `place` names the line in the error. */
export function splitPair(line: string, place: string): TextInput {
  const tab = line.indexOf('\t');
  if (tab < 0) throw new InputError(`${place} has no TAB; --pairs takes "text<TAB>second text"`);
  return { text: line.slice(0, tab), pair: line.slice(tab + 1) };
}

/** Each text with its second one, of which there are as many or none. */
export function joinPairs(texts: readonly string[], pairs: readonly string[]): TextInput[] {
  return texts.map((text, index) => ({ text, ...(pairs.length > 0 && { pair: pairs[index]! }) }));
}

/** A collecting parser for options that may be repeated. */
export function append(value: string, list: string[] = []): string[] {
  return [...list, value];
}

export interface EncodedInput {
  readonly ids: Uint32Array;
  readonly types?: Uint32Array;
  readonly truncated: boolean;
}

/** Token ids of an input; `place` names it in messages. Throws InputError. */
export function encodeInput(
  { name, plan, tokenizer }: Artifact,
  { text, pair }: TextInput,
  place: string,
  truncate: boolean,
): EncodedInput {
  const { maxTokens } = plan;
  if (text.trim() === '') throw new InputError(`${place} is empty; remove it or give it some text`);
  if (pair?.trim() === '') throw new InputError(`the second text of ${place} is empty; give it some text`);
  if (pair !== undefined && plan.embeddings.type.rows < 2)
    throw new InputError(`${name} has one token type, so it takes no pairs of texts`);
  const { tokens, truncated, ...encoded } =
    pair === undefined ? tokenizer.encode(text, maxTokens) : tokenizer.encodePair(text, pair, maxTokens);
  if (truncated && !truncate)
    throw new InputError(
      `${place} has ${tokens} tokens, ${name} takes ${maxTokens}; shorten it or leave out --no-truncate`,
    );
  if (truncated) {
    const kept =
      pair === undefined
        ? `only the first ${maxTokens - 2} pieces were used`
        : `pieces were cut from the end of the longer text until ${maxTokens} were left`;
    note(`warning: ${place} has ${tokens} tokens; ${kept}`);
  }
  return { ...encoded, truncated };
}
