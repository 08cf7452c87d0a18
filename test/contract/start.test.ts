/** How the engine starts and what stops it (contract sections 2 and 6), without the driver: CONFIG, RING, sticky faults. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DESCRIPTOR, FAULT, REG } from '../../src/device/contract.generated.js';
import { BareEngine, type Configuration, dot, FAULTED, nop, READY } from './support/bare.js';
import { TEST_DEVICE } from './support/rig.js';

const emulated = TEST_DEVICE.startsWith('emu:');

let engine: BareEngine;
beforeEach(() => {
  engine = new BareEngine(2 ** 20);
});
afterEach(() => {
  engine.close();
});

describe('configuration', () => {
  const wrong: [
    name: string,
    change: (good: Required<Configuration>) => Configuration,
    field: keyof typeof REG,
  ][] = [
    ['WIN_LO off its 64 KiB', (good) => ({ WIN_LO: good.WIN_LO + 0x8000 }), 'WIN_LO'],
    ['WIN_SIZE 0', () => ({ WIN_SIZE: 0 }), 'WIN_SIZE'],
    ['WIN_SIZE off its 64 KiB', (good) => ({ WIN_SIZE: good.WIN_SIZE - 4096 }), 'WIN_SIZE'],
    ['RING unaligned', () => ({ RING: 32 }), 'RING'],
    ['RING that ends past the window', (good) => ({ RING: good.WIN_SIZE - 15 * 64 }), 'RING'],
    ['RING behind the window', (good) => ({ RING: good.WIN_SIZE, RING_LOG2: 0 }), 'RING'],
    ['RING that wraps at 2^32', () => ({ RING: 0xffff_ffc0 }), 'RING'],
    ['RING_LOG2 above RING_MAX', () => ({ RING_LOG2: engine.read('RING_MAX') + 1 }), 'RING_LOG2'],
    ['RING_LOG2 above 31', () => ({ RING_LOG2: 32 }), 'RING_LOG2'],
    ['RING_LOG2 all ones', () => ({ RING_LOG2: 0xffff_ffff }), 'RING_LOG2'],
    ['everything', () => ({ WIN_LO: 1, WIN_SIZE: 1, RING: 1, RING_LOG2: 99 }), 'WIN_LO'],
  ];
  const elsewhere: typeof wrong = [
    ['WIN_LO of somebody else', (good) => ({ WIN_LO: (good.WIN_LO ^ 0x10_0000) >>> 0 }), 'WIN_LO'],
    ['WIN_HI of somebody else', (good) => ({ WIN_HI: good.WIN_HI ^ 1 }), 'WIN_HI'],
    ['WIN_SIZE beyond the memory', (good) => ({ WIN_SIZE: good.WIN_SIZE + 0x1_0000 }), 'WIN_SIZE'],
  ];

  // The emulator knows the only memory that it may touch; a board cannot.
  it.each(emulated ? [...wrong, ...elsewhere] : wrong)(
    'with %s is a CONFIG fault',
    (_name, change, field) => {
      engine.put(0, engine.five());
      expect(engine.start(change(engine.defaults()))).toBe(FAULTED);
      expect(engine.read('FAULT')).toBe((REG[field] << 8) | FAULT.CONFIG);
      expect([engine.read('FAULT_AT'), engine.read('HEAD')]).toEqual([0, 0]);
      expect(engine.runTo(1)).toBe('fault');
      expect([engine.read('HEAD'), engine.result()]).toEqual([0, 0]);
      expect(engine.start()).toBe(READY);
      expect(engine.runTo(1)).toBe('done');
      expect(engine.result()).toBe(5);
    },
  );

  it('is sampled when RUN rises and not again', () => {
    engine.start();
    engine.put(0, engine.five());
    engine.write('RING', 0x4000);
    engine.write('RING_LOG2', 99);
    engine.write('WIN_SIZE', 0);
    engine.write('WIN_LO', 0);
    expect(engine.runTo(1)).toBe('done');
    expect(engine.result()).toBe(5);
  });

  it('may give the engine a part of the window, and it stays inside', () => {
    engine.start({ WIN_SIZE: 0x1_0000, RING: 0xffc0, RING_LOG2: 0 });
    engine.put(0xffc0, engine.five());
    expect(engine.runTo(1)).toBe('done');
    expect(engine.result()).toBe(5);
    engine.put(0xffc0, dot({ o: { off: 0x1_0000, stride: 16, format: 0x15 } }));
    expect(engine.runTo(2)).toBe('fault');
    expect(engine.read('FAULT')).toBe((DESCRIPTOR.o_off.offset << 8) | FAULT.BOUNDS);
    expect(engine.read('FAULT_AT')).toBe(0x1_0000);
    expect([engine.read('HEAD'), engine.result(0x1_0000)]).toEqual([1, 0]);
  });
});

describe('the ring', () => {
  it('takes exactly 2^n descriptors ahead of HEAD', () => {
    engine.start({ RING_LOG2: 2 });
    for (let slot = 0; slot < 4; slot++) engine.put(64 * slot, nop(slot));
    expect(engine.runTo(4)).toBe('done');
    expect(engine.runTo(8)).toBe('done');
    expect(engine.read('STATUS')).toBe(READY);
  });

  it.each([
    ['one too many', 4 + 5],
    ['far too many', 4 + 2 ** 31],
    ['a TAIL that went back', 3],
  ])('faults on %s and runs nothing', (_name, tail) => {
    engine.start({ RING: 0x400, RING_LOG2: 2 });
    for (let slot = 0; slot < 4; slot++) engine.put(0x400 + 64 * slot, nop(slot));
    expect(engine.runTo(4)).toBe('done');
    for (let slot = 0; slot < 4; slot++) engine.put(0x400 + 64 * slot, engine.five());
    engine.native.kick(tail);
    engine.until('a fault', () => engine.read('FAULT') !== 0);
    expect(engine.read('FAULT')).toBe(FAULT.RING);
    expect([engine.read('STATUS'), engine.read('HEAD'), engine.read('FAULT_AT'), engine.result()]).toEqual([
      FAULTED,
      4,
      0x400,
      0,
    ]);
  });
});

describe('a fault', () => {
  it('stops the engine before the next descriptor and stays until reset', () => {
    engine.start({ RING: 0x1000 });
    engine.put(0x1000, nop());
    engine.put(0x1040, dot({ k0: 200 }));
    engine.put(0x1080, engine.five());
    const kept = engine.window.slice();
    expect(engine.runTo(3)).toBe('fault');
    const rest = () => (['STATUS', 'HEAD', 'FAULT', 'FAULT_AT'] as const).map((name) => engine.read(name));
    const stopped = [FAULTED, 1, (DESCRIPTOR.k0.offset << 8) | FAULT.SHAPE, 0x1040];
    expect(rest()).toEqual(stopped);
    engine.put(0x1040, nop()); // Repairing the ring behind its back does not help.
    engine.native.kick(4);
    engine.write('CTRL', 1);
    expect(engine.native.wait(3, 20_000)).toBe('fault');
    expect(rest()).toEqual(stopped);
    engine.window.set(kept.subarray(0x1040, 0x1080), 0x1040);
    expect(Buffer.compare(kept, engine.window)).toBe(0);
  });
});
