// The JSON of a safetensors header, read by a scanner that knows nothing else. JSON.parse would hide
// duplicate keys (the format forbids them, and two readers may then see two different models), take 1e3
// for an integer, and build whatever 100 MB of brackets ask for.
import { quote } from './errors.js';
import { MAX_METADATA_ENTRIES, MAX_NAME_LENGTH, MAX_RANK, MAX_TENSORS } from './limits.js';

/** A tensor as the header words it; nothing is checked against the file yet. */
export interface HeaderEntry {
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Byte range relative to the end of the header. */
  readonly begin: number;
  readonly end: number;
}

/** Both parts of a header, keys in file order. */
export interface HeaderText {
  readonly metadata: Map<string, string>;
  readonly tensors: Map<string, HeaderEntry>;
}

/** What the scanner throws: a description without a file; safetensors.ts adds the file and the fix. */
export class HeaderSyntaxError extends Error {
  readonly tooLarge: boolean;

  constructor(what: string, tooLarge = false) {
    super(what);
    this.tooLarge = tooLarge;
  }
}

/**
 * @param text the header without its length
 * @throws HeaderSyntaxError
 */
export function scanHeader(text: string): HeaderText {
  return new HeaderScanner(text).header();
}

class HeaderScanner {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  header(): HeaderText {
    const metadata = new Map<string, string>();
    const tensors = new Map<string, HeaderEntry>();
    let hasMetadata = false;
    // The format wants the brace as the first byte; only spaces may follow the end, as padding.
    if (this.#text[0] !== '{') this.#fail('no "{" at its beginning');
    this.#object((name) => {
      if (name === '__metadata__') {
        if (hasMetadata) this.#fail('__metadata__ appears twice');
        hasMetadata = true;
        this.#metadata(metadata);
        return;
      }
      if (name.length > MAX_NAME_LENGTH)
        this.#fail(`a tensor name has more than ${MAX_NAME_LENGTH} characters`);
      if (tensors.has(name)) this.#fail(`tensor ${quote(name)} appears twice`);
      if (tensors.size >= MAX_TENSORS) this.#fail(`more than ${MAX_TENSORS} tensors`, true);
      tensors.set(name, this.#tensor(name));
    });
    this.#space();
    if (this.#at < this.#text.length) this.#fail('text after the closing brace');
    return { metadata, tensors };
  }

  #metadata(into: Map<string, string>): void {
    this.#object((key) => {
      if (into.has(key)) this.#fail(`metadata key ${quote(key)} appears twice`);
      if (into.size >= MAX_METADATA_ENTRIES)
        this.#fail(`more than ${MAX_METADATA_ENTRIES} metadata entries`, true);
      into.set(key, this.#string(`the value of metadata key ${quote(key)}`));
    });
  }

  #tensor(name: string): HeaderEntry {
    const where = `tensor ${quote(name)}`;
    let dtype: string | undefined;
    let shape: number[] | undefined;
    let offsets: number[] | undefined;
    this.#object((field) => {
      if (field === 'dtype' && dtype === undefined) dtype = this.#string(`the dtype of ${where}`);
      else if (field === 'shape' && shape === undefined)
        shape = this.#integers(MAX_RANK, `the shape of ${where}`);
      else if (field === 'data_offsets' && offsets === undefined)
        offsets = this.#integers(2, `data_offsets of ${where}`);
      else this.#fail(`${where} has a repeated or unknown field ${quote(field)}`);
    });
    if (dtype === undefined || shape === undefined || offsets === undefined)
      return this.#fail(`${where} does not have all of dtype, shape and data_offsets`);
    const [begin, end] = offsets;
    if (begin === undefined || end === undefined) return this.#fail(`${where} needs two data_offsets`);
    return { dtype, shape, begin, end };
  }

  /** `{ "key": value, ... }`; `value` reads what follows the colon. Depth is bounded by the grammar. */
  #object(value: (key: string) => void): void {
    this.#expect('{');
    if (this.#take('}')) return;
    do {
      const key = this.#string('a key');
      this.#expect(':');
      value(key);
    } while (this.#take(','));
    this.#expect('}');
  }

  #integers(max: number, what: string): number[] {
    const numbers: number[] = [];
    this.#expect('[');
    if (this.#take(']')) return numbers;
    do {
      if (numbers.length === max) this.#fail(`${what}: more than ${max} numbers`);
      numbers.push(this.#integer(what));
    } while (this.#take(','));
    this.#expect(']');
    return numbers;
  }

  #integer(what: string): number {
    this.#space();
    const start = this.#at;
    // 17 digits are enough to see that a number is above 2^53.
    while (this.#at - start < 17 && isDigit(this.#text.charCodeAt(this.#at))) this.#at++;
    const digits = this.#text.slice(start, this.#at);
    const number = Number(digits);
    if (digits === '' || !Number.isSafeInteger(number) || (digits[0] === '0' && digits.length > 1))
      this.#fail(`${what}: not a whole number from 0 to 2^53 - 1`);
    return number;
  }

  #string(what: string): string {
    this.#space();
    const start = this.#at;
    if (this.#text[start] !== '"') this.#fail(`${what}: not a string`);
    let end = start;
    do {
      end = this.#text.indexOf('"', end + 1);
      if (end < 0) this.#fail(`${what}: the string does not end`);
    } while (this.#escaped(end));
    this.#at = end + 1;
    let value: unknown;
    try {
      value = JSON.parse(this.#text.slice(start, end + 1));
    } catch {
      this.#fail(`${what}: not a valid JSON string`);
    }
    if (typeof value !== 'string' || /\p{Surrogate}/u.test(value))
      return this.#fail(`${what}: not valid Unicode`);
    return value;
  }

  /** Whether the quote at `position` is escaped: an odd number of backslashes stands before it. */
  #escaped(position: number): boolean {
    let backslashes = 0;
    while (this.#text[position - 1 - backslashes] === '\\') backslashes++;
    return backslashes % 2 === 1;
  }

  #expect(char: string): void {
    if (!this.#take(char)) this.#fail(`"${char}" expected`);
  }

  #take(char: string): boolean {
    this.#space();
    if (this.#text[this.#at] !== char) return false;
    this.#at++;
    return true;
  }

  #space(): void {
    while (isSpace(this.#text.charCodeAt(this.#at))) this.#at++;
  }

  #fail(what: string, tooLarge = false): never {
    throw new HeaderSyntaxError(`its header is refused at character ${this.#at}: ${what}`, tooLarge);
  }
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;
}
