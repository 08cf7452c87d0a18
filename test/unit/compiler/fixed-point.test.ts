/** The fixed-point epilogue: where it is chosen it is the float quantiser, accumulator for accumulator; where it is not, it could not be. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Constants } from '../../../src/compiler/constants.js';
import { chooseEpilogue, type Site } from '../../../src/compiler/epilogues.js';
import type { Accumulators } from '../../../src/compiler/thresholds.js';
import type { OperandBits } from '../../../src/model/description.js';
import type { EpiloguePlan } from '../../../src/model/plan.js';
import { accumulatorsOf, between, engineCode, naiveCode } from './naive.js';

interface Channel {
  readonly scale: number;
  readonly bias: number;
  readonly shift: number;
}

interface Drawn {
  readonly signed: boolean;
  readonly bits: OperandBits;
  readonly step: number;
  readonly activation: 'identity' | 'relu';
  readonly accumulators: Accumulators;
  readonly channels: readonly Channel[];
}

const floats = (channels: readonly Channel[], key: 'bias' | 'shift') =>
  Float32Array.from(channels, (channel) => channel[key]);

function siteOf({ signed, bits, step, activation, accumulators, channels }: Drawn): Site {
  return {
    name: 'site',
    channels: channels.length,
    scale: (channel) => channels[channel]!.scale,
    bias: floats(channels, 'bias'),
    activation,
    next: [{ kind: 'fixed', signed, bits, step, offset: 'none', shift: floats(channels, 'shift') }],
    accumulators,
    obstacle: null,
  };
}

/** Code that the float model gives an accumulator. */
function modelCode(drawn: Drawn, { scale, bias, shift }: Channel, d: number): number {
  const affine = scale * d + Math.fround(bias);
  const value = drawn.activation === 'relu' && affine < 0 ? 0 : affine;
  return naiveCode(drawn, value + Math.fround(shift));
}

function choose(drawn: Drawn, changes: Partial<Site> = {}): { epilogue: EpiloguePlan; table: Int32Array } {
  const constants = new Constants();
  const affine = () => ({ terms: [{ scale: 1, sums: null }], bias: null });
  const epilogue = chooseEpilogue({ ...siteOf(drawn), ...changes }, affine, constants);
  const bytes = epilogue.kind === 'affine' ? new Uint8Array() : constants.tensors.get(epilogue.table)!;
  return { epilogue, table: new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4) };
}

/** Holds a choice against the model at every accumulator; returns what was chosen. */
function checkChoice(drawn: Drawn): EpiloguePlan['kind'] {
  const { epilogue, table } = choose(drawn);
  if (epilogue.kind === 'affine') {
    expect(epilogue.why).toMatch(/level boundaries of channel \d+/);
    return epilogue.kind;
  }
  expect(epilogue.format).toBe(Math.log2(drawn.bits) | (drawn.signed ? 0x10 : 0));
  expect(table).toHaveLength(2 * drawn.channels.length);
  drawn.channels.forEach((channel, index) => {
    const wrong = accumulatorsOf(drawn.accumulators).find(
      (d) => engineCode(epilogue.format, table, index, d) !== modelCode(drawn, channel, d),
    );
    expect(wrong, JSON.stringify(channel)).toBeUndefined();
  });
  return epilogue.kind;
}

/** Values where ties are exact, and values where they never are. */
const value = fc.oneof(
  fc.integer({ min: -12, max: 12 }).map((n) => n / 4),
  fc.double({ min: -3, max: 3, noNaN: true }),
);
const positive = fc.oneof(fc.constantFrom(0.25, 0.5, 1, 2), fc.double({ min: 0.01, max: 3, noNaN: true }));
const sign = fc.constantFrom(1, 1, 1, -1);

const drawn = (bits: fc.Arbitrary<OperandBits>, most: number): fc.Arbitrary<Drawn> =>
  fc.record({
    signed: fc.boolean(),
    bits,
    step: positive,
    activation: fc.constantFrom('identity', 'relu'),
    accumulators: fc
      .integer({ min: 1, max: most })
      .chain((bound) => fc.constantFrom({ bound, parityOf: null }, { bound, parityOf: bound })),
    channels: fc.array(
      fc.record({
        scale: fc
          .tuple(fc.oneof(positive, fc.constantFrom(0.001, 200, 0)), sign)
          .map(([scale, s]) => s * scale),
        bias: value,
        shift: value,
      }),
      { minLength: 1, maxLength: 2 },
    ),
  });

/**
 * True where some entry with a bias in -most..most is right at every accumulator. For a bias the right multipliers are an interval, and it
 * begins or ends where some accumulator reaches some level.
 */
