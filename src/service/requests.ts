/**
 * Requests from payload to answer, without MQTT. Every request gets exactly one answer: a result or a failure, never
 * an exception.
 */
import { performance } from 'node:perf_hooks';
import type { Answer, BatchAnswer, ErrorCode, Failure, RequestPayload, Result } from '../client/wire.js';
import type { Address } from './address.js';
import { toTaskResult } from './answer.js';
import type { Limits } from './config.js';
import { checkRequest, decodePayload } from './decode.js';
import type { InferenceHost, ServedModel } from './engine.js';
import { messageOf } from './errors.js';
import { RequestFailure } from './failure.js';
import type { Log } from './log.js';
import { Dispatcher, type Inference } from './queue/dispatcher.js';
import { inputCount, type Sequence, toSequences } from './sequences.js';

/** A request that has arrived and is not answered yet. */
export interface IncomingRequest {
  readonly address: Address;
  /** The model that the topic names, valid or not. */
  readonly model: string;
  /** Whom the answer goes to. */
  readonly client: string;
  /** Milliseconds of performance.now(). */
  readonly arrived: number;
  readonly body: unknown;
  readonly failure: RequestFailure | undefined;
}

export type AnyAnswer = Answer<Result> | BatchAnswer<Result> | Failure;

export interface RequestsOptions {
  readonly node: string;
  readonly host: InferenceHost;
  readonly limits: Limits;
  readonly log: Log;
}

const milliseconds = (value: number) => Math.round(value * 1000) / 1000;

export class Requests {
  readonly #options: RequestsOptions;
  readonly #queue: Dispatcher;
  readonly #open = new Set<(failure: RequestFailure) => void>();
  #refusal: (() => RequestFailure) | undefined;

  constructor(options: RequestsOptions) {
    this.#options = options;
    const { host, limits, log } = options;
    this.#queue = new Dispatcher({
      host,
      limits,
      trace: (decision) => log.trace(decision, 'queue'),
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

  /** Reads a payload as far as needed to know where its answer goes. Never throws. */
  read(model: string, payload: Uint8Array, replyTopic?: string): IncomingRequest {
    const arrived = performance.now();
    const decoded = decodePayload(payload, this.#options.limits.payloadBytes);
    return { model, arrived, client: replyTopic ?? decoded.address.replyTo ?? '', ...decoded };
  }

  /** Works until there is an answer. Never rejects. */
  answer(request: IncomingRequest): Promise<AnyAnswer> {
    return new Promise((resolve) => {
      const give = (failure: RequestFailure) => settle(this.failure(request.address, failure));
      // A promise keeps its first answer: a result that comes after the request was given up changes nothing.
      const settle = (answer: AnyAnswer) => {
        this.#open.delete(give);
        resolve(answer);
      };
      this.#open.add(give);
      this.#run(request).then(settle, (error: unknown) => give(this.#asFailure(error, request.model)));
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

  /** The payload of an error answer. */
  failure(address: Address, { code, message }: Pick<RequestFailure, 'code' | 'message'>): Failure {
    return {
      ...(address.id === undefined ? {} : { id: address.id }),
      error: { code, message },
      node: this.#options.node,
    };
  }

  async #run(incoming: IncomingRequest): Promise<Answer<Result> | BatchAnswer<Result>> {
    const { host, limits } = this.#options;
    if (this.#refusal) throw this.#refusal();
    if (incoming.failure) throw incoming.failure;
    const model = host.models.get(incoming.model);
    if (!model) throw this.#unknownModel(incoming.model);
    const request = checkRequest(incoming.body, limits.inputs);

    if (request.top !== undefined && model.task !== 'sequence-classification')
      throw new RequestFailure(
        'bad_request',
        `"top" is for models that give one label; ${model.name} does ${model.task}`,
      );

    this.#queue.admit(incoming.client, inputCount(request));
    const sequences = toSequences(request, model, limits.textChars);
    checkAnswerSize(sequences, model, limits.answerNumbers);
    const inference = await this.#queue.infer(
      model.name,
      sequences.map(({ ids, types }) => ({ ids, ...(types && { types }) })),
      { client: incoming.client },
    );
    return this.#compose(incoming, request, model, sequences, inference);
  }

  #compose(
    incoming: IncomingRequest,
    request: RequestPayload,
    model: ServedModel,
    sequences: readonly Sequence[],
    { logits, timings }: Inference,
  ): Answer<Result> | BatchAnswer<Result> {
    const results = sequences.map((sequence, index) =>
      toTaskResult(logits[index] ?? new Float32Array(), model, sequence, request),
    );
    const { id } = incoming.address;
    const common = {
      ...(id === undefined ? {} : { id }),
      model: { name: model.name, id: model.id },
      device: this.#options.host.device.uri,
      node: this.#options.node,
      timings: {
        queue_ms: milliseconds(timings.queueMs),
        compute_ms: milliseconds(timings.computeMs),
        total_ms: milliseconds(performance.now() - incoming.arrived),
      },
    };
    const [first] = results;
    if (first && request.text !== undefined) return { ...common, ...first };
    // A list of one can be read either way.
    return results.length === 1 ? { ...common, ...first, results } : { ...common, results };
  }

  #unknownModel(name: string): RequestFailure {
    const served = [...this.#options.host.models.keys()].join(', ');
    return new RequestFailure(
      'unknown_model',
      `${JSON.stringify(name.slice(0, 64))} is not served here; this node serves: ${served}`,
    );
  }

  #asFailure(error: unknown, model: string): RequestFailure {
    if (error instanceof RequestFailure) return error;
    const { log } = this.#options;
    const code = (error as { code?: unknown } | null)?.code;
    if (typeof code === 'string' && ENGINE_CODES.test(code)) {
      log.error({ model, code, reason: messageOf(error) }, 'the engine failed on a request');
      return new RequestFailure('device_error', `the engine failed: ${messageOf(error)}`);
    }
    log.error({ model, err: error }, 'a request failed in the node itself');
    return new RequestFailure('internal', 'the node failed on this request; its log has the details');
  }
}

/** Throws RequestFailure before anything runs: an answer that nobody could deliver is not worth computing. */
function checkAnswerSize(
  sequences: readonly Sequence[],
  { output, name, task }: ServedModel,
  most: number,
): void {
  if (!output.perToken) return;
  const tokens = sequences.reduce((sum, { ids }) => sum + ids.length, 0);
  const numbers = tokens * output.width;
  if (numbers > most)
    throw new RequestFailure(
      'payload_too_large',
      `${task} by ${name} gives ${output.width} numbers for each of ${tokens} tokens, ${numbers} in all; this node sends ${most}; send fewer or shorter inputs`,
    );
}

/** Codes of the runtime that mean the device or the engine process, not this request. */
const ENGINE_CODES = /^(device-.*|closed|worker-.*|no-device|incompatible|gone|window-full)$/;
