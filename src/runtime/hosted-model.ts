/** A model as the daemon knows it: everything but the weights. */
import { type EncodedPair, type EncodedText, TextTokenizer } from '../model/tokenizer.js';
import { type ModelDescription, type ModelFacts, vocabularyPieces } from './model-description.js';
import { type TokenInput, type TokenResult, type TokenTask, tokenResult } from './results.js';

export interface HostedModel extends ModelFacts {
  /** Token ids of a text, cut to maxTokens; `truncated` says whether it was, `tokens` how many the whole text has. */
  encode(text: string): EncodedText;
  /** Token ids and types of a pair of texts, cut to maxTokens. */
  encodePair(text: string, pair: string): EncodedPair;
  /** The result for one input of a model whose head looks at every token. */
  tokenResult(task: TokenTask, values: Float32Array, input: TokenInput): TokenResult;
}

/** From what the engine process says of a model, in many turns of the event loop; `body` has the vocabulary. */
export async function hostModel(told: ModelDescription, body: Uint8Array): Promise<HostedModel> {
  const { tokenizer: rules, vocabulary: _, ...facts } = told;
  const tokenizer = await TextTokenizer.fromPieces(rules, vocabularyPieces(told, body));
  return {
    ...facts,
    encode: (text) => tokenizer.encode(text, facts.maxTokens),
    encodePair: (text, pair) => tokenizer.encodePair(text, pair, facts.maxTokens),
    tokenResult: (task, values, input) => tokenResult(task, values, input, facts.labels, tokenizer),
  };
}