function someEntry(site: Drawn, channel: Channel, most: number): boolean {
  const reached = accumulatorsOf(site.accumulators);
  const wanted = reached.map((d) => modelCode(site, channel, d));
  const format = Math.log2(site.bits) | (site.signed ? 0x10 : 0);
  const lowest = site.signed ? -(2 ** (site.bits - 1)) : 0;
  const levels = between(lowest + 1, lowest + 2 ** site.bits - 1);
  const right = (bias: number, mul: number) =>
    Math.abs(mul) < 2 ** 31 &&
    reached.every((d, i) => engineCode(format, Int32Array.of(bias, mul), 0, d) === wanted[i]);
  return between(-most, most).some((bias) =>
    reached.some((d) =>
      levels.some((level) => {
        if (d + bias === 0) return false;
        const edge = ((2 * level - 1) * 2 ** 23) / (d + bias);
        return [Math.floor(edge), Math.ceil(edge), Math.floor(edge) - 1, Math.ceil(edge) + 1].some((mul) =>
          right(bias, mul),
        );
      }),
    ),
  );
}

const plain = {
  signed: true,
  bits: 4,
  step: 1,
  activation: 'identity',
  accumulators: { bound: 40, parityOf: null },
} as const;

describe('the epilogue of a quantiser of several levels', () => {
  it('gives the code of the float expression for every accumulator, wherever it is fixed point', () => {
    const chosen = { 'fixed-point': 0, affine: 0, threshold: 0 };
    fc.assert(
      fc.property(drawn(fc.constantFrom(2, 4, 8), 300), (site) => {
        chosen[checkChoice(site)]++;
      }),
      { seed: 11, numRuns: 3000 },
    );
    expect(chosen['fixed-point']).toBeGreaterThan(400);
    expect(chosen.affine).toBeGreaterThan(400);
  });

  it('is fixed point wherever some entry is right', () => {
    let without = 0;
    fc.assert(
      fc.property(drawn(fc.constant(2), 20), (any) => {
        // Levels of several accumulators each, one apart: what seldom has an entry.
        const [first] = any.channels as [Channel];
        const channel = { ...first, scale: first.scale / 7 };
        const accumulators = { bound: 20, parityOf: null };
        const site = { ...any, accumulators, channels: [channel] };
        if (choose(site).epilogue.kind !== 'affine') return;
        without++;
        expect(someEntry(site, channel, 40)).toBe(false);
      }),
      { seed: 12, numRuns: 500 },
    );
    expect(without).toBeGreaterThan(30);
  });

  it('is affine as soon as one channel has no entry, and says which', () => {
    // Boundaries at -1.5, -0.5 and 0.5 units of 20 accumulators: -30, -10, 10. Half an accumulator beside them no whole bias can go.
    const good = { scale: 1 / 20.001, bias: 0, shift: 0 };
    const bad = { scale: 1 / 20, bias: 0.5 / 20, shift: 0 };
    const site = { ...plain, bits: 2 as const };
    expect(checkChoice({ ...site, channels: [good, good] })).toBe('fixed-point');
    expect(someEntry({ ...site, channels: [bad] }, bad, 60)).toBe(false);
    const { epilogue } = choose({ ...site, channels: [good, bad, good] });
    expect(epilogue).toMatchObject({
      kind: 'affine',
      why: expect.stringMatching(/3 level boundaries of channel 1/),
      quantisers: [{ kind: 'round', format: 0x11, qmin: -2, qmax: 1, step: 1 }],
    });
    // Accumulators two apart leave room for it.
    expect(checkChoice({ ...site, accumulators: { bound: 40, parityOf: 40 }, channels: [bad] })).toBe(
      'fixed-point',
    );
  });

  it('takes the largest accumulators there are, and no bias that would wrap', () => {
    const bound = 16384 * 255 * 128;
    const site = { ...plain, accumulators: { bound, parityOf: null } };
    const channels = [{ scale: 15 / bound, bias: 0, shift: 0 }];
    const { epilogue, table } = choose({ ...site, channels });
    // 15 levels over a billion accumulators: a multiplier of one part in 2^24 cannot place them one by one.
    expect(epilogue.kind).toBe('affine');
    expect(table).toHaveLength(0);
    // A code that never changes has no boundary to place.
    for (const bias of [2 * bound, -2 * bound]) {
      const far = { ...site, channels: [{ scale: 1, bias, shift: 0 }] };
      const chosen = choose(far);
      expect(chosen.epilogue.kind).toBe('fixed-point');
      for (const d of [-bound, -1, 0, 1, bound])
        expect(engineCode(0x12, chosen.table, 0, d)).toBe(bias > 0 ? 7 : -8);
    }
  });

  it('is not tried where the engine cannot give the result, or GELU comes between', () => {
    const site = { ...plain, channels: [{ scale: 1, bias: 0, shift: 0 }] };
    expect(choose(site).epilogue.kind).toBe('fixed-point');
    expect(choose(site, { obstacle: 'because' }).epilogue).toMatchObject({ kind: 'affine', why: 'because' });
    expect(choose(site, { activation: 'gelu' }).epilogue).toMatchObject({ kind: 'affine', why: /GELU/ });
  });
});
