/** Which head a checkpoint is imported with: its tensors, its configuration where they leave a choice, and --task. */
import { expect, test } from 'vitest';
import { openCheckpoint } from '../../../src/model/checkpoint/open.js';
import type { ModelDescription } from '../../../src/model/description.js';
import { importModel } from '../../../src/model/import.js';
import type { ImportError } from '../../../src/model/import-error.js';
import type { Task } from '../../../src/model/task.js';
import { withoutHead, withTokenHead } from '../../oracle/heads.js';
import type { RandomBitCheckpoint } from '../../oracle/random.js';
import { checkpointWith, imported, saved, temporaryFolder } from './support.js';

const folder = temporaryFolder();

interface Outcome {
  readonly description: ModelDescription;
  readonly warnings: readonly string[];
}

/** Imports a checkpoint, by itself or for a task. */
async function outcome(checkpoint: RandomBitCheckpoint, task?: Task): Promise<Outcome> {
  const warnings: string[] = [];
  const source = await openCheckpoint(saved(folder, checkpoint));
  try {
    const description = importModel(source, {
      warn: (message) => warnings.push(message),
      progress: () => undefined,
      ...(task !== undefined && { task }),
    });
    return { description, warnings };
  } finally {
    await source.close();
  }
}

const refusal = (checkpoint: RandomBitCheckpoint, task?: Task) =>
  outcome(checkpoint, task).then(
    () => expect.fail('it was not refused'),
    (error: unknown) => error as ImportError,
  );

const full = checkpointWith();
const named = (architecture: string, checkpoint = full): RandomBitCheckpoint => ({
  tensors: checkpoint.tensors,
  config: { ...checkpoint.config, architectures: [architecture] },
});
const spans = withTokenHead(full, 'qa_outputs', 2);
const tokens = withTokenHead(full, 'classifier', 5);
const both = { config: full.config, tensors: new Map([...full.tensors, ...spans.tensors]) };

test.each<[string, RandomBitCheckpoint, Task]>([
  ['a classifier on a pooler', full, 'sequence-classification'],
  ['the same, named', named('BertForSequenceClassification'), 'sequence-classification'],
  ['the name of what it was trained from', named('BertForMaskedLM'), 'sequence-classification'],
  [
    'a name that is no text',
    { ...full, config: { ...full.config, architectures: [7] } },
    'sequence-classification',
  ],
  [
    'names that are no list',
    { ...full, config: { ...full.config, architectures: 'X' } },
    'sequence-classification',
  ],
  ['a classifier without a pooler', tokens, 'token-classification'],
  [
    'a classifier beside a pooler that is not read',
    withTokenHead(full, 'classifier', 5, { pooler: true, architecture: 'BertForTokenClassification' }),
    'token-classification',
  ],
  ['qa_outputs', spans, 'question-answering'],
  [
    'qa_outputs beside a pooler',
    withTokenHead(full, 'qa_outputs', 2, { pooler: true }),
    'question-answering',
  ],
  ['no head', withoutHead(full), 'hidden-states'],
  ['a pooler alone', withoutHead(full, { pooler: true, architecture: 'BertModel' }), 'hidden-states'],
])('%s', async (_, checkpoint, task) => {
  const { description, warnings } = await outcome(checkpoint);
  expect(description.head.task).toBe(task);
  expect(warnings.filter((text) => /tensor|architectures/.test(text))).toEqual([]);
});

test('tensors win over a name that does not fit them, with a warning', async () => {
  for (const [checkpoint, task] of [
    [named('BertModel'), 'sequence-classification'],
    [named('BertForQuestionAnswering'), 'sequence-classification'],
    [named('BertForTokenClassification', spans), 'question-answering'],
  ] as const) {
    const { description, warnings } = await outcome(checkpoint);
    expect(description.head.task).toBe(task);
    expect(warnings).toContainEqual(expect.stringMatching(/architectures: Bert.*--task/));
  }
});

test('--task chooses among what is there, and what it leaves out is no warning', async () => {
  for (const [checkpoint, task] of [
    [full, 'hidden-states'],
    [full, 'token-classification'],
    [both, 'question-answering'],
    [both, 'sequence-classification'],
  ] as const) {
    const { description, warnings } = await outcome(checkpoint, task);
    expect(description.head.task).toBe(task);
    expect(warnings.filter((text) => /tensor/.test(text))).toEqual([]);
  }
  // Nobody asked for it to be left out: that is worth a word.
  expect((await outcome(both)).warnings).toContainEqual(expect.stringMatching(/classifier\.weight/));
});

test('class names: from the configuration for both classifications, none otherwise', async () => {
  const names = (count: number) => Array.from({ length: count }, (_, i) => `intent_${i}`);
  expect((await outcome(full)).description.labels).toEqual(names(3));
  expect((await outcome(withTokenHead(full, 'classifier', 3))).description.labels).toEqual(names(3));
  expect((await outcome(tokens)).description.labels).toEqual(names(5).map((_, i) => `LABEL_${i}`));
  expect((await outcome(spans)).description.labels).toEqual([]);
  expect((await outcome(withoutHead(full))).description.labels).toEqual([]);
});

test('a head that is not there: the error names the tensor, what chose it, and what there is', async () => {
  const asked = await refusal(full, 'question-answering');
  expect(asked.code).toBe('missing-tensor');
  expect(asked.message).toMatch(/qa_outputs\.weight.*--task question-answering.*bert\.pooler and classifier/);
  const configured = await refusal(withoutHead(full, { architecture: 'BertForSequenceClassification' }));
  expect(configured.code).toBe('missing-tensor');
  expect(configured.message).toMatch(
    /classifier\.weight.*architectures: BertForSequenceClassification.*no head at all.*--task/,
  );
  expect((await refusal(tokens, 'sequence-classification')).message).toMatch(/bert\.pooler\.dense\.weight/);
});

test('question answering has two outputs', async () => {
  const error = await refusal(withTokenHead(full, 'qa_outputs', 3));
  expect(error.code).toBe('wrong-shape');
  expect(error.message).toMatch(/3 rows.*start and end/);
});

test('a bare encoder, saved without the prefix, is the same model', async () => {
  const bare = withoutHead(full, { pooler: true });
  const renamed = {
    config: bare.config,
    tensors: new Map([...bare.tensors].map(([name, tensor]) => [name.replace(/^bert\./, ''), tensor])),
  };
  expect([...renamed.tensors.keys()].some((name) => name.startsWith('bert.'))).toBe(false);
  const [expected, found] = [await outcome(bare), await outcome(renamed)];
  expect(found.description).toEqual(expected.description);
  expect(found.warnings).toEqual(expected.warnings);
});

test('the importer passes the task on, and a plan without pooler needs no operand for it', async () => {
  const { plan } = await imported(saved(folder, full), { task: 'hidden-states' });
  expect(plan.head).toEqual({ task: 'hidden-states' });
  expect(plan.labels).toEqual([]);
});
