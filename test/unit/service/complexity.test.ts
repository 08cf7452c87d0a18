import { encode } from 'cborg';
import { describe, expect, it } from 'vitest';
import { complexityProblem } from '../../../src/service/complexity.js';
import { decodePayload } from '../../../src/service/decode.js';

const json = (text: string) => complexityProblem(Buffer.from(text), 'json');
const cbor = (bytes: Uint8Array) => complexityProblem(bytes, 'cbor');
const pad = (text: string) => text + ' '.repeat(10_000);
/** A list of `count` items that are each this one byte. */
const listOf = (count: number, item: number) => {
  const bytes = Buffer.alloc(5 + count, item);
  bytes[0] = 0x9a;
  bytes.writeUInt32BE(count, 1);
  return bytes;
};

describe('the structure of a payload', () => {
  it('of JSON is refused for depth, lists and keys beyond any request, before it is parsed', () => {
    expect(json('['.repeat(500_000))).toMatch(/deeper than 32/);
    expect(json('{"a":'.repeat(170_000))).toMatch(/deeper than 32/);
    expect(json(`[${Array(5000).fill('[]').join(',')}]`)).toMatch(/4096 lists and objects/);
    expect(json(`{${Array.from({ length: 5000 }, (_, i) => `"k${i}":1`).join()}}`)).toMatch(/4096 keys/);
  });

  it('is nothing that a text can fake', () => {
    expect(json(JSON.stringify({ text: '[{:'.repeat(100_000) }))).toBeUndefined();
    expect(json(JSON.stringify({ text: '\\"[[[['.repeat(50_000) }))).toBeUndefined();
    expect(json(pad(`{"text": "${'\\\\'.repeat(50)}", "x": ${'['.repeat(33)}`))).toMatch(/deeper/);
    expect(cbor(encode({ text: '\x80\x9f'.repeat(10_000) }))).toBeUndefined();
  });

  it('of the largest honest requests is fine', () => {
    const ids = Array.from({ length: 256 }, () => Array.from({ length: 512 }, (_, i) => i));
    for (const body of [
      { input_ids: ids, token_type_ids: ids },
      { texts: Array(256).fill('[a] {b}: "c"'.repeat(20)) },
    ]) {
      expect(json(JSON.stringify(body))).toBeUndefined();
      expect(cbor(encode(body))).toBeUndefined();
    }
  });

  it('of CBOR is refused as well, and garbage is left to the decoder', () => {
    expect(cbor(Buffer.alloc(1_000_000, 0x81))).toMatch(/4096 lists/);
    expect(cbor(listOf(100_000, 0x80))).toMatch(/4096 lists/);
    expect(cbor(listOf(100_000, 0xa0))).toMatch(/4096 lists/);
    expect(cbor(Buffer.concat([Buffer.from([0xba, 0, 1, 0, 0]), Buffer.alloc(20_000, 1)]))).toMatch(
      /4096 keys/,
    );
    expect(cbor(Buffer.alloc(20_000, 0xff))).toBeUndefined();
    expect(
      cbor(
        Buffer.concat([
          Buffer.from([0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
          Buffer.alloc(9000),
        ]),
      ),
    ).toBeUndefined();
  });

  it('is said in the answer, to the address that the payload has', () => {
    const payload = Buffer.from(`{"id": 7, "replyTo": "me", "x": ${'['.repeat(100_000)}`);
    expect(decodePayload(payload, 2 ** 20)).toMatchObject({
      address: { id: 7, replyTo: 'me' },
      failure: { code: 'bad_json', message: expect.stringContaining('nested deeper than 32') },
    });
  });
});
