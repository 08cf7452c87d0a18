/** The ways a request can fail, as types a program can tell apart. */
import type { ErrorCode } from './wire.js';

/** Codes that the client itself gives, beside those of the node (ERROR_CODES). */
export const CLIENT_ERROR_CODES = {
  timeout: 'No answer came in time.',
  unknown_node: 'The node that was asked for is not connected.',
  bad_answer: 'The answer is not one of this wire contract.',
  closed: 'The client was closed before the answer came.',
} as const;

export type RequestErrorCode = ErrorCode | keyof typeof CLIENT_ERROR_CODES;

/** A request that got an error answer, no answer, or an answer that cannot be understood. */
export class RequestError extends Error {
  /** Stable; a newer node may send a code that this client does not know. */
  readonly code: RequestErrorCode | (string & {});
  /** The node that answered; undefined when none did. */
  readonly node: string | undefined;

  constructor(code: RequestErrorCode | (string & {}), message: string, node?: string) {
    super(message);
    this.name = 'RequestError';
    this.code = code;
    this.node = node;
  }
}

/** The broker cannot be used: not there, not reachable in time, or it refused the client. */
export class ConnectError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ConnectError';
  }
}
