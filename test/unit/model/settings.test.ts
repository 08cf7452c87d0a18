import { expect, test } from 'vitest';
import { Settings } from '../../../src/model/settings.js';

function settings(config: Record<string, unknown>): { read: Settings; warnings: string[] } {
  const warnings: string[] = [];
  return { read: new Settings(config, (message) => warnings.push(message)), warnings };
}

/** The code and the message of what `run` throws. */
function refusal(run: () => unknown): [code: string, message: string] {
  try {
    run();
  } catch (error) {
    const { name, code, message } = error as Error & { code: string };
    expect(name).toBe('ImportError');
    return [code, message];
  }
  throw new Error('test: nothing was refused');
}

test('require: present and equal, or refused with the reason', () => {
  const { read } = settings({ weight_bits: 1, other: '1' });
  read.require('weight_bits', 1, 'only one bit runs');
  expect(refusal(() => read.require('other', 1, 'only one bit runs'))).toEqual([
    'bad-config',
    'config.json: other is "1", it must be 1: only one bit runs',
  ]);
  expect(refusal(() => read.require('absent', 1, 'why'))[1]).toBe(
    'config.json: absent is absent, it must be 1: why',
  );
});

test('expect: absent is fine, another value is not supported', () => {
  const { read, warnings } = settings({ method: 'bwn', layerwise: false });
  read.expect('method', 'bwn');
  read.expect('absent', true);
  expect(refusal(() => read.expect('layerwise', true))).toEqual([
    'unsupported',
    'config.json: layerwise is false; only true is supported',
  ]);
  expect(refusal(() => read.expect('method', 'twn'))[0]).toBe('unsupported');
  expect(warnings).toEqual([]);
});

test('oneOf: a value of the list, of the same type', () => {
  const { read } = settings({ bits: 4, text: '4', act: 'relu' });
  expect(read.oneOf('bits', [1, 2, 4, 8], 'why')).toBe(4);
  expect(read.oneOf('act', ['relu', 'gelu'], 'why')).toBe('relu');
  expect(refusal(() => read.oneOf('text', [1, 4], 'why'))).toEqual([
    'bad-config',
    'config.json: text is "4", it must be 1 or 4: why',
  ]);
  expect(refusal(() => read.oneOf('absent', ['a'], 'why'))[1]).toContain('absent is absent');
});

test('flag: a boolean, or the default with a warning', () => {
  const { read, warnings } = settings({ yes: true, no: false, one: 1, nothing: null });
  expect([read.flag('yes', false), read.flag('no', true)]).toEqual([true, false]);
  expect(warnings).toEqual([]);
  expect(read.flag('absent', true)).toBe(true);
  expect(warnings).toEqual([expect.stringMatching(/no absent.*true/)]);
  for (const name of ['one', 'nothing']) expect(refusal(() => read.flag(name, true))[0]).toBe('bad-config');
});

test('size: a whole number from 1 to the limit', () => {
  const bad = [
    0,
    -1,
    1.5,
    32769,
    2 ** 53,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    '16',
    [16],
    null,
    undefined,
    true,
  ];
  for (const size of bad) {
    expect(refusal(() => settings({ size }).read.size('size'))[1]).toContain(
      'a whole number from 1 to 32768',
    );
  }
  expect([1, 768, 32768].map((size) => settings({ size }).read.size('size'))).toEqual([1, 768, 32768]);
  expect(refusal(() => settings({ size: 5 }).read.size('size', 4))[1]).toContain('from 1 to 4');
});

test('has: there, and not null', () => {
  const { read } = settings({ zero: 0, no: false, nothing: null, undefined: undefined });
  expect(['zero', 'no', 'nothing', 'undefined', 'absent'].map((name) => read.has(name))).toEqual([
    true,
    true,
    false,
    false,
    false,
  ]);
});

test('positive: a number between 0 and 1, or the default', () => {
  const read = (value: unknown) => settings({ value }).read.positive('value', 0.25);
  expect([1e-12, 0.5, null, undefined].map(read)).toEqual([1e-12, 0.5, 0.25, 0.25]);
  for (const value of [0, -1e-12, 1, Number.NaN, Number.POSITIVE_INFINITY, '0.5', [0.5], true])
    expect(refusal(() => read(value))).toEqual([
      'bad-config',
      expect.stringMatching(/value is .*between 0 and 1/),
    ]);
});

test('a long value is shown in part', () => {
  const { read } = settings({ size: 'x'.repeat(1000), turned: '\u202egpj' });
  const [, message] = refusal(() => read.size('size'));
  expect(message.length).toBeLessThan(200);
  expect(message).toContain('...');
  expect(refusal(() => read.size('turned'))[1]).not.toContain('\u202e');
});
