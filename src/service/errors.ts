/** Why a daemon does not start, as types the command line can tell apart. */

/** What has to change before the daemon can start. */
export type ServiceErrorKind =
  /** The configuration or a file it names. */
  | 'config'
  /** The broker, or the port for the embedded one. */
  | 'broker'
  /** The device, or a model on it. */
  | 'engine';

export class ServiceError extends Error {
  readonly kind: ServiceErrorKind;

  constructor(kind: ServiceErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ServiceError';
    this.kind = kind;
  }
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
