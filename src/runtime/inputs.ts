/** What a model can take: checked before anything runs, on whichever thread the input arrives. */
import { InputError } from './errors.js';

/** One tokenised input. */
export interface Sequence {
  /** Token ids, 1 to maxTokens of them. */
  readonly ids: ArrayLike<number>;
  /** Token types, 0 where left out. */
  readonly types?: ArrayLike<number>;
}

export interface InputLimits {
  /** Name of the model, for messages. */
  readonly name: string;
  readonly maxTokens: number;
  /** Rows of the word and of the token-type table. */
  readonly vocabSize: number;
  readonly typeVocabSize: number;
}

/** Throws InputError, which names the input by its `index`, where the model cannot take the sequence. */
export function checkSequence({ ids, types }: Sequence, index: number, limits: InputLimits): void {
  const { name, maxTokens, vocabSize, typeVocabSize } = limits;
  const input = `input ${index}`;
  if (ids.length < 1 || ids.length > maxTokens) {
    throw new InputError(`${input} has ${ids.length} tokens, ${name} takes 1 to ${maxTokens}`);
  }
  if (types !== undefined && types.length !== ids.length) {
    throw new InputError(`${input} has ${types.length} token types for ${ids.length} tokens`);
  }
  for (const [what, values, rows] of [
    ['token id', ids, vocabSize],
    ['token type', types ?? [], typeVocabSize],
  ] as const) {
    for (let i = 0; i < values.length; i++) {
      const value = values[i]!;
      if (!Number.isInteger(value) || value < 0 || value >= rows) {
        throw new InputError(`${input}: ${what} ${value} at ${i} is not one of 0 to ${rows - 1}`);
      }
    }
  }
}
