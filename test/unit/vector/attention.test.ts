/** Attention with offsets of Q, and with probabilities that stay real, against the plainest version of it; and what of it is refused. */
import { afterAll, describe, expect, it } from 'vitest';
import { STEP, STEP_BYTES } from '../../../src/native/steps.generated.js';
import { Bench, cases, type Draw, type Found, NOT_FOUND, upTo } from './bench.js';
import { checkConsumer, drawConsumer } from './consumers.js';
import { expectRefusal, fieldOf, HEADS, ROWS, validRecords, withFields } from './valid.js';

const bench = new Bench();
afterAll(() => bench.native.close());

const softmax = (line: readonly number[]): number[] => {
  const most = Math.max(...line);
  const e = line.map((score) => Math.exp(score - most));
  const sum = e.reduce((total, value) => total + value, 0);
  return e.map((value) => value / sum);
};

interface Scores {
  readonly tokens: number;
  readonly heads: number;
  readonly fields: Readonly<Record<string, number>>;
  /** probabilities[head][row][key] */
  readonly probabilities: readonly (readonly (readonly number[])[])[];
}

/**
 * Scores of codes with whole offsets: (q + a)(k + b) summed over the columns of a head, in full, against D and the sums of the keys that
 * the record gets.
 */
function drawScores(draw: Draw): Scores {
  const [tokens, heads, columns] = [draw.pick([1, 2, 5, 8, 9, 31]), draw.int(1, 4), draw.pick([1, 5, 16])];
  const codes = () => upTo(heads).map(() => upTo(tokens).map(() => upTo(columns).map(() => draw.int(0, 15))));
  const [q, k] = [codes(), codes()];
  const [a, b] = [draw.found(1, false)[0]!, draw.chance(0.7) ? draw.found(1, false)[0]! : NOT_FOUND];
  const scale = draw.fraction() / 8 + 0.001;
  const dot = (x: readonly number[], y: readonly number[], of: Found, with_: Found) =>
    x.reduce((sum, value, i) => sum + (of.step * value + of.t) * (with_.step * y[i]! + with_.t), 0);
  const plain: Found = { step: 1, t: 0 };
  const d = q.map((rows, head) => rows.map((row) => k[head]!.map((key) => dot(row, key, plain, plain))));
  const int16 = draw.chance();
  const stride = (tokens + draw.int(0, 3)) * (int16 ? 2 : 4);
  const keyStride = tokens * 4 + 4 * draw.int(0, 3);
  const sums = k.map((keys) => [keys.map((key) => key.reduce((sum, code) => sum + code, 0))]);
  return {
    tokens,
    heads,
    fields: {
      tokens,
      heads,
      acc_int16: Number(int16),
      acc_off: bench.putBlocks([d.flat()], heads * tokens * stride, stride, int16),
      acc_stride: stride,
      found_a_off: bench.putFound([a]),
      found_b_off: b === NOT_FOUND ? 0 : bench.putFound([b]),
      scale,
      key_sums_off: bench.putBlocks(sums, keyStride, keyStride),
      key_sums_stride: keyStride,
    },
    probabilities: q.map((rows, head) =>
      rows.map((row) => softmax(k[head]!.map((key) => scale * dot(row, key, a, b)))),
    ),
  };
}

describe('SOFTMAX', () => {
  it('with sums of the keys gives the probabilities of codes that have offsets', () => {
    cases(bench, 8000, (draw) => {
      const { tokens, heads, fields, probabilities } = drawScores(draw);
      bench.steps.push('SOFTMAX', { ...fields, consumers: 1 });
      const rows = heads * tokens;
      const consumer = drawConsumer(bench, draw, { rows, width: tokens, sequences: 1 }, { quarters: false });
      bench.run();
      checkConsumer(bench, consumer, { values: probabilities.flat(), starts: [0, rows], exact: false });
    });
  });

  it('with V behind it leaves the context of probabilities that stay real', () => {
    cases(bench, 9000, (draw) => {
      const { tokens, heads, fields, probabilities } = drawScores(draw);
      const columns = draw.pick([1, 3, 8, 20]);
      const width = heads * columns;
      const [bits, encoding] = draw.pick([
        [1, 0],
        [1, 2],
        [2, 0],
        [2, 1],
        [4, 0],
        [4, 1],
        [8, 0],
        [8, 1],
      ] as const);
      const found = draw.chance() ? draw.found(1, false)[0]! : null;
      const scale = draw.fraction() + 0.1;
      const stride = Math.ceil(tokens / 128) * 16 * bits + 16 * draw.int(0, 1);
      const planes = new Uint8Array(width * stride);
      const v = upTo(width).map((column) =>
        upTo(tokens).map((token) => {
          const pattern = draw.int(0, 2 ** bits - 1);
          for (let plane = 0; plane < bits; plane++)
            planes[column * stride + plane * 16 + Math.floor(token / 8)]! |=
              ((pattern >> plane) & 1) << (token % 8);
          if (encoding === 2) return 2 * pattern - 1;
          return encoding === 1 && pattern >= 2 ** (bits - 1) ? pattern - 2 ** bits : pattern;
        }),
      );
      const consumers = draw.int(1, 3);
      bench.steps.push('SOFTMAX', { ...fields, terms: 1, consumers });
      bench.steps.push('VALUE', {
        width,
        off: bench.put(planes),
        stride,
        format: Math.log2(bits) | (encoding << 4),
        found_off: found ? bench.putFound([found]) : 0,
        scale,
        codes_off: bench.output(tokens * width * 4),
      });
      const shape = { rows: tokens, width, sequences: 1 };
      const drawn = upTo(consumers).map(() => drawConsumer(bench, draw, shape, { quarters: false }));
      bench.run();
      const { step, t } = found ?? NOT_FOUND;
      const values = upTo(tokens).map((row) =>
        upTo(width).map((column) =>
          probabilities[Math.floor(column / columns)]![row]!.reduce(
            (sum, p, token) => sum + p * (scale * step * v[column]![token]! + t),
            0,
          ),
        ),
      );
      for (const consumer of drawn)
        checkConsumer(bench, consumer, { values, starts: [0, tokens], exact: false });
    });
  });
});

