/** The models of one window, on the emulator: two versions of one name are two models. */
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { Device } from '../../../src/device/device.js';
import { Artifact } from '../../../src/model/artifact/read.js';
import { Residents } from '../../../src/runtime/residents.js';
import { type Sequence, Session } from '../../../src/runtime/session.js';
import { bytesOf } from '../../golden/support.js';
import { randomArtifact, removeFolder, sequencesOf, temporaryFolder, thrown } from './support.js';

const SIZES = { hidden: 128, intermediate: 256 };
const inputs = sequencesOf([4, 7]);
const many = sequencesOf(Array(32).fill(40));

let folders: string[];
/** Versions of a model "m". */
let versions: { readonly file: string; readonly id: string }[];
beforeAll(async () => {
  folders = [temporaryFolder(), temporaryFolder()];
  versions = await Promise.all(
    folders.map(async (folder, index) => {
      const file = await randomArtifact(folder, 'm', { ...SIZES, seed: index + 1, labels: 3 + index });
      return { file, id: Artifact.open(file).id };
    }),
  );
});
afterAll(() => folders.forEach(removeFolder));

const devices: Device[] = [];
/** A device with so many free bytes in its window, all at its front. */
function open(room?: number): Device {
  const device = Device.open('emu:?window=8M');
  devices.push(device);
  const { allocator } = device;
  if (room !== undefined) {
    const front = allocator.allocate(room, 'room');
    allocator.allocate(allocator.largestFree, 'the rest');
    allocator.free(front);
  }
  return device;
}
afterEach(() => {
  for (const device of devices.splice(0)) device.close();
});

/** What a session that has a device to itself gives. */
const alone = (index: number, sequences: readonly Sequence[]) =>
  new Session(open(), Artifact.open(versions[index]!.file)).run(sequences).logits.map(bytesOf);

/** Bytes that one of them takes with its weights and its activations of `sequences`. */
function need(sequences: readonly Sequence[]): number {
  const device = open();
  const before = device.allocator.freeBytes;
  const models = new Residents(device);
  models.add(versions[0]!);
  models.run(versions[0]!.id, sequences);
  return before - device.allocator.freeBytes;
}

describe('two versions of one name', () => {
  it('run each as what it is, and leave one by one', () => {
    const device = open();
    const models = new Residents(device);
    const empty = device.allocator.freeBytes;
    for (const version of versions) models.add(version);
    expect(models.use.resident).toEqual(['m', 'm']);
    for (const index of [0, 1, 0])
      expect(models.run(versions[index]!.id, inputs).logits.map(bytesOf)).toEqual(alone(index, inputs));
    models.remove(versions[0]!.id);
    models.remove(versions[0]!.id);
    expect(thrown(() => models.run(versions[0]!.id, inputs))).toMatchObject({ code: 'unknown-model' });
    expect(models.run(versions[1]!.id, inputs).logits.map(bytesOf)).toEqual(alone(1, inputs));
    models.remove(versions[1]!.id);
    expect(device.allocator.freeBytes).toBe(empty);
  });

  it('give way to one another where the window has room for one', () => {
    const models = new Residents(open(need(inputs) + 4096));
    for (const version of versions) models.add(version);
    for (const index of [0, 1, 0, 1]) {
      expect(models.run(versions[index]!.id, inputs).logits.map(bytesOf)).toEqual(alone(index, inputs));
      expect(models.use.resident).toEqual(['m']);
    }
  });

  it('whose file was overwritten: the one in the window runs on, and is not taken for the other when it has left', async () => {
    const folder = temporaryFolder();
    const file = join(folder, 'm.beta');
    copyFileSync(versions[0]!.file, file);
    const models = new Residents(open(need(inputs) + 4096));
    models.add({ file, id: versions[0]!.id });
    copyFileSync(versions[1]!.file, file);
    expect(models.run(versions[0]!.id, inputs).logits.map(bytesOf)).toEqual(alone(0, inputs));
    models.add({ file, id: versions[1]!.id });
    expect(models.run(versions[1]!.id, inputs).logits.map(bytesOf)).toEqual(alone(1, inputs));
    expect(thrown(() => models.run(versions[0]!.id, inputs))).toMatchObject({ code: 'model-changed' });
    removeFolder(folder);
  });

  it('share the room: batches that had to be smaller are whole again when the other is gone', () => {
    const { dataBytes } = Artifact.open(versions[0]!.file);
    const device = open(need(many) + dataBytes / 2);
    const models = new Residents(device);
    models.add(versions[1]!);
    const runs = vi.spyOn(device, 'run');
    const expected = models.run(versions[1]!.id, many).logits.map(bytesOf);
    const whole = runs.mock.calls.length;
    models.remove(versions[1]!.id);
    for (const version of versions) models.add(version);
    runs.mockClear();
    expect(models.run(versions[1]!.id, many).logits.map(bytesOf)).toEqual(expected);
    expect(models.use.resident).toHaveLength(2);
    expect(runs.mock.calls.length).toBeGreaterThan(whole);
    runs.mockClear();
    models.remove(versions[0]!.id);
    expect(models.run(versions[1]!.id, many).logits.map(bytesOf)).toEqual(expected);
    expect(runs.mock.calls.length).toBe(whole);
  });
});
