// Random damage: whatever the bytes are, a reader gives a result or a CheckpointError, soon and in little memory.
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CheckpointError } from '../../../src/model/checkpoint/errors.js';
import { unpickle } from '../../../src/model/checkpoint/pickle.js';
import { random, safetensorsBytes, torchBytes, torchEntries } from './build.js';
import { zipBytes } from './build-zip.js';
import { PLAIN_PICKLES, STATE_DICT_PICKLES, ZIPS } from './fixtures.js';
import { type Contents, contents, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const floats = Float32Array.of(1.5, -2, 3, 0.25, 5, 6);

// An exception in a callback of the zip library would be nobody's to catch; vitest fails the run for it.

/** The contents, or undefined if they were refused properly. */
async function attempt(format: 'torch' | 'safetensors', bytes: Uint8Array): Promise<Contents | undefined> {
  try {
    return await contents(format, bytes, join(folder, format));
  } catch (error) {
    expect(error).toBeInstanceOf(CheckpointError);
    return undefined;
  }
}

/** Copies of `bytes` with one to three bytes changed, and some with a piece removed, doubled or zeroed. */
function* damaged(bytes: Uint8Array, rounds: number, seed: number): Generator<Buffer> {
  const next = random(seed);
  const below = (n: number) => Math.floor(next() * n);
  const special = [0x00, 0xff, 0x7f, 0x80, 0x28, 0x2e];
  for (let round = 0; round < rounds; round++) {
    const copy = Buffer.from(bytes);
    for (let i = below(3); i >= 0; i--) {
      const at = below(copy.length);
      copy[at] = next() < 0.4 ? special[below(special.length)]! : copy[at]! ^ (1 << below(8));
    }
    const at = below(copy.length);
    const length = 1 + below(16);
    const kind = below(10);
    if (kind === 0) yield Buffer.concat([copy.subarray(0, at), copy.subarray(at + length)]);
    else if (kind === 1) yield Buffer.concat([copy.subarray(0, at + length), copy.subarray(at)]);
    else if (kind === 2) yield copy.fill(0, at, Math.min(at + length, copy.length));
    else yield copy;
  }
}

/** Whether the values of every tensor fill its shape. */
function consistent(read: Contents): boolean {
  return [...read.values()].every(([, shape, values]) => values.length === shape.reduce((a, b) => a * b, 1));
}

describe('random damage', () => {
  const torch = torchBytes(
    new Map([
      ['bert.w', { shape: [2, 3], data: floats }],
      ['b', { shape: [], data: Float64Array.of(7) }],
    ]),
  );

  it.each([
    ['as torch writes it', torch],
    ['stored', ZIPS.stored],
    ['deflated', ZIPS.deflated],
    ['with data descriptors', ZIPS.streamed],
    ['with 64-bit sizes', ZIPS.zip64],
  ])('to a torch file %s changes nothing or is refused', async (_, bytes) => {
    const intact = await attempt('torch', bytes);
    expect(intact?.size).toBeGreaterThan(1);
    let refused = 0;
    for (const changed of damaged(bytes, 400, 17)) {
      const read = await attempt('torch', changed);
      // CRC-32 protects every entry, so what is read at all is what was written.
      if (read === undefined) refused++;
      else expect(read).toEqual(intact);
    }
    expect(refused).toBeGreaterThan(100);
  });

  it('to every single byte of a torch file, likewise', async () => {
    const intact = await attempt('torch', ZIPS.stored);
    for (let at = 0; at < ZIPS.stored.length; at++)
      for (const mask of [0x01, 0xff]) {
        const changed = Buffer.from(ZIPS.stored);
        changed[at]! ^= mask;
        const read = await attempt('torch', changed);
        if (read !== undefined) expect(read).toEqual(intact);
      }
  });

  it('to a safetensors file gives consistent tensors or is refused', async () => {
    const bytes = safetensorsBytes(
      new Map([
        ['bert.w', { dtype: 'F32', shape: [2, 3], bytes: new Uint8Array(floats.buffer) }],
        ['b', { dtype: 'BF16', shape: [], bytes: Uint8Array.of(1, 2) }],
        ['none', { dtype: 'I64', shape: [0, 7], bytes: new Uint8Array() }],
      ]),
      { format: 'pt' },
    );
    let read = 0;
    for (const changed of damaged(bytes, 1500, 23)) {
      const result = await attempt('safetensors', changed);
      if (result === undefined) continue;
      read++;
      expect(consistent(result)).toBe(true);
    }
    // Damage to the data alone cannot be seen in this format.
    expect(read).toBeGreaterThan(20);
  });

  it('to the pickle inside an intact zip gives consistent tensors or is refused', async () => {
    const storages = [new Uint8Array(floats.buffer), new Uint8Array(BigInt64Array.of(1n, 2n).buffer)];
    for (const protocol of [2, 4] as const)
      for (const changed of damaged(STATE_DICT_PICKLES[protocol], 400, 29)) {
        const read = await attempt('torch', zipBytes(torchEntries(changed, storages)));
        if (read !== undefined) expect(consistent(read)).toBe(true);
      }
  });

  it('to plain pickles gives a value or is refused', () => {
    const started = performance.now();
    let read = 0;
    for (const protocol of [2, 3, 4, 5] as const)
      for (const changed of damaged(PLAIN_PICKLES[protocol], 3000, 31)) {
        try {
          unpickle(changed, 'x');
          read++;
        } catch (error) {
          expect(error).toBeInstanceOf(CheckpointError);
        }
      }
    expect(read).toBeGreaterThan(100);
    expect(performance.now() - started).toBeLessThan(20_000);
  });

  it('of nothing but noise is refused', async () => {
    const next = random(37);
    for (let round = 0; round < 300; round++) {
      const noise = Buffer.from(Uint8Array.from({ length: Math.floor(next() * 200) }, () => next() * 256));
      expect(await attempt('torch', noise)).toBe(undefined);
      expect(await attempt('safetensors', noise)).toBe(undefined);
      const pickled = Buffer.concat([Buffer.of(0x80, 4), noise]);
      try {
        unpickle(pickled, 'x');
      } catch (error) {
        expect(error).toBeInstanceOf(CheckpointError);
      }
    }
  });
});
