import { createHash } from 'node:crypto';
import { symlinkSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { listPackages, readPackage } from '../../../../src/device/board/package.js';
import { FakeBoard } from './fake-board.js';

let board: FakeBoard;
beforeEach(() => {
  board = new FakeBoard();
});
afterEach(() => board.destroy());

it('a package is its files and the hash of its bitstream', () => {
  board.putPackage('beta-qmm', { bitstream: 'bits' });
  expect(readPackage('beta-qmm')).toMatchObject({
    name: 'beta-qmm',
    bytes: 4,
    sha256: createHash('sha256').update('bits').digest('hex'),
  });
  board.put('/lib/firmware/xilinx/other/readme', '');
  expect(listPackages()).toEqual(['beta-qmm']);
});

describe('a package is refused', () => {
  const folder = '/lib/firmware/xilinx/beta-qmm';
  const cases: [what: string, text: RegExp, act: () => void][] = [
    ['that is not there', /there is no .*; none is installed/, () => board.remove(folder)],
    [
      'without a bitstream',
      /exactly one \.bit\.bin .* there are 0/,
      () => board.remove(`${folder}/beta-qmm.bit.bin`),
    ],
    ['with two', /exactly one \.bit\.bin .* there are 2/, () => board.put(`${folder}/b.bit.bin`, 'x')],
    ['with an empty one', /has 0 bytes/, () => board.put(`${folder}/beta-qmm.bit.bin`, '')],
    ['without an overlay', /exactly one \.dtbo/, () => board.remove(`${folder}/beta-qmm.dtbo`)],
    [
      'with an overlay in source form',
      /no compiled device tree/,
      () => board.put(`${folder}/beta-qmm.dtbo`, '/dts-v1/;'),
    ],
    ['without shell.json', /exactly one shell\.json/, () => board.remove(`${folder}/shell.json`)],
    ['with a shell.json that is none', /shell\.json: /, () => board.put(`${folder}/shell.json`, '{')],
    [
      'for a slot',
      /shell_type: must be PL_FLAT/,
      () => board.put(`${folder}/shell.json`, '{"shell_type":"PL_DFX"}'),
    ],
  ];

  it.each(cases)('%s', (_what, text, act) => {
    board.putPackage('beta-qmm');
    act();
    expect(() => readPackage('beta-qmm')).toThrow(
      expect.objectContaining({ code: 'bad-package', message: expect.stringMatching(text) }),
    );
  });

  it('whose bitstream is a link', () => {
    board.putPackage('beta-qmm');
    board.remove(`${folder}/beta-qmm.bit.bin`);
    writeFileSync(board.path('/elsewhere'), 'x');
    symlinkSync(board.path('/elsewhere'), board.path(`${folder}/beta-qmm.bit.bin`));
    expect(() => readPackage('beta-qmm')).toThrow(/no plain file/);
  });

  it.each(['../x', '', 'A', 'a/b', '.', 'a b', `a${'b'.repeat(63)}`])('with the name "%s"', (name) => {
    expect(() => readPackage(name)).toThrow(/a name has lower-case/);
  });
});
