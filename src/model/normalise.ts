/**
 * The normalisation of BERT's basic tokenisation, before text is split at spaces and punctuation. Our own and not
 * @huggingface/tokenizers' BertNormalizer: that one (0.2) looks at UTF-16 units, so ideographs beyond the basic plane are not
 * split off, and its accent stripping takes minutes for a text of combining marks, which anybody may send.
 */
export interface Normalisation {
  /** Drop control characters and U+FFFD. */
  readonly cleanText: boolean;
  /** Spaces around every CJK ideograph. */
  readonly handleChineseChars: boolean;
  readonly lowercase: boolean;
  /** Drop accents; null: where the text is lowercased. */
  readonly stripAccents: boolean | null;
}

/** Control, format, private use and lone surrogates, but not the whitespace among them. */
const DROPPED = /(?![\t\n\r])[\p{Cc}\p{Cf}\p{Co}\p{Cs}\ufffd]/gu;

/** The blocks that the published code calls Chinese; later extensions, kana and hangul are not among them. */
const IDEOGRAPHS =
  /[\u{3400}-\u{4DBF}\u{4E00}-\u{9FFF}\u{F900}-\u{FAFF}\u{20000}-\u{2A6DF}\u{2A700}-\u{2B73F}\u{2B740}-\u{2B81F}\u{2B820}-\u{2CEAF}\u{2F800}-\u{2FA1F}]/gu;

const MARKS = /\p{Mn}/gu;

export function normalise(text: string, settings: Normalisation): string {
  const { cleanText, handleChineseChars, lowercase, stripAccents } = settings;
  let result = text;
  if (cleanText) result = result.replace(DROPPED, '');
  if (handleChineseChars) result = result.replace(IDEOGRAPHS, ' $& ');
  if (lowercase) result = result.toLowerCase();
  // Marks that stand alone go first: NFD sorts runs of them, in a time that grows with the square of their length.
  if (stripAccents ?? lowercase) result = result.replace(MARKS, '').normalize('NFD').replace(MARKS, '');
  return result;
}
