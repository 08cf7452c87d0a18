/** Loads libbeta, the C half of this package (native/include/beta.h). Nothing outside src/native knows the FFI library. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import koffi from 'koffi';

/** The header's BETA_ABI that this file was written for. */
const ABI = 2;

/** src/native and dist/native lie equally deep, so one relative path serves both. */
const LIBRARY_PATH = fileURLToPath(new URL('../../native/build/libbeta.so', import.meta.url));

/** A pointer, as the FFI library hands it over. */
export type Pointer = bigint;

/** The functions of beta.h. Offsets, sequences and counts are u32; a negative int is -errno. */
export interface Library {
  error(): string;
  open(uri: string, windowBytes: number, device: [Pointer | null]): number;
  close(device: Pointer): void;
  regRead(device: Pointer, offset: number): number;
  regWrite(device: Pointer, offset: number, value: number): void;
  alive(device: Pointer): number;
  irqCounts(device: Pointer, counts: BigUint64Array): void;
  window(device: Pointer): Pointer;
  windowBus(device: Pointer): number | bigint;
  windowBytes(device: Pointer): number | bigint;
  kick(device: Pointer, tail: number): void;
  wait(device: Pointer, sequence: number, timeoutUs: number): number;
  syncForDevice(device: Pointer, offset: number, bytes: number): number;
  syncComputed(device: Pointer, offset: number, bytes: number): number;
  syncForCpu(device: Pointer, offset: number, bytes: number): number;
  vectorRun(device: Pointer, records: Uint8Array, count: number, failed: [number]): number;
  programLoad(
    windowBytes: number,
    descriptors: Uint8Array,
    descriptorCount: number,
    records: Uint8Array,
    recordCount: number,
    operations: Uint32Array,
    operationCount: number,
    program: [Pointer | null],
  ): number;
  programFree(program: Pointer): void;
  programRun(device: Pointer, program: Pointer, run: Uint8Array, timeline: Float64Array | null): number;
  coreHz(microseconds: number): number;
  notify(state: string): number;
}

/** The library cannot be used: it is missing, does not load, or is of another version. The message says what to run. */
export class NativeLibraryError extends Error {
  constructor(problem: string, options?: ErrorOptions) {
    super(`libbeta: ${problem}; run "npm run build:native"`, options);
    this.name = 'NativeLibraryError';
  }
}

/** Loads the library at `path`. Throws NativeLibraryError. Exported for tests; everything else uses library(). */
export function loadLibrary(path: string): Library {
  if (!existsSync(path)) throw new NativeLibraryError(`${path} does not exist`);
  let handle: ReturnType<typeof koffi.load>;
  let abi: number;
  try {
    handle = koffi.load(path);
    abi = handle.func('uint32_t beta_abi()')();
  } catch (error) {
    throw new NativeLibraryError(
      `${path} cannot be loaded (${error instanceof Error ? error.message : error})`,
      {
        cause: error,
      },
    );
  }
  if (abi !== ABI) throw new NativeLibraryError(`${path} has ABI ${abi}, this package needs ${ABI}`);
  // Devices are plain addresses here: named pointer types are global to the process and could not be declared twice.
  return {
    error: handle.func('const char *beta_error()'),
    open: handle.func('int beta_open(const char *uri, uint64_t window_bytes, _Out_ void **device)'),
    close: handle.func('void beta_close(void *device)'),
    regRead: handle.func('uint32_t beta_reg_read(void *device, uint32_t offset)'),
    regWrite: handle.func('void beta_reg_write(void *device, uint32_t offset, uint32_t value)'),
    alive: handle.func('int beta_alive(void *device)'),
    irqCounts: handle.func('void beta_irq_counts(void *device, void *counts)'),
    window: handle.func('void *beta_window(void *device)'),
    windowBus: handle.func('uint64_t beta_window_bus(void *device)'),
    windowBytes: handle.func('uint64_t beta_window_bytes(void *device)'),
    kick: handle.func('void beta_kick(void *device, uint32_t tail)'),
    wait: handle.func('int beta_wait(void *device, uint32_t sequence, uint32_t timeout_us)'),
    syncForDevice: handle.func('int beta_sync_for_device(void *device, uint32_t offset, uint32_t bytes)'),
    syncComputed: handle.func('int beta_sync_computed(void *device, uint32_t offset, uint32_t bytes)'),
    syncForCpu: handle.func('int beta_sync_for_cpu(void *device, uint32_t offset, uint32_t bytes)'),
    vectorRun: handle.func(
      'int beta_vector_run(void *device, const void *records, uint32_t count, _Out_ uint32_t *failed)',
    ),
    programLoad: handle.func(
      'int beta_program_load(uint64_t window_bytes, const void *descriptors, uint32_t descriptor_count, const void *records, ' +
        'uint32_t record_count, const void *operations, uint32_t operation_count, _Out_ void **program)',
    ),
    programFree: handle.func('void beta_program_free(void *program)'),
    programRun: handle.func('int beta_program_run(void *device, void *program, void *run, void *timeline)'),
    coreHz: handle.func('double beta_core_hz(uint32_t microseconds)'),
    notify: handle.func('int beta_notify(const char *state)'),
  };
}

let loaded: Library | undefined;

/** The library, loaded at the first call. Throws NativeLibraryError. */
export function library(): Library {
  loaded ??= loadLibrary(LIBRARY_PATH);
  return loaded;
}
