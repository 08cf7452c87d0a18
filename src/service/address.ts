/** Where the answer to a payload goes: `id` and `replyTo`, also of payloads that are no valid request. */
import { MAX_ID_LENGTH } from '../client/wire.js';

export interface Address {
  readonly id?: string | number;
  readonly replyTo?: string;
}

/** The address fields of a parsed payload; those of a wrong type are left out. */
export function addressOf(body: unknown): Address {
  if (typeof body !== 'object' || body === null) return {};
  const { id, replyTo } = body as { id?: unknown; replyTo?: unknown };
  const usable = Number.isFinite(id) || (typeof id === 'string' && id.length <= MAX_ID_LENGTH);
  return {
    ...(usable ? { id: id as string | number } : {}),
    ...(typeof replyTo === 'string' ? { replyTo } : {}),
  };
}

/** Bytes looked at from each end of a payload. */
const REACH = 4096;
// Inside a JSON string the quotes around the key would be escaped, so a text cannot be taken for an address.
const REPLY_TO = /"replyTo"\s*:\s*("(?:[^"\\]|\\.)*")/;
const ID = new RegExp(`"id"\\s*:\\s*("(?:[^"\\\\]|\\\\.){0,${MAX_ID_LENGTH}}"|-?\\d{1,15})`);

/**
 * The address fields near either end of a JSON payload that is too large or too broken to be parsed. Without them a 3.1.1
 * client would wait in vain for the error: its reply topic is nowhere but in the payload.
 */
export function salvageAddress(payload: Uint8Array): Address {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
  const ends = [bytes.subarray(0, REACH), bytes.subarray(Math.max(REACH, bytes.length - REACH))];
  const find = (pattern: RegExp) => ends.map((end) => pattern.exec(end.toString('utf8'))?.[1]).find(Boolean);
  return addressOf({ id: parsed(find(ID)), replyTo: parsed(find(REPLY_TO)) });
}

function parsed(literal: string | undefined): unknown {
  if (literal === undefined) return undefined;
  try {
    return JSON.parse(literal);
  } catch {
    return undefined;
  }
}
