/** What devices there are on this machine, and why one that might be expected is not. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DeviceError } from './errors.js';
import { parseDeviceUri } from './uri.js';

/** UIO name of the engine on a board (DESIGN: names on the system). */
export const UIO_NAME = 'beta-qmm0';

/** A place where a device is or could be. */
export interface DeviceCandidate {
  readonly uri: string;
  readonly usable: boolean;
  /** What it is, or why it cannot be used. */
  readonly note: string;
}

function uioNames(root: string): string[] {
  let entries: string[];
  try {
    entries = readdirSync(root).sort();
  } catch {
    return []; // No UIO in this kernel, or no permission: the same as no board, and said so below.
  }
  return entries.flatMap((entry) => {
    try {
      return [readFileSync(join(root, entry, 'name'), 'utf8').trim()];
    } catch {
      return []; // One device that is going away must not hide the others.
    }
  });
}

/** Every candidate, boards first. `uioRoot` is for tests. */
export function listCandidates(uioRoot = '/sys/class/uio'): DeviceCandidate[] {
  const boards = uioNames(uioRoot)
    .filter((name) => name.startsWith('beta-'))
    .map((name) => ({
      uri: `uio:${name}`,
      usable: false,
      note: 'a board engine, but this version of libbeta has no UIO transport yet',
    }));
  if (boards.length === 0) {
    boards.push({
      uri: `uio:${UIO_NAME}`,
      usable: false,
      note: `no board: no UIO device is named ${UIO_NAME} in ${uioRoot}`,
    });
  }
  return [...boards, { uri: 'emu:', usable: true, note: 'bit-exact emulator on this CPU' }];
}

/**
 * Resolves `auto` to the board if it can be used, else to the emulator, and tells `warn` when it is not the board.
 * Any other URI is checked and returned.
 */
export function resolveDeviceUri(uri: string, warn: (message: string) => void): string {
  if (uri !== 'auto') {
    parseDeviceUri(uri);
    return uri;
  }
  const candidates = listCandidates();
  const chosen = candidates.find((candidate) => candidate.usable);
  if (chosen === undefined) throw new DeviceError('no-device', 'no device can be used on this machine');
  const board = candidates.find((candidate) => candidate.uri.startsWith('uio:'));
  if (board && !chosen.uri.startsWith('uio:')) warn(`device auto: using ${chosen.uri} (${board.note})`);
  return chosen.uri;
}
