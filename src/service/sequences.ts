/** Checked request -> token sequences of one model. Every input is good, or the whole request is refused. */
import type { RequestPayload } from '../client/wire.js';
import type { ServedModel } from './engine.js';
import { RequestFailure } from './failure.js';

export interface Sequence {
  readonly ids: Uint32Array;
  readonly types?: Uint32Array;
  /** Tokens before truncation. */
  readonly tokens: number;
  readonly truncated: boolean;
}

/** [CLS] and [SEP]: a sequence of these alone has no words. */
const SPECIAL_TOKENS = 2;

/** How many sequences a request asks for. */
export function inputCount(request: RequestPayload): number {
  return request.texts?.length ?? request.input_ids?.length ?? 1;
}

/**
 * Throws RequestFailure: empty_text, text_too_long, bad_ids; bad_request for pairs that the model does not take. `maxChars` bounds each
 * text and all of them together: tokenising is work on the thread that serves everybody.
 */
export function toSequences(request: RequestPayload, model: ServedModel, maxChars: number): Sequence[] {
  const { text, text_pair, texts, text_pairs, input_ids, token_type_ids } = request;
  const together = [...(texts ?? []), ...(text_pairs ?? [])].reduce((sum, each) => sum + each.length, 0);
  if (input_ids)
    return input_ids.map((ids, row) => ({
      ...checkedIds(ids, `input_ids[${row}]`, model),
      ...(token_type_ids && { types: checkedTypes(token_type_ids[row]!, `token_type_ids[${row}]`, model) }),
    }));
  const encode = (
    first: string,
    where: string,
    second: string | undefined,
    whereSecond: string,
  ): Sequence => {
    const truncate = request.truncate ?? false;
    checkText(first, where, maxChars);
    if (second === undefined) return encoded(first, where, model, truncate);
    checkText(second, whereSecond, maxChars);
    return encodedPair([first, second], [where, whereSecond], model, truncate);
  };
  if (texts && texts.length > 1 && together > maxChars && texts.every((each) => each.length <= maxChars))
    throw new RequestFailure(
      'text_too_long',
      `the texts have ${together} characters together, this node takes ${maxChars} in one request; send several requests`,
    );
  if (texts)
    return texts.map((first, row) => encode(first, `texts[${row}]`, text_pairs?.[row], `text_pairs[${row}]`));
  return [encode(text ?? '', 'text', text_pair, 'text_pair')];
}

function checkText(text: string, where: string, maxChars: number): void {
  if (text.length > maxChars)
    throw new RequestFailure(
      'text_too_long',
      `${where} has ${text.length} characters, this node takes ${maxChars}`,
    );
  if (text.trim() === '') throw new RequestFailure('empty_text', `${where} is empty`);
}

const dropped = (where: string, { name }: ServedModel) =>
  new RequestFailure('empty_text', `${where} has only characters that the tokenizer of ${name} drops`);

const tooLong = (where: string, tokens: number, { name, maxTokens }: ServedModel) =>
  new RequestFailure(
    'text_too_long',
    `${where} has ${tokens} tokens, ${name} takes ${maxTokens}; shorten it, or send "truncate": true`,
  );

function encoded(text: string, where: string, model: ServedModel, truncate: boolean): Sequence {
  const { ids, truncated, tokens } = model.encode(text);
  if (ids.length <= SPECIAL_TOKENS) throw dropped(where, model);
  if (truncated && !truncate) throw tooLong(where, tokens, model);
  return { ids, truncated, tokens };
}

function encodedPair(
  [text, pair]: readonly [string, string],
  where: readonly [string, string],
  model: ServedModel,
  truncate: boolean,
): Sequence {
  if (model.typeVocabSize < 2)
    throw new RequestFailure(
      'bad_request',
      `${model.name} has one token type, so it takes no pairs of texts`,
    );
  const { ids, types, truncated, tokens, pieces } = model.encodePair(text, pair);
  const empty = pieces.indexOf(0);
  if (empty >= 0) throw dropped(where[empty]!, model);
  if (truncated && !truncate) throw tooLong(`${where[0]} with ${where[1]}`, tokens, model);
  return { ids, types, truncated, tokens };
}

function checkedTypes(types: readonly number[], where: string, model: ServedModel): Uint32Array {
  const at = types.findIndex((type) => type >= model.typeVocabSize);
  if (at >= 0)
    throw new RequestFailure(
      'bad_ids',
      `${where}[${at}] is ${types[at]}; the token types of ${model.name} end at ${model.typeVocabSize - 1}`,
    );
  return Uint32Array.from(types);
}

function checkedIds(ids: readonly number[], where: string, model: ServedModel): Sequence {
  if (ids.length === 0) throw new RequestFailure('bad_ids', `${where} is empty`);
  if (ids.length > model.maxTokens)
    throw new RequestFailure(
      'bad_ids',
      `${where} has ${ids.length} ids, ${model.name} takes ${model.maxTokens}`,
    );
  const at = ids.findIndex((id) => id >= model.vocabSize);
  if (at >= 0)
    throw new RequestFailure(
      'bad_ids',
      `${where}[${at}] is ${ids[at]}; the vocabulary of ${model.name} ends at ${model.vocabSize - 1}`,
    );
  return { ids: Uint32Array.from(ids), tokens: ids.length, truncated: false };
}
