/** Deterministic pseudo-random numbers for contract tests: a seed in a failure message is enough to repeat it. */

/** Mulberry32: a function that returns the next u32. */
export function random32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  };
}

/** Fills bytes with pseudo-random values. */
export function fillRandom(bytes: Uint8Array, seed: number): void {
  const next = random32(seed);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  for (; at + 4 <= bytes.byteLength; at += 4) view.setUint32(at, next());
  for (; at < bytes.byteLength; at++) view.setUint8(at, next() & 0xff);
}
