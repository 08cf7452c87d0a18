/** From what a person writes (files and folders) to artifact files. */
import { readdirSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { messageOf, ServiceError } from './errors.js';

const ENDING = '.beta';

/**
 * Every file, and every .beta file of every folder in alphabetical order, without repetition. `base` is what relative
 * paths are relative to. Throws ServiceError 'config' for what is missing or empty.
 */
export function expandModels(paths: readonly string[], base: string): string[] {
  const files = new Set<string>();
  for (const path of paths) {
    const full = resolve(base, path);
    for (const file of expand(full)) files.add(file);
  }
  if (files.size === 0)
    throw new ServiceError('config', 'models: none; give .beta files or a folder of them');
  return [...files];
}

function expand(path: string): string[] {
  try {
    if (!statSync(path).isDirectory()) return [path];
    const files = readdirSync(path)
      .filter((name) => name.endsWith(ENDING))
      .sort()
      .map((name) => join(path, name));
    if (files.length === 0) throw new Error(`no ${ENDING} file in this folder`);
    return files;
  } catch (error) {
    const missing = (error as { code?: unknown }).code === 'ENOENT';
    throw new ServiceError(
      'config',
      missing
        ? `models: ${path}: no such file; "beta import" makes one from a checkpoint`
        : `models: ${path}: ${messageOf(error)}`,
      { cause: error },
    );
  }
}
