// A plan from a hostile file: every leaf of it changed in every way. Either the reader refuses it, or a session loads and runs
// it (or says why not), and writes nothing outside its own part of the window.
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { Device, needsReset } from '../../../src/device/device.js';
import { DeviceError } from '../../../src/device/errors.js';
import { ArtifactError } from '../../../src/model/artifact/errors.js';
import { Artifact } from '../../../src/model/artifact/read.js';
import { InputError } from '../../../src/runtime/errors.js';
import { Session } from '../../../src/runtime/session.js';
import { randomBitCheckpoint, writeCheckpoint } from '../../oracle/random.js';
import { randomBiBertCheckpoint, writeBiBertCheckpoint } from '../../oracle/random-bibert.js';
import { randomBinaryBertCheckpoint, writeBinaryBertCheckpoint } from '../../oracle/random-binarybert.js';
import { randomTernaryBertCheckpoint, writeTernaryBertCheckpoint } from '../../oracle/random-ternarybert.js';
import { random } from '../checkpoint/build.js';
import { buildArtifact, imported, parseArtifact, type RawArtifact, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const file = join(folder, 'changed.beta');
const device = Device.open('emu:?window=1M');
afterAll(() => device.close());

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
type Place = readonly (string | number)[];

/** Every place in a value that is no container, and every container. */
function places(value: Json, at: Place = []): Place[] {
  if (typeof value !== 'object' || value === null) return [at];
  const inside = Object.entries(value).flatMap(([key, each]) =>
    places(each, [...at, Array.isArray(value) ? Number(key) : key]),
  );
  return at.length > 0 ? [at, ...inside] : inside;
}

function valueAt(plan: Json, place: Place): Json {
  // biome-ignore lint/suspicious/noExplicitAny: any JSON
  return place.reduce((value: any, key) => value[key], plan) as Json;
}

/** A copy of a plan with another value at a place; undefined removes it. */
function withValue(plan: Json, place: Place, value: Json | undefined): Json {
  const copy = structuredClone(plan);
  const parent = valueAt(copy, place.slice(0, -1)) as Record<string | number, Json>;
  const key = place.at(-1)!;
  if (value !== undefined) parent[key] = value;
  else if (Array.isArray(parent)) parent.splice(Number(key), 1);
  else delete parent[key];
  return copy;
}

const NUMBERS = [0, -1, 1, 2, 3, 8, 0x11, 0x30, 64, 0.5, 16384, 32768, 2 ** 32, 2 ** 53, 1e300, 5e-324];
const KINDS = [
  'sign',
  'round',
  'round-from-min',
  'symmetric',
  'asymmetric',
  'threshold',
  'fixed-point',
  'affine',
  'boolean',
  'gelu',
];

/** What a value is changed to: nothing, other types, other sizes, what it could be confused with. */
function replacements(old: Json, others: readonly string[]): (Json | undefined)[] {
  const values: (Json | undefined)[] = [undefined, null, true, 'NaN', [], {}];
  if (typeof old === 'number') values.push(...NUMBERS, old + 1, old - 1, old * 2, old / 2, -old, String(old));
  if (typeof old === 'string') values.push(...KINDS, ...others, '', 7);
  if (old === null) values.push(...others, 0);
  return values.filter((value) => JSON.stringify(value) !== JSON.stringify(old));
}

/** Ranges around the model that nothing may write to. */
const GUARD_BYTES = 4096;

/** Loads and runs an artifact that was accepted. Anything but a typed error is a failure of the test. */
function run(artifact: Artifact): void {
  const before = device.allocator.allocate(GUARD_BYTES, 'guard');
  const guard = device.window.subarray(before.off, before.off + GUARD_BYTES).fill(0xa5);
  const free = device.allocator.freeBytes;
  try {
    const session = new Session(device, artifact);
    try {
      // The guard is the only range before the model, so the model follows it.
      const from = before.off + GUARD_BYTES;
      const model = Buffer.from(device.window.subarray(from, from + artifact.dataBytes));
      session.run([{ ids: [2, 7, 3] }, { ids: [2] }]);
      const now = device.window.subarray(from, from + artifact.dataBytes);
      expect(Buffer.compare(model, now), 'the model was written to').toBe(0);
    } finally {
      session.unload();
    }
  } catch (error) {
    if (!(error instanceof ArtifactError || error instanceof DeviceError || error instanceof InputError))
      throw error;
    if (needsReset(error)) device.reset();
  } finally {
    expect(
      guard.every((byte) => byte === 0xa5),
      'memory outside the session was written to',
    ).toBe(true);
    expect(device.allocator.freeBytes, 'the session kept memory').toBe(free);
    device.allocator.free(before);
  }
}

/** Tries a plan; says whether the reader took it. */
function accepted(parts: RawArtifact, plan: Json): boolean {
  writeFileSync(
    file,
    buildArtifact({ ...parts, metadata: { ...parts.metadata, 'beta.plan': JSON.stringify(plan) } }),
  );
  let artifact: Artifact;
  try {
    artifact = Artifact.open(file);
  } catch (error) {
    if (!(error instanceof ArtifactError)) throw error;
    expect(['bad-plan', 'bad-tokenizer']).toContain(error.code);
    expect(error.message.length).toBeLessThan(2000);
    return false;
  }
  run(artifact);
  return true;
}

/**
 * Where another value is another model and no contradiction: names for people, real numbers of the arithmetic, code ranges and
 * wider formats for them, what a device must offer, fewer tokens, tensors of the same size, a row more where the padding of
 * all its tensors has room for it, one of two word tables, and tables that an epilogue may have or not have.
 */
const FREE = new Set(
  (
    'family name words why labels step scale valueStep epsilon qmin qmax kind activation requirements aBits bBits oBits maxK maxKp ' +
    'maxTokens tensor table bias sums shift gamma beta wordScale exponentials length ones quantisers clip low high heads rows format'
  ).split(' '),
);

const SIZES = {
  seed: 5,
  layers: 1,
  hidden: 16,
  heads: 2,
  intermediate: 24,
  vocab: 90,
  positions: 12,
  labels: 3,
};

/** A way to write a checkpoint into a folder, and the share of the changes to try, for time's sake; the seed decides which. */
type Case = [name: string, write: (folder: string) => void, share: number];

const CASES: Case[] = [
  ['BiT W1A1', (to) => writeCheckpoint(to, randomBitCheckpoint({ ...SIZES, bits: 1 })), 0.1],
  [
    'BiT W1A2, scales per row',
    (to) => writeCheckpoint(to, randomBitCheckpoint({ ...SIZES, bits: 2, weightLayerwise: false })),
    0.05,
  ],
  ['BiBERT', (to) => writeBiBertCheckpoint(to, randomBiBertCheckpoint(SIZES)), 0.06],
  [
    'BinaryBERT W1A8, narrower attention',
    (to) =>
      writeBinaryBertCheckpoint(
        to,
        randomBinaryBertCheckpoint({ ...SIZES, attention: 8, bits: 8, method: 'uniform' }),
      ),
    0.03,
  ],
  ['TernaryBERT', (to) => writeTernaryBertCheckpoint(to, randomTernaryBertCheckpoint(SIZES)), 0.06],
];

async function model(write: Case[1]): Promise<{ parts: RawArtifact; plan: Json; others: string[] }> {
  const source = mkdtempSync(join(folder, 'source-'));
  write(source);
  const { file: good } = await imported(source);
  const parts = parseArtifact(readFileSync(good));
  const plan = JSON.parse(parts.metadata['beta.plan']!) as Json;
  // Names of other tensors, of the same size and of others.
  const others = [...parts.tensors.keys()].filter((_, index) => index % 8 === 0);
  return { parts, plan, others };
}

test.each(CASES)('%s: every value of the plan, changed', async (_, write, share) => {
  const { parts, plan, others } = await model(write);
  expect(accepted(parts, plan)).toBe(true);
  const taken = new Set<string>();
  let refused = 0;
  const next = random(31);
  for (const place of places(plan)) {
    for (const value of replacements(valueAt(plan, place), others)) {
      if (next() > share) continue;
      if (!accepted(parts, withValue(plan, place, value))) refused++;
      else taken.add(String(place.findLast((key) => typeof key === 'string')));
    }
    const inner = valueAt(plan, place);
    if (typeof inner === 'object' && inner !== null && !Array.isArray(inner)) {
      expect(accepted(parts, withValue(plan, [...place, 'extra'], 1)), `${place.join('.')}.extra`).toBe(
        false,
      );
    }
  }
  expect([...taken].filter((key) => !FREE.has(key))).toEqual([]);
  expect(refused).toBeGreaterThan(80);
});

test.each(CASES)('%s: several values at once, at random', async (_, write) => {
  const { parts, plan, others } = await model(write);
  const next = random(99);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)]!;
  const bytes = (name: string) => parts.tensors.get(name)?.shape[0];
  /** A change that is likely to be allowed: another tensor of the same size, another number of the same kind. */
  const gentle = (old: Json): Json => {
    if (typeof old === 'number') return Number.isInteger(old) ? old : old * pick([0.5, 2, 1e6]);
    if (typeof old !== 'string' || bytes(old) === undefined) return old;
    return pick([...parts.tensors.keys()].filter((name) => bytes(name) === bytes(old)));
  };
  // Where one change alone may be allowed.
  const free = places(plan).filter((place) => FREE.has(String(place.at(-1))));
  let taken = 0;
  for (let round = 0; round < 60; round++) {
    let changed = plan;
    for (let count = 2 + Math.floor(next() * 4); count > 0; count--) {
      const place = pick(free);
      const old = valueAt(plan, place);
      const value = next() < 0.6 ? gentle(old) : pick(replacements(old, others));
      try {
        changed = withValue(changed, place, value);
      } catch {
        // An earlier change took the place away.
      }
    }
    if (accepted(parts, changed)) taken++;
  }
  expect(taken).toBeGreaterThan(3);
});
