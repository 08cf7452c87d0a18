/**
 * The vector steps of integer results against the plainest version of themselves, at random sizes, strides, offsets
 * and formats. Floats may differ by one unit in the last place of float32; codes only where the value lies within 1e-12 of a
 * decision, and not at all where the arithmetic is the compiler's own.
 */
import { afterAll, describe, it } from 'vitest';
import { erf } from '../../oracle/maths.js';
import { Bench, cases, expectFloats, layerNorm, upTo } from './bench.js';
import { checkConsumer, drawConsumer } from './consumers.js';

const bench = new Bench();
afterAll(() => bench.native.close());

const ACTIVATIONS: readonly ((x: number) => number)[] = [
  (x) => x,
  (x) => Math.max(x, 0),
  (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  Math.tanh,
];

describe('AFFINE', () => {
  it('scales, adds, activates and quantises, by blocks, by rows and by sequences', () => {
    cases(bench, 2000, (draw) => {
      const quarters = draw.chance();
      const real = () => (quarters ? draw.quarter() : draw.real());
      const blocks = draw.pick([1, 1, 2, 3]);
      const block = blocks === 1 ? draw.width() : draw.int(1, 70);
      const [rows, width] = [draw.int(1, 14), block * blocks];
      const sequences = draw.int(1, 4);
      const starts = draw.starts(sequences, rows);
      const accumulators = upTo(blocks).map(() =>
        upTo(rows).map(() => upTo(block).map(() => draw.int(-40, 40))),
      );
      const accStride = block * 4 + 4 * draw.int(0, 5);
      const blockStride = rows * accStride + 4 * draw.int(0, 3);
      const acc = bench.putBlocks(accumulators, blockStride, accStride);
      const byRow = draw.chance();
      const channels = byRow ? rows : width;
      const scales = draw.chance()
        ? Float64Array.from({ length: channels }, () => Math.abs(real()) + 0.25)
        : null;
      const scale = Math.abs(real()) + 0.25;
      const bias = draw.chance(0.7) ? draw.floats(channels, real) : null;
      const activation = draw.int(0, 3);
      const t = draw.chance() ? Float64Array.from({ length: sequences }, real) : null;
      const perSequence = draw.chance();
      const sums = upTo(perSequence ? sequences : 1).map(() => upTo(width).map(() => draw.int(-9, 9)));
      const sumsStride = width * 4 + 4 * draw.int(0, 2);
      const offsetScale = quarters ? 0.5 : draw.real();
      const out = draw.chance(0.7) ? bench.output(rows * width * 4) : 0;
      const bySequence = sequences > 1 || draw.chance();
      const consumers = draw.int(0, 4);
      bench.steps.push('AFFINE', {
        consumers,
        activation,
        by_row: byRow ? 1 : 0,
        rows,
        width,
        acc_off: acc,
        acc_stride: accStride,
        block,
        block_stride: blockStride,
        scale_off: scales ? bench.put(scales) : 0,
        scale,
        bias_off: bias ? bench.put(bias) : 0,
        starts_off: bySequence ? bench.put(Uint32Array.from(starts)) : 0,
        sequences,
        t_off: t ? bench.put(t) : 0,
        sums_off: perSequence
          ? bench.putBlocks([sums], sequences * sumsStride, sumsStride)
          : bench.put(Float64Array.from(sums[0]!)),
        sums_stride: perSequence ? sumsStride : 0,
        offset_scale: offsetScale,
        out_off: out,
      });
      const shape = { heads: 1, rows, width, sequences };
      const drawn = upTo(consumers).map(() => drawConsumer(bench, draw, shape, { minima: true, quarters }));
      bench.run();
      const values = upTo(rows).map((row) => {
        const sequence = upTo(sequences).findLast(
          (index) => starts[index]! <= row && row < starts[index + 1]!,
        )!;
        return upTo(width).map((i) => {
          const channel = byRow ? row : i;
          let value =
            (scales ? scales[channel]! : scale) * accumulators[Math.floor(i / block)]![row]![i % block]!;
          value += bias ? bias[channel]! : 0;
          if (t) value += t[sequence]! * offsetScale * sums[perSequence ? sequence : 0]![i]!;
          return ACTIVATIONS[activation]!(value);
        });
      });
      if (out) expectFloats(bench.floats(out, rows * width), values.flat());
      const exact = activation <= 1 && (quarters || !t);
      for (const consumer of drawn) checkConsumer(bench, consumer, { values: [values], starts, exact });
    });
  });

  it('holds the largest accumulators', () => {
    bench.reset(1);
    const values = [-(2 ** 31), 2 ** 31 - 1, 0, -1];
    const out = bench.output(16);
    bench.steps.push('AFFINE', {
      rows: 1,
      width: 4,
      acc_off: bench.put(Int32Array.from(values)),
      acc_stride: 16,
      block: 4,
      sequences: 1,
      scale: 0.5,
      out_off: out,
    });
    bench.run();
    expectFloats(
      bench.floats(out, 4),
      values.map((value) => value / 2),
    );
  });
});

describe('NORM', () => {
  it('adds the residual and normalises, also in place', () => {
    cases(bench, 3000, (draw) => {
      const [rows, width, sequences] = [draw.int(1, 12), draw.width(), draw.int(1, 3)];
      const starts = draw.starts(sequences, rows);
      const d = upTo(rows).map(() => upTo(width).map(() => draw.int(-300, 300)));
      const stride = width * 4 + 4 * draw.int(0, 3);
      const scales = draw.chance() ? Float64Array.from({ length: width }, () => draw.fraction() / 50) : null;
      const bias = draw.chance(0.7) ? draw.floats(width) : null;
      const t = draw.chance() ? Float64Array.from({ length: sequences }, () => draw.real()) : null;
      const sums = Float64Array.from({ length: width }, () => draw.real());
      const [residual, gamma, beta] = [draw.floats(rows * width), draw.floats(width), draw.floats(width)];
      const inPlace = draw.chance();
      const rowsOff = inPlace ? bench.output(rows * width * 4) : bench.space(rows * width * 4);
      bench.window.set(new Uint8Array(residual.buffer), rowsOff);
      const out = inPlace ? rowsOff : bench.output(rows * width * 4);
      const consumers = draw.int(0, 4);
      bench.steps.push('NORM', {
        consumers,
        rows,
        width,
        acc_off: bench.putBlocks([d], rows * stride, stride),
        acc_stride: stride,
        scale_off: scales ? bench.put(scales) : 0,
        scale: 0.01,
        bias_off: bias ? bench.put(bias) : 0,
        starts_off: bench.put(Uint32Array.from(starts)),
        sequences,
        t_off: t ? bench.put(t) : 0,
        sums_off: t ? bench.put(sums) : 0,
        residual_off: rowsOff,
        gamma_off: bench.put(gamma),
        beta_off: bench.put(beta),
        epsilon: 1e-12,
        out_off: out,
      });
      const shape = { heads: 1, rows, width, sequences };
      const drawn = upTo(consumers).map(() =>
        drawConsumer(bench, draw, shape, { minima: false, quarters: false }),
      );
      bench.run();
      const values = upTo(rows).map((row) => {
        const sequence = upTo(sequences).find((index) => starts[index]! <= row && row < starts[index + 1]!)!;
        const sum = upTo(width).map(
          (i) =>
            (scales ? scales[i]! : 0.01) * d[row]![i]! +
            (bias ? bias[i]! : 0) +
            (t ? t[sequence]! * sums[i]! : 0) +
            residual[row * width + i]!,
        );
        return layerNorm(sum, gamma, beta, 1e-12);
      });
      expectFloats(bench.floats(out, rows * width), values.flat());
      for (const consumer of drawn)
        checkConsumer(bench, consumer, { values: [values], starts: [0, rows], exact: false });
    });
  });
});
