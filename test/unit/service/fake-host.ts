/** A host without an engine: small, deterministic, and it can be held up or made to fail. */
import type { Inference, InferenceHost, ServedModel } from '../../../src/service/engine.js';

export const LABELS = ['balance', 'transfer', 'weather'];
export const MAX_TOKENS = 12;
export const VOCABULARY = 100;

/** One token for each word: 10 + its length. [CLS] is 2, [SEP] is 3; words of "~" alone are dropped. */
export function fakeModel(name = 'intents'): ServedModel {
  return {
    name,
    id: `${name}@0123456789ab`,
    labels: LABELS,
    maxTokens: MAX_TOKENS,
    vocabSize: VOCABULARY,
    encode(text) {
      const words = text.split(/\s+/).filter((word) => word.replaceAll('~', '') !== '');
      const pieces = words.map((word) => 10 + Math.min(word.length, 80));
      const kept = pieces.slice(0, MAX_TOKENS - 2);
      return {
        ids: Uint32Array.of(2, ...kept, 3),
        tokens: pieces.length + 2,
        truncated: kept.length < pieces.length,
      };
    },
  };
}

/** The largest logit is at (sum of ids) mod 3. */
export function fakeLogits(ids: Uint32Array): Float32Array {
  const winner = ids.reduce((a, b) => a + b, 0) % 3;
  return Float32Array.from([0, 1, 2], (label) => (label === winner ? 2 : -label / 4));
}

export class FakeHost implements InferenceHost {
  readonly device = { uri: 'emu:', kind: 'emulator', version: '1.0', build: 0 };
  readonly models: ReadonlyMap<string, ServedModel>;
  onFailure?: (error: Error) => void;
  closed = false;
  /** Sequences it was given, in order. */
  readonly seen: number[][] = [];
  /** What every inference does before it answers. */
  before: () => Promise<void> = async () => undefined;

  constructor(...models: ServedModel[]) {
    this.models = new Map((models.length > 0 ? models : [fakeModel()]).map((model) => [model.name, model]));
  }

  async infer(_model: string, sequences: readonly { ids: Uint32Array }[]): Promise<Inference> {
    this.seen.push(...sequences.map(({ ids }) => [...ids]));
    await this.before();
    return {
      logits: sequences.map(({ ids }) => fakeLogits(ids)),
      timings: { queueMs: 0.25, computeMs: 1.5, batch: sequences.length },
    };
  }

  async close(): Promise<void> {
    this.closed = true;
  }

  /** Makes inferences wait; the returned function lets them go on. */
  hold(): () => void {
    let release: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    this.before = () => gate;
    return () => {
      this.before = async () => undefined;
      release();
    };
  }
}

export function codedError(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}
