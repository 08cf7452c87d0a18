/**
 * The vector steps of the model's edges and of attention against the plainest version of themselves, at random sizes, strides, offsets
 * and formats. Floats may differ by one unit in the last place of float32; codes only where the value lies within 1e-12 of a
 * decision, and not at all where the arithmetic is the compiler's own.
 */
import { afterAll, describe, expect, it } from 'vitest';
import { Bench, cases, type Draw, expectFloats, layerNorm, upTo } from './bench.js';
import { checkConsumer, codeAt, drawConsumer } from './consumers.js';

const bench = new Bench();
afterAll(() => bench.native.close());

interface WordTable {
  readonly push: () => void;
  readonly value: (word: number, column: number) => number;
}

/** A word table of one or two planes with a scale for each row. */
function drawTable(draw: Draw, words: number, width: number): WordTable {
  const ternary = draw.chance();
  const bits = ternary ? 2 : 1;
  const codes = upTo(words).map(() => upTo(width).map(() => draw.pick(ternary ? [-1, 0, 1] : [-1, 1])));
  const stride = Math.ceil(width / 128) * 16 * bits + 16 * draw.int(0, 1);
  const table = new Uint8Array(words * stride);
  codes.forEach((row, word) => {
    row.forEach((code, i) => {
      const at = word * stride + Math.floor(i / 128) * 16 * bits + Math.floor((i % 128) / 8);
      if (ternary ? code !== 0 : code > 0) table[at]! |= 1 << (i % 8);
      if (ternary && code < 0) table[at + 16]! |= 1 << (i % 8);
    });
  });
  const scale = Float64Array.from({ length: words }, () => draw.fraction());
  const fields = {
    word_off: bench.put(table),
    word_stride: stride,
    word_format: ternary ? 0x11 : 0x20,
    word_scale_off: bench.put(scale),
  };
  return {
    push: () => bench.steps.push('TABLE', fields),
    value: (word, column) => scale[word]! * codes[word]![column]!,
  };
}

describe('EMBED', () => {
  it('adds the embeddings of word (from one table or two), position and type, and normalises', () => {
    cases(bench, 1000, (draw) => {
      const [rows, width, words, positions, types] = [
        draw.int(1, 12),
        draw.width(),
        draw.int(1, 9),
        draw.int(1, 9),
        draw.int(1, 3),
      ];
      const sequences = draw.int(1, 3);
      const starts = draw.starts(sequences, rows);
      const tables = upTo(draw.int(1, 2)).map(() => drawTable(draw, words, width));
      const [position, type] = [draw.floats(positions * width), draw.floats(types * width)];
      const [gamma, beta] = [draw.floats(width), draw.floats(width)];
      const ids = [words, positions, types].map((count) =>
        Uint32Array.from({ length: rows }, () => draw.int(0, count - 1)),
      );
      const epsilon = draw.pick([1e-12, 1e-5]);
      const out = draw.chance(0.7) ? bench.output(rows * width * 4) : 0;
      const consumers = draw.consumers();
      bench.steps.push('EMBED', {
        terms: tables.length,
        consumers,
        rows,
        width,
        starts_off: bench.put(Uint32Array.from(starts)),
        sequences,
        ids_off: bench.put(ids[0]!),
        positions_off: bench.put(ids[1]!),
        types_off: bench.put(ids[2]!),
        position_off: bench.put(position),
        type_off: bench.put(type),
        words,
        positions,
        types,
        gamma_off: bench.put(gamma),
        beta_off: bench.put(beta),
        epsilon,
        out_off: out,
      });
      for (const table of tables) table.push();
      const shape = { rows, width, sequences };
      const drawn = upTo(consumers).map(() => drawConsumer(bench, draw, shape, { quarters: false }));
      bench.run();
      const values = upTo(rows).map((row) => {
        const [word, at, kind] = ids.map((list) => list[row]!) as [number, number, number];
        const sum = upTo(width).map(
          (i) =>
            tables.reduce((total, table) => total + table.value(word, i), 0) +
            position[at * width + i]! +
            type[kind * width + i]!,
        );
        return layerNorm(sum, gamma, beta, epsilon);
      });
      if (out) expectFloats(bench.floats(out, rows * width), values.flat());
      for (const consumer of drawn) checkConsumer(bench, consumer, { values, starts, exact: false });
    });
  });
});

