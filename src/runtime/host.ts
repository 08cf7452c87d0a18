/**
 * The daemon's side of the engine: models by name, batches handed over and answered, and an engine process that is started again when it
 * dies. It decides nothing about order; the service's queue does.
 */
import { resolveDeviceUri } from '../device/discovery.js';
import { type PackedSequence, packBatch, unpackValues } from './batch-body.js';
import { type DeviceInfo, deviceInfo } from './device-info.js';
import { type Begun, beginEngine, type EngineProcess } from './engine-process.js';
import { HostError } from './errors.js';
import type { Frame } from './frames.js';
import { type HostedModel, hostModel } from './hosted-model.js';
import { checkSequence, type InputLimits } from './inputs.js';
import { type Done, JobTable } from './job-table.js';
import { Leases } from './leases.js';
import { type FromEngine, type ModelFile, type ToEngine, toWireError, type WindowUse } from './protocol.js';
import { type RestartPolicy, Restarts } from './restarts.js';
import type { RunTimes } from './session.js';

export { HostError } from './errors.js';

export interface HostOptions {
  /** Device URI or `auto`. */
  readonly device: string;
  readonly models: readonly { readonly file: string }[];
  readonly log?: (level: 'info' | 'warn' | 'error', message: string, fields?: object) => void;
  /** The engine process's module; tests that run from sources give the built one. */
  readonly module?: URL;
  readonly restarts?: RestartPolicy;
}

export type InferInput = PackedSequence;

export interface InferResult {
  /** What the head gives for each input (RunResult). */
  readonly logits: Float32Array[];
  readonly times: RunTimes;
}

const CLOSED = new HostError({ code: 'closed', message: 'the engine is closed' });

