/** Numbers that look random and are the same in every run: times must not depend on luck. Returns a source of 32-bit numbers. */
export function random32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state;
  };
}

/** The same as whole numbers from 0 to below a limit. */
export function randomBelow(seed: number): (limit: number) => number {
  const random = random32(seed);
  return (limit) => Math.floor((random() / 2 ** 32) * limit);
}
