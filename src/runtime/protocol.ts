/** What the main thread and the engine worker say to each other. */
import type { Capabilities } from '../device/capabilities.js';
import type { RunTimes } from './session.js';

export interface WorkerOptions {
  /** Device URI, resolved (not `auto`). */
  readonly device: string;
  readonly models: readonly { readonly name: string; readonly file: string }[];
}

/** Sequences of one run: all token ids in one array, so that the hand-over copies nothing. */
export interface RunRequest {
  readonly job: number;
  readonly model: string;
  readonly ids: Uint32Array<ArrayBuffer>;
  readonly types: Uint32Array<ArrayBuffer> | null;
  /** Tokens of each sequence. */
  readonly lengths: readonly number[];
}

export interface WireError {
  readonly code: string;
  readonly message: string;
}

export type ToWorker = { readonly kind: 'run'; readonly request: RunRequest } | { readonly kind: 'close' };

export type FromWorker =
  | { readonly kind: 'ready'; readonly capabilities: Capabilities }
  | { readonly kind: 'failed'; readonly error: WireError }
  /** The head's values for all sequences, one after another; how many each has follows from its length (OutputShape). */
  | {
      readonly kind: 'result';
      readonly job: number;
      readonly logits: Float32Array<ArrayBuffer>;
      readonly times: RunTimes;
    }
  /** `fatal`: the device could not be brought back. */
  | { readonly kind: 'error'; readonly job: number; readonly error: WireError; readonly fatal: boolean };

/** The stable code and message of any error. */
export function toWireError(error: unknown): WireError {
  if (!(error instanceof Error)) return { code: 'internal', message: String(error) };
  const { code } = error as { code?: unknown };
  return { code: typeof code === 'string' ? code : 'internal', message: error.message };
}
