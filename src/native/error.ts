/** A call that libbeta refused. The message is libbeta's own sentence. */
export class NativeError extends Error {
  /** Positive errno. */
  readonly errno: number;

  constructor(what: string, errno: number, sentence: string) {
    super(`${what}: ${sentence || `errno ${errno}`}`);
    this.name = 'NativeError';
    this.errno = errno;
  }
}
