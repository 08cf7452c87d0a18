/**
 * The race detector over what a session really does to its device, run after run: a program may be sound and still meet what the
 * program before it left in the caches, because geometries lay the same arena out differently.
 */
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import type { Range } from '../../../src/device/allocator.js';
import { Device } from '../../../src/device/device.js';
import { Artifact } from '../../../src/model/artifact/read.js';
import { Session } from '../../../src/runtime/session.js';
import { readGroups } from '../compiler/accesses.js';
import { HazardDetector, type Region } from '../compiler/hazards.js';
import { biBert, binaryBert, bit, ternaryBert, type Writer } from '../compiler/models.js';
import { artifactOf, removeFolder, sequencesOf, temporaryFolder } from './support.js';

let folder: string;
beforeAll(() => {
  folder = temporaryFolder();
});
afterAll(() => removeFolder(folder));

/** The inputs of a program: what its first step and its pooler read that no step writes. */
function inputsOf(steps: Uint8Array): Region[] {
  const groups = readGroups(steps);
  const fields = (name: string) => groups.find(({ producer }) => producer.name === name)!.producer.fields;
  const { rows, sequences, ids_off, positions_off, types_off, starts_off } = fields('EMBED');
  const ordinals_off = fields('PICK').starts_off;
  return [
    ...[ids_off, positions_off, types_off].map((off) => ({ off: off!, bytes: rows! * 4 })),
    ...[starts_off, ordinals_off].map((off) => ({ off: off!, bytes: (sequences! + 1) * 4 })),
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

it.each<[string, Writer]>([
  ...([1, 2, 4, 8] as const).map((bits): [string, Writer] => [`BiT A${bits}`, bit({ bits, seed: bits })]),
  ['BiBERT', biBert()],
  ['BinaryBERT A8', binaryBert()],
  ['BinaryBERT A4', binaryBert({ bits: 4, method: 'lsq' })],
  ['TernaryBERT', ternaryBert()],
])('%s: no run meets what the run before it left behind', async (family, write) => {
  const device = Device.open('emu:?window=2M');
  try {
    const watched = watch(device);
    const name = family.toLowerCase().replace(' ', '-');
    const session = new Session(device, Artifact.open(await artifactOf(folder, name, write)));
    const runs = [[9], [9], [3, 5], [1], [40, 40, 2], [9], [8, 8, 8, 8], [9], [40, 40, 2]];
    for (const lengths of runs) session.run(sequencesOf(lengths));
    expect(watched.detector.violations).toEqual([]);
    expect(watched.programs()).toBe(runs.length);
  } finally {
    device.close();
    vi.restoreAllMocks();
  }
});
