/** Class names from config.json. */
import { ImportError } from './import-error.js';

/**
 * `count` names in the order of the classifier's rows, from id2label. The classifier's shape decides how many there are: a
 * config that was never told the number keeps two, so another count gives LABEL_0, LABEL_1, ... and a warning.
 */
export function readLabels(
  config: Record<string, unknown>,
  count: number,
  warn: (message: string) => void,
): string[] {
  const fallback = Array.from({ length: count }, (_, index) => `LABEL_${index}`);
  const table = config.id2label;
  if (table === undefined) return fallback;
  if (typeof table !== 'object' || table === null || Array.isArray(table)) {
    throw new ImportError('bad-config', 'config.json: id2label is no object of the form {"0": "name", ...}');
  }
  const entries = Object.entries(table);
  if (entries.length !== count) {
    warn(
      `config.json: id2label has ${entries.length} names but the classifier has ${count} rows; the classes are called LABEL_0 to LABEL_${count - 1}`,
    );
    return fallback;
  }
  const labels = new Array<string | undefined>(count).fill(undefined);
  for (const [key, name] of entries) {
    const index = Number(key);
    if (!/^\d+$/.test(key) || index >= count || typeof name !== 'string' || name.length > 1000) {
      throw new ImportError(
        'bad-config',
        `config.json: id2label entry ${JSON.stringify(key).slice(0, 40)} is not one of 0 to ${count - 1} with a name`,
      );
    }
    labels[index] = name;
  }
  return labels.map((name, index) => {
    if (name === undefined)
      throw new ImportError('bad-config', `config.json: id2label has no entry for class ${index}`);
    return name;
  });
}
