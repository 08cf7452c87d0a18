/** What devices there are on this machine, and why one that might be expected is not. */
import { checkLiveness } from './board/liveness.js';
import { list, readLine } from './board/system.js';
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

/** Engines by their UIO names, which begin with "beta-". */
function engineNames(): string[] {
  return list('/sys/class/uio')
    .flatMap((entry) => readLine('/sys/class/uio', entry, 'name') ?? [])
    .filter((name) => name.startsWith('beta-'))
    .sort();
}

/** Every candidate, boards first. Opens nothing. */
export function listCandidates(): DeviceCandidate[] {
  const names = engineNames();
  const boards = (names.length > 0 ? names : [UIO_NAME]).map((name) => {
    const uri = `uio:${name}`;
    const failed = checkLiveness(uri).find(({ state }) => state === 'fail');
    return failed === undefined
      ? { uri, usable: true, note: 'the engine of this board' }
      : { uri, usable: false, note: failed.fix ? `${failed.text}; ${failed.fix}` : failed.text };
  });
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
