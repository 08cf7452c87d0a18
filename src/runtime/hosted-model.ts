/** A model as the daemon knows it: everything but the weights. */
import { Artifact } from '../model/artifact/read.js';
import { type OutputShape, outputShape } from '../model/plan.js';
import type { Task } from '../model/task.js';
import type { EncodedPair, EncodedText } from '../model/tokenizer.js';
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
  readonly description: {
    readonly family: string;
    readonly task: Task;
    readonly layers: number;
    readonly hidden: number;
    readonly heads: number;
  };
  readonly #artifact: Artifact;

  /** Reads and checks a file. Throws ArtifactError. */
  constructor(file: string) {
    const artifact = Artifact.open(file);
    const { plan } = artifact;
    this.#artifact = artifact;
    this.name = artifact.name;
    this.id = artifact.id;
    this.file = artifact.file;
    this.labels = plan.labels;
    this.maxTokens = plan.maxTokens;
    this.vocabSize = plan.embeddings.words[0]!.planes.rows;
    this.typeVocabSize = plan.embeddings.type.rows;
    this.task = plan.head.task;
    this.output = outputShape(plan);
    this.description = {
      family: plan.family,
      task: plan.head.task,
      layers: plan.layers.length,
      hidden: plan.hidden,
      heads: plan.heads,
    };
  }

  /** Token ids of a text, cut to maxTokens; `truncated` says whether it was, `tokens` how many the whole text has. */
  encode(text: string): EncodedText {
    return this.#artifact.tokenizer.encode(text, this.maxTokens);
  }

  /** Token ids and types of a pair of texts, cut to maxTokens. */
  encodePair(text: string, pair: string): EncodedPair {
    return this.#artifact.tokenizer.encodePair(text, pair, this.maxTokens);
  }

  /** The result for one input of a model whose head looks at every token. */
  tokenResult(task: TokenTask, values: Float32Array, input: TokenInput): TokenResult {
    return tokenResult(task, values, input, this.labels, this.#artifact.tokenizer);
  }
}
