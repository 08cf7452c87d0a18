/**
 * The main thread's side of the engine worker: models by name, concurrent requests gathered into batches, one answer or error for
 * each. While the worker runs one batch the next one forms by itself, so batching costs no request any delay.
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { Capabilities } from '../device/capabilities.js';
import { resolveDeviceUri } from '../device/discovery.js';
import { Artifact } from '../model/artifact/read.js';
import { type OutputShape, outputShape } from '../model/plan.js';
import type { Task } from '../model/task.js';
import type { EncodedPair, EncodedText } from '../model/tokenizer.js';
import { checkSequence } from './inputs.js';
import {
  type FromWorker,
  type ToWorker,
  toWireError,
  type WireError,
  type WorkerOptions,
} from './protocol.js';
import { type TokenResult, type TokenTask, tokenResult } from './results.js';
import type { RunTimes } from './session.js';

/** A failure of the engine or of its worker. */
export class HostError extends Error {
  /** 'closed', 'worker-lost', or the code of a device, artifact or input error. */
  readonly code: string;

  constructor({ code, message }: WireError) {
    super(message);
    this.name = 'HostError';
    this.code = code;
  }
}

export interface HostOptions {
  /** Device URI or `auto`. */
  readonly device: string;
  readonly models: readonly { readonly file: string }[];
  readonly log?: (level: 'info' | 'warn' | 'error', message: string, fields?: object) => void;
  /** The worker's module; tests that run from sources give the built one. */
  readonly worker?: URL;
}

/** What a device says about itself. */
export interface DeviceInfo {
  readonly uri: string;
  readonly kind: 'emulator' | 'engine';
  /** Contract version, such as "1.0". */
  readonly version: string;
  readonly build: number;
}

export interface InferInput {
  readonly ids: Uint32Array;
  readonly types?: Uint32Array;
}

export interface InferResult {
  /** What the head gives for each input (RunResult). */
  readonly logits: Float32Array[];
  readonly timings: {
    /** From infer() to the start of the batch. */
    readonly queueMs: number;
    /** The batch's forward pass. */
    readonly computeMs: number;
    /** Sequences in the batch, other requests' included. */
    readonly batch: number;
  };
}

/** A model as the main thread knows it: everything but the weights. */
export class HostedModel {
  readonly name: string;
  readonly id: string;
  readonly file: string;
  readonly labels: readonly string[];
  readonly maxTokens: number;
  readonly vocabSize: number;
  readonly typeVocabSize: number;
  readonly task: Task;
  readonly output: OutputShape;
  readonly description: {
    readonly family: string;
    readonly task: Task;
    readonly layers: number;
    readonly hidden: number;
    readonly heads: number;
  };
  readonly #artifact: Artifact;

  constructor(artifact: Artifact) {
    const { plan } = artifact;
    this.#artifact = artifact;
    this.name = artifact.name;
    this.id = artifact.id;
    this.file = artifact.file;
    this.labels = plan.labels;
    this.maxTokens = plan.maxTokens;
    this.vocabSize = plan.embeddings.words[0]!.planes.rows;
    this.typeVocabSize = plan.embeddings.type.rows;
    this.task = plan.head.task;
    this.output = outputShape(plan);
    this.description = {
      family: plan.family,
      task: plan.head.task,
      layers: plan.layers.length,
      hidden: plan.hidden,
      heads: plan.heads,
    };
  }

  /** Token ids of a text, cut to maxTokens; `truncated` says whether it was, `tokens` how many the whole text has. */
  encode(text: string): EncodedText {
    return this.#artifact.tokenizer.encode(text, this.maxTokens);
  }

  /** Token ids and types of a pair of texts, cut to maxTokens. */
  encodePair(text: string, pair: string): EncodedPair {
    return this.#artifact.tokenizer.encodePair(text, pair, this.maxTokens);
  }

