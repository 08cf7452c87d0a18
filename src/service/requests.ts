/**
 * Requests from payload to answer, without MQTT. Every request gets exactly one answer: a result or a failure, never
 * an exception.
 */
import { performance } from 'node:perf_hooks';
import type { Codec, ErrorCode, Failure, Priority } from '../client/wire.js';
import { PRIORITIES } from '../client/wire.js';
import type { Address } from './address.js';
import type { Limits } from './config.js';
import { decodePayload } from './decode.js';
import type { InferenceHost, ServedModel } from './engine.js';
import { messageOf } from './errors.js';
import { RequestFailure } from './failure.js';
import type { Log } from './log.js';
import type { Meter } from './meter.js';
import { Cancel, Dispatcher } from './queue/dispatcher.js';
import { type ResultAnswer, Work } from './work.js';

/** A message that asks for something, as it came. */
export interface Message {
  /** The model that the topic names, valid or not. */
  readonly model: string;
  readonly payload: Uint8Array;
  readonly contentType?: string | undefined;
  /** MQTT 5 properties; for 3.1.1 the payload has them. */
  readonly responseTopic?: string | undefined;
  /** Seconds after which nobody waits for the answer. */
  readonly expiry?: number | undefined;
  /** Overrides the payload's. */
  readonly priority?: string | undefined;
}

/** A request that has arrived and is not answered yet. */
export interface IncomingRequest {
  /** Number of the request since the start, for logs. */
  readonly number: number;
  readonly address: Address;
  readonly model: string;
  readonly codec: Codec;
  /** Whom the answer goes to. */
  readonly client: string;
  /** Milliseconds of performance.now(). */
  readonly arrived: number;
  readonly deadline: number | undefined;
  readonly priority: Priority | undefined;
  readonly body: unknown;
  readonly failure: RequestFailure | undefined;
  /** For a requester who takes it back. */
  readonly cancel: Cancel;
}

export type AnyAnswer = ResultAnswer | Failure;

export interface RequestsOptions {
  readonly node: string;
  readonly host: InferenceHost;
  readonly limits: Limits;
  readonly log: Log;
  readonly meter?: Meter | undefined;
}

const milliseconds = (value: number) => Math.round(value * 1000) / 1000;

export class Requests {
  readonly #options: RequestsOptions;
  readonly #queue: Dispatcher;
  readonly #open = new Set<(failure: RequestFailure) => void>();
  #refusal: (() => RequestFailure) | undefined;
  #count = 0;

