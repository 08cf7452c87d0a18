/** From a parsed body to sequences for the engine, and from what the engine gave to an answer. */
import type {
  Answer,
  BatchAnswer,
  Codec,
  Priority,
  RequestPayload,
  Result,
  TensorAnswer,
} from '../client/wire.js';
import { toTaskResult } from './answer.js';
import type { Limits } from './config.js';
import { checkRequest } from './decode.js';
import type { ServedModel } from './engine.js';
import { RequestFailure } from './failure.js';
import { inputCount, type Sequence, toSequences } from './sequences.js';
import { isTensorRequest, readTensors, type TensorWork, writeTensors } from './tensors.js';

export type ResultAnswer = Answer<Result> | BatchAnswer<Result> | TensorAnswer;

/** What every answer says beside its results. */
export interface Circumstances {
  readonly id: string | number | undefined;
  readonly device: string;
  readonly node: string;
  readonly timings: { readonly queue_ms: number; readonly compute_ms: number; readonly total_ms: number };
}

export class Work {
  readonly priority: Priority | undefined;
  /** Sequences that it asks for. */
  readonly count: number;
  readonly #model: ServedModel;
  readonly #limits: Limits;
  readonly #request: RequestPayload;
  readonly #tensors: TensorWork | undefined;
  readonly #codec: Codec;
  #sequences: readonly Sequence[] = [];

  /** Checks the shape of a request. Throws RequestFailure. */
  constructor(body: unknown, model: ServedModel, limits: Limits, codec: Codec) {
    this.#model = model;
    this.#limits = limits;
    this.#codec = codec;
    this.#tensors = isTensorRequest(body) ? readTensors(body, limits.inputs) : undefined;
    this.#request = checkRequest(this.#tensors?.request ?? body, limits.inputs);
    if (this.#request.top !== undefined && model.task !== 'sequence-classification')
      throw new RequestFailure(
        'bad_request',
        `"top" is for models that give one label; ${model.name} does ${model.task}`,
      );
    this.priority = this.#request.priority;
    this.count = inputCount(this.#request);
  }

  /** The sequences for the engine. Throws RequestFailure where an input is bad, or the answer would be too large. */
  tokenise(): readonly Sequence[] {
    this.#sequences = toSequences(this.#request, this.#model, this.#limits.textChars);
    const lengths = this.#sequences.map(({ ids }) => ids.length);
    const tokens = this.#tensors
      ? lengths.length * (this.#tensors.columns ?? Math.max(0, ...lengths))
      : lengths.reduce((sum, length) => sum + length, 0);
    checkAnswerSize(tokens, this.#model, this.#limits.answerNumbers);
    return this.#sequences;
  }

  /** The answer. `values`: what the head gave for each sequence. Throws where it is not what it should give. */
  answer(values: readonly Float32Array[], { id, device, node, timings }: Circumstances): ResultAnswer {
    const model = this.#model;
    const named = id === undefined ? {} : { id };
    if (this.#tensors)
      return {
        model_name: model.name,
        model_version: model.id,
        ...named,
        outputs: writeTensors(model, this.#sequences, values, this.#tensors, this.#codec === 'cbor'),
        parameters: { device, node, ...timings },
      };
    const results = this.#sequences.map((sequence, index) =>
      toTaskResult(values[index] ?? new Float32Array(), model, sequence, this.#request),
    );
    const common = { ...named, model: { name: model.name, id: model.id }, device, node, timings };
    const [first] = results;
    if (first && this.#request.text !== undefined) return { ...common, ...first };
    // A list of one can be read either way.
    return results.length === 1 ? { ...common, ...first, results } : { ...common, results };
  }
}

/** Throws RequestFailure before anything runs: an answer that nobody could deliver is not worth computing. */
function checkAnswerSize(tokens: number, { output, name, task }: ServedModel, most: number): void {
  if (!output.perToken) return;
  const numbers = tokens * output.width;
  if (numbers > most)
    throw new RequestFailure(
      'payload_too_large',
      `${task} by ${name} gives ${output.width} numbers for each of ${tokens} tokens, ${numbers} in all; this node sends ${most}; send fewer or shorter inputs`,
    );
}
