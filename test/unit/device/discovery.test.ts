import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { listCandidates, resolveDeviceUri } from '../../../src/device/discovery.js';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'beta-uio-'));
});
afterEach(() => {
  rmSync(root, { recursive: true });
});

/** A UIO device as sysfs shows it; without a name it is one that is just going away. */
function uio(entry: string, name?: string): void {
  mkdirSync(join(root, entry));
  if (name !== undefined) writeFileSync(join(root, entry, 'name'), `${name}\n`);
}

const EMULATOR = { uri: 'emu:', usable: true, note: expect.stringContaining('emulator') };

describe('discovery', () => {
  it('says which board it misses, and where it looked', () => {
    const missing = (where: string) => ({
      uri: 'uio:beta-qmm0',
      usable: false,
      note: `no board: no UIO device is named beta-qmm0 in ${where}`,
    });
    expect(listCandidates(root)).toEqual([missing(root), EMULATOR]);
    uio('uio0', 'axi-pmon');
    expect(listCandidates(root)).toEqual([missing(root), EMULATOR]);
    const nowhere = join(root, 'nowhere');
    expect(listCandidates(nowhere)).toEqual([missing(nowhere), EMULATOR]);
  });

  it('lists the engines of a board first', () => {
    uio('uio2', 'beta-qmm1');
    uio('uio0', 'axi-pmon');
    uio('uio1', 'beta-qmm0');
    expect(listCandidates(root).map(({ uri }) => uri)).toEqual(['uio:beta-qmm0', 'uio:beta-qmm1', 'emu:']);
  });

  it('finds a board beside a device that cannot be read', () => {
    uio('uio0');
    uio('uio1', 'beta-qmm0');
    expect(listCandidates(root).map(({ uri }) => uri)).toEqual(['uio:beta-qmm0', 'emu:']);
  });
});

describe('a device URI', () => {
  it('of auto takes what can be used and says why it is not the board', () => {
    const warnings: string[] = [];
    expect(resolveDeviceUri('auto', (message) => warnings.push(message))).toBe('emu:');
    expect(warnings).toEqual([expect.stringMatching(/^device auto: using emu: \(.*board/)]);
  });

  it('that is explicit is checked and kept', () => {
    const never = () => expect.fail('no warning expected');
    expect(resolveDeviceUri('emu:?window=64M', never)).toBe('emu:?window=64M');
    expect(() => resolveDeviceUri('emu:?window=7', never)).toThrow(
      expect.objectContaining({ code: 'bad-uri' }),
    );
  });
});