describe('V behind a SOFTMAX', () => {
  const WIDTH = 2 * HEADS;

  /** The records of a valid SOFTMAX with V between it and a consumer that fits. */
  function valid(): Uint8Array {
    const records = validRecords(bench, 'SOFTMAX');
    bench.steps.push('VALUE', {
      width: WIDTH,
      off: bench.put(new Uint8Array(WIDTH * 64)),
      stride: 64,
      format: 0x12,
      found_off: bench.putFound([NOT_FOUND]),
      scale: 0.5,
      codes_off: bench.output(ROWS * WIDTH * 4),
    });
    const all = bench.steps.finish();
    const record = (index: number) => all.slice(index * STEP_BYTES, (index + 1) * STEP_BYTES);
    // A softmax and its consumer, then V: V goes between them.
    expect(records.byteLength).toBe(2 * STEP_BYTES);
    return withFields(Buffer.concat([record(0), record(2), record(1)]), 0, { terms: 1 });
  }

  it('is taken, and without what V has found', () => {
    expect(() => bench.native.vectorRun(valid(), 0, 3)).not.toThrow();
    expect(() => bench.native.vectorRun(withFields(valid(), 1, { found_off: 0 }), 0, 3)).not.toThrow();
  });

  it.each([
    { op: 0 },
    { op: STEP.TERM.op },
    { width: 0 },
    { width: WIDTH + 1 },
    { width: 32769 - (32769 % HEADS) },
    { width: 2 ** 32 - 1 },
    { off: 0 },
    { off: 8 },
    { off: 2 ** 32 - 16 },
    { off: bench.window.byteLength },
    { stride: 72 },
    { stride: 2 ** 31 },
    { format: 0x04 },
    { format: 0x21 },
    { format: 0x30 },
    { format: 0x112 },
    { found_off: 8 },
    { found_off: bench.window.byteLength },
    { scale: 0 },
    { scale: -1 },
    { scale: Number.NaN },
    { scale: Infinity },
    { codes_off: 0 },
    { codes_off: 2 },
    { codes_off: bench.window.byteLength - 4 },
  ])('is refused with %o', (fields) => {
    expectRefusal(bench, withFields(valid(), 1, fields), JSON.stringify(fields));
  });

  it('stands there once, and with a consumer', () => {
    const records = valid();
    const value = records.slice(STEP_BYTES, 2 * STEP_BYTES);
    expectRefusal(
      bench,
      withFields(Buffer.concat([records.subarray(0, STEP_BYTES), value, records.subarray(STEP_BYTES)]), 0, {
        terms: 2,
      }),
      'twice',
    );
    expectRefusal(bench, withFields(records.slice(0, 2 * STEP_BYTES), 0, { consumers: 0 }), 'no consumer');
  });
});

describe('sums of rows', () => {
  it('are refused in blocks that the rows do not fill', () => {
    const records = validRecords(bench, 'SOFTMAX');
    for (const sums_rows of [0, 2, HEADS * ROWS + 1, 2 ** 32 - 1])
      expectRefusal(bench, withFields(records, 1, { sums_rows }), `${sums_rows} rows`);
    for (const sums_rows of [1, ROWS, HEADS * ROWS])
      expect(() => bench.native.vectorRun(withFields(records, 1, { sums_rows }), 0, 2)).not.toThrow();
  });

  it('do not land on row starts', () => {
    const records = validRecords(bench, 'NORM');
    const starts = fieldOf(records, 0, 'starts_off');
    for (const sums_off of [starts, starts - (ROWS - 1) * 8])
      expectRefusal(bench, withFields(records, 3, { sums_off }), `sums at ${sums_off - starts}`);
  });
});
