/** Thresholds decide exactly as the float expression for every accumulator that can occur. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Constants } from '../../../src/compiler/constants.js';
import { chooseEpilogue, type Site } from '../../../src/compiler/epilogues.js';
import { type Accumulators, firstReaching, reachable } from '../../../src/compiler/thresholds.js';
import type { Quantiser } from '../../../src/model/description.js';
import type { EpiloguePlan } from '../../../src/model/plan.js';
import { naiveCode } from './naive.js';

const between = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

/** Every accumulator that can occur, by the definition. */
const all = ({ bound, parityOf }: Accumulators) =>
  between(-bound, bound).filter((d) => parityOf === null || Math.abs(d - parityOf) % 2 === 0);

describe('the search', () => {
  it('finds the first accumulator of every staircase', () => {
    for (const bound of [0, 1, 2, 3, 7, 20]) {
      for (const stair of between(-bound, bound + 1)) {
        expect(firstReaching((d) => (d >= stair ? 1 : 0), 1, bound) + 0).toBe(stair);
      }
    }
  });

  it('finds every level of a staircase with steps of several levels', () => {
    const code = (d: number) => Math.floor(d / 3) * 2;
    for (const level of between(-20, 20)) {
      const expected = between(-15, 15).find((d) => code(d) >= level) ?? 16;
      expect(firstReaching(code, level, 15)).toBe(expected);
    }
  });

  it('asks only for accumulators that can occur', () => {
    const asked: number[] = [];
    firstReaching((d) => asked.push(d), 1e9, 1000);
    firstReaching((d) => asked.push(d), 0, 1000);
    expect(asked.every((d) => Math.abs(d) <= 1000)).toBe(true);
    expect(asked.length).toBeLessThan(30);
  });

  it('knows which intervals hold an accumulator', () => {
    for (const bound of [0, 1, 4, 5]) {
      for (const parityOf of [null, bound]) {
        const accumulators = { bound, parityOf };
        for (const from of between(-bound - 2, bound + 2)) {
          for (const to of between(from, bound + 3)) {
            const expected = all(accumulators).some((d) => d >= from && d < to);
            expect(
              reachable(from, to, accumulators),
              `[${from}, ${to}) of ${bound}, parity of ${parityOf}`,
            ).toBe(expected);
          }
        }
      }
    }
  });
});

interface Channel {
  readonly scale: number;
  readonly bias: number;
  readonly shift: number;
}

interface Drawn {
  readonly signed: boolean;
  readonly activation: 'identity' | 'relu';
  readonly step: number;
  readonly accumulators: Accumulators;
  readonly channels: readonly Channel[];
}

function siteOf({ signed, activation, step, accumulators, channels }: Drawn): Site {
  const shift = Float32Array.from(channels, (channel) => channel.shift);
  const next: Quantiser = { signed, bits: 1, step, offset: 'none', shift };
  return {
    name: 'site',
    channels: channels.length,
    scale: (channel) => channels[channel]!.scale,
    bias: Float32Array.from(channels, ({ bias }) => bias),
    activation,
    next,
    accumulators,
    obstacle: null,
  };
}

/** Code that the float model gives an accumulator. */
function modelCode({ signed, activation, step }: Drawn, { scale, bias, shift }: Channel, d: number): number {
  const affine = scale * d + Math.fround(bias);
  const value = activation === 'relu' && affine < 0 ? 0 : affine;
  return naiveCode({ signed, bits: 1, step }, value + Math.fround(shift));
}

/** Code that the engine's epilogue gives it: contract section 5. */
function engineCode(format: number, table: Int32Array, channel: number, d: number): number {
  const s = BigInt.asIntN(32, BigInt(d) + BigInt(table[channel * 2]!));
  const product = s * BigInt(table[channel * 2 + 1]!) + (1n << 23n);
  const r = product >> 24n; // BigInt shifts are floors.
  if (format === 0x20) return r >= 0n ? 1 : -1;
  if (format !== 0x00) throw new Error(`format ${format} is not of one bit`);
  return r <= 0n ? 0 : 1;
}

function choose(drawn: Drawn): { epilogue: EpiloguePlan; table: Int32Array } {
  const constants = new Constants();
  const epilogue = chooseEpilogue(siteOf(drawn), () => ({ scale: 1, bias: null, sums: null }), constants);
  const bytes = epilogue.kind === 'threshold' ? constants.tensors.get(epilogue.table)! : new Uint8Array();
  return { epilogue, table: new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4) };
}

/** Holds a choice against the model at every accumulator; returns what was chosen. */
function checkChoice(drawn: Drawn): 'threshold' | 'affine' {
  const { epilogue, table } = choose(drawn);
  const reached = all(drawn.accumulators);
  const zero =
    drawn.signed && drawn.channels.some((channel) => reached.some((d) => modelCode(drawn, channel, d) === 0));
  if (epilogue.kind === 'affine') {
    expect(zero, epilogue.why).toBe(true);
    expect(epilogue.quantiser).toMatchObject({ kind: 'sign', format: 0x11, qmin: -1, qmax: 1 });
    return 'affine';
  }
  expect(zero).toBe(false);
  drawn.channels.forEach((channel, index) => {
    const wrong = reached.find(
      (d) => engineCode(epilogue.format, table, index, d) !== modelCode(drawn, channel, d),
    );
    expect(wrong, JSON.stringify(channel)).toBeUndefined();
  });
  return 'threshold';
}