  constructor(options: RequestsOptions) {
    this.#options = options;
    const { host, limits, log, meter } = options;
    this.#queue = new Dispatcher({
      host,
      limits,
      trace: (decision) => {
        meter?.decided(decision);
        log.trace(decision, 'queue');
      },
      onBatch: (batch, times) => meter?.batch(batch, times),
    });
    host.onReady = (ready, reason) => {
      log[ready ? 'info' : 'warn'](
        { waiting: this.#queue.waiting, reason },
        ready ? 'engine ready' : 'engine lost',
      );
      if (ready) this.#queue.pump();
    };
  }

  /** Sequences accepted and not yet answered. */
  get queued(): number {
    return this.#queue.load;
  }

  /** Sequences that wait for the engine. */
  get waiting(): number {
    return this.#queue.waiting;
  }

  /** Batches that the engine has. */
  get running(): number {
    return this.#queue.running;
  }

  /** Requests that arrived and are not answered. */
  get open(): number {
    return this.#open.size;
  }

  /** Reads a payload as far as needed to know where its answer goes. Never throws. */
  read({ model, payload, contentType, responseTopic, expiry, priority }: Message): IncomingRequest {
    const arrived = performance.now();
    const decoded = decodePayload(payload, this.#options.limits.payloadBytes, contentType);
    return {
      number: this.#count++,
      model,
      arrived,
      client: responseTopic ?? decoded.address.replyTo ?? '',
      deadline: expiry === undefined ? undefined : arrived + expiry * 1000,
      priority: PRIORITIES.find((each) => each === priority),
      cancel: new Cancel(),
      ...decoded,
    };
  }

  /** Works until there is an answer. Never rejects. */
  answer(request: IncomingRequest): Promise<AnyAnswer> {
    return new Promise((resolve) => {
      const give = (failure: RequestFailure) => settle(this.failure(request.address, failure));
      // A promise keeps its first answer: a result that comes after the request was given up changes nothing.
      const settle = (answer: AnyAnswer) => {
        if (!this.#open.delete(give)) return;
        this.#options.meter?.answered(
          this.#options.host.models.has(request.model) ? request.model : undefined,
          'error' in answer ? answer.error.code : 'ok',
          performance.now() - request.arrived,
        );
        resolve(answer);
      };
      this.#open.add(give);
      this.#run(request).then(settle, (error: unknown) => give(this.#asFailure(error, request)));
    });
  }

  /** From now on new requests are refused; those already accepted go on. */
  refuse(code: ErrorCode, message: string): void {
    this.#refusal = () => new RequestFailure(code, message);
  }

  /** Answers everything that is still open with a failure. */
  abandon(code: ErrorCode, message: string): void {
    for (const give of [...this.#open]) give(new RequestFailure(code, message));
  }

  /** The host serves other models than before. What was accepted runs on what it was accepted for. */
  modelsChanged(): void {
    this.#queue.serve(this.#options.host.models.values());
  }

  /** The payload of an error answer. */
  failure(address: Address, { code, message }: Pick<RequestFailure, 'code' | 'message'>): Failure {
    return {
      ...(address.id === undefined ? {} : { id: address.id }),
      error: { code, message },
      node: this.#options.node,
    };
  }

  async #run(incoming: IncomingRequest): Promise<ResultAnswer> {
    const { host } = this.#options;
    if (this.#refusal) throw this.#refusal();
    if (incoming.failure) throw incoming.failure;
    for (;;) {
      const model = host.models.get(incoming.model);
      if (!model) throw this.#unknownModel(incoming.model);
      try {
        return await host.using(model, () => this.#runOn(model, incoming));
      } catch (error) {
        if (!this.#isReplaced(model, error)) throw error;
      }
    }
  }

  /**
   * Whether a request failed only because its version of a model is gone (the engine process died after another took the name, or its file
   * was overwritten and it had to leave the window): then it is tokenised again, for the version that has the name now.
   */
  #isReplaced({ id, name }: ServedModel, error: unknown): boolean {
    const code = (error as { code?: unknown } | null)?.code;
    const now = this.#options.host.models.get(name);
    return (code === 'unknown-model' || code === 'model-changed') && now !== undefined && now.id !== id;
  }

  /** All of it on one version of a model: tokens, logits, labels. */
  async #runOn(model: ServedModel, incoming: IncomingRequest): Promise<ResultAnswer> {
    const { host, limits, node } = this.#options;
    const work = new Work(incoming.body, model, limits, incoming.codec);
    const { client, deadline, cancel } = incoming;
    // Before the texts are made into tokens, which is most of the work that a refused request makes.
    this.#queue.admit(client, work.count);
    const { logits, timings } = await this.#queue.infer(model, work.tokenise(), {
      client,
      deadline,
      priority: incoming.priority ?? work.priority,
      cancel,
    });
    return work.answer(logits, {
      id: incoming.address.id,
      device: host.device.uri,
      node,
      timings: {
        queue_ms: milliseconds(timings.queueMs),
        compute_ms: milliseconds(timings.computeMs),
        total_ms: milliseconds(performance.now() - incoming.arrived),
      },
    });
  }

  #unknownModel(name: string): RequestFailure {
    const served = [...this.#options.host.models.keys()].join(', ');
    return new RequestFailure(
      'unknown_model',
      `${JSON.stringify(name.slice(0, 64))} is not served here; this node serves: ${served}`,
    );
  }

  #asFailure(error: unknown, { model, number }: IncomingRequest): RequestFailure {
    if (error instanceof RequestFailure) return error;
    const { log } = this.#options;
    const code = (error as { code?: unknown } | null)?.code;
    if (code === 'unknown-model') return this.#unknownModel(model);
    if (typeof code === 'string' && ENGINE_CODES.test(code)) {
      log.error({ request: number, model, code, reason: messageOf(error) }, 'the engine failed on a request');
      return new RequestFailure('device_error', `the engine failed: ${messageOf(error)}`);
    }
    log.error({ request: number, model, err: error }, 'a request failed in the node itself');
    return new RequestFailure('internal', 'the node failed on this request; its log has the details');
  }
}

/** Codes of the runtime that mean the device or the engine process, not this request. */
const ENGINE_CODES = /^(device-.*|closed|worker-.*|no-device|incompatible|gone|window-full|model-changed)$/;
