/**
 * The race detector over the programs that a session really runs, one after another (native/test/program.c shows that libbeta does
 * what their operations say): a program may be sound and still meet what the
 * program before it left in the caches, because geometries lay the same arena out differently.
 */
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import type { Program } from '../../../src/compiler/program.js';
import type { Range } from '../../../src/device/allocator.js';
import { Device } from '../../../src/device/device.js';
import { Artifact } from '../../../src/model/artifact/read.js';
import type { NativeProgram } from '../../../src/native/program.js';
import { Session } from '../../../src/runtime/session.js';
import { HazardDetector } from '../compiler/hazards.js';
import { biBert, binaryBert, bit, inputsOf, ternaryBert, type Writer, walk } from '../compiler/models.js';
import { artifactOf, removeFolder, sequencesOf, temporaryFolder } from './support.js';

let folder: string;
beforeAll(() => {
  folder = temporaryFolder();
});
afterAll(() => removeFolder(folder));

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
  const { load, run, syncForDevice } = Device.prototype;
  const loaded = new Map<NativeProgram, Program>();
  let submitted = 0;
  vi.spyOn(device, 'load').mockImplementation((program) => {
    const native = load.call(device, program);
    loaded.set(native, program as Program);
    return native;
  });
  vi.spyOn(device, 'run').mockImplementation((native) => {
    programs++;
    const program = loaded.get(native)!;
    lazy().begin(arena, inputsOf(program));
    walk(program, lazy(), submitted);
    submitted += native.descriptors;
    run.call(device, native);
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
    for (const lengths of runs) {
      session.prepare(sequencesOf(lengths));
      session.run(sequencesOf(lengths));
    }
    expect(watched.detector.violations).toEqual([]);
    expect(watched.programs()).toBe(runs.length);
  } finally {
    device.close();
    vi.restoreAllMocks();
  }
});
