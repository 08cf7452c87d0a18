/** A request that cannot be answered with a result, as an exception inside the service. */
import type { ErrorCode } from '../client/wire.js';

/** Longest message sent to a requester: texts of strangers may be quoted in it. */
const MAX_MESSAGE = 400;

export class RequestFailure extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message.length > MAX_MESSAGE ? `${message.slice(0, MAX_MESSAGE - 3)}...` : message, options);
    this.name = 'RequestFailure';
    this.code = code;
  }
}
