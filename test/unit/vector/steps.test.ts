/**
 * The vector steps of the model's edges and of attention against the plainest version of themselves, at random sizes, strides, offsets
 * and formats. Floats may differ by one unit in the last place of float32; codes only where the value lies within 1e-12 of a
 * decision, and not at all where the arithmetic is the compiler's own.
 */
import { afterAll, describe, expect, it } from 'vitest';
import { Bench, cases, expectFloats, layerNorm, upTo } from './bench.js';
import { checkConsumer, drawConsumer } from './consumers.js';

const bench = new Bench();
afterAll(() => bench.native.close());

describe('EMBED', () => {
  it('adds the embeddings of word, position and type, and normalises', () => {
    cases(bench, 1000, (draw) => {
      const [rows, width, words, positions, types] = [
        draw.int(1, 12),
        draw.width(),
        draw.int(1, 9),
        draw.int(1, 9),
        draw.int(1, 3),
      ];
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
      const [position, type] = [draw.floats(positions * width), draw.floats(types * width)];
      const [gamma, beta] = [draw.floats(width), draw.floats(width)];
      const ids = [words, positions, types].map((count) =>
        Uint32Array.from({ length: rows }, () => draw.int(0, count - 1)),
      );
      const epsilon = draw.pick([1e-12, 1e-5]);
      const out = draw.chance(0.7) ? bench.output(rows * width * 4) : 0;
      const shape = { heads: 1, rows, width, sequences: 1 };
      const consumers = draw.int(0, 4);
      bench.steps.push('EMBED', {
        consumers,
        rows,
        width,
        ids_off: bench.put(ids[0]!),
        positions_off: bench.put(ids[1]!),
        types_off: bench.put(ids[2]!),
        word_off: bench.put(table),
        word_stride: stride,
        word_format: ternary ? 0x11 : 0x20,
        word_scale_off: bench.put(scale),
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
      const drawn = upTo(consumers).map(() =>
        drawConsumer(bench, draw, shape, { minima: false, quarters: false }),
      );
      bench.run();
      const values = upTo(rows).map((row) => {
        const [word, at, kind] = ids.map((list) => list[row]!) as [number, number, number];
        const sum = upTo(width).map(
          (i) => scale[word]! * codes[word]![i]! + position[at * width + i]! + type[kind * width + i]!,
        );
        return layerNorm(sum, gamma, beta, epsilon);
      });
      if (out) expectFloats(bench.floats(out, rows * width), values.flat());
      for (const consumer of drawn)
        checkConsumer(bench, consumer, { values: [values], starts: [0, rows], exact: false });
    });
  });
});

describe('SOFTMAX', () => {
  it('turns scores into probabilities, from the table as far as that goes', () => {
    cases(bench, 4000, (draw) => {
      const [tokens, heads] = [draw.pick([1, 2, 5, 8, 9, 31, 40]), draw.int(1, 4)];
      const scale = draw.fraction() / 4 + 0.001;
      const spread = draw.pick([0, 5, 60, 3000]);
      const scores = upTo(heads).map(() =>
        upTo(tokens).map(() => upTo(tokens).map(() => draw.int(-spread, spread))),
      );
      const stride = tokens * 4 + 4 * draw.int(0, 3);
      const headStride = tokens * stride + 4 * draw.int(0, 3);
      const acc = bench.putBlocks(scores, headStride, stride);
      const length = draw.pick([0, 1, 11, 121]);
      const table = Float64Array.from({ length }, (_, i) => Math.exp(-scale * i));
      bench.steps.push('SOFTMAX', {
        consumers: 1,
        tokens,
        heads,
        acc_off: acc,
        acc_stride: stride,
        head_stride: headStride,
        scale,
        table_off: length ? bench.put(table) : 0,
        table_length: length,
      });
      const consumer = drawConsumer(
        bench,
        draw,
        { heads, rows: tokens, width: tokens, sequences: 1 },
        { minima: true, quarters: false },
      );
      bench.run();
      const values = scores.map((lines) =>
        lines.map((line) => {
          const e = line.map((score) => Math.exp(scale * (score - Math.max(...line))));
          const sum = e.reduce((total, value) => total + value, 0);
          return e.map((value) => value / sum);
        }),
      );
      checkConsumer(bench, consumer, { values, starts: [0, tokens], exact: false });
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
