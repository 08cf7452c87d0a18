/** Other libraries' matrix products (native/peers/peer.h), for `beta bench qmm`. All are optional. */
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import koffi from 'koffi';
import type { Pointer } from './library.js';

export const PEERS = ['onednn', 'openblas'] as const;
export type PeerName = (typeof PEERS)[number];

/** Instruction sets that a peer can be kept to. */
export const PEER_ISAS = ['avx2'] as const;
export type PeerIsa = (typeof PEER_ISAS)[number];

/** Where `make -C native peers` puts them. */
export const PEER_FOLDER = fileURLToPath(new URL('../../native/build/peers', import.meta.url));

/**
 * How the right operand lies, in the order of peer.h: constant weights, packed outside the timing; or activations, as
 * n rows of k elements or as k rows of n, heads apart or side by side in rows of all.
 */
const RIGHT = ['weights', 'rows-of-k', 'rows-of-n', 'rows-of-k-beside', 'rows-of-n-beside'] as const;

/** A product [m, k] x [k, n], `heads` times over separate operands. */
export interface PeerShape {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly heads: number;
  readonly right: (typeof RIGHT)[number];
}

/** A peer that cannot be used; `missing` where it was not built or its library is gone. */
export class PeerError extends Error {
  readonly missing: boolean;

  constructor(name: PeerName, problem: string, missing: boolean) {
    super(`${name}: ${problem}`);
    this.name = 'PeerError';
    this.missing = missing;
  }
}

interface Functions {
  open(isa: string): number;
  version(): string;
  prepare(m: number, n: number, k: number, heads: number, right: number, product: [Pointer | null]): number;
  implementation(product: Pointer): string;
  run(product: Pointer, times: number): number;
  free(product: Pointer): void;
}

/**
 * Both libraries read these while they load and never again. Threads that are not there cannot spin beside the engine's;
 * OpenBLAS knows instruction sets by the names of cores.
 */
function setEnvironment(isa: PeerIsa | undefined): void {
  process.env.OMP_NUM_THREADS = '1';
  process.env.OPENBLAS_NUM_THREADS = '1';
  if (isa === 'avx2') process.env.OPENBLAS_CORETYPE = 'Haswell';
}

function load(name: PeerName, folder: string): Functions {
  const path = join(folder, `${name}.so`);
  if (!existsSync(path)) throw new PeerError(name, `${path} does not exist`, true);
  try {
    const handle = koffi.load(path);
    return {
      open: handle.func('int beta_peer_open(const char *isa)'),
      version: handle.func('const char *beta_peer_version()'),
      prepare: handle.func(
        'int beta_peer_prepare(uint32_t m, uint32_t n, uint32_t k, uint32_t heads, uint32_t right, _Out_ void **product)',
      ),
      implementation: handle.func('const char *beta_peer_implementation(void *product)'),
      run: handle.func('int beta_peer_run(void *product, uint32_t times)'),
      free: handle.func('void beta_peer_free(void *product)'),
    };
  } catch (error) {
    throw new PeerError(
      name,
      `${path} cannot be loaded (${error instanceof Error ? error.message : error})`,
      true,
    );
  }
}

/** One product of a peer; free() gives its memory back. */
export class PeerProduct {
  /** What the library chose to compute it with. */
  readonly implementation: string;
  readonly #name: PeerName;
  readonly #functions: Functions;
  #pointer: Pointer | undefined;

  constructor(name: PeerName, functions: Functions, pointer: Pointer) {
    this.#name = name;
    this.#functions = functions;
    this.#pointer = pointer;
    this.implementation = functions.implementation(pointer);
  }

  /** Computes the product `times` times on this thread. Throws PeerError. */
  run(times: number): void {
    if (this.#pointer === undefined) throw new PeerError(this.#name, 'the product was freed', false);
    const code = this.#functions.run(this.#pointer, times);
    if (code !== 0) throw new PeerError(this.#name, `the product failed (errno ${-code})`, false);
  }

  /** Safe to call twice. */
  free(): void {
    if (this.#pointer === undefined) return;
    this.#functions.free(this.#pointer);
    this.#pointer = undefined;
  }
}

export class Peer {
  readonly name: PeerName;
  /** As the library states it. */
  readonly version: string;
  readonly #functions: Functions;

  private constructor(name: PeerName, functions: Functions) {
    this.name = name;
    this.version = functions.version();
    this.#functions = functions;
  }

  /**
   * Loads a peer for one thread, kept to an instruction set if one is given: that of its first opening in this process.
   * Throws PeerError.
   */
  static open(name: PeerName, isa?: PeerIsa, folder = PEER_FOLDER): Peer {
    setEnvironment(isa);
    const functions = load(name, folder);
    const code = functions.open(isa ?? '');
    if (code !== 0) {
      throw new PeerError(name, isa ? `it cannot be kept to ${isa} here` : `errno ${-code}`, false);
    }
    return new Peer(name, functions);
  }

  /** Throws PeerError where the library refuses the shape. */
  prepare({ m, n, k, heads, right }: PeerShape): PeerProduct {
    const product: [Pointer | null] = [null];
    const code = this.#functions.prepare(m, n, k, heads, RIGHT.indexOf(right), product);
    if (code !== 0 || product[0] === null) {
      const why = -code === constants.errno.ENOMEM ? 'there is no memory for it' : 'it refuses this shape';
      throw new PeerError(this.name, `${heads} x ${m}x${k}x${n}: ${why}`, false);
    }
    return new PeerProduct(this.name, this.#functions, product[0]);
  }
}
