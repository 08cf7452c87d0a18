/**
 * Every combination of formats on every device under test, against the naive oracle, the whole window compared: ragged
 * shapes, block and byte borders, long strides, both table directions; all values of small operands; and the epilogue
 * at its edges.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Format, formatName } from '../../src/device/descriptor.js';
import { Batch, type Case, EXTREME_BIASES, EXTREME_MULS, OPERANDS, OUTPUTS } from './support/batch.js';
import { random32 } from './support/random.js';
import { Rig, testDevices, withOptions } from './support/rig.js';

let rig: Rig;
let skipped = 0;

beforeAll(() => {
  rig = new Rig(
    testDevices().map((uri) => withOptions(uri, 'window=2M')),
    { ringLog2: 10 },
  );
});

afterAll(() => {
  rig.close();
});

const supported = ({ a, b, o }: { a: Format; b: Format; o: Format }) => {
  const { aBits, bBits, oBits } = rig.device.capabilities;
  return aBits.includes(a.bits) && bBits.includes(b.bits) && oBits.includes(o.bits);
};

/** Runs cases in one batch and checks that each of them was compared. */
function compare(seed: number, cases: Iterable<Case>): void {
  const batch = new Batch(rig, seed);
  const before = rig.cases;
  let added = 0;
  for (const one of cases) {
    if (!supported(one)) skipped++;
    else {
      batch.add(one);
      added++;
    }
  }
  batch.flush();
  expect(rig.cases - before).toBe(added);
}

/** Both table directions, where there is a table. */
const directions = (o: Format) => (o.bits === 32 ? [false] : [false, true]);

// Sizes around the borders of a byte, half a beat, a block and two blocks. The lists have coprime lengths and are
// walked one step per case, so over the 891 triples they meet each other and both table directions in all combinations.
const ROWS = [1, 2, 3, 5, 9];
const DEPTHS = [1, 2, 7, 63, 64, 65, 100, 127, 128, 129, 255, 256, 257];
const COLUMNS = [1, 7, 8, 9, 16, 31, 64, 120, 127, 128, 129];
const FIRST_ELEMENTS = [0, 1, 8, 63, 64, 100, 127];
const FIRST_COLUMNS = [0, 8, 16, 40, 64, 96, 104, 112, 120];
const PADS = [0, 16, 32];

/** Half of them with the table by row. */
const SHAPES_PER_TRIPLE = 6;

function* raggedCases(a: Format, b: Format, first: number): Iterable<Case> {
  const at = (list: readonly number[], index: number) => list[index % list.length]!;
  let i = first;
  for (const o of OUTPUTS) {
    for (let shape = 0; shape < SHAPES_PER_TRIPLE; shape++, i++) {
      const lap = Math.floor(i / FIRST_COLUMNS.length);
      yield {
        a,
        b,
        o,
        m: at(ROWS, i),
        n: at(COLUMNS, i),
        k: at(DEPTHS, i),
        k0: at(FIRST_ELEMENTS, i),
        n0: o.bits >= 16 ? 0 : at(FIRST_COLUMNS, i),
        byRow: o.bits !== 32 && i % 2 === 1,
        pad: [at(PADS, lap), at(PADS, lap + 1), at(PADS, lap + 2)],
      };
    }
  }
}

/** Every vector of `k` elements of `bits` bits is a row. */
const allVectors = (bits: number, k: number) => ({
  rows: 2 ** (bits * k),
  raw: (row: number, element: number) => (row >>> (bits * element)) & (2 ** bits - 1),
});

describe.each(OPERANDS.map((format, index) => [formatName(format), format, index] as const))(
  'A %s',
  (_, a, indexA) => {
    it.each(OPERANDS.map((format, index) => [formatName(format), format, index] as const))(
      'B %s: every output, ragged shapes',
      (_name, b, indexB) => {
        const pair = indexA * OPERANDS.length + indexB;
        compare(pair, raggedCases(a, b, pair * OUTPUTS.length * SHAPES_PER_TRIPLE));
      },
    );
  },
);

describe('all values', () => {
  it('of every pair of operand formats: each product, in int32', () => {
    const cases = OPERANDS.flatMap((a) =>
      OPERANDS.map((b): Case => {
        const [left, right] = [allVectors(a.bits, 1), allVectors(b.bits, 1)];
        const k0 = (37 * a.bits + 11 * b.bits) % 128;
        return {
          a,
          b,
          o: OUTPUTS.at(-1)!,
          m: left.rows,
          n: right.rows,
          k: 1,
          k0,
          rawA: left.raw,
          rawB: right.raw,
        };
      }),
    );
    compare(1, cases);
  });

  it('of all vectors of one and two bits, in every output', () => {
    function* cases(): Iterable<Case> {
      const narrow = OPERANDS.filter((format) => format.bits <= 2);
      for (const a of narrow) {
        for (const b of narrow) {
          for (const o of OUTPUTS) {
            // The longest vectors with at most 64 rows of each operand; 126 puts them across a block border.
            const k = Math.floor(6 / Math.max(a.bits, b.bits));
            const [left, right] = [allVectors(a.bits, k), allVectors(b.bits, k)];
            for (const byRow of directions(o)) {
              yield {
                a,
                b,
                o,
                m: left.rows,
                n: right.rows,
                k,
                k0: 126,
                byRow,
                rawA: left.raw,
                rawB: right.raw,
              };
            }
          }
        }
      }
    }
    compare(2, cases());
  });
});

