/** Requests in the Open Inference Protocol's shape: tensors -> what the node's own requests have, and results -> tensors. */
import {
  type RequestPayload,
  type TensorAnswer,
  type TensorRequest,
  TensorRequestSchema,
} from '../client/wire.js';
import { compact } from '../runtime/results.js';
import { softmax } from './answer.js';
import { checked } from './decode.js';
import type { ServedModel } from './engine.js';
import { RequestFailure } from './failure.js';
import type { Sequence } from './sequences.js';

type Input = TensorRequest['inputs'][number];
export type Output = TensorAnswer['outputs'][number];

export interface TensorWork {
  readonly request: RequestPayload;
  /** Names of the outputs that are wanted; undefined: all. */
  readonly wanted: readonly string[] | undefined;
  /** Tokens of a row of the answer, where the rows of the request had padding. */
  readonly columns: number | undefined;
}

/** Whether a body is a request in tensors. */
export const isTensorRequest = (body: unknown): boolean =>
  typeof body === 'object' && body !== null && 'inputs' in body;

/** A request in tensors as one in words and ids. Throws RequestFailure. */
export function readTensors(body: unknown, maxInputs: number): TensorWork {
  const { inputs, outputs, parameters = {}, id, replyTo } = checked(TensorRequestSchema, body);
  const byName = new Map(inputs.map((input) => [input.name, input]));
  if (byName.size < inputs.length) throw bad('two inputs have the same name');
  const common = {
    ...parameters,
    ...(id === undefined ? {} : { id }),
    ...(replyTo === undefined ? {} : { replyTo }),
  };
  const wanted = outputs?.map(({ name }) => name);
  const text = byName.get('text');
  if (text) {
    if (byName.has('input_ids')) throw bad('give "text" or "input_ids", not both');
    const pair = byName.get('text_pair');
    const texts = readTexts(text, maxInputs);
    const request = { ...common, texts, ...(pair ? { text_pairs: readTexts(pair, maxInputs) } : {}) };
    return { request, wanted, columns: undefined };
  }
  const ids = byName.get('input_ids');
  if (!ids) throw bad('give an input "text" or "input_ids"');
  const [rows, columns] = matrix(ids, maxInputs);
  const values = readIntegers(ids, rows * columns);
  const types = sameShape(byName.get('token_type_ids'), rows, columns);
  const lengths = rowLengths(sameShape(byName.get('attention_mask'), rows, columns), rows, columns);
  const cut = (list: readonly number[]) =>
    lengths.map((length, row) => list.slice(row * columns, row * columns + length));
  const request = { ...common, input_ids: cut(values), ...(types ? { token_type_ids: cut(types) } : {}) };
  return { request, wanted, columns };
}

/** The outputs of a model for some sequences. Rows of padding are 0. Throws RequestFailure for an output that the model has not. */
export function writeTensors(
  model: ServedModel,
  sequences: readonly Sequence[],
  values: readonly Float32Array[],
  { wanted, columns }: TensorWork,
  typed: boolean,
): Output[] {
  const rows = sequences.length;
  const longest = columns ?? Math.max(0, ...sequences.map(({ ids }) => ids.length));
  const numbers = (name: string, shape: number[], list: Float32Array): Output => ({
    name,
    shape,
    datatype: 'FP32',
    data: typed ? list : Array.from(list, compact),
  });
  /** Columns `from` to `to` of every token's row, padded to the longest sequence. */
  const perToken = (name: string, from: number, to: number, flat = false): Output => {
    const { width } = model.output;
    const list = new Float32Array(rows * longest * (to - from));
    values.forEach((own, row) => {
      for (let token = 0; token * width < own.length; token++)
        list.set(
          own.subarray(token * width + from, token * width + to),
          (row * longest + token) * (to - from),
        );
    });
    return numbers(name, flat ? [rows, longest] : [rows, longest, to - from], list);
  };
  if (!values.every((own) => own.every(Number.isFinite)))
    throw new Error('the engine gave values that are not finite');
  const all: Record<string, () => Output> = {};
  switch (model.task) {
    case 'sequence-classification': {
      const { labels } = model;
      all.logits = () => {
        const list = new Float32Array(rows * labels.length);
        values.forEach((own, row) => {
          list.set(own, row * labels.length);
        });
        return numbers('logits', [rows, labels.length], list);
      };
      const best = values.map((own) =>
        own.indexOf(own.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY)),
      );
      all.label = () => ({
        name: 'label',
        shape: [rows],
        datatype: 'BYTES',
        data: best.map((index) => labels[index]),
      });
      all.score = () =>
        numbers(
          'score',
          [rows],
          Float32Array.from(values, (own, row) => softmax(own)[best[row]!]!),
        );
      break;
    }
    case 'token-classification':
      all.logits = () => perToken('logits', 0, model.output.width);
      break;
    case 'question-answering':
      all.start_logits = () => perToken('start_logits', 0, 1, true);
      all.end_logits = () => perToken('end_logits', 1, 2, true);
      break;
    case 'hidden-states':
      all.last_hidden_state = () => perToken('last_hidden_state', 0, model.output.width);
      break;
  }
  return (wanted ?? Object.keys(all)).map((name) => {
    const make = Object.hasOwn(all, name) ? all[name] : undefined;
    if (!make)
      throw bad(`${model.name} has no output ${JSON.stringify(name)}; it has ${Object.keys(all).join(', ')}`);
    return make();
  });
}

