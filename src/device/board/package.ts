/**
 * Bitstream packages: /lib/firmware/xilinx/NAME with shell.json, one .bit.bin and one .dtbo, so that the distributions' own tools
 * (fpgautil, dfx-mgr) load them too.
 */
import { createHash } from 'node:crypto';
import { existsSync, lstatSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { DeviceError } from '../errors.js';
import { list, systemPath } from './system.js';

const FOLDER = '/lib/firmware/xilinx';
export const PACKAGE_NAME = /^[a-z0-9][a-z0-9_-]{0,62}$/;
/** The ZU9EG's bitstream is 26 MB. */
const MAX_BITSTREAM_BYTES = 128 * 2 ** 20;
const MAX_OVERLAY_BYTES = 2 ** 20;
const FDT_MAGIC = 0xd00dfeed;

const shellSchema = z.looseObject({
  shell_type: z.literal('PL_FLAT', 'must be PL_FLAT: the engine takes the whole fabric'),
  num_slots: z.union([z.string(), z.number()]).optional(),
});

export interface BitstreamPackage {
  readonly name: string;
  readonly folder: string;
  readonly bitstream: string;
  readonly overlay: string;
  readonly bytes: number;
  /** Of the .bit.bin, hexadecimal. */
  readonly sha256: string;
}

/** Names of the packages that are installed, whole or not. */
export function listPackages(): string[] {
  return list(FOLDER).filter(
    (name) => PACKAGE_NAME.test(name) && existsSync(systemPath(FOLDER, name, 'shell.json')),
  );
}

/** Reads and checks a package. Throws DeviceError 'bad-package' naming the file. */
export function readPackage(name: string): BitstreamPackage {
  const fail = (problem: string) => new DeviceError('bad-package', `bitstream package ${name}: ${problem}`);
  if (!PACKAGE_NAME.test(name)) throw fail('a name has lower-case letters, digits, "-" and "_"');
  const folder = systemPath(FOLDER, name);
  if (!existsSync(folder)) {
    const others = listPackages();
    throw fail(
      `there is no ${folder}${others.length > 0 ? `; installed: ${others.join(', ')}` : '; none is installed'}`,
    );
  }
  const files = readdirSync(folder);
  const only = (suffix: string, most: number): { file: string; content: Buffer } => {
    const found = files.filter((file) => file.endsWith(suffix));
    if (found.length !== 1) throw fail(`needs exactly one ${suffix} in ${folder}, there are ${found.length}`);
    const file = join(folder, found[0]!);
    const info = lstatSync(file);
    if (!info.isFile()) throw fail(`${file} is no plain file`);
    if (info.size === 0 || info.size > most)
      throw fail(`${file} has ${info.size} bytes; 1 to ${most} are possible`);
    return { file, content: readFileSync(file) };
  };
  const shell = only('shell.json', 2 ** 16);
  let parsed: unknown;
  try {
    parsed = JSON.parse(shell.content.toString('utf8'));
  } catch (error) {
    throw fail(`${shell.file}: ${error instanceof Error ? error.message : error}`);
  }
  const checked = shellSchema.safeParse(parsed);
  if (!checked.success) {
    const [issue] = checked.error.issues;
    throw fail(`${shell.file}: ${issue?.path.join('.')}: ${issue?.message}`);
  }
  const overlay = only('.dtbo', MAX_OVERLAY_BYTES);
  if (overlay.content.length < 4 || overlay.content.readUInt32BE(0) !== FDT_MAGIC)
    throw fail(`${overlay.file} is no compiled device tree; compile it with dtc -@`);
  const bitstream = only('.bit.bin', MAX_BITSTREAM_BYTES);
  return {
    name,
    folder,
    bitstream: bitstream.file,
    overlay: overlay.file,
    bytes: bitstream.content.length,
    sha256: createHash('sha256').update(bitstream.content).digest('hex'),
  };
}
