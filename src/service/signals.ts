/** SIGTERM and SIGINT: the first one stops the daemon in order, the second one ends the process at once. */
import { constants } from 'node:os';
import type { Daemon } from './daemon.js';
import type { Log } from './log.js';

const SIGNALS = ['SIGTERM', 'SIGINT'] as const;

/** Installs the handlers; the returned function takes them away again. `exit` is for tests. */
export function stopOnSignals(
  daemon: Pick<Daemon, 'stop'>,
  log: Pick<Log, 'info' | 'warn'>,
  exit: (code: number) => void = process.exit,
): () => void {
  let stopping = false;
  const handler = (signal: (typeof SIGNALS)[number]) => {
    if (stopping) {
      log.warn({ signal }, 'second signal: ending at once');
      exit(128 + constants.signals[signal]);
      return;
    }
    stopping = true;
    log.info({ signal }, 'signal received; send it again to end at once');
    void daemon.stop();
  };
  for (const signal of SIGNALS) process.on(signal, handler);
  return () => {
    for (const signal of SIGNALS) process.off(signal, handler);
  };
}
