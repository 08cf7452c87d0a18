/** MODEL arguments: a file, or the name of a model that comes with the package. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { NAME_PATTERN } from '../model/artifact/format.js';

/** The bundled models. */
export const MODELS_FOLDER = fileURLToPath(new URL('../../models/', import.meta.url));

/** The artifact file of a MODEL argument. What is neither is returned as it is: opening it gives the error. */
export function modelFile(argument: string): string {
  if (existsSync(argument) || !NAME_PATTERN.test(argument)) return argument;
  const bundled = `${MODELS_FOLDER}${argument}.beta`;
  return existsSync(bundled) ? bundled : argument;
}
