/** Checked request -> token sequences of one model. Every input is good, or the whole request is refused. */
import type { RequestPayload } from '../client/wire.js';
import type { ServedModel } from './engine.js';
import { RequestFailure } from './failure.js';

export interface Sequence {
  readonly ids: Uint32Array;
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

/** Throws RequestFailure: empty_text, text_too_long, bad_ids. */
export function toSequences(request: RequestPayload, model: ServedModel, maxChars: number): Sequence[] {
  if (request.input_ids)
    return request.input_ids.map((ids, row) => checkedIds(ids, `input_ids[${row}]`, model));
  const truncate = request.truncate ?? false;
  if (request.texts)
    return request.texts.map((text, row) => encoded(text, `texts[${row}]`, model, maxChars, truncate));
  return [encoded(request.text ?? '', 'text', model, maxChars, truncate)];
}

function encoded(
  text: string,
  where: string,
  model: ServedModel,
  maxChars: number,
  truncate: boolean,
): Sequence {
  if (text.length > maxChars)
    throw new RequestFailure(
      'text_too_long',
      `${where} has ${text.length} characters, this node takes ${maxChars}`,
    );
  if (text.trim() === '') throw new RequestFailure('empty_text', `${where} is empty`);
  const { ids, truncated, tokens } = model.encode(text);
  if (ids.length <= SPECIAL_TOKENS)
    throw new RequestFailure(
      'empty_text',
      `${where} has only characters that the tokenizer of ${model.name} drops`,
    );
  if (truncated && !truncate)
    throw new RequestFailure(
      'text_too_long',
      `${where} has ${tokens} tokens, ${model.name} takes ${model.maxTokens}; shorten it, or send "truncate": true`,
    );
  return { ids, truncated, tokens };
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
