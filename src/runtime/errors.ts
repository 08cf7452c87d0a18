/** An input that the model cannot take. */
export class InputError extends Error {
  /** Stable: 'bad-input'. */
  readonly code = 'bad-input';

  constructor(message: string) {
    super(message);
    this.name = 'InputError';
  }
}
