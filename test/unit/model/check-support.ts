// Test support: what PlanChecker says of a good plan with one thing changed.
import { expect } from 'vitest';
import { PlanChecker } from '../../../src/model/artifact/check.js';
import { Artifact } from '../../../src/model/artifact/read.js';
import { imported } from './support.js';

/** Changes a plan, or the sizes of the tensors beside it. */
// biome-ignore lint/suspicious/noExplicitAny: plans that break every rule
export type Change = (plan: any, sizes: Map<string, number>) => void;

/** A plan and the bytes of its tensors. */
export interface Good {
  readonly plan: unknown;
  readonly sizes: Map<string, number>;
}

/** The plan that a checkpoint folder is compiled to. */
export async function goodPlan(source: string): Promise<Good> {
  const { file } = await imported(source);
  const { plan, tensors } = Artifact.open(file);
  return { plan, sizes: new Map([...tensors].map(([name, { bytes }]) => [name, bytes])) };
}

/** What the checker says of a changed copy; undefined where it finds nothing. */
export function verdict(good: Good, change: Change): string | undefined {
  const { plan, sizes } = structuredClone(good);
  change(plan, sizes);
  try {
    // biome-ignore lint/suspicious/noExplicitAny: see above
    new PlanChecker(sizes).check(plan as any);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Every tensor that a plan names. */
function named(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (typeof value !== 'object' || value === null) return [];
  return Object.values(value).flatMap(named);
}

/** Takes away, shortens and lengthens each tensor in turn; none may be without a use. */
export function checkEveryTensor(good: Good): void {
  const used = new Set(named(good.plan).filter((name) => good.sizes.has(name)));
  expect([...good.sizes.keys()].filter((name) => !used.has(name))).toEqual([]);
  for (const name of used) {
    const quoted = JSON.stringify(name);
    expect(verdict(good, (_, sizes) => sizes.delete(name))).toContain(`there is no tensor ${quoted}`);
    for (const bytes of [good.sizes.get(name)! - 64, good.sizes.get(name)! + 64]) {
      const says = verdict(good, (_, sizes) => sizes.set(name, bytes));
      expect(says).toContain(`tensor ${quoted} has ${bytes} bytes`);
    }
  }
}