describe('the epilogue', () => {
  const entries = EXTREME_BIASES.flatMap((bias) => EXTREME_MULS.map((mul) => [bias, mul] as const));
  const S8: Format = { bits: 8, encoding: 'S' };
  const U8: Format = { bits: 8, encoding: 'U' };

  // D[m][n] = value of row m times a constant (over k elements), and the table in either direction meets all of them.
  it.each(
    [
      ['-128 to 127', S8, 1, 1],
      ['multiples of -128 * 9', S8, 0x80, 9],
      ['0 to 255 * 255 * 20', U8, 0xff, 20],
    ].map((row) => row as [string, Format, number, number]),
  )('at every extreme entry with D = %s, in every output', (_name, format, constant, k) => {
    function* cases(): Iterable<Case> {
      const values = allVectors(8, 1);
      for (const o of OUTPUTS.filter(({ bits }) => bits !== 32)) {
        const shared = { a: format, b: format, o, k, table: (index: number) => entries[index]! };
        const each = (row: number) => values.raw(row, 0);
        yield { ...shared, m: values.rows, n: entries.length, rawA: each, rawB: () => constant };
        yield { ...shared, m: entries.length, n: values.rows, rawA: () => constant, rawB: each, byRow: true };
      }
    }
    compare(3, cases());
  });

  it('at random entries that straddle the clamps of every output', () => {
    function* cases(): Iterable<Case> {
      const next = random32(4);
      for (const o of OUTPUTS.filter(({ bits }) => bits !== 32)) {
        for (const byRow of [false, true]) {
          const most = 2 ** Math.min(o.bits, 15);
          // D is within +-128 * 128 * 3; mul brings it to about twice the output's range.
          const unit = (2 * most * 2 ** 24) / (128 * 128 * 3);
          const table = () =>
            [
              (next() % 40_000) - 20_000,
              (next() % 2 ? 1 : -1) * Math.round(unit * (next() / 2 ** 32)),
            ] as const;
          yield { a: S8, b: S8, o, m: 100, n: 150, k: 3, byRow, table };
        }
      }
    }
    compare(4, cases());
  });
});

describe('shapes that no device computes in one piece', () => {
  it('wide ones and tall ones, in every output', () => {
    function* cases(): Iterable<Case> {
      for (const [i, o] of OUTPUTS.entries()) {
        const a = OPERANDS[i % OPERANDS.length]!;
        const b = OPERANDS[(4 * i) % OPERANDS.length]!;
        for (const byRow of directions(o)) {
          const shared = {
            a,
            b,
            o,
            n0: o.bits >= 16 ? 0 : (i * 24) % 128,
            byRow,
            pad: [16, 16, 16] as const,
          };
          yield { ...shared, m: 10, n: 4096 + 40 - i, k: 40 + i, k0: 100 };
          yield { ...shared, m: 2500 + i, n: 10, k: 40 + i, k0: 60 };
        }
      }
    }
    compare(6, cases());
  });

  it('the most planes', () => {
    const wide: Format = { bits: 8, encoding: 'S' };
    compare(7, [{ a: wide, b: wide, o: wide, m: 45, n: 2200, k: 130, k0: 120, n0: 88, byRow: true }]);
  });
});

describe('extremes of the dot product', () => {
  it('reaches the largest D of a device: MAX_K, 8 by 8 bits', () => {
    const { maxK, maxKp } = rig.device.capabilities;
    const k = Math.min(maxK, Math.floor(maxKp / 8) * 128);
    const formats: Format[] = [
      { bits: 8, encoding: 'U' },
      { bits: 8, encoding: 'S' },
    ];
    function* cases(): Iterable<Case> {
      for (const a of formats) {
        for (const b of formats) {
          for (const o of OUTPUTS.slice(-3)) {
            const most = (row: number) => (row === 0 ? 0xff : 0x80);
            yield { a, b, o, m: 2, n: 2, k, rawA: most, rawB: most };
          }
        }
      }
    }
    compare(5, cases());
  });
});

it('left nothing out on a device that supports every width', () => {
  const { aBits, bBits, oBits } = rig.device.capabilities;
  if (aBits.length + bBits.length + oBits.length === 4 + 4 + 6) expect(skipped).toBe(0);
});
