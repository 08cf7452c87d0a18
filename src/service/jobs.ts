/** What a message asks for, as something that can be carried out: inference or a command, with where and how it is answered. */
import { performance } from 'node:perf_hooks';
import type { IPublishPacket } from 'mqtt';
import { type Codec, encodeBytes, type ParsedTopic } from '../client/wire.js';
import type { Commands } from './commands.js';
import { decodePayload } from './decode.js';
import { messageOf } from './errors.js';
import { RequestFailure } from './failure.js';
import type { Log } from './log.js';
import type { Cancel } from './queue/dispatcher.js';
import type { Message, Requests } from './requests.js';
import type { Sent } from './retries.js';

/** What one message asks for. */
export interface Job {
  readonly replyTopic: string | undefined;
  /** What tells it from other requests of its sender. */
  readonly correlation: string | undefined;
  readonly codec: Codec;
  /** Carries it out. Never rejects. */
  readonly run: () => Promise<Sent>;
  readonly failure: (reason: RequestFailure) => object;
}

export interface JobsOptions {
  readonly node: string;
  readonly requests: Requests;
  readonly commands: Commands;
  readonly log: Log;
  /** Bytes of the largest answer that the broker takes. */
  readonly maxAnswerBytes: () => number;
}

/** Most bytes of a command. */
const COMMAND_BYTES = 65_536;
/** Failures that another try may not meet. */
const PASSING = new Set([
  'busy',
  'expired',
  'cancelled',
  'shutting_down',
  'device_error',
  'internal',
  'refused',
]);

export class Jobs {
  readonly #options: JobsOptions;
  /** How to take back a request, by requester and correlation. */
  readonly #cancels = new Map<string, Cancel>();

  constructor(options: JobsOptions) {
    this.#options = options;
  }

  /** The job of a message; undefined where its topic asks for nothing. */
  of(topic: ParsedTopic, payload: Buffer, packet: IPublishPacket): Job | undefined {
    if (topic.kind === 'node-cmd') return this.#command(topic.verb, payload, packet);
    if (topic.kind === 'node-infer' || topic.kind === 'model-infer')
      return this.#infer(topic.model, payload, packet);
    return undefined;
  }

  #infer(model: string, payload: Buffer, { properties = {} }: IPublishPacket): Job {
    const { requests } = this.#options;
    const { responseTopic, correlationData, contentType, messageExpiryInterval: expiry } = properties;
    const message: Message = {
      model,
      payload,
      contentType,
      responseTopic,
      expiry,
      priority: priorityOf(properties),
    };
    const request = requests.read(message);
    const { codec, address } = request;
    const correlation = correlationOf(correlationData, address.id);
    const replyTopic = responseTopic ?? address.replyTo;
    const failure = (reason: RequestFailure) => requests.failure(address, reason);
    return {
      replyTopic,
      correlation,
      codec,
      failure,
      run: async () => {
        const cancelKey = correlation === undefined ? undefined : `${replyTopic}\0${correlation}`;
        if (cancelKey !== undefined) this.#cancels.set(cancelKey, request.cancel);
        const answer = await requests.answer(request);
        if (cancelKey !== undefined && this.#cancels.get(cancelKey) === request.cancel)
          this.#cancels.delete(cancelKey);
        const code = 'error' in answer ? answer.error.code : 'ok';
        const ms = Math.round(performance.now() - request.arrived);
        const { number, client } = request;
        this.#options.log.debug({ request: number, client, correlation, model, code, ms }, 'answered');
        return this.#fit(encodeBytes(answer, codec), !PASSING.has(code), codec, failure);
      },
    };
  }

  #command(verb: string, payload: Buffer, { properties = {} }: IPublishPacket): Job {
    const { commands, requests, node } = this.#options;
    const decoded = decodePayload(
      payload.length > 0 ? payload : Buffer.from('{}'),
      COMMAND_BYTES,
      properties.contentType,
    );
    const { address, codec, body } = decoded;
    const failure = (reason: RequestFailure) => requests.failure(address, reason);
    return {
      replyTopic: properties.responseTopic ?? address.replyTo,
      correlation: correlationOf(properties.correlationData, address.id),
      codec,
      failure,
      run: async () => {
        try {
          if (decoded.failure) throw decoded.failure;
          const done = await commands.run(verb, body);
          const id = address.id === undefined ? {} : { id: address.id };
          return { payload: encodeBytes({ ...id, node, ...done }, codec), lasting: true };
        } catch (error) {
          const reason =
            error instanceof RequestFailure ? error : new RequestFailure('internal', messageOf(error));
          return { payload: encodeBytes(failure(reason), codec), lasting: false };
        }
      },
    };
  }

  /** Takes back the request that a message names, if it is here. */
  cancel(payload: Buffer, { properties = {} }: IPublishPacket): void {
    const { address } = decodePayload(payload, COMMAND_BYTES, properties.contentType);
    const correlation = correlationOf(properties.correlationData, address.id);
    const replyTopic = properties.responseTopic ?? address.replyTo;
    this.#cancels.get(`${replyTopic}\0${correlation}`)?.ask();
  }

  /** The answer, or an error in its place if the broker would refuse it for its size. */
  #fit(payload: Buffer, lasting: boolean, codec: Codec, failure: Job['failure']): Sent {
    const limit = this.#options.maxAnswerBytes();
    if (payload.byteLength <= limit) return { payload, lasting };
    const message = `the answer has ${payload.byteLength} bytes, the broker takes ${limit}; ask for fewer inputs or without logits`;
    return {
      payload: encodeBytes(failure(new RequestFailure('payload_too_large', message)), codec),
      lasting,
    };
  }
}

type Properties = NonNullable<IPublishPacket['properties']>;

function correlationOf(data: Buffer | undefined, id: string | number | undefined): string | undefined {
  if (data !== undefined) return `c${data.toString('latin1')}`;
  return id === undefined ? undefined : `${typeof id}${id}`;
}

/** The user property `priority`; the last one where there are several. */
function priorityOf({ userProperties }: Properties): string | undefined {
  const value = userProperties?.priority;
  return Array.isArray(value) ? value.at(-1) : value;
}
