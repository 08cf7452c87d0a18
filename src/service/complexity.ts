/**
 * How much a payload would make of itself, counted over its bytes before anything is made: a megabyte of brackets takes a parser half a
 * second, in which nobody else is answered, while the largest honest request has some hundred lists and a dozen keys. A pass over the
 * bytes takes a millisecond; small payloads need none.
 */
import type { Codec } from '../client/wire.js';

/** Payloads up to this length are parsed in a millisecond whatever they hold. */
const SMALL = 8192;
/** Lists, objects and CBOR tags; keys; and how deep they may lie in one another. */
const CONTAINERS = 4096;
const KEYS = 4096;
const DEPTH = 32;

/** What is wrong with a payload for its structure alone, or undefined. Bytes that are no JSON or CBOR are for the parser to refuse. */
export function complexityProblem(payload: Uint8Array, codec: Codec): string | undefined {
  if (payload.byteLength <= SMALL) return undefined;
  return codec === 'json' ? ofJson(payload) : ofCbor(payload);
}

const tooMany = (what: string, limit: number) => `has more than ${limit} ${what}; no request needs as many`;
const TOO_DEEP = `is nested deeper than ${DEPTH} levels; no request is`;

const [QUOTE, BACKSLASH, COLON] = [0x22, 0x5c, 0x3a];
const [OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d];

function ofJson(bytes: Uint8Array): string | undefined {
  let [depth, containers, keys] = [0, 0, 0];
  for (let at = 0; at < bytes.length; at++) {
    switch (bytes[at]) {
      case QUOTE:
        for (at++; at < bytes.length && bytes[at] !== QUOTE; at++) if (bytes[at] === BACKSLASH) at++;
        break;
      case COLON:
        if (++keys > KEYS) return tooMany('keys', KEYS);
        break;
      case OPEN_LIST:
      case OPEN_OBJECT:
        if (++depth > DEPTH) return TOO_DEEP;
        if (++containers > CONTAINERS) return tooMany('lists and objects', CONTAINERS);
        break;
      case CLOSE_LIST:
      case CLOSE_OBJECT:
        depth--;
        break;
    }
  }
  return undefined;
}

/** Major types of CBOR (RFC 8949, 3.1). */
const [BYTES, TEXT, LIST, MAP, TAG] = [2, 3, 4, 5, 6];
/** Bytes of the argument behind an initial byte whose low bits are 24 to 27. */
const ARGUMENT = [1, 2, 4, 8];

/** Every item in the order of the bytes: strings are skipped by their length, and containers need no nesting to be counted. */
function ofCbor(bytes: Uint8Array): string | undefined {
  let [containers, keys] = [0, 0];
  for (let at = 0; at < bytes.length; ) {
    const major = bytes[at]! >> 5;
    const low = bytes[at]! & 31;
    at++;
    let argument = low;
    if (low >= 24) {
      const width = ARGUMENT[low - 24];
      if (width === undefined) return undefined; // Indefinite or reserved: the decoder refuses it when it comes to it.
      argument = 0;
      for (let i = 0; i < width; i++) argument = argument * 256 + (bytes[at + i] ?? 0);
      at += width;
    }
    if (major === BYTES || major === TEXT) at += argument;
    else if (major === LIST || major === MAP || major === TAG) {
      if (++containers > CONTAINERS) return tooMany('lists, maps and tags', CONTAINERS);
      if (major === MAP) keys += argument;
      if (keys > KEYS) return tooMany('keys', KEYS);
    }
  }
  return undefined;
}