  /** The result for one input of a model whose head looks at every token. */
  tokenResult(task: TokenTask, values: Float32Array, input: InferInput): TokenResult {
    return tokenResult(task, values, input, this.labels, this.#artifact.tokenizer);
  }
}

/** What the worker says first; rejects if it dies before that. */
async function firstMessage(worker: Worker): Promise<FromWorker> {
  const ended = new AbortController();
  const { signal } = ended;
  try {
    const died = once(worker, 'exit', { signal }).then(([code]) => {
      throw new HostError({
        code: 'worker-lost',
        message: `the engine worker ended with code ${code} while it started`,
      });
    });
    const [message] = await Promise.race([once(worker, 'message', { signal }), died]);
    return message;
  } finally {
    ended.abort();
  }
}

interface Job {
  readonly model: string;
  readonly inputs: readonly InferInput[];
  readonly queued: number;
  readonly resolve: (result: InferResult) => void;
  readonly reject: (error: Error) => void;
}

/** Bounds of one batch; a single request larger than this still runs, alone. */
const BATCH_SEQUENCES = 64;
/** Longest wait for the worker to stop by itself. */
const CLOSE_TIMEOUT_MS = 10_000;

const CLOSED = new HostError({ code: 'closed', message: 'the engine is closed' });

export class EngineHost {
  readonly device: DeviceInfo;
  readonly models: ReadonlyMap<string, HostedModel>;
  /** Called once if the worker is lost; every request then fails with 'worker-lost'. */
  onFailure?: (error: Error) => void;
  readonly #worker: Worker;
  readonly #waiting: Job[] = [];
  #running: { job: number; jobs: readonly Job[]; started: number } | undefined;
  #nextJob = 0;
  #closing = false;
  #ended: HostError | undefined;
  #exited: Promise<void>;

  private constructor(
    worker: Worker,
    uri: string,
    capabilities: Capabilities,
    models: ReadonlyMap<string, HostedModel>,
  ) {
    const { version, build } = capabilities;
    this.#worker = worker;
    this.models = models;
    this.device = {
      uri,
      kind: build === 0 ? 'emulator' : 'engine',
      version: `${version.major}.${version.minor}`,
      build,
    };
    worker.on('message', (message: FromWorker) => this.#receive(message));
    worker.on('error', (error) => this.#lose(`the engine worker failed: ${error.message}`));
    this.#exited = new Promise((resolve) => {
      worker.on('exit', (code) => {
        this.#lose(`the engine worker ended with code ${code}`);
        resolve();
      });
    });
  }

  /** Checks the artifacts, starts the worker and loads them onto the device. Throws what went wrong, with its code. */
  static async start({ device, models, log, worker: module }: HostOptions): Promise<EngineHost> {
    const uri = resolveDeviceUri(device, (message) => log?.('warn', message));
    const hosted = new Map<string, HostedModel>();
    for (const { file } of models) {
      const model = new HostedModel(Artifact.open(file));
      const twin = hosted.get(model.name);
      if (twin)
        throw new HostError({
          code: 'name-taken',
          message: `${file} and ${twin.file} are both called "${model.name}"; rename one of the files`,
        });
      hosted.set(model.name, model);
    }
    const workerData: WorkerOptions = {
      device: uri,
      models: [...hosted.values()].map(({ name, file }) => ({ name, file })),
    };
    const worker = new Worker(module ?? new URL('./worker.js', import.meta.url), { workerData });
    const first = await firstMessage(worker);
    if (first.kind !== 'ready') {
      await worker.terminate();
      throw new HostError(
        first.kind === 'failed'
          ? first.error
          : { code: 'internal', message: `the engine worker began with "${first.kind}"` },
      );
    }
    return new EngineHost(worker, uri, first.capabilities, hosted);
  }

