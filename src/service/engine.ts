/**
 * What the service needs of the runtime: a host of models that runs token sequences. runtime's EngineHost has this
 * shape; tests put a fake in its place.
 */

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
  readonly labels: readonly string[];
  /** Tokens of the longest sequence, special ones included. */
  readonly maxTokens: number;
  readonly vocabSize: number;
  /** Ids of a text, cut to `maxTokens`; `tokens` is the count before that, special ones included. */
  encode(
    text: string,
    options?: { truncate?: boolean },
  ): { ids: Uint32Array; truncated: boolean; tokens: number };
}

export interface Inference {
  /** One array for each sequence, in the model's label order. */
  readonly logits: readonly Float32Array[];
  readonly timings: { readonly queueMs: number; readonly computeMs: number; readonly batch: number };
}

export interface InferenceHost {
  readonly device: DeviceSummary;
  readonly models: ReadonlyMap<string, ServedModel>;
  /** Rejects with an Error that has a stable `code`. */
  infer(model: string, sequences: readonly { ids: Uint32Array }[]): Promise<Inference>;
  close(): Promise<void>;
  /** Called once if the host can do no more: every inference rejects from then on. */
  onFailure?: ((error: Error) => void) | undefined;
}

/** Starts a host: `EngineHost.start` in the real daemon. */
export type StartHost = (options: {
  device: string;
  models: readonly { file: string }[];
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: object) => void;
}) => Promise<InferenceHost>;
