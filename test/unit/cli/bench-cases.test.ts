import { describe, expect, it } from 'vitest';
import { ACTIVATION_BITS, casesOf, parseShape, SHAPES } from '../../../src/cli/bench/cases.js';

describe('the shapes', () => {
  it('are those of an encoder of BERT-base', () => {
    expect(SHAPES.map(({ m, k, n, heads }) => `${heads}*${m}x${k}x${n}`)).toEqual([
      '1*128x768x768',
      '1*128x768x3072',
      '1*128x3072x768',
      '1*768x768x128',
      '12*128x64x128',
      '12*128x128x64',
    ]);
  });

  it('have every width, and ternary weights at the linear ones', () => {
    const cases = casesOf(SHAPES, ACTIVATION_BITS);
    const formats = (role: string) =>
      cases.filter((work) => work.role === role).map(({ a, b }) => `${a.bits}x${b.bits}`);
    expect(new Set(formats('linear'))).toEqual(new Set(['1x1', '2x1', '4x1', '8x1', '8x2']));
    expect(formats('value')).toEqual(['1x1', '1x2', '1x4', '1x8']);
    expect(formats('scores')).toEqual(['1x1', '2x2', '4x4', '8x8']);
    expect(formats('context')).toEqual(['1x1', '2x2', '4x4', '8x8']);
    expect(cases.filter(({ ternary }) => ternary).every(({ b }) => b.bits === 2 && b.encoding === 'S')).toBe(
      true,
    );
    expect(casesOf(SHAPES, [1]).some(({ ternary }) => ternary)).toBe(false);
  });

  it('write one bit through thresholds only for one-bit operands', () => {
    for (const { a, b, o } of casesOf(SHAPES, ACTIVATION_BITS)) {
      if (o.bits === 1) expect([a.bits, b.bits]).toEqual([1, 1]);
      else expect(o.encoding).toBe('S');
    }
  });

  it('leave integers of 16 bits where every sum fits them', () => {
    const widths = (name: string) =>
      casesOf(
        SHAPES.filter((shape) => shape.name === name),
        ACTIVATION_BITS,
      ).map(({ o }) => o.bits);
    // The largest magnitudes: 64, 64 * 2 * 2, 64 * 8 * 8, 64 * 128 * 128.
    expect(widths('scores')).toEqual([16, 16, 16, 32]);
    // 128 * 3 * 2, 128 * 15 * 8, 128 * 255 * 128.
    expect(widths('context')).toEqual([1, 16, 16, 32]);
    // 3072, 3072 * 3, 3072 * 15 and more.
    expect(widths('down')).toEqual([16, 16, 32, 32, 32]);
    expect(widths('value')).toEqual([1, 16, 16, 32]);
  });
});

describe('a shape in words', () => {
  it('is a name or MxKxN', () => {
    expect(parseShape('scores')).toMatchObject({ role: 'scores', heads: 12 });
    expect(parseShape('5x300x7')).toEqual({ name: '5x300x7', role: 'linear', m: 5, k: 300, n: 7, heads: 1 });
  });

  it.each(['', 'score', '128x768', '0x768x768', '1x1x16385', '16385x1x1', '1x2x3x4', '-1x2x3', '1e3x2x3'])(
    'is not %j',
    (text) => expect(parseShape(text)).toBeUndefined(),
  );
});
