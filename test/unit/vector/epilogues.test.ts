/**
 * The vector steps of integer results against the plainest version of themselves, at random sizes, strides, offsets
 * and formats. Floats may differ by one unit in the last place of float32; codes only where the value lies within 1e-12 of a
 * decision, and not at all where the arithmetic is the compiler's own.
 */
import { afterAll, describe, expect, it } from 'vitest';
import { erf } from '../../oracle/maths.js';
import { Bench, cases, expectFloats, layerNorm, sequenceOf, upTo } from './bench.js';
import { checkConsumer, drawConsumer } from './consumers.js';
import { drawTerm } from './terms.js';

const bench = new Bench();
afterAll(() => bench.native.close());

const ACTIVATIONS: readonly ((x: number) => number)[] = [
  (x) => x,
  (x) => Math.max(x, 0),
  (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  Math.tanh,
];

describe('AFFINE', () => {
  it('scales, adds up its terms, activates and quantises, by blocks, by rows and by sequences', () => {
    cases(bench, 2000, (draw) => {
      const quarters = draw.chance();
      const real = () => (quarters ? draw.quarter() : draw.real());
      const blocks = draw.pick([1, 1, 2, 3]);
      const block = blocks === 1 ? draw.width() : draw.int(1, 70);
      const [rows, width] = [draw.int(1, 14), block * blocks];
      const sequences = draw.int(1, 4);
      const starts = draw.starts(sequences, rows);
      const byRow = draw.chance(0.3);
      const bias = draw.chance(0.7) ? draw.floats(byRow ? rows : width, real) : null;
      const activation = draw.int(0, 3);
      const shape = { rows, width, sequences, byRow };
      // The blocks of one term may be other than those of its neighbour.
      const terms = upTo(draw.int(1, 2)).map((index) =>
        drawTerm(bench, draw, { ...shape, block: index === 0 ? block : width }, { quarters, most: 40 }),
      );
      const out = draw.chance(0.7) ? bench.output(rows * width * 4) : 0;
      const bySequence = sequences > 1 || draw.chance();
      const consumers = draw.consumers();
      bench.steps.push('AFFINE', {
        terms: terms.length,
        consumers,
        activation,
        by_row: byRow ? 1 : 0,
        rows,
        width,
        starts_off: bySequence ? bench.put(Uint32Array.from(starts)) : 0,
        sequences,
        bias_off: bias ? bench.put(bias) : 0,
        out_off: out,
      });
      for (const term of terms) term.push();
      const drawn = upTo(consumers).map(() => drawConsumer(bench, draw, shape, { quarters }));
      bench.run();
      const values = upTo(rows).map((row) => {
        const sequence = sequenceOf(starts, row);
        return upTo(width).map((i) => {
          const sum = terms.reduce((total, term) => total + term.value(sequence, row, i), 0);
          return ACTIVATIONS[activation]!(sum + (bias ? bias[byRow ? row : i]! : 0));
        });
      });
      if (out) expectFloats(bench.floats(out, rows * width), values.flat());
      const exact = activation <= 1 && (quarters || (terms.length === 1 && terms[0]!.plain));
      for (const consumer of drawn) checkConsumer(bench, consumer, { values, starts, exact });
    });
  });

  it('holds the largest accumulators', () => {
    bench.reset(1);
    const values = [-(2 ** 31), 2 ** 31 - 1, 0, -1];
    const out = bench.output(16);
    bench.steps.push('AFFINE', { terms: 1, rows: 1, width: 4, sequences: 1, out_off: out });
    bench.steps.push('TERM', {
      acc_off: bench.put(Int32Array.from(values)),
      acc_stride: 16,
      block: 4,
      scale: 0.5,
    });
    bench.run();
    expectFloats(
      bench.floats(out, 4),
      values.map((value) => value / 2),
    );
  });

  it('multiplies by what was found for each sequence: two branches of an unsigned input, by hand', () => {
    bench.reset(1);
    const out = bench.output(16);
    bench.steps.push('AFFINE', {
      terms: 2,
      rows: 2,
      width: 2,
      starts_off: bench.put(Uint32Array.of(0, 1, 2)),
      sequences: 2,
      bias_off: bench.put(Float32Array.of(1000, 2000)),
      out_off: out,
    });
    bench.steps.push('TERM', {
      acc_off: bench.put(Int32Array.of(1, 2, 3, 4)),
      acc_stride: 8,
      block: 2,
      scale: 2,
      // The t of the second operand does not count.
      found_a_off: bench.put(Float64Array.of(3, 5, 7, 11)),
      found_b_off: bench.put(Float64Array.of(10, 99, 100, 99)),
      sums_off: bench.put(Int32Array.of(1, 2, 0, 3, 4)),
      sums_stride: 12,
      sums_scale: 0.5,
    });
    bench.steps.push('TERM', {
      acc_off: bench.put(Int32Array.of(1, 1, 1, 1)),
      acc_stride: 8,
      block: 2,
      scale_off: bench.put(Float64Array.of(0.25, 0.5)),
      found_a_off: bench.put(Float64Array.of(1, -1, 2, -2)),
      sums_off: bench.put(Float64Array.of(8, 16)),
      sums_scale: 1,
    });
    bench.run();
    expect(bench.floats(out, 4)).toEqual([
      1000 + 2 * 30 * 1 + 5 * 10 * 0.5 * 1 + 0.25 * 1 - 8,
      2000 + 2 * 30 * 2 + 5 * 10 * 0.5 * 2 + 0.5 * 1 - 16,
      1000 + 2 * 700 * 3 + 11 * 100 * 0.5 * 3 + 0.25 * 2 - 2 * 8,
      2000 + 2 * 700 * 4 + 11 * 100 * 0.5 * 4 + 0.5 * 2 - 2 * 16,
    ]);
  });
});

describe('NORM', () => {
  it('adds the residual and normalises, also in place', () => {
    cases(bench, 3000, (draw) => {
      const [rows, width, sequences] = [draw.int(1, 12), draw.width(), draw.int(1, 3)];
      const starts = draw.starts(sequences, rows);
      const shape = { rows, width, sequences };
      const terms = upTo(draw.int(1, 2)).map(() =>
        drawTerm(bench, draw, { ...shape, block: width, byRow: false }, { quarters: false, most: 300 }),
      );
      const bias = draw.chance(0.7) ? draw.floats(width) : null;
      const [residual, gamma, beta] = [draw.floats(rows * width), draw.floats(width), draw.floats(width)];
      const inPlace = draw.chance();
      const rowsOff = inPlace ? bench.output(rows * width * 4) : bench.space(rows * width * 4);
      bench.window.set(new Uint8Array(residual.buffer), rowsOff);
      const out = inPlace ? rowsOff : bench.output(rows * width * 4);
      const epsilon = draw.pick([1e-12, 1e-5]);
      const consumers = draw.consumers();
      bench.steps.push('NORM', {
        terms: terms.length,
        consumers,
        rows,
        width,
        starts_off: bench.put(Uint32Array.from(starts)),
        sequences,
        bias_off: bias ? bench.put(bias) : 0,
        residual_off: rowsOff,
        gamma_off: bench.put(gamma),
        beta_off: bench.put(beta),
        epsilon,
        out_off: out,
      });
      for (const term of terms) term.push();
      const drawn = upTo(consumers).map(() => drawConsumer(bench, draw, shape, { quarters: false }));
      bench.run();
      const values = upTo(rows).map((row) => {
        const sequence = sequenceOf(starts, row);
        const sum = upTo(width).map(
          (i) =>
            terms.reduce((total, term) => total + term.value(sequence, row, i), 0) +
            (bias ? bias[i]! : 0) +
            residual[row * width + i]!,
        );
        return layerNorm(sum, gamma, beta, epsilon);
      });
      expectFloats(bench.floats(out, rows * width), values.flat());
      for (const consumer of drawn) checkConsumer(bench, consumer, { values, starts, exact: false });
    });
  });
});
