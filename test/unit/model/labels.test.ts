import { expect, test } from 'vitest';
import { ImportError } from '../../../src/model/import-error.js';
import { readLabels } from '../../../src/model/labels.js';

function labels(config: Record<string, unknown>, count: number): { names: string[]; warnings: string[] } {
  const warnings: string[] = [];
  const names = readLabels(config, count, (message) => warnings.push(message));
  return { names, warnings };
}

test('names by their index, whatever the order of the entries', () => {
  const id2label = { 2: 'c', 0: 'a', 1: 'b' };
  expect(labels({ id2label }, 3)).toEqual({ names: ['a', 'b', 'c'], warnings: [] });
  const many = Object.fromEntries(Array.from({ length: 150 }, (_, i) => [String(i), `name ${i}`]));
  expect(labels({ id2label: many }, 150).names[149]).toBe('name 149');
});

test('names may repeat, be empty or hold any character', () => {
  const id2label = { 0: '', 1: '', 2: 'naïve 😀\u0000"' };
  expect(labels({ id2label }, 3).names).toEqual(['', '', 'naïve 😀\u0000"']);
});

test('without id2label the classes are numbered, silently', () => {
  expect(labels({}, 2)).toEqual({ names: ['LABEL_0', 'LABEL_1'], warnings: [] });
});

test('id2label of another size is left out, with a warning that has both counts', () => {
  for (const id2label of [{}, { 0: 'no', 1: 'yes' }, { 0: 'a', 1: 'b', 2: 'c', 3: 'd' }]) {
    const { names, warnings } = labels({ id2label }, 3);
    expect(names).toEqual(['LABEL_0', 'LABEL_1', 'LABEL_2']);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain(`${Object.keys(id2label).length} names`);
    expect(warnings[0]).toContain('3 rows');
  }
});

test.each([
  ['null', null],
  ['a list', ['a', 'b']],
  ['a number', 2],
  ['a hole', { 0: 'a', 2: 'c' }],
  ['a fraction', { 0: 'a', 1.5: 'b' }],
  ['a sign', { 0: 'a', '+1': 'b' }],
  ['another number system', { 0: 'a', '0x1': 'b' }],
  ['an exponent', { 0: 'a', '1e0': 'b' }],
  ['a huge index', { 0: 'a', 99999999999999999999: 'b' }],
  ['a name of another type', { 0: 'a', 1: ['b'] }],
  ['a name without end', { 0: 'a', 1: 'x'.repeat(1001) }],
])('id2label with %s is refused', (_, id2label) => {
  expect(() => labels({ id2label }, 2)).toThrow(ImportError);
  expect(() => labels({ id2label }, 2)).toThrow(/id2label/);
});
