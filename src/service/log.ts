/** Logs: JSON lines on stderr for machines, readable lines for a terminal. Never the content of a request. */
import { type Logger, pino } from 'pino';
import pretty from 'pino-pretty';

export type Log = Logger;
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Written synchronously: the last line before an exit is the one that matters. */
export function createLog(level: LogLevel, readable: boolean = process.stderr.isTTY === true): Log {
  const options = { level, base: null };
  if (!readable) return pino(options, pino.destination({ dest: 2, sync: true }));
  return pino(
    options,
    pretty({
      destination: 2,
      sync: true,
      translateTime: 'SYS:HH:MM:ss',
      ignore: 'pid,hostname',
      singleLine: true,
    }),
  );
}
