/**
 * BERT WordPiece tokenisation. Splitting and WordPiece are done by @huggingface/tokenizers, normalisation by
 * normalise.ts; this file decides which tokenisers are accepted: a tokenizer.json may hold regular expressions and templates,
 * so only BERT's own fixed components pass, and what is stored in an artifact is their settings and the vocabulary, nothing else.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { Tokenizer } from '@huggingface/tokenizers';
import { z } from 'zod';
import { normalise } from './normalise.js';

/** Longest word that is looked up: the published tokenisers have 100 or 200, and the time grows with its square. */
export const WORD_CHARS_MAX = 200;

const token = z.string().max(1000);

/** Settings of a BERT WordPiece tokeniser, as stored in an artifact. */
export const tokenizerSchema = z.strictObject({
  type: z.literal('bert-wordpiece'),
  lowercase: z.boolean(),
  stripAccents: z.boolean().nullable(),
  cleanText: z.boolean(),
  handleChineseChars: z.boolean(),
  unknown: token,
  classification: token,
  separator: token,
  continuation: z.string().max(20),
  maxCharsPerWord: z.number().int().min(1).max(WORD_CHARS_MAX),
  /** Token of each id; null where an id has none. */
  vocabulary: z.array(token.nullable()).min(1).max(4_000_000),
});

export type TokenizerSettings = z.infer<typeof tokenizerSchema>;

/** Everything but the vocabulary. */
export type TokenizerRules = Omit<TokenizerSettings, 'vocabulary'>;

/** The tokens of one text. */
export interface EncodedText {
  /** [CLS] pieces [SEP]; never longer than the limit given. */
  readonly ids: Uint32Array;
  /** Tokens the whole text has, [CLS] and [SEP] included. */
  readonly tokens: number;
  readonly truncated: boolean;
}

/** The tokens of a pair of texts: [CLS] first [SEP] second [SEP]. */
export interface EncodedPair extends EncodedText {
  /** 0 up to the first [SEP], that one included, and 1 behind it. */
  readonly types: Uint32Array;
  /** Pieces of each text before truncation. */
  readonly pieces: readonly [number, number];
}

/** Special tokens around one text, and around two. */
const SPECIALS = 2;
const PAIR_SPECIALS = 3;

/**
 * How many pieces of two texts are kept so that together they are at most `room`: one piece after another is taken from the end of the
 * longer text, of the second where they are as long (`_truncate_seq_pair` of the published code).
 */
function longestFirst(first: number, second: number, room: number): [number, number] {
  return [
    Math.min(first, Math.max(Math.ceil(room / 2), room - second)),
    Math.min(second, Math.max(Math.floor(room / 2), room - first)),
  ];
}

/** Enters tokens whose ids begin at `first`; of equals the last counts. */
function addTokens(
  ids: Map<string, number>,
  tokens: readonly (string | null)[],
  first: number,
): Map<string, number> {
  tokens.forEach((text, index) => {
    if (text !== null) ids.set(text, first + index);
  });
  return ids;
}

export class TextTokenizer {
  readonly settings: TokenizerSettings;
  readonly #tokenizer: Tokenizer;
  readonly #classification: number;
  readonly #separator: number;