const bad = (message: string) => new RequestFailure('bad_request', message);

function readTexts({ name, shape, datatype, data }: Input, maxInputs: number): string[] {
  if (datatype !== 'BYTES') throw bad(`${name} has datatype ${datatype}, expected BYTES`);
  const count = shape.reduce((product, size) => product * size, 1);
  if (shape.length > 2 || count !== shape[0]) throw bad(`${name} has shape [${shape}], expected [n]`);
  tooMany(name, count, maxInputs);
  if (!Array.isArray(data) || data.length !== count || !data.every((text) => typeof text === 'string'))
    throw bad(`${name}.data is not a list of ${count} strings`);
  return data;
}

function matrix({ name, shape }: Input, maxInputs: number): [number, number] {
  if (shape.length > 2) throw bad(`${name} has shape [${shape}], expected [n, tokens]`);
  const [rows, columns] = shape.length === 2 ? (shape as [number, number]) : [1, shape[0]!];
  tooMany(name, rows, maxInputs);
  if (rows < 1) throw bad(`${name} has no rows`);
  return [rows, columns];
}

function tooMany(name: string, count: number, maxInputs: number): void {
  if (count > maxInputs)
    throw new RequestFailure(
      'too_many_inputs',
      `${name} has ${count} inputs, this node takes ${maxInputs} in one request; send several requests`,
    );
}

/** Integers of a tensor, whatever list they come in. */
function readIntegers({ name, datatype, data }: Input, count: number): number[] {
  if (datatype === 'BYTES') throw bad(`${name} has datatype BYTES, expected an integer type`);
  const list =
    Array.isArray(data) || (ArrayBuffer.isView(data) && !(data instanceof DataView)) ? data : undefined;
  const length = (list as { length?: number } | undefined)?.length;
  if (!list || length !== count)
    throw bad(`${name}.data has ${length ?? 'no'} elements, its shape says ${count}`);
  return Array.from(list as ArrayLike<unknown>, (value, at) => {
    const number = typeof value === 'bigint' || typeof value === 'boolean' ? Number(value) : value;
    if (!Number.isSafeInteger(number) || (number as number) < 0)
      throw new RequestFailure('bad_ids', `${name}.data[${at}] is no integer from 0 on`);
    return number as number;
  });
}

function sameShape(input: Input | undefined, rows: number, columns: number): number[] | undefined {
  if (!input) return undefined;
  const [theirs, wide] = matrix(input, rows);
  if (theirs !== rows || wide !== columns)
    throw bad(`${input.name} has shape [${input.shape}], input_ids has [${rows},${columns}]`);
  return readIntegers(input, rows * columns);
}

/** Tokens of each row: its ones, which must come first. */
function rowLengths(mask: readonly number[] | undefined, rows: number, columns: number): number[] {
  return Array.from({ length: rows }, (_, row) => {
    if (!mask) return columns;
    const own = mask.slice(row * columns, (row + 1) * columns);
    const length = own.filter((bit) => bit === 1).length;
    if (own.some((bit, at) => bit !== (at < length ? 1 : 0)))
      throw bad(`attention_mask: row ${row} is not ones followed by zeros`);
    return length;
  });
}
