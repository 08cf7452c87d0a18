/** Figures from samples. */

/** The sample that `share` (0 to 1) of all samples do not exceed. */
export function quantile(samples: readonly number[], share: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[Math.min(Math.floor(sorted.length * share), sorted.length - 1)]!;
}

export function median(samples: readonly number[]): number {
  return quantile(samples, 0.5);
}

/** Digits that a measurement can mean. */
export function rounded(value: number, digits = 4): number {
  return Number(value.toPrecision(digits));
}
