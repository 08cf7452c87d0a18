// What can be wrong with a checkpoint, as one error type with stable codes.

/**
 * Stable reasons why a checkpoint is refused. Programs test `code`; the message is for people.
 *
 * - `not-found`: the path, its config.json or its weights file does not exist
 * - `unreadable`: the system refused to open or read it
 * - `closed`: values were asked for after `close()`
 * - `truncated`: the file ends before what it announces
 * - `too-large`: a size or count is above the limits of limits.ts
 * - `unsupported-format`: a known format, dtype or feature this reader does not take
 * - `bad-config`: config.json is not a JSON object
 * - `bad-header`: the safetensors header is not well-formed
 * - `corrupt-zip`: the zip structure is damaged or contradicts itself
 * - `bad-crc`: an entry's bytes do not match its checksum
 * - `bad-pickle`: the pickle is malformed
 * - `forbidden-pickle`: the pickle asks for code, not for tensors and plain containers
 * - `bad-tensor`: a tensor's shape, strides, offset or storage are impossible
 */
export type CheckpointErrorCode =
  | 'not-found'
  | 'unreadable'
  | 'closed'
  | 'truncated'
  | 'too-large'
  | 'unsupported-format'
  | 'bad-config'
  | 'bad-header'
  | 'corrupt-zip'
  | 'bad-crc'
  | 'bad-pickle'
  | 'forbidden-pickle'
  | 'bad-tensor';

/** A checkpoint that cannot be read. The message says what is wrong, in which file, and how to fix it. */
export class CheckpointError extends Error {
  override readonly name = 'CheckpointError';
  readonly code: CheckpointErrorCode;
  /** The file the error is about, as the caller named it. */
  readonly file: string;

  /**
   * @param code stable reason
   * @param file the offending file
   * @param what what is wrong and where inside the file
   * @param fix what the user can do about it
   */
  constructor(code: CheckpointErrorCode, file: string, what: string, fix: string, options?: ErrorOptions) {
    super(`${file}: ${what}. ${fix}`, options);
    this.code = code;
    this.file = file;
  }
}

/** The fix for everything that looks like a damaged file. */
export const FETCH_AGAIN = 'The file is damaged: fetch or save it again';

/** Longest piece of a foreign name that an error message repeats. */
const MAX_QUOTED = 120;

/**
 * A name that came from outside, safe to show on a terminal: quoted, cut, and with control and
 * text-direction characters escaped.
 */
export function quote(text: string): string {
  const cut = text.length > MAX_QUOTED ? `${text.slice(0, MAX_QUOTED)}…` : text;
  // JSON escapes C0 controls and lone surrogates; the rest of what moves a cursor or turns text is added here.
  return JSON.stringify(cut).replace(
    /[\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
