/** A model as the daemon knows it: everything but the weights. */
import type { OutputShape } from '../model/plan.js';
import type { Task } from '../model/task.js';
import { type EncodedPair, type EncodedText, TextTokenizer } from '../model/tokenizer.js';
import { type ModelDescription, vocabularyPieces } from './model-description.js';
import { type TokenInput, type TokenResult, type TokenTask, tokenResult } from './results.js';

export class HostedModel {
  readonly name: string;
  readonly id: string;
  readonly file: string;
  readonly labels: readonly string[];
  readonly maxTokens: number;
  readonly vocabSize: number;
  readonly typeVocabSize: number;
  readonly task: Task;
  readonly output: OutputShape;
  readonly description: ModelDescription['description'];
  readonly #tokenizer: TextTokenizer;

  private constructor(told: ModelDescription, tokenizer: TextTokenizer) {
    this.name = told.name;
    this.id = told.id;
    this.file = told.file;
    this.labels = told.labels;
    this.maxTokens = told.maxTokens;
    this.vocabSize = told.vocabSize;
    this.typeVocabSize = told.typeVocabSize;
    this.task = told.task;
    this.output = told.output;
    this.description = told.description;
    this.#tokenizer = tokenizer;
  }

  /** From what the engine process says of a model, in many turns of the event loop; `body` has the vocabulary. */
  static async from(told: ModelDescription, body: Uint8Array): Promise<HostedModel> {
    return new HostedModel(
      told,
      await TextTokenizer.fromPieces(told.tokenizer, vocabularyPieces(told, body)),
    );
  }

  /** Token ids of a text, cut to maxTokens; `truncated` says whether it was, `tokens` how many the whole text has. */
  encode(text: string): EncodedText {
    return this.#tokenizer.encode(text, this.maxTokens);
  }

  /** Token ids and types of a pair of texts, cut to maxTokens. */
  encodePair(text: string, pair: string): EncodedPair {
    return this.#tokenizer.encodePair(text, pair, this.maxTokens);
  }

  /** The result for one input of a model whose head looks at every token. */
  tokenResult(task: TokenTask, values: Float32Array, input: TokenInput): TokenResult {
    return tokenResult(task, values, input, this.labels, this.#tokenizer);
  }
}
