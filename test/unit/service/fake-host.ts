/** A host without an engine: small, deterministic, and it can be held up or made to fail. */
import type { BatchResult, InferenceHost, ServedModel, TokenSequence } from '../../../src/service/engine.js';

export const LABELS = ['balance', 'transfer', 'weather'];
export const MAX_TOKENS = 12;
export const VOCABULARY = 100;

/** One token for each word: 10 + its length. [CLS] is 2, [SEP] is 3; words of "~" alone are dropped. */
export function fakeModel(name = 'intents', digest = '0123456789ab'): ServedModel {
  return {
    name,
    id: `${name}@${digest}`,
    task: 'sequence-classification',
    labels: LABELS,
    output: { perToken: false, width: LABELS.length },
    maxTokens: MAX_TOKENS,
    vocabSize: VOCABULARY,
    typeVocabSize: 2,
    encode(text) {
      const pieces = piecesOf(text);
      const kept = pieces.slice(0, MAX_TOKENS - 2);
      return {
        ids: Uint32Array.of(2, ...kept, 3),
        tokens: pieces.length + 2,
        truncated: kept.length < pieces.length,
      };
    },
    /** Cut at the end of the second text only. */
    encodePair(text, pair) {
      const [a, b] = [piecesOf(text), piecesOf(pair)];
      const kept = b.slice(0, Math.max(0, MAX_TOKENS - 3 - a.length));
      const ids = Uint32Array.of(2, ...a, 3, ...kept, 3);
      return {
        ids,
        types: new Uint32Array(ids.length).fill(1, a.length + 2),
        tokens: a.length + b.length + 3,
        truncated: kept.length < b.length,
        pieces: [a.length, b.length],
      };
    },
    tokenResult() {
      throw new Error('this head gives one label');
    },
  };
}

function piecesOf(text: string): number[] {
  const words = text.split(/\s+/).filter((word) => word.replaceAll('~', '') !== '');
  return words.map((word) => 10 + Math.min(word.length, 80));
}

/** The largest logit is at (sum of ids) mod 3. */
export function fakeLogits(ids: Uint32Array): Float32Array {
  const winner = ids.reduce((a, b) => a + b, 0) % 3;
  return Float32Array.from([0, 1, 2], (label) => (label === winner ? 2 : -label / 4));
}

export class FakeHost implements InferenceHost {
  readonly device = { uri: 'emu:', kind: 'emulator', version: '1.0', build: 0 };
  readonly models: Map<string, ServedModel>;
  ready = true;
  lost = false;
  restarts = 0;
  readonly window = { resident: [], freeBytes: 2 ** 20 };
  onReady?: (ready: boolean, reason: string) => void;
  onFailure?: (error: Error) => void;
  closed = false;
  /** Sequences it was given, in order. */
  readonly seen: number[][] = [];
  /** Their token types, null where they came without. */
  readonly types: (number[] | null)[] = [];
  /** What every inference does before it answers. */
  before: () => Promise<void> = async () => undefined;

  constructor(...models: ServedModel[]) {
    this.models = new Map((models.length > 0 ? models : [fakeModel()]).map((model) => [model.name, model]));
  }

  using<T>(_model: ServedModel, work: () => Promise<T>): Promise<T> {
    return work();
  }

  async infer(_model: ServedModel, sequences: readonly TokenSequence[]): Promise<BatchResult> {
    this.seen.push(...sequences.map(({ ids }) => [...ids]));
    this.types.push(...sequences.map(({ types }) => (types ? [...types] : null)));
    await this.before();
    return {
      logits: sequences.map(({ ids }) => fakeLogits(ids)),
      times: { total: 1.5, engine: 1, vector: 0.25, host: 0.25 },
    };
  }

  /** `name.beta` becomes a model of that name. */
  async loadModel(file: string): Promise<ServedModel> {
    const name = /([a-z0-9-]+)\.beta$/.exec(file)?.[1];
    if (name === undefined) throw codedError('not-found', `${file}: no such file`);
    const model = fakeModel(name);
    this.models.set(name, model);
    return model;
  }

  async unloadModel(name: string): Promise<void> {
    if (!this.models.delete(name)) throw codedError('unknown-model', `no model is called "${name}"`);
  }

  /** What a self-test does. */
  selfTest: () => Promise<void> = async () => undefined;

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
