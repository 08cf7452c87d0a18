/** Exit codes of every command. Stable: scripts and service managers depend on them. */
export const EXIT = {
  /** Done; for `serve`: stopped in order. */
  OK: 0,
  /** It failed: an error answer, a bad file, a device or model that cannot be opened. */
  FAILED: 1,
  /** The command line or the configuration is wrong: trying again will not help. */
  USAGE: 2,
  /** No connection: the broker cannot be reached or refuses, or the port for the embedded one is taken. */
  CONNECT: 3,
  /** No answer in time. */
  TIMEOUT: 4,
  /** `serve`: the engine was lost while serving. Everything was answered; a service manager should restart it. */
  ENGINE_LOST: 5,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];
