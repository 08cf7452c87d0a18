/** An epilogue decides exactly as the float expression for every accumulator that can occur, wherever it is computed. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Constants } from '../../../src/compiler/constants.js';
import { chooseEpilogue, type Site, thresholdTable } from '../../../src/compiler/epilogues.js';
import type { Accumulators } from '../../../src/compiler/thresholds.js';
import type { Quantiser } from '../../../src/model/description.js';
import type { EpiloguePlan } from '../../../src/model/plan.js';
import { accumulatorsOf, engineCode, naiveCode } from './naive.js';

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
  const next: Quantiser = { kind: 'fixed', signed, bits: 1, step, offset: 'none', shift };
  return {
    name: 'site',
    channels: channels.length,
    scale: (channel) => channels[channel]!.scale,
    bias: Float32Array.from(channels, ({ bias }) => bias),
    activation,
    next: [next],
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

const plainAffine = () => ({ terms: [{ scale: 1, sums: null }], bias: null });

function choose(drawn: Drawn, obstacle: string | null = null): { epilogue: EpiloguePlan; table: Int32Array } {
  const constants = new Constants();
  const epilogue = chooseEpilogue({ ...siteOf(drawn), obstacle }, plainAffine, constants);
  const bytes = epilogue.kind === 'threshold' ? constants.tensors.get(epilogue.table)! : new Uint8Array();
  return { epilogue, table: new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4) };
}

/** True where some accumulator that can occur has a code of 0 between -1 and +1. */
const hasZeroLevel = (drawn: Drawn) =>
  drawn.signed &&
  drawn.channels.some((channel) =>
    accumulatorsOf(drawn.accumulators).some((d) => modelCode(drawn, channel, d) === 0),
  );

