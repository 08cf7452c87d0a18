/**
 * What the service needs of the runtime: a host of models that runs token sequences. runtime's EngineHost has this
 * shape; tests put a fake in its place.
 */

import type { OutputShape } from '../model/plan.js';
import type { Task } from '../model/task.js';
import type { WindowUse } from '../runtime/protocol.js';
import type { TokenResult, TokenTask } from '../runtime/results.js';
import type { RunTimes } from '../runtime/session.js';

export interface DeviceSummary {
  readonly uri: string;
  /** 'emulator', or the kind of board. */
  readonly kind: string;
  readonly version: string;
  readonly build: number;
}

/** A model that is loaded. */
export interface ServedModel {
  readonly name: string;
  /** Name and digest: tells two models of one name apart. */
  readonly id: string;
  readonly task: Task;
  /** Class names; empty where the task has none. */
  readonly labels: readonly string[];
  readonly output: OutputShape;
  /** Tokens of the longest sequence, special ones included. */
  readonly maxTokens: number;
  readonly vocabSize: number;
  /** Token types; a model with one takes no pairs. */
  readonly typeVocabSize: number;
  /** Ids of a text, cut to `maxTokens`; `tokens` is the count before that, special ones included. */
  encode(
    text: string,
    options?: { truncate?: boolean },
  ): { ids: Uint32Array; truncated: boolean; tokens: number };
  /** The same for a pair of texts; `pieces` of each are before the cut, special tokens not counted. */
  encodePair(
    text: string,
    pair: string,
  ): TokenSequence & {
    readonly types: Uint32Array;
    readonly truncated: boolean;
    readonly tokens: number;
    readonly pieces: readonly [number, number];
  };
  /** The result for one sequence of a model whose head looks at every token. */
  tokenResult(task: TokenTask, values: Float32Array, sequence: TokenSequence): TokenResult;
}

export interface TokenSequence {
  readonly ids: Uint32Array;
  /** 0 where left out. */
  readonly types?: Uint32Array;
}

/** One batch, run. */
export interface BatchResult {
  /** What the head gives for each sequence, row-major: OutputShape. */
  readonly logits: readonly Float32Array[];
  readonly times: RunTimes;
}

export interface InferenceHost {
  readonly device: DeviceSummary;
  /** By name, what new requests for it run on. */
  readonly models: ReadonlyMap<string, ServedModel>;
  /** Whether a batch can be run now; false while the engine process is started again. */
  readonly ready: boolean;
  /** Whether it never will again. */
  readonly lost: boolean;
  /** Times the engine process was started again. */
  readonly restarts: number;
  readonly window: WindowUse;
  /** Keeps this version of a model on the device while `work` goes on, whatever takes its name meanwhile. */
  using<T>(model: ServedModel, work: () => Promise<T>): Promise<T>;
  /**
   * Runs the sequences as one batch of this version of a model. Rejects with an Error that has a stable `code`: 'worker-lost' if the engine
   * process died, 'unknown-model' or 'model-changed' if this version cannot be had any more.
   */
  infer(model: ServedModel, sequences: readonly TokenSequence[]): Promise<BatchResult>;
  /** Adds a model, or gives its name to another version, while the others go on. */
  loadModel(file: string): Promise<ServedModel>;
  unloadModel(name: string): Promise<void>;
  /** A tile with a known answer through the device. Rejects where it fails, or gives another one. */
  selfTest(): Promise<void>;
  close(): Promise<void>;
  /** Called when the engine process ended and another is on its way (false), and when that one is ready (true). */
  onReady?: ((ready: boolean, reason: string) => void) | undefined;
  /** Called once if the host can do no more: every inference rejects from then on. */
  onFailure?: ((error: Error) => void) | undefined;
}

/** Starts a host: `EngineHost.start` in the real daemon. */
export type StartHost = (options: {
  device: string;
  models: readonly { file: string }[];
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: object) => void;
}) => Promise<InferenceHost>;
