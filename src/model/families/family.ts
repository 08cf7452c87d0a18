import type { Checkpoint } from '../checkpoint/open.js';
import type { ModelDescription } from '../description.js';
import type { Task } from '../task.js';

/** What an importer may tell the caller while it works. */
export interface ImportContext {
  /** Something the user should know but that does not stop the import. */
  readonly warn: (message: string) => void;
  /** `done` of `total` encoder layers. */
  readonly progress: (what: string, done: number, total: number) => void;
  /** The head to import; left out, the checkpoint decides. */
  readonly task?: Task;
  /** Name of the family; left out, the checkpoint's fingerprints decide. */
  readonly family?: string;
}

/** One family of checkpoints: one file, its keys and traps. */
export interface Family {
  readonly name: string;
  /** A tensor that tells this family from the others (docs/quantisation.md), or undefined where there is none. */
  fingerprint(checkpoint: Checkpoint): string | undefined;
  /** Throws ImportError. */
  import(checkpoint: Checkpoint, context: ImportContext): ModelDescription;
}