/** Holds a choice against the model at every accumulator; returns what was chosen. */
function checkChoice(drawn: Drawn): 'threshold' | 'affine' {
  const { epilogue, table } = choose(drawn);
  const reached = accumulatorsOf(drawn.accumulators);
  const zero = hasZeroLevel(drawn);
  if (epilogue.kind === 'affine') {
    expect(zero, epilogue.why).toBe(true);
    expect(epilogue.quantisers).toMatchObject([{ kind: 'sign', format: 0x11, qmin: -1, qmax: 1 }]);
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

  it('keeps one plane where the engine cannot decide but no zero occurs, and takes two where one does', () => {
    const formats = { 0: 0, 17: 0, 32: 0 };
    fc.assert(
      fc.property(drawn, (site) => {
        const { epilogue } = choose(site, 'because');
        const format = site.signed ? (hasZeroLevel(site) ? 0x11 : 0x20) : 0x00;
        expect(epilogue).toMatchObject({ kind: 'affine', quantisers: [{ format }] });
        formats[format]++;
      }),
      { seed: 3, numRuns: 1000 },
    );
    expect(Math.min(...Object.values(formats))).toBeGreaterThan(50);
  });

  it('is affine where no threshold can do it, and says why', () => {
    const site = siteOf({ ...one, channels: [{ scale: 1, bias: 0.5, shift: 0 }] });
    const [next] = site.next as [Quantiser & { kind: 'fixed' }];
    const terms = [
      { scale: 2, sums: 's' },
      { scale: { tensor: 'per row' }, sums: null },
    ];
    const chosen = (changes: Partial<Site>) =>
      chooseEpilogue({ ...site, ...changes }, () => ({ terms, bias: 'b' }), new Constants());
    // Levels of one accumulator each, half of one beside where a whole bias can put them.
    expect(chosen({ next: [{ ...next, bits: 4 }], scale: () => 0.99 })).toMatchObject({
      kind: 'affine',
      why: expect.stringMatching(/15 level boundaries of channel 0/),
      quantisers: [{ kind: 'round', format: 0x12, step: 1, clip: null }],
    });
    expect(chosen({ activation: 'gelu' })).toMatchObject({
      kind: 'affine',
      why: expect.stringMatching(/GELU/),
      quantisers: [{ kind: 'sign', format: 0x11 }],
    });
    expect(chosen({ obstacle: 'because' })).toMatchObject({
      kind: 'affine',
      why: 'because',
      terms,
      bias: 'b',
      quantisers: [{ kind: 'sign', format: 0x20 }],
    });
    // Where nothing is known of the accumulators, a zero cannot be excluded.
    expect(chosen({ obstacle: 'because', accumulators: { bound: 0, parityOf: null } })).toMatchObject({
      kind: 'affine',
      why: 'because',
      quantisers: [{ kind: 'sign', format: 0x11 }],
    });
  });

  it('is affine where the next step or offset is found at run time', () => {
    const site = siteOf({ ...one, channels: [{ scale: 1, bias: 0.5, shift: 0 }] });
    const chosen = (next: Quantiser) =>
      chooseEpilogue({ ...site, next: [next] }, plainAffine, new Constants());
    const clip = { low: -2, high: 3 };
    const range = { kind: 'range', shift: null } as const;
    for (const [next, plan] of [
      [
        { ...range, signed: true, bits: 8, clip },
        { kind: 'symmetric', format: 0x13, qmin: -127, qmax: 127, step: 1, clip },
      ],
      [
        { ...range, signed: false, bits: 8, clip: null },
        { kind: 'asymmetric', format: 0x03, qmin: 0, qmax: 255, step: 1, clip: null },
      ],
      [
        { kind: 'fixed', signed: false, bits: 4, step: 0.25, offset: 'minimum', shift: null },
        { kind: 'round-from-min', format: 0x02, qmin: 0, qmax: 15, step: 0.25, clip: null },
      ],
      // One bit alone is no reason to leave the offset out.
      [
        { kind: 'fixed', signed: false, bits: 1, step: 0.25, offset: 'minimum', shift: null },
        { kind: 'round-from-min', format: 0x00, qmin: 0, qmax: 1, step: 0.25, clip: null },
      ],
    ] as [Quantiser, object][]) {
      expect(chosen(next)).toMatchObject({ kind: 'affine', quantisers: [plan] });
    }
  });

  it('is affine where two branches read the result, each through a quantiser of its own', () => {
    const site = siteOf({ ...one, channels: [{ scale: 1, bias: 0.5, shift: 0 }] });
    const [sign] = site.next as [Quantiser & { kind: 'fixed' }];
    const constants = new Constants();
    const epilogue = chooseEpilogue(
      {
        ...site,
        next: [
          { ...sign, shift: Float32Array.of(3) },
          { ...sign, shift: Float32Array.of(4) },
        ],
      },
      plainAffine,
      constants,
    );
    // Nothing was searched, so zeros are possible.
    expect(epilogue).toMatchObject({ kind: 'affine', why: expect.stringMatching(/two quantisers/) });
    const quantisers = epilogue.kind === 'affine' ? epilogue.quantisers : [];
    expect(quantisers).toMatchObject([
      { kind: 'sign', format: 0x11 },
      { kind: 'sign', format: 0x11 },
    ]);
    const shifts = quantisers.map(({ shift }) => [...constants.tensors.get(shift!)!]);
    expect(shifts).toEqual([3, 4].map((value) => [...new Uint8Array(Float32Array.of(value).buffer)]));
  });
});

describe('a table of thresholds', () => {
  it('compares with any threshold, for signs and for bits', () => {
    const thresholds = Int32Array.of(-(2 ** 30), -7, -1, 0, 1, 7, 2 ** 30);
    for (const signed of [true, false]) {
      const table = thresholdTable(thresholds, signed);
      thresholds.forEach((threshold, channel) => {
        const code = (d: number) => engineCode(signed ? 0x20 : 0x00, table, channel, d);
        expect([code(threshold - 1), code(threshold)]).toEqual(signed ? [-1, 1] : [0, 1]);
      });
    }
  });
});
