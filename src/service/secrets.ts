/** Files with passwords, certificates and keys. */
import { readFileSync, statSync } from 'node:fs';
import { messageOf, ServiceError } from './errors.js';

const MAX_PEM_BYTES = 2 ** 20;
const MAX_PASSWORD_BYTES = 4096;

/** The first line of a file. Throws ServiceError 'config'. */
export function readPassword(what: string, file: string): string {
  const text = read(what, file, MAX_PASSWORD_BYTES).toString('utf8');
  return (text.split(/\r?\n/, 1)[0] as string).trim();
}

/** A PEM file. Throws ServiceError 'config'. */
export function readPem(what: string, file: string): Buffer {
  const bytes = read(what, file, MAX_PEM_BYTES);
  if (!bytes.includes('-----BEGIN '))
    throw new ServiceError('config', `${what}: ${file}: it is not in PEM form`);
  return bytes;
}

function read(what: string, file: string, most: number): Buffer {
  try {
    if (statSync(file).size > most) throw new Error(`larger than ${most} bytes`);
    return readFileSync(file);
  } catch (error) {
    throw new ServiceError('config', `${what}: ${file}: ${messageOf(error)}`, { cause: error });
  }
}
