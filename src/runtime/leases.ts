/**
 * Which versions of models are needed: one that has a name now, and one that requests were tokenised for before another took its name.
 * A version is its digest id, for the same one may come, go and come again while requests for it wait.
 */
export class Leases {
  readonly #counts = new Map<string, number>();

  take(id: string): void {
    this.#counts.set(id, (this.#counts.get(id) ?? 0) + 1);
  }

  /** Ends what take() began; whether nobody needs the version any more. */
  end(id: string): boolean {
    const left = (this.#counts.get(id) ?? 0) - 1;
    if (left < 0) throw new Error(`nobody has a lease of ${id}`);
    if (left > 0) this.#counts.set(id, left);
    else this.#counts.delete(id);
    return left === 0;
  }
}
