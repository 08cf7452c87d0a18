/** What a descriptor costs beside its multiplications: the smallest product there is, M = N = 1 and K = 128, one bit. */
import { BEAT_BYTES, BLOCK_ELEMENTS, DESCRIPTOR_BYTES } from '../../device/contract.generated.js';
import { encodeQmm, formatByte } from '../../device/descriptor.js';
import type { Device } from '../../device/device.js';
import { median, quantile, rounded } from './statistics.js';

/** Times in microseconds. */
export interface Latency {
  readonly p50: number;
  readonly p99: number;
}

export interface Overhead {
  /** Nanoseconds of one descriptor among many that stream through the ring. */
  readonly ns_per_descriptor: number;
  /** Submit to done of one descriptor, right after another, µs. */
  readonly latency_us: Latency;
  /** The same after 200 µs in which nothing was submitted. */
  readonly idle_latency_us: Latency;
  /** Entries of the ring. */
  readonly ring: number;
}

/** log2 of the ring that descriptors stream through, where the device takes so many. */
export const OVERHEAD_RING_LOG2 = 10;
const RING = 2 ** OVERHEAD_RING_LOG2;
/** Descriptors of one streaming sample, several times the ring. */
const STREAM = 8 * RING;
const STREAMS_MIN = 9;
const LATENCIES_MIN = 100;
const IDLE_MS = 0.2;
/** An operand and its result, rounded up to a beat each. */
const OPERANDS_BYTES = 3 * BEAT_BYTES;

function smallestProducts(off: number): Uint8Array {
  const pm1 = formatByte({ bits: 1, encoding: 'PM1' });
  const operand = { off, stride: BEAT_BYTES, format: pm1 };
  const descriptors = new Uint8Array(STREAM * DESCRIPTOR_BYTES);
  const view = new DataView(descriptors.buffer);
  for (let index = 0; index < STREAM; index++) {
    encodeQmm(view, index * DESCRIPTOR_BYTES, {
      a: operand,
      b: { ...operand, off: off + BEAT_BYTES },
      o: {
        off: off + 2 * BEAT_BYTES,
        stride: BEAT_BYTES,
        format: formatByte({ bits: 32, encoding: 'S' }),
      },
      m: 1,
      n: 1,
      k: BLOCK_ELEMENTS,
    });
  }
  return descriptors;
}

/** Samples for `ms` milliseconds, at least `least` of them. */
function samples(ms: number, least: number, sample: () => number): number[] {
  const taken: number[] = [];
  const end = performance.now() + ms;
  while (taken.length < least || performance.now() < end) taken.push(sample());
  return taken;
}

function latency(taken: readonly number[]): Latency {
  return { p50: rounded(median(taken) * 1000, 3), p99: rounded(quantile(taken, 0.99) * 1000, 3) };
}

/** Measures for about `seconds`. Throws as Device.submit and wait do. */
export function measureOverhead(device: Device, seconds: number): Overhead {
  const operands = device.allocator.allocate(OPERANDS_BYTES, 'operands of the benchmark');
  try {
    const descriptors = smallestProducts(operands.off);
    const time = (count: number) => {
      const begin = performance.now();
      device.wait(device.submit(descriptors, 0, count));
      return performance.now() - begin;
    };
    const third = (seconds * 1000) / 3;
    time(STREAM);
    const streams = samples(third, STREAMS_MIN, () => time(STREAM) / STREAM);
    const busy = samples(third, LATENCIES_MIN, () => time(1));
    const idle = samples(third, LATENCIES_MIN, () => {
      const end = performance.now() + IDLE_MS;
      while (performance.now() < end);
      return time(1);
    });
    return {
      ns_per_descriptor: rounded(median(streams) * 1e6, 3),
      latency_us: latency(busy),
      idle_latency_us: latency(idle),
      ring: Math.min(RING, 2 ** device.capabilities.ringLog2Max),
    };
  } finally {
    device.allocator.free(operands);
  }
}