describe('SOFTMAX', () => {
  const softmax = (line: readonly number[], scale: number): number[] => {
    const most = Math.max(...line);
    const e = line.map((score) => Math.exp(scale * (score - most)));
    const sum = e.reduce((total, value) => total + value, 0);
    return e.map((value) => value / sum);
  };

  it('turns scores into probabilities, from the table as far as that goes or by steps found at run time', () => {
    cases(bench, 4000, (draw) => {
      const [tokens, heads] = [draw.pick([1, 2, 5, 8, 9, 31, 40]), draw.int(1, 4)];
      const rows = heads * tokens;
      const scale = draw.fraction() / 4 + 0.001;
      const spread = draw.pick([0, 5, 60, 3000, 32767]);
      const int16 = draw.chance();
      const scores = upTo(rows).map(() => upTo(tokens).map(() => draw.int(-spread, spread)));
      const stride = (tokens + draw.int(0, 3)) * (int16 ? 2 : 4);
      const acc = bench.putBlocks([scores], rows * stride, stride, int16);
      // A table holds the exponentials of a fixed scale; steps found at run time have none.
      const [q, k] = draw.chance()
        ? [null, null]
        : upTo(2).map(() => (draw.chance(0.7) ? draw.found(1, false) : null));
      const length = q || k ? 0 : draw.pick([0, 1, 11, 121]);
      const table = Float64Array.from({ length }, (_, i) => Math.exp(-scale * i));
      bench.steps.push('SOFTMAX', {
        consumers: 1,
        tokens,
        heads,
        acc_int16: Number(int16),
        acc_off: acc,
        acc_stride: stride,
        found_a_off: q ? bench.putFound(q) : 0,
        found_b_off: k ? bench.putFound(k) : 0,
        scale,
        table_off: length ? bench.put(table) : 0,
        table_length: length,
      });
      const shape = { rows, width: tokens, sequences: 1 };
      const consumer = drawConsumer(bench, draw, shape, { quarters: false });
      bench.run();
      const unit = scale * (q?.[0]?.step ?? 1) * (k?.[0]?.step ?? 1);
      const values = scores.map((line) => softmax(line, unit));
      checkConsumer(bench, consumer, { values, starts: [0, rows], exact: false });
    });
  });

  it('gives equal shares where an operand has only zeros, whose step is 0', () => {
    bench.reset(1);
    const [out, found] = [bench.output(2 * 128), bench.output(16)];
    bench.steps.push('SOFTMAX', {
      consumers: 1,
      tokens: 2,
      heads: 1,
      acc_off: bench.put(Int32Array.of(5, 9, -3, 0)),
      acc_stride: 8,
      found_a_off: bench.putFound([{ step: 0, t: 0 }]),
      scale: 1,
    });
    bench.steps.push('QUANTISE', {
      kind: 3,
      format: 0x13,
      qmin: -128,
      qmax: 127,
      step: 1,
      clip_low: 0,
      clip_high: 1,
      out_off: out,
      out_stride: 128,
      found_off: found,
    });
    bench.run();
    expect(bench.found(found, 0)).toEqual({ step: 0.5 / 127, t: 0 });
    for (const at of [out, out + 128]) {
      const codes = [0, 1].map((element) => codeAt(bench.window, at, element, { bits: 8, encoding: 1 }));
      expect(codes).toEqual([127, 127]);
    }
  });

  it('takes what its quantiser finds over all heads of the sequence', () => {
    bench.reset(1);
    const [tokens, heads] = [2, 2];
    const scores = [
      [0, 0],
      [0, 1],
      [4, 0],
      [0, 2],
    ];
    const stride = 8;
    const out = bench.output(heads * tokens * 16 * 8);
    const found = bench.output(16);
    bench.steps.push('SOFTMAX', {
      consumers: 1,
      tokens,
      heads,
      acc_off: bench.putBlocks([scores], heads * tokens * stride, stride),
      acc_stride: stride,
      scale: 1,
    });
    bench.steps.push('QUANTISE', {
      kind: 2,
      format: 0x03,
      qmin: 0,
      qmax: 255,
      step: 1,
      out_off: out,
      out_stride: 16 * 8,
      found_off: found,
    });
    bench.run();
    const { step, t } = bench.found(found, 0);
    expect(step).toBe(1);
    // The least of all probabilities is in the second head.
    expect(t).toBeCloseTo(1 / (1 + Math.exp(4)), 12);
  });
});

