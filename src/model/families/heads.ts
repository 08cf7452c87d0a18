/**
 * The head of a checkpoint: which task it is for, and its tensors. What the released code calls `classifier` stands on the pooler
 * (sequence classification) or on every token (token classification); `qa_outputs` gives a start and an end logit for every token.
 */
import type { Checkpoint } from '../checkpoint/open.js';
import type { Linear, ModelDescription, RealLinear } from '../description.js';
import { ImportError } from '../import-error.js';
import { readLabels } from '../labels.js';
import { MODEL_LIMITS } from '../plan.js';
import type { Task } from '../task.js';
import type { TensorSource } from '../tensor-source.js';
import type { ImportContext } from './family.js';

const POOLER = 'bert.pooler';
const CLASSIFIER = 'classifier';
const SPANS = 'qa_outputs';

/** The linear layer that each task reads. */
const DENSE: Readonly<Record<Task, string | null>> = {
  'sequence-classification': CLASSIFIER,
  'token-classification': CLASSIFIER,
  'question-answering': SPANS,
  'hidden-states': null,
};

/** Class names in config.json's `architectures`. Others, such as BertForMaskedLM, are left over from what a model was trained from. */
const ARCHITECTURES: readonly (readonly [RegExp, Task])[] = [
  [/ForSequenceClassification$/, 'sequence-classification'],
  [/ForTokenClassification$/, 'token-classification'],
  [/ForQuestionAnswering$/, 'question-answering'],
  [/Model$/, 'hidden-states'],
];

/** The class that config.json names first, and its task; undefined where it names none that has one. */
function architectureOf(config: Record<string, unknown>): { name: string; task: Task } | undefined {
  const name: unknown = Array.isArray(config.architectures) ? config.architectures[0] : undefined;
  if (typeof name !== 'string' || name.length > 100) return undefined;
  const task = ARCHITECTURES.find(([pattern]) => pattern.test(name))?.[1];
  return task === undefined ? undefined : { name, task };
}

/** The task that the tensors speak for. */
function taskOfTensors(source: TensorSource): Task {
  if (source.hasPart(SPANS)) return 'question-answering';
  if (!source.hasPart(CLASSIFIER)) return 'hidden-states';
  return source.hasPart(POOLER) ? 'sequence-classification' : 'token-classification';
}

/** The task of a checkpoint nobody said anything about: what its tensors are, and its configuration where they leave a choice. */
function chooseTask(
  { config }: Checkpoint,
  source: TensorSource,
  warn: (message: string) => void,
): { task: Task; why: string } {
  const tensors = taskOfTensors(source);
  const architecture = architectureOf(config);
  if (architecture === undefined || architecture.task === tensors)
    return { task: tensors, why: 'its tensors' };
  const { name, task } = architecture;
  const why = `config.json, architectures: ${name}`;
  // A classifier suits both classifications: files for tokens may hold a pooler that nothing reads. And a head that is named but missing is
  // for readHead to complain about: an encoder alone may not be what was meant.
  const dense = DENSE[task];
  if (dense !== null && (tensors === 'hidden-states' || dense === DENSE[tensors])) return { task, why };
  warn(
    `${why}, but the tensors are those of ${tensors}, which is what is imported; --task chooses another head`,
  );
  return { task: tensors, why: 'its tensors' };
}

/** What there is in place of a missing head. */
function describeParts(source: TensorSource): string {
  const parts = [POOLER, CLASSIFIER, SPANS].filter((part) => source.hasPart(part));
  return parts.length === 0 ? 'no head at all' : parts.join(' and ');
}

function needPart(part: string, task: Task, why: string, file: string, source: TensorSource): void {
  if (source.hasPart(part)) return;
  const tensor = part === POOLER ? `${POOLER}.dense.weight` : `${part}.weight`;
  throw new ImportError(
    'missing-tensor',
    `${file}: no tensor ${tensor}, which ${task} needs (chosen by ${why}); the file has ${describeParts(source)}. ` +
      `Save the whole model with its head, or choose another one with --task (hidden-states needs none)`,
  );
}

function readDense(source: TensorSource, part: string, hidden: number): RealLinear {
  const rows = source.rows(`${part}.weight`, 1, MODEL_LIMITS.labels);
  return {
    weight: { rows, cols: hidden, values: source.matrix(`${part}.weight`, rows, hidden) },
    bias: source.vector(`${part}.bias`, rows),
  };
}

/** Reads the head. Throws ImportError, which names what is missing for the task and what chose it. */
export function readHead(
  checkpoint: Checkpoint,
  source: TensorSource,
  hidden: number,
  readPooler: () => Linear,
  { task: requested, warn }: ImportContext,
): Pick<ModelDescription, 'head' | 'labels'> {
  const { task, why } =
    requested === undefined
      ? chooseTask(checkpoint, source, warn)
      : { task: requested, why: `--task ${requested}` };
  const part = DENSE[task];
  // Without a classification of sequences the pooler is dead, and so is every other head where somebody chose this one.
  if (task !== 'sequence-classification') source.ignorePart(POOLER);
  if (requested !== undefined)
    for (const other of [CLASSIFIER, SPANS]) if (other !== part) source.ignorePart(other);
  if (task === 'hidden-states' || part === null) return { head: { task: 'hidden-states' }, labels: [] };

  needPart(part, task, why, checkpoint.file, source);
  if (task === 'sequence-classification') needPart(POOLER, task, why, checkpoint.file, source);
  const dense = readDense(source, part, hidden);
  const { rows } = dense.weight;
  if (task === 'question-answering') {
    if (rows !== 2) {
      throw new ImportError(
        'wrong-shape',
        `${checkpoint.file}: ${SPANS}.weight has ${rows} rows; question answering has two, start and end`,
      );
    }
    return { head: { task, dense }, labels: [] };
  }
  const labels = readLabels(checkpoint.config, rows, warn);
  if (task === 'token-classification') return { head: { task, dense }, labels };
  return { head: { task, pooler: readPooler(), dense }, labels };
}