  /** Sequences that wait or run. */
  get load(): number {
    const count = (jobs: readonly Job[]) => jobs.reduce((sum, { inputs }) => sum + inputs.length, 0);
    return count(this.#waiting) + count(this.#running?.jobs ?? []);
  }

  /** What the head gives for each input. Rejects with HostError. */
  infer(model: string, inputs: readonly InferInput[]): Promise<InferResult> {
    const refusal = this.#refusal(model, inputs);
    if (refusal) return Promise.reject(refusal);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ model, inputs, queued: performance.now(), resolve, reject });
      this.#pump();
    });
  }

  /** Takes no more requests, lets those that run or wait finish, then stops the worker. */
  async close(): Promise<void> {
    this.#closing = true;
    while (!this.#ended && (this.#running || this.#waiting.length > 0))
      await new Promise((resolve) => setTimeout(resolve, 5));
    this.#ended ??= CLOSED;
    this.#post({ kind: 'close' });
    const timer = setTimeout(() => void this.#worker.terminate(), CLOSE_TIMEOUT_MS);
    await this.#exited;
    clearTimeout(timer);
  }

  /** Why a request cannot even wait. Found here, so that a bad input fails alone and not the batch it would have been in. */
  #refusal(name: string, inputs: readonly InferInput[]): HostError | undefined {
    if (this.#ended) return this.#ended;
    if (this.#closing) return CLOSED;
    const model = this.models.get(name);
    if (!model) return new HostError({ code: 'unknown-model', message: `no model is called "${name}"` });
    try {
      inputs.forEach((input, index) => {
        checkSequence(input, index, model);
      });
    } catch (error) {
      return new HostError(toWireError(error));
    }
    return undefined;
  }

  #post(message: ToWorker, transfer: ArrayBuffer[] = []): void {
    this.#worker.postMessage(message, transfer);
  }

  /** Starts the next batch if the worker is free: the oldest request and what waits for the same model behind it. */
  #pump(): void {
    const first = this.#waiting[0];
    if (this.#running || !first || this.#ended) return;
    const jobs: Job[] = [];
    let sequences = 0;
    for (let i = 0; i < this.#waiting.length; ) {
      const candidate = this.#waiting[i]!;
      const fits = jobs.length === 0 || sequences + candidate.inputs.length <= BATCH_SEQUENCES;
      if (candidate.model === first.model && fits) {
        jobs.push(candidate);
        sequences += candidate.inputs.length;
        this.#waiting.splice(i, 1);
      } else if (sequences >= BATCH_SEQUENCES) break;
      else i++;
    }
    const job = this.#nextJob++;
    const inputs = jobs.flatMap((entry) => entry.inputs);
    const lengths = inputs.map(({ ids }) => ids.length);
    const tokens = lengths.reduce((sum, length) => sum + length, 0);
    const ids = new Uint32Array(tokens);
    const types = inputs.some((input) => input.types) ? new Uint32Array(tokens) : null;
    let at = 0;
    for (const input of inputs) {
      ids.set(input.ids, at);
      if (input.types) types!.set(input.types, at);
      at += input.ids.length;
    }
    this.#running = { job, jobs, started: performance.now() };
    this.#post(
      { kind: 'run', request: { job, model: first.model, ids, types, lengths } },
      types ? [ids.buffer, types.buffer] : [ids.buffer],
    );
  }

  #receive(message: FromWorker): void {
    const running = this.#running;
    if (!running || (message.kind !== 'result' && message.kind !== 'error')) return;
    this.#running = undefined;
    if (message.kind === 'result') this.#settle(running.jobs, running.started, message.logits, message.times);
    else {
      const error = new HostError(message.error);
      for (const { reject } of running.jobs) reject(error);
      if (message.fatal) this.#lose(`the device could not be reset after: ${message.error.message}`);
    }
    this.#pump();
  }

  #settle(jobs: readonly Job[], started: number, logits: Float32Array, times: RunTimes): void {
    const batch = jobs.reduce((sum, { inputs }) => sum + inputs.length, 0);
    let at = 0;
    for (const { model, inputs, queued, resolve } of jobs) {
      const { perToken, width } = this.models.get(model)!.output;
      const values = inputs.map(({ ids }) => {
        const begin = at;
        at += (perToken ? ids.length : 1) * width;
        return logits.slice(begin, at);
      });
      resolve({ logits: values, timings: { queueMs: started - queued, computeMs: times.total, batch } });
    }
  }

  /** The worker is gone: everything that waits fails, and whoever supervises is told. */
  #lose(reason: string): void {
    if (this.#ended) return;
    this.#ended = new HostError({ code: 'worker-lost', message: reason });
    for (const { reject } of [...(this.#running?.jobs ?? []), ...this.#waiting]) reject(this.#ended);
    this.#running = undefined;
    this.#waiting.length = 0;
    void this.#worker.terminate();
    this.onFailure?.(this.#ended);
  }
}