/** Values where ties and zeros are exact, and values where they never are. */
const coarse = fc.integer({ min: -12, max: 12 }).map((n) => n / 4);
const fine = fc.double({ min: -3, max: 3, noNaN: true });
const value = fc.oneof(coarse, fine);
const positive = fc.oneof(fc.constantFrom(0.25, 0.5, 1, 2), fc.double({ min: 1e-5, max: 3, noNaN: true }));

const drawn: fc.Arbitrary<Drawn> = fc.record({
  signed: fc.boolean(),
  activation: fc.constantFrom('identity', 'relu'),
  step: positive,
  accumulators: fc
    .integer({ min: 1, max: 64 })
    .chain((bound) => fc.constantFrom({ bound, parityOf: null }, { bound, parityOf: bound })),
  channels: fc.array(
    fc.record({ scale: fc.oneof(positive, fc.constantFrom(0, 1e-300)), bias: value, shift: value }),
    { minLength: 1, maxLength: 3 },
  ),
});

describe('the epilogue of a one-bit quantiser', () => {
  it('decides as the float expression for every accumulator, or is affine with a code for zero', () => {
    const chosen = { threshold: 0, affine: 0 };
    fc.assert(
      fc.property(drawn, (site) => {
        chosen[checkChoice(site)]++;
      }),
      { seed: 2, numRuns: 3000 },
    );
    expect(chosen.threshold).toBeGreaterThan(500);
    expect(chosen.affine).toBeGreaterThan(100);
  });

  const one = {
    signed: true,
    activation: 'identity',
    step: 1,
    accumulators: { bound: 8, parityOf: null },
    channels: [],
  } as const;

  it('is a threshold at the parity that K gives, also where zero lies between two accumulators', () => {
    const channels = [{ scale: 1, bias: 0, shift: 0 }];
    expect(checkChoice({ ...one, channels, accumulators: { bound: 7, parityOf: 7 } })).toBe('threshold');
    expect(checkChoice({ ...one, channels, accumulators: { bound: 8, parityOf: 8 } })).toBe('affine');
    expect(checkChoice({ ...one, channels, accumulators: { bound: 7, parityOf: null } })).toBe('affine');
  });

  it('is affine as soon as one channel of many can be zero', () => {
    const channels = Array.from({ length: 40 }, (_, i) => ({
      scale: 1,
      bias: 0.5,
      shift: i === 33 ? -0.5 : 0.25,
    }));
    expect(checkChoice({ ...one, channels })).toBe('affine');
  });

  it('gives a channel that never decides otherwise a threshold beyond every accumulator', () => {
    for (const bias of [100, -100]) {
      for (const signed of [true, false])
        expect(checkChoice({ ...one, signed, channels: [{ scale: 1, bias, shift: 0 }] })).toBe('threshold');
    }
  });

  it('holds the largest accumulators there are: 16384 products of 8 by 8 bits', () => {
    const bound = 16384 * 255 * 128;
    const site: Drawn = {
      ...one,
      signed: false,
      step: 1,
      accumulators: { bound, parityOf: null },
      channels: [
        { scale: 1, bias: -bound + 5, shift: 0 },
        { scale: 1, bias: bound - 5, shift: 0 },
      ],
    };
    const { epilogue, table } = choose(site);
    expect(epilogue).toMatchObject({ kind: 'threshold', format: 0 });
    for (const d of [bound, bound - 4, bound - 5, -bound, -bound + 5, -bound + 6, 0]) {
      site.channels.forEach((channel, index) => {
        expect(engineCode(0, table, index, d), `D = ${d}`).toBe(modelCode(site, channel, d));
      });
    }
  });

  it('is affine where no threshold can do it, and says why', () => {
    const site = siteOf({ ...one, channels: [{ scale: 1, bias: 0.5, shift: 0 }] });
    const chosen = (changes: Partial<Site>) =>
      chooseEpilogue({ ...site, ...changes }, () => ({ scale: 2, bias: 'b', sums: 's' }), new Constants());
    expect(chosen({ next: { ...site.next, bits: 4 } })).toMatchObject({
      kind: 'affine',
      why: expect.stringMatching(/16 levels/),
      quantiser: { kind: 'round', format: 0x12 },
    });
    expect(chosen({ activation: 'gelu' })).toMatchObject({
      kind: 'affine',
      why: expect.stringMatching(/GELU/),
      quantiser: { kind: 'sign', format: 0x11 },
    });
    expect(chosen({ obstacle: 'because' })).toMatchObject({
      kind: 'affine',
      why: 'because',
      scale: 2,
      bias: 'b',
      sums: 's',
      quantiser: { kind: 'sign', format: 0x20 },
    });
  });
});
