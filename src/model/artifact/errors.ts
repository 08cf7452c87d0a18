import { plainText } from '../plain-text.js';

/** A `.beta` file that cannot be used: which file, which part of it, and what to do. */
export class ArtifactError extends Error {
  /**
   * Stable: 'not-found', 'truncated', 'bad-header', 'too-large', 'unsupported-format' (a dtype), 'bad-plan', 'bad-tensor',
   * 'bad-tokenizer', 'newer-format', 'damaged'.
   */
  readonly code: string;
  readonly file: string;

  constructor(code: string, file: string, message: string) {
    super(`${file}: ${plainText(message)}`);
    this.name = 'ArtifactError';
    this.code = code;
    this.file = file;
  }
}
