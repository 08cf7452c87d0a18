/** Resident memory of the processes while they serve: after warm-up, at the end, and at most. */
import { residentBytes } from './processes.js';

export interface Memory {
  /** Bytes when a tenth of the time or of the requests was through. */
  readonly warm: number;
  readonly end: number;
  readonly most: number;
}

const SAMPLE_MS = 500;
const WARM = 0.1;

/** Samples until it is called again; `progress` is 0 to 1. */
export function watchMemory<Name extends string>(
  pids: Readonly<Record<Name, number>>,
  progress: () => number,
): () => Record<Name, Memory> {
  const names = Object.keys(pids) as Name[];
  const sample = () => names.map((name) => residentBytes(pids[name]));
  let warm: number[] | undefined;
  let most = sample();
  const look = () => {
    const now = sample();
    if (progress() >= WARM) warm ??= now;
    most = most.map((value, index) => Math.max(value, now[index]!));
    return now;
  };
  const timer = setInterval(look, SAMPLE_MS);
  timer.unref();
  return () => {
    clearInterval(timer);
    const end = look();
    const of = (index: number): Memory => ({
      warm: (warm ?? end)[index]!,
      end: end[index]!,
      most: most[index]!,
    });
    return Object.fromEntries(names.map((name, index) => [name, of(index)])) as Record<Name, Memory>;
  };
}
