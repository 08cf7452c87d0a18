/** Reading sysfs, procfs and the device tree: small files, bounded, under a root that tests may move. */
import { accessSync, closeSync, constants, existsSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';

const MAX_BYTES = 2 ** 16;

/** The folder that stands in for "/" in every path of a board: BETA_ROOT, for tests. libbeta looks at it too. */
export function systemRoot(): string {
  return process.env.BETA_ROOT ?? '';
}

/** A path of the system, under the root. */
export function systemPath(...parts: string[]): string {
  return join(systemRoot() || '/', ...parts);
}

/** The beginning of a file (64 KiB), or undefined where it cannot be read. */
export function readSystem(...parts: string[]): Buffer | undefined {
  let file: number;
  try {
    file = openSync(systemPath(...parts), 'r');
  } catch {
    return undefined; // It is not there, or not for us: callers tell both apart where it matters.
  }
  try {
    const buffer = Buffer.alloc(MAX_BYTES);
    let length = 0;
    for (;;) {
      const got = readSync(file, buffer, length, MAX_BYTES - length, null);
      length += got;
      if (got === 0 || length === MAX_BYTES) return buffer.subarray(0, length);
    }
  } catch {
    return undefined; // sysfs answers with an error for a device that is going away.
  } finally {
    closeSync(file);
  }
}

/** The first line of a file without spaces around it, or undefined. */
export function readLine(...parts: string[]): string | undefined {
  return readSystem(...parts)
    ?.toString('utf8')
    .replace(/\0/g, '\n')
    .trimStart()
    .split('\n', 1)[0]
    ?.trim();
}

/** A file as a whole number (decimal or 0x), or undefined where it is none. */
export function readNumber(...parts: string[]): number | undefined {
  const line = readLine(...parts);
  if (line === undefined || !/^(-?\d+|0x[0-9a-f]+)$/i.test(line)) return undefined;
  return Number(line);
}

/** The strings of a device-tree property, or none. */
export function readStrings(...parts: string[]): string[] {
  const text = readSystem(...parts)?.toString('utf8') ?? '';
  return text.split('\0').filter((part) => part !== '');
}

/** Names in a folder, sorted; none where it cannot be read. */
export function list(...parts: string[]): string[] {
  try {
    return readdirSync(systemPath(...parts)).sort();
  } catch {
    return [];
  }
}

export const exists = (...parts: string[]): boolean => existsSync(systemPath(...parts));

/** Whether this process may read and write a file. */
export function mayUse(...parts: string[]): boolean {
  try {
    accessSync(systemPath(...parts), constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
