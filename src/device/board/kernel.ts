/** What the running kernel brings for a board: options, modules, memory for DMA. */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import type { Check } from './liveness.js';
import type { Profile } from './profile.js';
import { exists, readLine, readNumber, readSystem, systemPath } from './system.js';

const MAX_CONFIG_BYTES = 2 ** 22;

/** The kernel's configuration file, or undefined where it does not say. */
function kernelConfig(): string | undefined {
  const release = readLine('/proc/sys/kernel/osrelease') ?? '';
  for (const [file, unpack] of [
    ['/proc/config.gz', (bytes: Buffer) => gunzipSync(bytes, { maxOutputLength: MAX_CONFIG_BYTES })],
    [`/boot/config-${release}`, (bytes: Buffer) => bytes],
  ] as const) {
    try {
      return unpack(readFileSync(systemPath(file))).toString('latin1');
    } catch {
      // The next place; where there is none, the check says so.
    }
  }
  return undefined;
}

/** Kernel options, modules and DMA memory that a profile asks for. */
export function checkKernel(profile: Profile): Check[] {
  return [
    checkOptions(profile.kernel.options),
    ...checkModules(profile.kernel.modules),
    checkMemory(profile),
  ];
}

function checkOptions(wanted: readonly string[]): Check {
  const id = 'kernel options';
  const config = kernelConfig();
  if (config === undefined)
    return {
      id,
      state: 'warn',
      text: 'the kernel does not tell its options (no /proc/config.gz, no /boot/config-*)',
      fix: 'not needed if everything else here is well',
    };
  const missing = wanted.filter((option) => !new RegExp(`^${option}=[ym]$`, 'm').test(config));
  if (missing.length === 0) return { id, state: 'ok', text: `all ${wanted.length} of the profile are set` };
  return {
    id,
    state: 'warn',
    text: `not set: ${missing.join(', ')}`,
    fix: 'use a kernel with these options; a module built outside the kernel tree does as well',
  };
}

function checkModules(wanted: readonly string[]): Check[] {
  return wanted.map((module): Check => {
    const id = `module ${module}`;
    if (exists('/sys/module', module)) return { id, state: 'ok', text: 'loaded' };
    return {
      id,
      state: 'warn',
      text: 'not loaded, unless it is built in without parameters',
      fix: `sudo modprobe ${module}`,
    };
  });
}

/** A pool from CMA needs CMA as large; one from reserved memory needs none. */
function checkMemory({ engine }: Profile): Check {
  const id = 'DMA memory';
  const kilobytes = (name: string) =>
    Number(
      new RegExp(`^${name}:\\s*(\\d+) kB$`, 'm').exec(
        readSystem('/proc/meminfo')?.toString('latin1') ?? '',
      )?.[1] ?? 0,
    );
  const [total, free] = [kilobytes('CmaTotal'), kilobytes('CmaFree')];
  const size = readNumber('/sys/class/u-dma-buf', engine.pool, 'size');
  const cma =
    total === 0 ? 'no CMA' : `CMA ${Math.floor(total / 1024)} MiB, ${Math.floor(free / 1024)} MiB free`;
  if (size !== undefined)
    return { id, state: 'ok', text: `${cma}; the pool has ${Math.floor(size / 2 ** 20)} MiB` };
  const needed = engine.poolBytes / 1024;
  if (free >= needed) return { id, state: 'ok', text: `${cma}: enough for the pool` };
  return {
    id,
    state: 'warn',
    text: `${cma}, and no pool yet, which takes ${Math.ceil(needed / 1024)} MiB`,
    fix: 'reserve memory with firmware-config/overlay/beta-pool.dtsi, or boot with a larger cma=',
  };
}
