// Programs of heads that look at every token: no pooler, results of every row, no hazards.
import { describe, expect, it } from 'vitest';
import { withoutHead, withTokenHead } from '../../oracle/heads.js';
import { randomBitCheckpoint, writeCheckpoint } from '../../oracle/random.js';
import { randomBinaryBertCheckpoint } from '../../oracle/random-binarybert.js';
import { compileRandom, Layout, SIZES } from './models.js';

const bit = randomBitCheckpoint({ ...SIZES, bits: 1 });
const binaryBert = randomBinaryBertCheckpoint({
  ...SIZES,
  attention: SIZES.hidden,
  bits: 8,
  method: 'uniform',
});

describe.each([
  ['BiT', bit],
  ['BinaryBERT', binaryBert],
])('%s', (_, full) => {
  const lengths = [3, 5, 8];
  it.each([
    ['question-answering', withTokenHead(full, 'qa_outputs', 2), 2],
    ['token-classification', withTokenHead(full, 'classifier', 7), 7],
    ['hidden-states', withoutHead(full), SIZES.hidden],
  ] as const)('%s', async (task, checkpoint, width) => {
    const compiled = await compileRandom((folder) => writeCheckpoint(folder, checkpoint));
    const { plan, tensors } = compiled;
    expect(plan.head.task).toBe(task);
    expect([...tensors.keys()].filter((name) => name.includes('pooler'))).toEqual([]);
    const layout = new Layout(compiled);
    const program = layout.build(lengths);
    expect(program.outputs).toMatchObject({ rows: 16, width, perToken: true });
    for (const some of [[1], lengths, [40, 1, 17]]) {
      expect(layout.hazards(layout.build(some))).toEqual([]);
    }
  });
});

it('a plan for sequence classification gives one row a sequence', async () => {
  const layout = new Layout(await compileRandom((folder) => writeCheckpoint(folder, bit)));
  expect(layout.build([3, 5, 8]).outputs).toMatchObject({ rows: 3, width: SIZES.labels, perToken: false });
});
