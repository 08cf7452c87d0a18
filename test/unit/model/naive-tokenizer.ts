// Test support: BERT's tokenisation as its definition words it, character by character, slow and with no shared code. "Control
// character" is category Cc, Cf, Co or Cs, as in the common tokenisers; unassigned code points stay, so that no answer
// depends on the version of Unicode.

export interface NaiveSettings {
  lowercase: boolean;
  /** Longest word, characters. */
  longest?: number;
}

/** Word pieces of a text, without [CLS] and [SEP]. */
export function naivePieces(
  text: string,
  vocabulary: ReadonlySet<string>,
  settings: NaiveSettings,
): string[] {
  return basicTokens(text, settings.lowercase).flatMap((word) =>
    wordPieces([...word], vocabulary, settings.longest ?? 100),
  );
}

function basicTokens(text: string, lowercase: boolean): string[] {
  const spaced = [...text]
    .filter((char) => !isDropped(char))
    .map((char) => (isSpace(char) ? ' ' : isIdeograph(char) ? ` ${char} ` : char))
    .join('');
  const words = spaced.split(' ').filter((word) => word !== '');
  return words.flatMap((word) => splitPunctuation(lowercase ? withoutAccents(word.toLowerCase()) : word));
}

function isDropped(char: string): boolean {
  if (char === '\t' || char === '\n' || char === '\r') return false;
  return char === '\ufffd' || ['Cc', 'Cf', 'Co', 'Cs'].some((category) => isA(category, char));
}

function isSpace(char: string): boolean {
  // Python's split(), which follows, also takes the line and paragraph separators.
  return '\t\n\r\u2028\u2029'.includes(char) || isA('Zs', char);
}

const BLOCKS: [first: number, last: number][] = [
  [0x4e00, 0x9fff],
  [0x3400, 0x4dbf],
  [0x20000, 0x2a6df],
  [0x2a700, 0x2b73f],
  [0x2b740, 0x2b81f],
  [0x2b820, 0x2ceaf],
  [0xf900, 0xfaff],
  [0x2f800, 0x2fa1f],
];

function isIdeograph(char: string): boolean {
  const code = char.codePointAt(0)!;
  return BLOCKS.some(([first, last]) => code >= first && code <= last);
}

function withoutAccents(word: string): string {
  return [...word.normalize('NFD')].filter((char) => !isA('Mn', char)).join('');
}

function splitPunctuation(word: string): string[] {
  const words: string[] = [];
  let open = false;
  for (const char of word) {
    if (isPunctuation(char)) {
      words.push(char);
      open = false;
    } else if (open) {
      words[words.length - 1] += char;
    } else {
      words.push(char);
      open = true;
    }
  }
  return words;
}

function isPunctuation(char: string): boolean {
  const code = char.codePointAt(0)!;
  const symbol =
    (code >= 33 && code <= 47) ||
    (code >= 58 && code <= 64) ||
    (code >= 91 && code <= 96) ||
    (code >= 123 && code <= 126);
  return symbol || isA('P', char);
}

const classes = new Map<string, RegExp>();

function isA(category: string, char: string): boolean {
  let test = classes.get(category);
  if (test === undefined) {
    test = new RegExp(`^\\p{${category}}$`, 'u');
    classes.set(category, test);
  }
  return test.test(char);
}

function wordPieces(chars: string[], vocabulary: ReadonlySet<string>, longest: number): string[] {
  if (chars.length > longest) return ['[UNK]'];
  const pieces: string[] = [];
  for (let start = 0; start < chars.length; ) {
    let end = chars.length;
    const candidate = () => (start > 0 ? '##' : '') + chars.slice(start, end).join('');
    while (end > start && !vocabulary.has(candidate())) end--;
    if (end === start) return ['[UNK]'];
    pieces.push(candidate());
    start = end;
  }
  return pieces;
}