describe('PICK', () => {
  it('hands chosen rows to its quantisers and leaves them, any row any number of times', () => {
    cases(bench, 6000, (draw) => {
      const quarters = draw.chance();
      const [rows, width, xRows] = [draw.int(1, 9), draw.width(), draw.int(1, 12)];
      const x = draw.floats(xRows * width, () => (quarters ? draw.quarter() : draw.real()));
      const chosen = upTo(rows).map(() => draw.int(0, xRows - 1));
      // As the pooler has them, a row a sequence, or several.
      const sequences = draw.chance() ? rows : draw.int(1, 3);
      const starts = sequences === rows ? upTo(rows + 1) : draw.starts(sequences, rows);
      const consumers = draw.consumers();
      const out = draw.chance() ? bench.output(rows * width * 4) : 0;
      bench.steps.push('PICK', {
        out_off: out,
        consumers,
        rows,
        width,
        starts_off: bench.put(Uint32Array.from(starts)),
        sequences,
        index_off: bench.put(Uint32Array.from(chosen)),
        x_off: bench.put(x),
        x_rows: xRows,
      });
      const shape = { rows, width, sequences };
      const drawn = upTo(consumers).map(() => drawConsumer(bench, draw, shape, { quarters }));
      bench.run();
      const values = chosen.map((row) => Array.from(x.subarray(row * width, (row + 1) * width)));
      if (out) expect(bench.floats(out, rows * width)).toEqual(values.flat());
      for (const consumer of drawn) checkConsumer(bench, consumer, { values, starts, exact: true });
    });
  });
});

describe('DENSE', () => {
  it('is a linear layer with sums in double', () => {
    cases(bench, 5000, (draw) => {
      const [rows, width, outWidth] = [draw.int(1, 6), draw.width(), draw.int(1, 40)];
      const [x, weight] = [draw.floats(rows * width), draw.floats(outWidth * width)];
      const bias = draw.chance() ? draw.floats(outWidth) : null;
      const out = bench.output(rows * outWidth * 4);
      bench.steps.push('DENSE', {
        rows,
        width,
        out_width: outWidth,
        x_off: bench.put(x),
        weight_off: bench.put(weight),
        bias_off: bias ? bench.put(bias) : 0,
        out_off: out,
      });
      bench.run();
      const expected = upTo(rows).flatMap((row) =>
        upTo(outWidth).map(
          (j) =>
            upTo(width).reduce((sum, i) => sum + x[row * width + i]! * weight[j * width + i]!, 0) +
            (bias ? bias[j]! : 0),
        ),
      );
      expectFloats(bench.floats(out, rows * outWidth), expected);
    });
  });
});

it('runs records in order, from any one on', () => {
  bench.reset(1);
  const x = bench.put(Float32Array.of(1, 2));
  const weight = bench.put(Float32Array.of(3, 0, 0, 3));
  const [first, second] = [bench.output(8), bench.output(8)];
  const dense = (x_off: number, out_off: number) =>
    bench.steps.push('DENSE', { rows: 1, width: 2, out_width: 2, x_off, weight_off: weight, out_off });
  dense(x, first);
  dense(first, second);
  bench.run();
  expect(bench.floats(second, 2)).toEqual([9, 18]);
  bench.window.set(new Uint8Array(Float32Array.of(5, 7).buffer), first);
  bench.native.vectorRun(bench.steps.finish(), 1, 1);
  expect(bench.floats(first, 2)).toEqual([5, 7]);
  expect(bench.floats(second, 2)).toEqual([15, 21]);
});
