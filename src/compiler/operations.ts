/**
 * The operations of a program (native/vector/steps.yaml, enum operation): what one native call does, in order. Four words each, so
 * that a program is three flat arrays.
 */
import { OPERATION, OPERATION_WORDS } from '../native/steps.generated.js';

/** One operation taken apart. Counts and indices are within the program, offsets are window offsets. */
export type Operation =
  /** Hands descriptors first... to the engine. */
  | { readonly kind: 'submit'; readonly first: number; readonly count: number }
  /** Waits until the program's first `count` descriptors are complete. */
  | { readonly kind: 'wait'; readonly count: number }
  /** Runs step records first...; the steps among them do not depend on one another. */
  | { readonly kind: 'vector'; readonly first: number; readonly count: number }
  /** The engine reads next what the CPU wrote; the CPU reads next what the engine wrote. */
  | { readonly kind: 'sync-for-device' | 'sync-for-cpu'; readonly off: number; readonly bytes: number };

/** Writes operations; what continues the operation before it joins it. */
export class OperationWriter {
  #words = new Uint32Array(256 * OPERATION_WORDS);
  #length = 0;

  /** The next `count` descriptors, from number `first` on. */
  submit(first: number, count: number): void {
    this.#push(OPERATION.SUBMIT, first, count, count > 0);
  }

  wait(count: number): void {
    this.#push(OPERATION.WAIT, count, 0, false);
  }

  vector(first: number, count: number): void {
    this.#push(OPERATION.VECTOR, first, count, false);
  }

  syncForDevice(off: number, bytes: number): void {
    if (bytes > 0) this.#push(OPERATION.SYNC_FOR_DEVICE, off, bytes, true);
  }

  syncForCpu(off: number, bytes: number): void {
    if (bytes > 0) this.#push(OPERATION.SYNC_FOR_CPU, off, bytes, true);
  }

  /** The operations written so far. */
  finish(): Uint32Array {
    return this.#words.slice(0, this.#length);
  }

  #push(kind: number, first: number, count: number, joins: boolean): void {
    const last = this.#length - OPERATION_WORDS;
    const words = this.#words;
    if (joins && last >= 0 && words[last] === kind && words[last + 1]! + words[last + 2]! === first) {
      words[last + 2]! += count;
      return;
    }
    if (this.#length === words.length) {
      this.#words = new Uint32Array(2 * words.length);
      this.#words.set(words);
    }
    this.#words[this.#length] = kind;
    this.#words[this.#length + 1] = first;
    this.#words[this.#length + 2] = count;
    this.#length += OPERATION_WORDS;
  }
}

/** The operations of a program, for tools and tests. */
export function readOperations(words: Uint32Array): Operation[] {
  const operations: Operation[] = [];
  for (let at = 0; at < words.length; at += OPERATION_WORDS) {
    const [kind, first, count] = [words[at]!, words[at + 1]!, words[at + 2]!];
    if (kind === OPERATION.SUBMIT) operations.push({ kind: 'submit', first, count });
    else if (kind === OPERATION.WAIT) operations.push({ kind: 'wait', count: first });
    else if (kind === OPERATION.VECTOR) operations.push({ kind: 'vector', first, count });
    else if (kind === OPERATION.SYNC_FOR_DEVICE)
      operations.push({ kind: 'sync-for-device', off: first, bytes: count });
    else if (kind === OPERATION.SYNC_FOR_CPU)
      operations.push({ kind: 'sync-for-cpu', off: first, bytes: count });
    else throw new RangeError(`operation ${at / OPERATION_WORDS} is of no known kind: ${kind}`);
  }
  return operations;
}
