/** What the daemon and its engine process say to each other; frames.ts is how. */
import type { Capabilities } from '../device/capabilities.js';
import type { ModelDescription } from './model-description.js';
import type { RunTimes } from './session.js';

/** The engine process's end of the socket pair. */
export const ENGINE_FD = 3;

export interface ModelFile {
  readonly file: string;
  /** Digest id that the artifact must have: that of the one which was described. */
  readonly id: string;
}

export interface WireError {
  readonly code: string;
  readonly message: string;
}

/** The first message opens the device (URI resolved, not `auto`); every job after it gets exactly one `done` or `error`. */
export type ToEngine =
  | { readonly kind: 'open'; readonly device: string; readonly models: readonly ModelFile[] }
  /** Body: token ids of all sequences, one after another, u32; then token types of all of them if `types`. */
  | {
      readonly kind: 'run';
      readonly job: number;
      /** Digest id, here and in `unload`: two models of one name may be loaded at once. */
      readonly model: string;
      /** Tokens of each sequence. */
      readonly lengths: readonly number[];
      readonly types: boolean;
    }
  /** What an artifact is; nothing of the device is touched. */
  | { readonly kind: 'describe'; readonly job: number; readonly file: string }
  /** Adds a model; one that is there is loaded anew. */
  | { readonly kind: 'load'; readonly job: number; readonly model: ModelFile }
  /** A tile with a known answer through the device. */
  | { readonly kind: 'self-test'; readonly job: number }
  /** Takes a model away; of one that is not there, nothing is left to do. */
  | { readonly kind: 'unload'; readonly job: number; readonly model: string }
  | { readonly kind: 'close' };

/** What the window holds after the job. */
export interface WindowUse {
  /** Names of the models whose weights are in the window, the one used longest ago first. */
  readonly resident: readonly string[];
  readonly freeBytes: number;
}

export type FromEngine =
  | { readonly kind: 'ready'; readonly capabilities: Capabilities; readonly window: WindowUse }
  | { readonly kind: 'failed'; readonly error: WireError }
  /**
   * After `run`, body: the head's values for all sequences, f32; how many each has follows from its length (OutputShape). After
   * `describe`, the model, and its vocabulary as the body.
   */
  | {
      readonly kind: 'done';
      readonly job: number;
      readonly window: WindowUse;
      readonly times?: RunTimes;
      readonly model?: ModelDescription;
    }
  /** `fatal`: the device could not be brought back; the process ends. */
  | { readonly kind: 'error'; readonly job: number; readonly error: WireError; readonly fatal: boolean };

/** The stable code and message of any error. */
export function toWireError(error: unknown): WireError {
  if (!(error instanceof Error)) return { code: 'internal', message: String(error) };
  const { code } = error as { code?: unknown };
  return { code: typeof code === 'string' ? code : 'internal', message: error.message };
}
