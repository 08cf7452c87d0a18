/**
 * Payload bytes -> checked request. The cheap checks come first, and the schema sees only what they have bounded:
 * a schema reports every wrong element, and a megabyte of wrong elements would make a gigabyte of reports.
 */
import type { z } from 'zod';
import {
  CONTENT_TYPES,
  type Codec,
  codecOf,
  decodeBytes,
  type RequestPayload,
  RequestSchema,
} from '../client/wire.js';
import { type Address, addressOf, salvageAddress } from './address.js';
import { complexityProblem } from './complexity.js';
import { messageOf } from './errors.js';
import { RequestFailure } from './failure.js';

/** A parsed payload and where its answer goes, or why it cannot be parsed. */
export interface Decoded {
  readonly address: Address;
  /** How the answer is written. */
  readonly codec: Codec;
  readonly body: unknown;
  readonly failure: RequestFailure | undefined;
}

/** Parses a payload of at most `maxBytes`. Never throws. */
export function decodePayload(payload: Uint8Array, maxBytes: number, contentType?: string): Decoded {
  const codec = codecOf(contentType);
  const failed = (failure: RequestFailure): Decoded => ({
    address: salvageAddress(payload),
    codec: codec ?? 'json',
    body: undefined,
    failure,
  });
  if (!codec)
    return failed(
      new RequestFailure(
        'bad_content_type',
        `this node reads ${Object.values(CONTENT_TYPES).join(' and ')}, not ${JSON.stringify(contentType?.slice(0, 64))}`,
      ),
    );
  if (payload.byteLength > maxBytes)
    return failed(
      new RequestFailure(
        'payload_too_large',
        `the payload has ${payload.byteLength} bytes, this node takes ${maxBytes}; send fewer inputs in one request`,
      ),
    );
  const problem = complexityProblem(payload, codec);
  if (problem !== undefined)
    return failed(new RequestFailure(codec === 'json' ? 'bad_json' : 'bad_cbor', `the payload ${problem}`));
  try {
    const body = decodeBytes(payload, codec);
    return { address: addressOf(body), codec, body, failure: undefined };
  } catch (error) {
    return failed(
      codec === 'json'
        ? new RequestFailure('bad_json', `the payload is not JSON in UTF-8: ${messageOf(error)}`)
        : new RequestFailure('bad_cbor', `the payload is not CBOR: ${messageOf(error)}`),
    );
  }
}

/** Checks the shape of a request with at most `maxInputs` inputs. Throws RequestFailure. */
export function checkRequest(body: unknown, maxInputs: number): RequestPayload {
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw new RequestFailure(
      'bad_request',
      'a request is an object such as {"text": "transfer ten dollars"}',
    );
  const lists = body as Record<string, unknown>;
  for (const field of ['texts', 'text_pairs', 'input_ids', 'token_type_ids'])
    checkCount(field, lists[field], maxInputs);
  for (const field of ['input_ids', 'token_type_ids']) checkIds(field, lists[field]);

  return checked(RequestSchema, body);
}

/** A body that a schema accepts. Throws RequestFailure 'bad_request' with the first problem. */
export function checked<T>(schema: z.ZodType<T>, body: unknown): T {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const where = issue?.path.map(String).join('.') ?? '';
  throw new RequestFailure('bad_request', where === '' ? `${issue?.message}` : `${where}: ${issue?.message}`);
}

function checkCount(field: string, value: unknown, maxInputs: number): void {
  if (Array.isArray(value) && value.length > maxInputs)
    throw new RequestFailure(
      'too_many_inputs',
      `${field} has ${value.length} inputs, this node takes ${maxInputs} in one request; send several requests`,
    );
}

/** Ids that cannot be ids of any model. */
function checkIds(field: string, value: unknown): void {
  if (!Array.isArray(value)) return;
  for (const [row, list] of value.entries()) {
    if (!Array.isArray(list)) continue; // The schema says what is wrong with it.
    const at = list.findIndex((id) => !Number.isSafeInteger(id) || id < 0);
    if (at >= 0)
      throw new RequestFailure(
        'bad_ids',
        `${field}[${row}][${at}] is ${describe(list[at])}; ids are integers from 0 on`,
      );
  }
}

function describe(value: unknown): string {
  return typeof value === 'number' ? String(value) : value === null ? 'null' : `a ${typeof value}`;
}
