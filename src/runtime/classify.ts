/** Logits to classes. */

export interface Classification {
  readonly label: string;
  /** Softmax probability of the label. */
  readonly score: number;
  /** The best classes, best first, where more than one was asked for. */
  readonly top?: readonly { readonly label: string; readonly score: number }[];
}

/** The class of the largest logit (the first of equals) and its softmax score, computed in double. */
export function classify(logits: ArrayLike<number>, labels: readonly string[], top?: number): Classification {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i]! > logits[best]!) best = i;
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i]! - logits[best]!);
  const score = (index: number) => Math.exp(logits[index]! - logits[best]!) / sum;
  const first = { label: labels[best]!, score: score(best) };
  if (top === undefined) return first;
  const order = Array.from({ length: logits.length }, (_, index) => index).sort(
    (a, b) => logits[b]! - logits[a]! || a - b,
  );
  return {
    ...first,
    top: order.slice(0, top).map((index) => ({ label: labels[index]!, score: score(index) })),
  };
}