  /** `ids`: what the vocabulary says, by token. Throws where a special token is missing. */
  constructor(
    settings: TokenizerSettings,
    ids: Map<string, number> = addTokens(new Map(), settings.vocabulary, 0),
  ) {
    this.settings = settings;
    const idOf = (text: string) => {
      const id = ids.get(text);
      if (id === undefined)
        throw new Error(`the vocabulary has no ${text}, which every BERT tokeniser needs`);
      return id;
    };
    const unknown = idOf(settings.unknown);
    this.#classification = idOf(settings.classification);
    this.#separator = idOf(settings.separator);
    this.#tokenizer = new Tokenizer(
      {
        version: '1.0',
        truncation: null,
        padding: null,
        // No special tokens here: "[SEP]" in somebody's text is text.
        added_tokens: [],
        normalizer: null,
        pre_tokenizer: { type: 'BertPreTokenizer' },
        post_processor: null,
        decoder: { type: 'WordPiece', prefix: settings.continuation, cleanup: true },
        model: {
          type: 'WordPiece',
          unk_token: settings.unknown,
          continuing_subword_prefix: settings.continuation,
          max_input_chars_per_word: settings.maxCharsPerWord,
          vocab: { [settings.unknown]: unknown },
        },
      },
      {},
    );
    // The library would copy the vocabulary three times over, in one go that stops the thread for 50 ms where it has 30,000 tokens.
    this.#tokenizer.model!.tokens_to_ids = ids;
  }

  /**
   * The same from a vocabulary in pieces, each taken in a turn of the event loop of its own: `pieces` are lists of tokens in the order of their ids.
   * Throws as the constructor does.
   */
  static async fromPieces(
    rules: TokenizerRules,
    pieces: Iterable<readonly (string | null)[]>,
  ): Promise<TextTokenizer> {
    const vocabulary: (string | null)[] = [];
    const ids = new Map<string, number>();
    for (const piece of pieces) {
      addTokens(ids, piece, vocabulary.length);
      vocabulary.push(...piece);
      await turn();
    }
    return new TextTokenizer({ ...rules, vocabulary }, ids);
  }

  /** Ids a text can produce are below this. */
  get size(): number {
    return this.settings.vocabulary.length;
  }

  /**
   * Tokens of a text, cut to `maxTokens` the way the published code does: the first maxTokens - 2 pieces between [CLS] and
   * [SEP]. An empty text gives [CLS] [SEP].
   */
  encode(text: string, maxTokens: number): EncodedText {
    const pieces = this.#pieces(text);
    const kept = Math.min(pieces.length, maxTokens - SPECIALS);
    const ids = new Uint32Array(kept + SPECIALS);
    ids[0] = this.#classification;
    for (let i = 0; i < kept; i++) ids[i + 1] = pieces[i]!;
    ids[kept + 1] = this.#separator;
    return { ids, tokens: pieces.length + SPECIALS, truncated: kept < pieces.length };
  }

  /** Tokens of two texts, cut to `maxTokens` (at least 3) from the end of whichever is longer, as the published code does. */
  encodePair(text: string, pair: string, maxTokens: number): EncodedPair {
    const [first, second] = [this.#pieces(text), this.#pieces(pair)];
    const [a, b] = longestFirst(first.length, second.length, maxTokens - PAIR_SPECIALS);
    const ids = new Uint32Array(a + b + PAIR_SPECIALS);
    ids[0] = this.#classification;
    ids.set(first.slice(0, a), 1);
    ids[a + 1] = this.#separator;
    ids.set(second.slice(0, b), a + 2);
    ids[a + b + 2] = this.#separator;
    return {
      ids,
      types: new Uint32Array(ids.length).fill(1, a + 2),
      tokens: first.length + second.length + PAIR_SPECIALS,
      truncated: a < first.length || b < second.length,
      pieces: [first.length, second.length],
    };
  }

  /** True for [CLS] and [SEP], which no text can produce. */
  isSpecial(id: number): boolean {
    return id === this.#classification || id === this.#separator;
  }

  /** The token of each id; ids without one are shown as numbers in brackets. */
  tokensOf(ids: ArrayLike<number>): string[] {
    return Array.from(ids, (id) => this.settings.vocabulary[id] ?? `[${id}]`);
  }

  /** Tokens as text: pieces of a word joined, words apart. What normalisation and splitting changed stays changed. */
  joined(tokens: readonly string[]): string {
    const { continuation } = this.settings;
    return tokens.reduce((text, token, index) => {
      if (index > 0 && continuation !== '' && token.startsWith(continuation))
        return text + token.slice(continuation.length);
      return index > 0 ? `${text} ${token}` : token;
    }, '');
  }

  #pieces(text: string): number[] {
    return this.#tokenizer.encode(normalise(text, this.settings), { add_special_tokens: false }).ids;
  }
}
