/**
 * The device under test (of the emulator: every kernel) against the oracle on random descriptors, the whole window compared after each stream:
 * larger shapes, streams whose results feed each other, and descriptors that are wrong. A failure prints the seed and
 * the smallest case that still fails. BETA_TEST_RUNS multiplies the number of runs for a long night.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import {
  DESCRIPTOR,
  DESCRIPTOR_BYTES,
  type ENCODING,
  FAULT,
  FLAG,
} from '../../src/device/contract.generated.js';
import { encodeQmm, formatByte, type Qmm } from '../../src/device/descriptor.js';
import { validateDescriptor } from '../oracle/qmm.js';
import { Batch, type Case, OPERANDS, OUTPUTS } from './support/batch.js';
import { Rig, TEST_DEVICE, testDevices, withOptions } from './support/rig.js';
import {
  edgeValues,
  isRunnable,
  type Mutation,
  mutate,
  mutations,
  STRETCH_BYTES,
  streams,
} from './support/streams.js';

const RUNS = Number(process.env.BETA_TEST_RUNS ?? 1);
vi.setConfig({ testTimeout: 30_000 * RUNS });

const RING_LOG2 = 4;
const BEGIN = DESCRIPTOR_BYTES * 2 ** RING_LOG2;
const seed = fc.nat({ max: 2 ** 31 - 1 });

function withoutEarly(descriptor: Uint8Array): Uint8Array {
  const copy = descriptor.slice();
  copy[DESCRIPTOR.flags.offset] = copy[DESCRIPTOR.flags.offset]! & ~FLAG.EARLY_B;
  return copy;
}

describe.each(testDevices())('%s', (uri) => {
  let rig: Rig;
  beforeAll(() => {
    rig = new Rig([withOptions(uri, 'window=128K')], { ringLog2: RING_LOG2 });
  });
  afterAll(() => {
    rig.close();
  });

  describe('larger shapes', () => {
    let large: Rig;
    beforeAll(() => {
      large = new Rig([withOptions(uri, 'window=4M')], { ringLog2: RING_LOG2 });
    });
    afterAll(() => {
      large.close();
    });

    it('agree with the oracle, K up to 2000, M and N up to 5000', () => {
      const pad = fc.nat({ max: 4 }).map((count) => count * 16);
      // Deep, wide or tall: all three at once would take the oracle too long.
      const size = (m: number, n: number, k: number) =>
        fc.record({
          m: fc.integer({ min: 1, max: m }),
          n: fc.integer({ min: 1, max: n }),
          k: fc.integer({ min: 1, max: k }),
        });
      const one: fc.Arbitrary<Case> = fc
        .record({
          a: fc.constantFrom(...OPERANDS),
          b: fc.constantFrom(...OPERANDS),
          o: fc.constantFrom(...OUTPUTS),
          size: fc.oneof(size(40, 300, 2000), size(20, 5000, 60), size(5000, 20, 60)),
          k0: fc.nat({ max: 127 }),
          n0: fc.nat({ max: 15 }).map((byte) => byte * 8),
          byRow: fc.boolean(),
          pad: fc.tuple(pad, pad, pad),
        })
        .map(({ size: shape, ...choice }) => ({
          ...choice,
          ...shape,
          n0: choice.o.bits >= 16 ? 0 : choice.n0,
        }));
      fc.assert(
        fc.property(seed, fc.array(one, { minLength: 1, maxLength: 3 }), (poison, cases) => {
          const batch = new Batch(large, poison);
          for (const each of cases) batch.add(each);
          batch.flush();
        }),
        { numRuns: 40 * RUNS },
      );
    });
  });

  describe('streams', () => {
    it('whose results feed each other agree with the oracle', () => {
      fc.assert(
        fc.property(seed, streams(BEGIN, 12), (poison, stream) => {
          rig.poison(poison);
          expect(rig.run(stream)).toBeUndefined();
        }),
        { numRuns: 200 * RUNS },
      );
    });

    it('leave off at the first wrong descriptor, wherever it stands', () => {
      const { windowBytes, limits } = whole();
      const edges = edgeValues(windowBytes, limits.maxK);
      let faults = 0;
      fc.assert(
        fc.property(
          seed,
          streams(BEGIN, 8),
          fc.nat(),
          mutations(edges),
          (poison, stream, position, changes) => {
            const index = position % stream.length;
            const wrong = mutate(stream[index]!, changes);
            const fault = validateDescriptor(wrong, windowBytes, limits, rig.slot(index));
            fc.pre(fault !== undefined || isRunnable(wrong, BEGIN));
            // The promise of EARLY_B may not hold any more for what follows a descriptor with another output.
            const after = stream.slice(index + 1).map((descriptor) => withoutEarly(descriptor));
            rig.poison(poison);
            const seen = rig.run([...stream.slice(0, index), wrong, ...after]);
            expect(seen).toEqual(fault && { ...fault, index });
            if (seen) faults++;
          },
        ),
        { numRuns: 600 * RUNS },
      );
      expect(faults).toBeGreaterThan(300 * RUNS);
    });

    it('of noise never run into trouble', () => {
      const words = fc.uint8Array({ minLength: DESCRIPTOR_BYTES, maxLength: DESCRIPTOR_BYTES });
      // Noise alone is stopped by its op: repair a prefix of the checks to get further.
      const noise = fc.tuple(words, fc.nat({ max: 3 })).map(([bytes, repair]) => {
        if (repair >= 1) bytes.set([bytes[0]! & 1, bytes[1]! & FLAG.TABLE_BY_ROW]);
        if (repair >= 2)
          for (const at of [7, ...Array.from({ length: 12 }, (_, i) => 0x30 + i)]) bytes[at] = 0;
        if (repair >= 3) {
          for (const at of [2, 3, 4]) bytes[at] = bytes[at]! & 0x13; // U or S, up to 8 bits
          bytes[5] = bytes[5]! & 127;
          bytes[6] = bytes[6]! & 0x78;
        }
        return bytes;
      });
      const { windowBytes, limits } = whole();
      fc.assert(
        fc.property(noise, (bytes) => {
          fc.pre(validateDescriptor(bytes, windowBytes, limits, 0) !== undefined || isRunnable(bytes, BEGIN));
          rig.run([bytes]);
        }),
        { numRuns: 500 * RUNS },
      );
    });
  });

  describe('every field at every edge', () => {
    /** Valid descriptors of each kind; the second has strides that let K reach the limit, the third fills the window. */
    const bases = (windowBytes: number): Qmm[] => {
      const format = (bits: 1 | 2 | 4 | 8 | 16 | 32, encoding: keyof typeof ENCODING) =>
        formatByte({ bits, encoding });
      const at = (off: number, stride: number, byte: number) => ({ off: BEGIN + off, stride, format: byte });
      return [
        {
          a: at(0, 64, format(4, 'S')),
          b: at(1024, 32, format(1, 'PM1')),
          o: at(8192, 64, format(4, 'U')),
          m: 3,
          n: 20,
          k: 100,
          k0: 3,
          n0: 16,
          table: BEGIN + 4096,
        },
        {
          a: at(0, 4096, format(1, 'U')),
          b: at(8192, 4096, format(1, 'S')),
          o: at(32768, 48, format(32, 'S')),
          m: 2,
          n: 3,
          k: 200,
        },
        {
          a: at(0, 48, format(2, 'S')),
          b: at(2048, 16, format(1, 'U')),
          o: { off: windowBytes - 48, stride: 16, format: format(16, 'S') },
          m: 3,
          n: 5,
          k: 70,
          table: BEGIN + 4096,
          flags: FLAG.TABLE_BY_ROW,
        },
      ];
    };

    it('faults as the oracle does, and every validation fault occurs', () => {
      const { windowBytes, limits } = whole();
      const seen = new Map<number, number>();
      rig.poison(1);
      for (const base of bases(windowBytes)) {
        const valid = new Uint8Array(DESCRIPTOR_BYTES);
        encodeQmm(new DataView(valid.buffer), 0, base);
        expect(rig.run([valid])).toBeUndefined();
        for (const field of Object.keys(DESCRIPTOR) as Mutation['field'][]) {
          for (const value of edgeValues(windowBytes, limits.maxK)) {
            const wrong = mutate(valid, [{ field, value }]);
            if (!validateDescriptor(wrong, windowBytes, limits, 0) && !isRunnable(wrong, BEGIN)) continue;
            const fault = rig.run([wrong, valid]);
            if (fault) seen.set(fault.code, (seen.get(fault.code) ?? 0) + 1);
          }
        }
      }
      const { OP, RESERVED, FORMAT, SHAPE, LIMIT, ALIGN, BOUNDS } = FAULT;
      expect([...seen.keys()].sort((x, y) => x - y)).toEqual([
        OP,
        RESERVED,
        FORMAT,
        SHAPE,
        LIMIT,
        ALIGN,
        BOUNDS,
      ]);
    });

    it.runIf(TEST_DEVICE.startsWith('emu:'))('keeps the limits that a smaller device reports', () => {
      const small = new Rig([withOptions(uri, 'window=128K', 'max_k=300', 'max_kp=12', 'ring_log2=3')], {
        ringLog2: RING_LOG2,
      });
      try {
        expect(small.device.capabilities).toMatchObject({ maxK: 300, maxKp: 12, ringLog2Max: 3 });
        let limited = 0;
        fc.assert(
          fc.property(
            seed,
            streams(small.begin, 3),
            fc.integer({ min: 1, max: 400 }),
            (poison, stream, k) => {
              // The strides of the stream have room for 250 elements and more; longer rows are faults of shape first.
              const wrong = mutate(stream[0]!, [{ field: 'k', value: k }]);
              fc.pre(
                validateDescriptor(wrong, 2 ** 17, small.device.capabilities, 0) !== undefined ||
                  isRunnable(wrong, BEGIN),
              );
              small.poison(poison);
              if (small.run([wrong])?.code === FAULT.LIMIT) limited++;
            },
          ),
          { numRuns: 300 * RUNS },
        );
        expect(limited).toBeGreaterThan(10);
      } finally {
        small.close();
      }
    });
  });

  /** Bytes of the device's window and what it can do. */
  function whole() {
    return { windowBytes: rig.memory.byteLength, limits: rig.device.capabilities };
  }

  it('gives the streams room for their outputs', () => {
    expect(rig.memory.byteLength - BEGIN).toBeGreaterThan(2 * STRETCH_BYTES);
  });
});
