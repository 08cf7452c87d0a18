import { plainText } from './plain-text.js';

/** A checkpoint that can be read but not imported: which tensor or setting, why, and what to do. */
export class ImportError extends Error {
  /**
   * Stable: 'unknown-family', 'ambiguous-family', 'unsupported', 'missing-tensor', 'wrong-shape', 'bad-values', 'bad-config', 'bad-vocabulary',
   * 'bad-option'.
   */
  readonly code: string;

  constructor(code: string, message: string) {
    super(plainText(message));
    this.name = 'ImportError';
    this.code = code;
  }
}
