/**
 * The race detector over what a session really does to its device, run after run: a program may be sound and still meet what the
 * program before it left in the caches, because geometries lay the same arena out differently.
 */
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import type { Range } from '../../../src/device/allocator.js';
import { Device } from '../../../src/device/device.js';
import { Artifact } from '../../../src/model/artifact/read.js';
import { Session } from '../../../src/runtime/session.js';
import { readStep } from '../compiler/accesses.js';
import { HazardDetector, type Region } from '../compiler/hazards.js';
import { randomArtifact, removeFolder, sequencesOf, temporaryFolder } from './support.js';

let folder: string;
beforeAll(() => {
  folder = temporaryFolder();
});
afterAll(() => removeFolder(folder));

/** The inputs of a program: what its first step and its LayerNorms read that no step writes. */
function inputsOf(steps: Uint8Array): Region[] {
  const records = Array.from({ length: steps.byteLength / 128 }, (_, index) => readStep(steps, index));
  const { rows, ids_off, positions_off, types_off } = records[0]!.fields;
  const { starts_off, sequences } = records.find(({ name }) => name === 'NORM')!.fields;
  return [
    ...[ids_off, positions_off, types_off].map((off) => ({ off: off!, bytes: rows! * 4 })),
    { off: starts_off!, bytes: (sequences! + 1) * 4 },
  ];
}

/** Lets a detector see every call; the device does its work all the same. */
function watch(device: Device): { detector: HazardDetector; programs: () => number } {
  const model: Range[] = [];
  let arena: Range = { off: 0, bytes: 0 };
  const allocate = device.allocator.allocate.bind(device.allocator);
  vi.spyOn(device.allocator, 'allocate').mockImplementation((bytes, what) => {
    const range = allocate(bytes, what);
    if (what.startsWith('model')) model.push(range);
    else arena = range;
    return range;
  });
  let detector: HazardDetector | undefined;
  let programs = 0;
  const lazy = () => (detector ??= new HazardDetector(device.window.byteLength, model));
  const { submit, wait, runVector, syncForCpu, syncForDevice } = Device.prototype;
  vi.spyOn(device, 'submit').mockImplementation((descriptors, first, count) => {
    lazy().submit(descriptors, first, count);
    return submit.call(device, descriptors, first, count);
  });
  vi.spyOn(device, 'wait').mockImplementation((sequence) => {
    lazy().wait(sequence);
    wait.call(device, sequence);
  });
  vi.spyOn(device, 'runVector').mockImplementation((records, first, count) => {
    if (first === 0) {
      programs++;
      lazy().begin(arena, inputsOf(records));
    }
    lazy().runVector(records, first, count);
    runVector.call(device, records, first, count);
  });
  vi.spyOn(device, 'syncForCpu').mockImplementation((off, bytes) => {
    lazy().syncForCpu(off, bytes);
    syncForCpu.call(device, off, bytes);
  });
  vi.spyOn(device, 'syncForDevice').mockImplementation((off, bytes) => {
    if (model.length > 0) lazy().syncForDevice(off, bytes);
    syncForDevice.call(device, off, bytes);
  });
  return {
    get detector() {
      return lazy();
    },
    programs: () => programs,
  };
}

it.each([1, 2, 4, 8] as const)('W1A%i: no run meets what the run before it left behind', async (bits) => {
  const device = Device.open('emu:?window=2M');
  try {
    const watched = watch(device);
    const session = new Session(
      device,
      Artifact.open(await randomArtifact(folder, `bits${bits}`, { bits, seed: bits })),
    );
    const runs = [[9], [9], [3, 5], [1], [40, 40, 2], [9], [8, 8, 8, 8], [9], [40, 40, 2]];
    for (const lengths of runs) session.run(sequencesOf(lengths));
    expect(watched.detector.violations).toEqual([]);
    expect(watched.programs()).toBe(runs.length);
  } finally {
    device.close();
    vi.restoreAllMocks();
  }
});
