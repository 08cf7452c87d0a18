/** What can go wrong at run time, as types with stable codes. */

/** An input that the model cannot take. */
export class InputError extends Error {
  /** Stable: 'bad-input'. */
  readonly code = 'bad-input';

  constructor(message: string) {
    super(message);
    this.name = 'InputError';
  }
}

/** A failure of the engine or of its process. */
export class HostError extends Error {
  /** 'closed', 'worker-lost' (the process ended; it may come back), or the code of a device, artifact or input error. */
  readonly code: string;

  constructor(
    { code, message }: { readonly code: string; readonly message: string },
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'HostError';
    this.code = code;
  }
}
