/** Checkpoint folder to artifact: the whole path from one call, used by `beta import` and by tests. */
import { basename } from 'node:path';
import { compileModel } from '../compiler/compile.js';
import { type Provenance, WARNING_CHARS_MAX, WARNINGS_MAX } from '../model/artifact/format.js';
import { writeArtifact } from '../model/artifact/write.js';
import { openCheckpoint } from '../model/checkpoint/open.js';
import type { ModelDescription } from '../model/description.js';
import type { ImportContext } from '../model/families/family.js';
import { importModel } from '../model/import.js';
import { ImportError } from '../model/import-error.js';
import { MODEL_LIMITS, type Plan } from '../model/plan.js';
import type { Task } from '../model/task.js';
import { readTokenizer } from '../model/vocabulary.js';
import { VERSION } from './version.js';

export interface ImportOptions {
  readonly name?: string;
  readonly maxTokens?: number;
  /** The head to import; left out, the checkpoint decides. */
  readonly task?: Task;
  /** Name of the family; left out, the checkpoint decides. */
  readonly family?: string;
}

export interface ImportSummary {
  readonly plan: Plan;
  readonly provenance: Provenance;
  readonly bytes: number;
}

/** `maxTokens`, if this model can take so many. */
function checkedMaxTokens(maxTokens: number, { embeddings }: ModelDescription): number {
  const positions = embeddings.position.rows;
  const least = MODEL_LIMITS.leastTokens;
  if (Number.isInteger(maxTokens) && maxTokens >= least && maxTokens <= positions) return maxTokens;
  throw new ImportError(
    'bad-option',
    `max tokens ${maxTokens}: this model has ${positions} positions, choose ${least} to ${positions}`,
  );
}

/** Warnings as provenance keeps them: a hostile or broken checkpoint can cause any number of them. */
function keptWarnings(warnings: readonly string[]): string[] {
  const kept = warnings.slice(0, WARNINGS_MAX).map((text) => text.slice(0, WARNING_CHARS_MAX));
  if (warnings.length > WARNINGS_MAX)
    kept[WARNINGS_MAX - 1] = `and ${warnings.length - WARNINGS_MAX + 1} more`;
  return kept;
}

/** Imports `source` (a folder, or a weights file beside its config.json) into the artifact `file`. */
export async function importCheckpoint(
  source: string,
  file: string,
  options: ImportOptions,
  context: ImportContext,
): Promise<ImportSummary> {
  const checkpoint = await openCheckpoint(source);
  try {
    const warnings: string[] = [];
    const description = importModel(checkpoint, {
      ...context,
      ...(options.task !== undefined && { task: options.task }),
      ...(options.family !== undefined && { family: options.family }),
      warn: (message) => {
        warnings.push(message);
        context.warn(message);
      },
    });
    const tokenizer = readTokenizer(checkpoint.folder, description.embeddings.words[0]!.codes.rows);
    const compiled = compileModel(
      description,
      options.maxTokens === undefined ? {} : { maxTokens: checkedMaxTokens(options.maxTokens, description) },
    );
    const provenance: Provenance = {
      family: description.family,
      source: basename(checkpoint.file),
      sourceSha256: checkpoint.sha256,
      compiler: `beta ${VERSION}`,
      warnings: keptWarnings(warnings),
    };
    const bytes = writeArtifact(file, {
      ...compiled,
      tokenizer,
      provenance,
      ...(options.name !== undefined && { name: options.name }),
    });
    return { plan: compiled.plan, provenance, bytes };
  } finally {
    await checkpoint.close();
  }
}
