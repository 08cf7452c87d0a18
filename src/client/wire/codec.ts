/** Payloads as bytes: JSON, or CBOR where the content type says so. */
import { decode, encode, type TagDecoder } from 'cborg';
import * as tags from 'cborg/taglib';

export const CONTENT_TYPES = { json: 'application/json', cbor: 'application/cbor' } as const;
export type Codec = keyof typeof CONTENT_TYPES;

/** The codec of a content type, without regard to its parameters; JSON where there is none; undefined if it is neither. */
export function codecOf(contentType: string | undefined): Codec | undefined {
  if (contentType === undefined || contentType === '') return 'json';
  const type = contentType.split(';', 1)[0]!.trim().toLowerCase();
  if (type === CONTENT_TYPES.json) return 'json';
  return type === CONTENT_TYPES.cbor ? 'cbor' : undefined;
}

const UTF8 = new TextDecoder('utf-8', { fatal: true });

/** Typed arrays of RFC 8746, little-endian; no other tag is read. */
const DECODERS: Record<number, TagDecoder> = {
  [tags.TAG_UINT8_ARRAY]: tags.uint8ArrayDecoder,
  [tags.TAG_INT8_ARRAY]: tags.int8ArrayDecoder,
  [tags.TAG_UINT16_ARRAY_LE]: tags.uint16ArrayDecoder,
  [tags.TAG_UINT32_ARRAY_LE]: tags.uint32ArrayDecoder,
  [tags.TAG_INT32_ARRAY_LE]: tags.int32ArrayDecoder,
  [tags.TAG_BIGINT64_ARRAY_LE]: tags.bigInt64ArrayDecoder,
  [tags.TAG_BIGUINT64_ARRAY_LE]: tags.bigUint64ArrayDecoder,
  [tags.TAG_FLOAT32_ARRAY_LE]: tags.float32ArrayDecoder,
};
const READ = { allowIndefinite: false, allowUndefined: false, rejectDuplicateMapKeys: true, tags: DECODERS };
const WRITE = {
  typeEncoders: {
    Float32Array: tags.float32ArrayEncoder,
    Uint32Array: tags.uint32ArrayEncoder,
    Int32Array: tags.int32ArrayEncoder,
  },
};

/** The value of a payload. Throws an Error that says what is wrong with the bytes. */
export function decodeBytes(payload: Uint8Array, codec: Codec): unknown {
  if (codec === 'json') return JSON.parse(UTF8.decode(payload));
  return decode(payload, READ);
}

/** The payload of a value; typed arrays are for CBOR alone. */
export function encodeBytes(value: unknown, codec: Codec): Buffer {
  if (codec === 'json') return Buffer.from(JSON.stringify(value));
  const bytes = encode(value, WRITE);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
