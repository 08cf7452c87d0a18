/** The option every benchmark has: how long to measure. */
import { InvalidArgumentError } from 'commander';

/** A parser of seconds above 0, at most an hour. */
export function seconds(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= 3600))
    throw new InvalidArgumentError('It must be a number above 0, at most 3600.');
  return value;
}
