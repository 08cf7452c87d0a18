/** How sequences are grouped into programs: a pure function of their lengths. */

export interface BatchLimits {
  /** Most tokens of one program, unless a single sequence is longer. */
  readonly rows: number;
  readonly sequences: number;
}

/**
 * Indices of the sequences of each program. Sorted by length, so that batches with the same lengths in any order share one
 * program; an answer does not depend on the grouping, only the speed does.
 */
export function groupSequences(lengths: readonly number[], limits: BatchLimits): number[][] {
  const order = lengths.map((_, index) => index).sort((a, b) => lengths[a]! - lengths[b]! || a - b);
  const groups: number[][] = [];
  let group: number[] = [];
  let rows = 0;
  for (const index of order) {
    const length = lengths[index]!;
    if (group.length > 0 && (rows + length > limits.rows || group.length >= limits.sequences)) {
      groups.push(group);
      group = [];
      rows = 0;
    }
    group.push(index);
    rows += length;
  }
  if (group.length > 0) groups.push(group);
  return groups;
}

/** The members of a group with equal lengths, as groups: a group of one length is one. `lengths` are those of the members, ascending. */
export function splitByLength(group: readonly number[], lengths: readonly number[]): number[][] {
  const groups: number[][] = [];
  group.forEach((member, place) => {
    if (place > 0 && lengths[place] === lengths[place - 1]) groups.at(-1)!.push(member);
    else groups.push([member]);
  });
  return groups;
}
