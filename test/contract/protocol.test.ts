/** What the registers promise (contract section 2), without the driver: identity, who writes what, reset, waits. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  BUILD_EMULATOR,
  ENGINE_ID,
  MAX_K_LIMIT,
  REG,
  REGISTER_SPACE,
  RING_LOG2_LIMIT,
} from '../../src/device/contract.generated.js';
import { BareEngine, BUSY, dot, FAULTED, nop, OPERAND_A, READY } from './support/bare.js';
import { fillRandom } from './support/random.js';
import { TEST_DEVICE } from './support/rig.js';

const MIB = 2 ** 20;
const emulated = TEST_DEVICE.startsWith('emu:');

const DEVICE_WORDS = [
  ...[
    'ID',
    'VERSION',
    'CAPS',
    'GEOMETRY',
    'MAX_K',
    'MAX_KP',
    'RING_MAX',
    'BUILD',
    'STATUS',
    'HEAD',
    'FAULT',
    'FAULT_AT',
  ],
  ...['CYCLES', 'BEATS', 'RD_BEATS', 'WR_BEATS'],
] as (keyof typeof REG)[];
const ZERO_AFTER_RESET = DEVICE_WORDS.slice(DEVICE_WORDS.indexOf('STATUS'));

let engine: BareEngine;
beforeEach(() => {
  engine = new BareEngine(MIB);
});
afterEach(() => {
  engine.close();
});

describe('identity', () => {
  it('says who it is before it runs', () => {
    expect(engine.read('ID')).toBe(ENGINE_ID);
    expect(engine.read('VERSION') >>> 16).toBe(1);
    expect(engine.read('CAPS') >>> 16).toBe(0);
    expect(engine.read('MAX_K')).toBeGreaterThan(0);
    expect(engine.read('MAX_K')).toBeLessThanOrEqual(MAX_K_LIMIT);
    expect(engine.read('MAX_KP')).toBeGreaterThan(0);
    expect(engine.read('RING_MAX')).toBeLessThanOrEqual(RING_LOG2_LIMIT);
    expect(engine.read('STATUS')).toBe(0);
  });

  it.runIf(emulated)('is the emulator, with every width', () => {
    expect(engine.read('BUILD')).toBe(BUILD_EMULATOR);
    expect(engine.read('CAPS')).toBe(0x3fff);
    expect(engine.read('MAX_K')).toBe(16384);
    // 16384 elements from k0 = 127 touch 129 blocks of 8 planes.
    expect(engine.read('MAX_KP')).toBe(129 * 8);
  });
});

describe('registers', () => {
  it('read 0 and ignore writes where there are none', () => {
    engine.start();
    const listed = new Set<number>(Object.values(REG));
    const before = DEVICE_WORDS.map((name) => engine.read(name));
    for (let offset = 0; offset < REGISTER_SPACE; offset += 4) {
      if (!listed.has(offset)) engine.native.writeReg(offset, 0xffff_ffff);
    }
    for (const offset of [
      REG.TAIL + 1,
      REG.CTRL + 2,
      REGISTER_SPACE,
      REGISTER_SPACE + REG.TAIL,
      0xffff_fffc,
    ]) {
      engine.native.writeReg(offset, 0xffff_ffff);
      expect(engine.native.readReg(offset)).toBe(0);
    }
    for (let offset = 0; offset < REGISTER_SPACE; offset += 4) {
      if (!listed.has(offset))
        expect(engine.native.readReg(offset), `offset 0x${offset.toString(16)}`).toBe(0);
    }
    expect(DEVICE_WORDS.map((name) => engine.read(name))).toEqual(before);
    expect(engine.read('TAIL')).toBe(0);
  });

  it('of the device keep what the device says', () => {
    engine.start();
    engine.put(0, engine.five());
    expect(engine.runTo(1)).toBe('done');
    const before = DEVICE_WORDS.map((name) => engine.read(name));
    for (const name of DEVICE_WORDS) engine.write(name, 0xffff_ffff);
    for (const name of DEVICE_WORDS) engine.write(name, 0);
    expect(DEVICE_WORDS.map((name) => engine.read(name))).toEqual(before);
    expect(engine.read('HEAD')).toBe(1);
  });

  it('of the host hold what the host wrote, through a reset too', () => {
    const scratch = ['IMAGE0', 'IMAGE1', 'IMAGE2', 'IMAGE3', 'WAKE'] as const;
    for (const name of scratch) expect(engine.read(name)).toBe(0);
    for (const [i, name] of scratch.entries()) engine.write(name, 0xf00d_0000 + i);
    engine.start();
    engine.stop();
    for (const [i, name] of scratch.entries()) expect(engine.read(name)).toBe(0xf00d_0000 + i);
    for (const [name, value] of Object.entries(engine.defaults()))
      expect(engine.read(name as keyof typeof REG)).toBe(value);
  });
});

describe('reset', () => {
  it('is a level: RUN = 0 clears HEAD, STATUS, FAULT and the counters and keeps the window', () => {
    expect(engine.start()).toBe(READY);
    engine.put(0, engine.five());
    engine.put(64, nop(7));
    engine.put(128, dot({ m: 0 }));
    expect(engine.runTo(3)).toBe('fault');
    expect(engine.read('STATUS')).toBe(FAULTED);
    expect(engine.read('HEAD')).toBe(2);
    for (const name of ['CYCLES', 'BEATS', 'RD_BEATS', 'WR_BEATS'] as const)
      expect(engine.read(name), name).toBeGreaterThan(0);
    const kept = engine.window.slice();
    engine.stop();
    for (const name of ZERO_AFTER_RESET) expect(engine.read(name), name).toBe(0);
    expect(Buffer.compare(kept, engine.window)).toBe(0);
    expect(engine.start()).toBe(READY);
    for (const name of ZERO_AFTER_RESET.slice(1)) expect(engine.read(name), name).toBe(0);
    expect(engine.runTo(2)).toBe('done');
    expect(engine.result()).toBe(5);
  });

  it('takes nothing from the ring while RUN is 0', () => {
    engine.stop();
    engine.put(0, engine.five());
    engine.write('TAIL', 1);
    expect(engine.native.wait(1, 20_000)).toBe('timeout');
    expect([engine.read('HEAD'), engine.read('STATUS'), engine.result()]).toEqual([0, 0, 0]);
  });

  it.runIf(emulated)('drains a long descriptor in bounded time', () => {
    // 2048 x 2048 x 16256 at 8 by 8 bits: minutes of bit-planes, all of them zero pages. stop() has five seconds.
    const large = new BareEngine(64 * MIB);
    try {
      large.start();
      const operand = { off: 0x1_0000, stride: 127 * 16 * 8, format: 0x03 };
      const o = { off: 40 * MIB, stride: 8192, format: 0x15 };
      large.put(0, dot({ m: 2048, n: 2048, k: 127 * 128, a: operand, b: operand, o }));
      large.native.kick(1);
      expect(large.native.wait(1, 20_000)).toBe('timeout');
      expect(large.read('STATUS')).toBe(READY | BUSY);
      large.stop();
      expect(large.start()).toBe(READY);
      large.put(0, nop());
      expect(large.runTo(1)).toBe('done');
    } finally {
      large.close();
    }
  });

  it('survives RUN toggled faster than the engine looks', () => {
    for (let i = 0; i < 200; i++) {
      engine.start();
      engine.write('CTRL', 0);
      engine.write('CTRL', 1);
      engine.write('CTRL', 0);
    }
    expect(engine.start()).toBe(READY);
    engine.put(0, engine.five());
    expect(engine.runTo(1)).toBe('done');
    expect(engine.result()).toBe(5);
  });
});

describe('a wait', () => {
  it('counts modulo 2^32', () => {
    engine.start();
    const wait = (sequence: number) => engine.native.wait(sequence, 0);
    expect(['past', wait(0), wait(0xffff_ffff), wait(0x8000_0001)]).toEqual(['past', 'done', 'done', 'done']);
    expect(['future', wait(1), wait(0x7fff_ffff)]).toEqual(['future', 'timeout', 'timeout']);
  });

  it('knows work that was complete before a fault', () => {
    engine.start();
    engine.put(0, nop());
    engine.put(64, dot({ a: { off: 1, stride: 16, format: 0 } }));
    expect(engine.runTo(2)).toBe('fault');
    expect([engine.native.wait(1, 0), engine.native.wait(2, 0)]).toEqual(['done', 'fault']);
  });

  it('ends with its time on an engine that does not move', () => {
    engine.start();
    const begin = performance.now();
    expect(engine.native.wait(1, 50_000)).toBe('timeout');
    const took = performance.now() - begin;
    expect(took).toBeGreaterThanOrEqual(49);
    expect(took).toBeLessThan(2_000);
  });
});

it('fetches descriptors and operands as the host wrote them last, many times over', () => {
  engine.start({ RING_LOG2: 0 });
  const operands = new Uint8Array(32);
  for (let i = 1; i <= 500; i++) {
    fillRandom(operands, i);
    engine.window.set(operands, OPERAND_A);
    engine.native.syncForDevice(OPERAND_A, 32);
    engine.put(0, dot({ tag: i }));
    expect(engine.runTo(i)).toBe('done');
    const both = operands[0]! & operands[16]!;
    expect(engine.result()).toBe([...both.toString(2)].filter((bit) => bit === '1').length);
  }
});
