/** Board profiles: what a board has, where it is found, and what its programmable logic needs before anyone may touch it. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { z } from 'zod';
import { DeviceError } from '../errors.js';
import { readStrings, systemPath } from './system.js';

const name = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/, 'a name of letters, digits, ".", "_" and "-"');

const logicSchema = z.strictObject({
  manager: name.describe('in /sys/class/fpga_manager'),
  package: name.describe('of the bitstream, in /lib/firmware/xilinx; also the name of its overlay'),
  clock: z
    .enum(['fclk', 'boot'])
    .describe(
      'fclk: an xlnx,fclk node keeps it on and proves it; boot: the boot loader started it and nothing stops it',
    ),
  axiTimeout: z
    .boolean()
    .default(false)
    .describe('the loader switches on the AXI timeout blocks of a ZynqMP; not verified on silicon'),
});

const railSchema = z.strictObject({
  chip: name.describe('INA226 by its reference on the board, such as u79'),
  rail: z.string().min(1).max(40),
  domain: z.enum(['PL', 'PS', 'DDR']),
  accelerator: z.boolean().default(false).describe('counts as power of the accelerator'),
});

export const ProfileSchema = z.strictObject({
  version: z.literal(1),
  board: name,
  title: z.string().min(1).max(100),
  compatible: z
    .array(z.string().min(1))
    .min(1)
    .describe('strings of the root node of the device tree that mean this board'),
  logic: logicSchema
    .nullable()
    .describe('null where the engine is no programmable logic, as on an emulated machine'),
  engine: z.strictObject({
    uio: name.default('beta-qmm0'),
    pool: name.default('beta-pool0'),
    coherent: z
      .boolean()
      .default(false)
      .describe('the engine reads through a coherent port (HPC), and the pool is dma-coherent'),
    poolBytes: z
      .int()
      .min(2 ** 16)
      .max(2 ** 32 - 1)
      .describe('the least size of the pool'),
  }),
  kernel: z
    .strictObject({
      options: z.array(z.string().regex(/^CONFIG_[A-Z0-9_]+$/)).default([]),
      modules: z.array(name).default([]),
    })
    .prefault({}),
  rails: z.array(railSchema).default([]),
});

export type Profile = z.output<typeof ProfileSchema>;
export type Rail = Profile['rails'][number];

/** src/device/board and dist/device/board lie equally deep. */
const BUNDLED = fileURLToPath(new URL('../../../firmware-config/boards', import.meta.url));
const LOCAL = '/etc/beta/boards';
const MAX_FILE_BYTES = 2 ** 16;

/** The schema in the form that editors read. */
export function profileJsonSchema(): object {
  return z.toJSONSchema(ProfileSchema, { io: 'input' });
}

/** Reads one profile. Throws DeviceError 'bad-profile' naming the file and the field. */
export function readProfile(file: string): Profile {
  const fail = (problem: string) => new DeviceError('bad-profile', `${file}: ${problem}`);
  if (statSync(file).size > MAX_FILE_BYTES) throw fail('larger than 64 KiB, which no board profile is');
  let value: unknown;
  try {
    value = parse(readFileSync(file, 'utf8'), { maxAliasCount: 10 });
  } catch (error) {
    throw fail(error instanceof Error ? error.message.trimEnd() : String(error));
  }
  const result = ProfileSchema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw fail(`${issue?.path.join('.') || 'the file'}: ${issue?.message}`);
}

/** Every profile: those of /etc/beta/boards first, because they override. */
export function listProfiles(): Profile[] {
  return [systemPath(LOCAL), BUNDLED].flatMap((folder) => {
    if (!existsSync(folder)) return [];
    const files = readdirSync(folder).filter((file) => file.endsWith('.yaml'));
    return files.sort().map((file) => readProfile(join(folder, file)));
  });
}

/** What this machine says it is: `compatible` of the device tree's root, most specific first; none on a PC. */
export function machineCompatible(): string[] {
  return readStrings('/proc/device-tree/compatible');
}

/** The profile of this machine, or undefined when it is no board that anyone has described. */
export function findProfile(): Profile | undefined {
  const compatible = machineCompatible();
  if (compatible.length === 0) return undefined;
  const profiles = listProfiles();
  for (const string of compatible) {
    const found = profiles.find((profile) => profile.compatible.includes(string));
    if (found) return found;
  }
  return undefined;
}
