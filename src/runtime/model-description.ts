/** What the daemon needs of a model, everything but the weights: the engine process, which alone opens artifacts, writes it. */
import type { Artifact } from '../model/artifact/read.js';
import { type OutputShape, outputShape } from '../model/plan.js';
import type { Task } from '../model/task.js';
import type { TokenizerRules } from '../model/tokenizer.js';

export interface ModelFacts {
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
}

export interface ModelDescription extends ModelFacts {
  readonly tokenizer: TokenizerRules;
  /** Bytes of each piece of the vocabulary; the pieces are in the body of the message, JSON lists of tokens one after another. */
  readonly vocabulary: readonly number[];
}

/** A description and the pieces of its vocabulary. */
export interface Described {
  readonly description: ModelDescription;
  readonly pieces: readonly Uint8Array[];
}

/** Tokens in a piece: parsed and entered in about half a millisecond, and whoever serves requests does it between them. */
const PIECE_TOKENS = 1024;

/** Describes an artifact that was opened with its tokenizer. */
export function describeModel(artifact: Artifact): Described {
  const { plan, name, id, file } = artifact;
  const { vocabulary, ...rules } = artifact.tokenizer.settings;
  const pieces = Array.from({ length: Math.ceil(vocabulary.length / PIECE_TOKENS) }, (_, index) =>
    Buffer.from(JSON.stringify(vocabulary.slice(index * PIECE_TOKENS, (index + 1) * PIECE_TOKENS))),
  );
  const description: ModelDescription = {
    name,
    id,
    file,
    labels: plan.labels,
    maxTokens: plan.maxTokens,
    vocabSize: plan.embeddings.words[0]!.planes.rows,
    typeVocabSize: plan.embeddings.type.rows,
    task: plan.head.task,
    output: outputShape(plan),
    description: {
      family: plan.family,
      task: plan.head.task,
      layers: plan.layers.length,
      hidden: plan.hidden,
      heads: plan.heads,
    },
    tokenizer: rules,
    vocabulary: pieces.map(({ byteLength }) => byteLength),
  };
  return { description, pieces };
}

/** The vocabulary again, piece by piece. */
export function* vocabularyPieces(
  { vocabulary }: ModelDescription,
  body: Uint8Array,
): Generator<(string | null)[]> {
  let at = 0;
  for (const bytes of vocabulary) {
    yield JSON.parse(Buffer.from(body.buffer, body.byteOffset + at, bytes).toString('utf8'));
    at += bytes;
  }
}