export class EngineHost {
  readonly device: DeviceInfo;
  /** Called when the engine process ended and another one will be tried (false), and when that one is ready (true). */
  onReady?: (ready: boolean, reason: string) => void;
  /** Called once if no engine process can be had any more; every request then fails with 'worker-lost'. */
  onFailure?: (error: Error) => void;
  readonly #options: HostOptions;
  /** What has each name now. */
  readonly #models = new Map<string, HostedModel>();
  /** One of each that has a name, and one for each request that runs on it. */
  readonly #leases = new Leases();
  readonly #restarts: Restarts;
  readonly #jobs = new JobTable((seconds) => {
    this.#options.log?.('error', `the engine did not answer within ${seconds} s; it is ended`);
    this.#process.kill();
  });
  #process: EngineProcess;
  #window: WindowUse;
  /** Why nothing can be run now, if so. */
  #down: HostError | undefined;
  #lost = false;
  #closing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  private constructor(options: HostOptions, uri: string, { process, ready }: Begun) {
    this.#options = options;
    this.#restarts = new Restarts(options.restarts);
    this.device = deviceInfo(uri, ready.capabilities);
    this.#process = process;
    this.#window = ready.window;
    this.#attach({ process, ready });
  }

  /** Starts the engine process, and has it check the artifacts and load them onto the device. Throws what went wrong, with its code. */
  static async start(options: HostOptions): Promise<EngineHost> {
    const uri = resolveDeviceUri(options.device, (message) => options.log?.('warn', message));
    const host = new EngineHost(options, uri, await begin(options, uri, []));
    try {
      for (const { file } of options.models) await host.#addModel(file);
    } catch (error) {
      await host.close();
      throw error;
    }
    return host;
  }

  get models(): ReadonlyMap<string, HostedModel> {
    return this.#models;
  }

  /** Whether a job can be run now. */
  get ready(): boolean {
    return this.#down === undefined;
  }

  /** Whether no engine process will be there any more. */
  get lost(): boolean {
    return this.#lost;
  }

  /** Times the engine process was started again. */
  get restarts(): number {
    return this.#restarts.total;
  }

  /** What the device's window held after the last job. */
  get window(): WindowUse {
    return this.#window;
  }

  /** Process id of the engine, undefined while there is none. */
  get pid(): number | undefined {
    return this.ready ? this.#process.pid : undefined;
  }

  /** Keeps this version of a model on the device while `work` goes on, whatever takes its name meanwhile. */
  async using<T>({ id }: { readonly id: string }, work: () => Promise<T>): Promise<T> {
    this.#leases.take(id);
    try {
      return await work();
    } finally {
      this.#endLease(id);
    }
  }

  /**
   * What the head of this version of a model gives for each input, run as one batch behind what was given before. Rejects with HostError:
   * 'unknown-model' if the engine does not have it (any more).
   */
  infer(model: HostedVersion, inputs: readonly InferInput[]): Promise<InferResult> {
    try {
      // Found here, so that a bad input fails alone, before it is part of anything.
      inputs.forEach((input, index) => {
        checkSequence(input, index, model);
      });
    } catch (error) {
      return Promise.reject(new HostError(toWireError(error)));
    }
    const { lengths, types, bodies } = packBatch(inputs);
    return this.#ask(
      (job) => ({ kind: 'run', job, model: model.id, lengths, types }),
      ({ times }, body) => ({ logits: unpackValues(body, lengths, model.output), times: times! }),
      bodies,
    );
  }

  /**
   * Adds a model, or gives its name to another version, while the others go on; the one before it stays on the device until nobody uses it
   * any more. Throws HostError with the artifact's or the device's code; the name then stays where it was.
   */
  async loadModel(file: string): Promise<HostedModel> {
    const model = await this.#describe(file);
    await this.#load(model);
    return model;
  }

  /** A tile with a known answer through the device, behind what was given before. Rejects with HostError: 'self-test' if the answer was wrong. */
  selfTest(): Promise<void> {
    return this.#ask(
      (job) => ({ kind: 'self-test', job }),
      () => undefined,
    );
  }

  /** Takes a model out of the window and out of `models`, also from under those who use it. */
  async unloadModel(name: string): Promise<void> {
    const model = this.#models.get(name);
    if (!model) throw new HostError({ code: 'unknown-model', message: `no model is called "${name}"` });
    this.#models.delete(name);
    this.#leases.end(model.id);
    await this.#unload(model.id);
  }

  /** Takes no more requests, lets those under way finish, then stops the engine process. */
  close(): Promise<void> {
    this.#closing ??= (async () => {
      clearTimeout(this.#timer);
      const gone = this.#down !== undefined;
      this.#down = CLOSED;
      if (!gone) await this.#process.close();
      this.#jobs.fail(CLOSED);
    })();
    return this.#closing;
  }

  /** One of the models from the start, whose names must differ. */
  async #addModel(file: string): Promise<void> {
    const model = await this.#describe(file);
    const twin = this.#models.get(model.name);
    if (twin)
      throw new HostError({
        code: 'name-taken',
        message: `${file} and ${twin.file} are both called "${model.name}"; rename one of the files`,
      });
    await this.#load(model);
  }

  async #describe(file: string): Promise<HostedModel> {
    const { model, body } = await this.#ask(
      (job) => ({ kind: 'describe', job, file }),
      (message, vocabulary) => ({ model: message.model!, body: vocabulary }),
    );
    return hostModel(model, body);
  }

  /** Requests have the new model from the moment when the engine has it. */
  async #load(model: HostedModel): Promise<void> {
    const { id, name, file } = model;
    // Before the engine has it, lest the end of an older lease of the same version unload it behind this.
    this.#leases.take(id);
    try {
      await this.#ask(
        (job) => ({ kind: 'load', job, model: { file, id } }),
        () => {
          const before = this.#models.get(name);
          this.#models.set(name, model);
          if (before) this.#endLease(before.id);
        },
      );
    } catch (error) {
      this.#endLease(id);
      throw error;
    }
  }

  #endLease(id: string): void {
    if (this.#leases.end(id))
      this.#unload(id).catch(({ message }) => this.#options.log?.('warn', `${id} stays loaded: ${message}`));
  }

  /** An engine process that is not there has nothing to unload, and the next one is told of what has a name then. */
  async #unload(id: string): Promise<void> {
    if (!this.ready) return;
    await this.#ask(
      (job) => ({ kind: 'unload', job, model: id }),
      () => undefined,
    );
  }

  #attach({ process, ready }: Begun): void {
    this.#process = process;
    this.#window = ready.window;
    this.#restarts.started(performance.now());
    process.onAnswer = (message, body) => this.#receive(message, body);
    process.onEnd = (reason) => this.#ended(reason, true);
  }

  #ask<T>(
    message: (job: number) => ToEngine,
    take: (message: Done, body: Frame['body']) => T,
    bodies: readonly Uint8Array[] = [],
  ): Promise<T> {
    if (this.#down) return Promise.reject(this.#down);
    return this.#jobs.ask((job) => this.#process.post(message(job), ...bodies), take);
  }

  #receive(message: FromEngine, body: Frame['body']): void {
    if (message.kind !== 'done' && message.kind !== 'error') return;
    if (message.kind === 'done') this.#window = message.window;
    this.#jobs.receive(message, body);
    if (message.kind === 'error' && message.fatal)
      this.#options.log?.('error', `the device could not be reset after: ${message.error.message}`);
  }

  /** The process is gone: what was under way fails, and another process is started unless too many have died. */
  #ended(reason: string, wasReady: boolean): void {
    if (this.#closing) {
      this.#jobs.fail(CLOSED);
      return;
    }
    const pause = this.#restarts.failed(performance.now(), wasReady);
    const error = new HostError({ code: 'worker-lost', message: reason });
    this.#down = error;
    this.#lost = pause === undefined;
    this.#jobs.fail(error);
    if (pause === undefined) {
      this.onFailure?.(error);
      return;
    }
    this.#options.log?.('error', `${reason}; starting it again`, { pause_ms: pause });
    if (wasReady) this.onReady?.(false, reason);
    this.#timer = setTimeout(() => void this.#restart(), pause);
  }

  async #restart(): Promise<void> {
    try {
      const { process, ready } = await begin(this.#options, this.device.uri, [...this.#models.values()]);
      if (this.#closing) {
        process.kill();
        return;
      }
      this.#attach({ process, ready });
      this.#down = undefined;
      this.onReady?.(true, 'the engine process was started again');
    } catch (error) {
      this.#ended((error as Error).message, false);
    }
  }
}

/** Which model, and what it takes and gives. */
type HostedVersion = InputLimits & Pick<HostedModel, 'id' | 'output'>;

function begin({ module }: HostOptions, device: string, models: readonly ModelFile[]): Promise<Begun> {
  return beginEngine({ module: module ?? new URL('./engine.js', import.meta.url), device, models });
}
