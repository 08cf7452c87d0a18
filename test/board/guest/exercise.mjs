// What the QEMU test does with the driver in the guest: `node exercise.mjs NAME [ARGUMENT]`. Prints one JSON document.
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Device } from './dist/device/device.js';
import { selfTest } from './dist/device/self-test.js';

const [name, argument = '0'] = process.argv.slice(2);
const NOP_BYTES = 64;
// Without a spin every wait has to sleep, and only an interrupt can end it early.
const device = Device.open('uio:beta-qmm0?spin=0', { timeoutMs: 2000 });

const nops = (count) => new Uint8Array(count * NOP_BYTES);

/** What a call throws, and how long it took. */
function failure(call) {
  const began = performance.now();
  try {
    call();
    return { code: null };
  } catch (error) {
    return { code: error.code, message: error.message, ms: Math.round(performance.now() - began) };
  }
}

/** A reset, and whether the engine computes what the emulator does. */
function recover(fresh) {
  if (!fresh) device.reset();
  const { tiles, wrong } = selfTest(fresh ?? device);
  return { tiles, wrong };
}

/** The test on the host does something now: it waits for this line, and we for its file. */
async function meanwhile() {
  process.stderr.write('exercise: ready\n');
  while (!existsSync('/tmp/go')) await sleep(20);
}

const exercises = {
  fences() {
    const began = performance.now();
    for (let fence = 0; fence < Number(argument); fence++)
      device.wait(device.submit(nops(1 + (fence % 5)), 0, 1 + (fence % 5)));
    return {
      fences: Number(argument),
      submitted: device.submitted,
      ms: Math.round(performance.now() - began),
      ...device.irqCounts(),
    };
  },
  fault() {
    const bad = nops(1);
    bad[0] = 9;
    return { ...failure(() => device.wait(device.submit(bad, 0, 1))), ...recover() };
  },
  async stuck() {
    await meanwhile();
    const failed = failure(() => device.wait(device.submit(nops(1), 0, 1)));
    process.stderr.write('exercise: timed out\n');
    while (!existsSync('/tmp/on')) await sleep(20);
    return { ...failed, ...recover() };
  },
  async removed() {
    await meanwhile();
    const failed = failure(() => device.wait(device.submit(nops(1), 0, 1)));
    const later = failure(() => device.reset());
    device.close();
    return { ...failed, later };
  },
  /** Most of it in one process: Node takes long to start on an emulated CPU. */
  all() {
    return { fences: exercises.fences(), fault: exercises.fault(), reset: exercises.reset() };
  },
  reset() {
    // In the middle of work: what was not complete is gone, the engine is not.
    for (let round = 0; round < 20; round++) {
      device.submit(nops(200), 0, 200);
      device.reset();
    }
    return recover();
  },
};

const result = await exercises[name]();
process.stdout.write(`${JSON.stringify(result)}\n`);
device.close();
