/** What `beta doctor` finds out about one device by using it. */

import type { Check } from '../../device/board/liveness.js';
import { listPackages, readPackage } from '../../device/board/package.js';
import { Device } from '../../device/device.js';
import { selfTest } from '../../device/self-test.js';

const COPY_BYTES = 8 * 2 ** 20;
const COPY_ROUNDS = 5;

export interface Examination {
  readonly uri: string;
  readonly checks: readonly Check[];
  /** MB/s of copies into the window, and out of it; absent where it could not be opened. */
  readonly copyMBs?: { readonly in: number; readonly out: number };
}

/** Opens the device, lets it identify itself, runs the self-test and measures copies. Never throws: what goes wrong is a check. */
export function examine(uri: string): Examination {
  let device: Device;
  try {
    device = Device.open(uri);
  } catch (error) {
    return { uri, checks: [{ id: 'open', state: 'fail', text: messageOf(error) }] };
  }
  try {
    const { version, geometry, maxK, build } = device.capabilities;
    const identity: Check = {
      id: 'identity',
      state: 'ok',
      text: `contract v${version.major}.${version.minor}, build ${build}, array ${geometry.dm}x${geometry.dn}x${geometry.dk}, K up to ${maxK}, window ${Math.floor(device.window.byteLength / 2 ** 20)} MiB`,
    };
    const checks = [identity, ...checkImage(device), checkTiles(device), ...checkInterrupts(device)];
    const copyMBs = measureCopies(device);
    const copy: Check = {
      id: 'copies',
      state: 'ok',
      text: `${copyMBs.in} MB/s into the window, ${copyMBs.out} MB/s out of it`,
    };
    return { uri, checks: [...checks, copy], copyMBs };
  } catch (error) {
    return { uri, checks: [{ id: 'use', state: 'fail', text: messageOf(error) }] };
  } finally {
    device.close();
  }
}

/** Which installed bitstream is live, by the hash in IMAGE0-3. In this process there is none. */
function checkImage(device: Device): Check[] {
  if (!device.uri.startsWith('uio:')) return [];
  const id = 'bitstream';
  const { image } = device;
  if (/^0+$/.test(image))
    return [
      {
        id,
        state: 'warn',
        text: 'nobody has written which bitstream is live',
        fix: 'load it with "beta load"',
      },
    ];
  const owner = listPackages().find((name) => {
    try {
      return readPackage(name).sha256.startsWith(image);
    } catch {
      return false; // A package that is broken is not the one that is live.
    }
  });
  if (owner) return [{ id, state: 'ok', text: `${owner} (SHA-256 ${image}...)` }];
  return [
    {
      id,
      state: 'warn',
      text: `SHA-256 ${image}..., which no installed package has`,
      fix: 'load an installed one with "beta load"',
    },
  ];
}

function checkTiles(device: Device): Check {
  const id = 'self-test';
  const { tiles, wrong, ms } = selfTest(device);
  if (wrong.length === 0)
    return {
      id,
      state: 'ok',
      text: `${tiles} tiles equal to the emulator's in every byte, ${ms.toFixed(1)} ms`,
    };
  return {
    id,
    state: 'fail',
    text: `wrong results: ${wrong.join(', ')}`,
    fix: 'do not use this engine: check the bitstream, its clock, and whether the pool is really coherent if it says so',
  };
}

function checkInterrupts(device: Device): Check[] {
  const { taken, missed, lost } = device.irqCounts();
  if (taken + missed + lost === 0) return [];
  const id = 'interrupts';
  if (lost === 0) return [{ id, state: 'ok', text: `${taken} taken, ${missed} missed, none lost` }];
  return [
    {
      id,
      state: 'fail',
      text: `${lost} of ${taken + lost} did not arrive`,
      fix: 'check the interrupt number in the overlay',
    },
  ];
}

/** The best of a few rounds: what the memory can do, not what else the machine does. */
function measureCopies(device: Device): { in: number; out: number } {
  const bytes = Math.min(COPY_BYTES, 2 ** Math.floor(Math.log2(device.allocator.largestFree)));
  const range = device.allocator.allocate(bytes, 'the measurement of copies');
  const outside = new Uint8Array(bytes).fill(1);
  const inside = device.window.subarray(range.off, range.off + bytes);
  const best = (copy: () => void) => {
    let least = Number.POSITIVE_INFINITY;
    for (let round = 0; round < COPY_ROUNDS; round++) {
      const began = performance.now();
      copy();
      least = Math.min(least, performance.now() - began);
    }
    return Math.round(bytes / 1000 / least);
  };
  const into = best(() => {
    inside.set(outside);
    device.syncForDevice(range.off, bytes);
  });
  const out = best(() => {
    device.syncForCpu(range.off, bytes);
    outside.set(inside);
  });
  device.allocator.free(range);
  return { in: into, out };
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));
