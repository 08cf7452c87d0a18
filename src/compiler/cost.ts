/**
 * What tiles and steps should take, nanoseconds: only to choose an order and tile sizes, and to predict. A wrong figure makes a
 * program slower and never wrong.
 */
import { rowBlocks } from '../device/descriptor.js';

/** An engine as an array: Dm x Dn dot products of Dk one-bit elements in a cycle. Wider operands take a pass for each pair of planes. */
export interface EngineModel {
  readonly dm: number;
  readonly dn: number;
  readonly dk: number;
  /** Results that pass the epilogue in a cycle. */
  readonly lanes: number;
  readonly hz: number;
  /** Bytes of the window that it moves in a cycle. */
  readonly bytesPerCycle: number;
  /** From the end of one tile to the beginning of the next. */
  readonly tileNs: number;
}

/** The CPU: nanoseconds of the whole machine, all of its threads together. */
export interface CpuModel {
  /** Of one step, before its first element. */
  readonly stepNs: number;
  /** Of one element of a step's rows, by what the step does. */
  readonly elementNs: Readonly<Record<ElementKind, number>>;
}

export type ElementKind =
  | 'embed'
  | 'affine'
  | 'relu'
  | 'gelu'
  | 'tanh'
  | 'norm'
  /** A score: by a table of exponentials, by exp, or with a row of V for every element (real probabilities: for each multiplication). */
  | 'softmaxTable'
  | 'softmaxExp'
  | 'realContext'
  /** For every operand that a step leaves; those whose range is found at run time cost a second pass. */
  | 'quantise'
  | 'range'
  | 'copy'
  /** A multiplication of a full-precision layer. */
  | 'dense';

export interface CostModel {
  readonly name: string;
  readonly engine: EngineModel;
  readonly cpu: CpuModel;
  /** Whether engine and CPU work at the same time: not where the engine is computed by the same cores. */
  readonly overlap: boolean;
}

/** The array of a device and the widths of one product. */
export interface ProductShape {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly k0: number;
  readonly aBits: number;
  readonly bBits: number;
  readonly oBits: number;
  /** Whether an epilogue table is read. */
  readonly table: boolean;
}

/** Bytes that a product moves: both operands once, the table, the result. */
export function productBytes({ m, n, k, k0, aBits, bBits, oBits, table }: ProductShape): number {
  const blocks = rowBlocks(k, k0) * 16;
  return m * blocks * aBits + n * blocks * bBits + (table ? n * 8 : 0) + Math.ceil((m * n * oBits) / 8);
}

/** Computing, moving and the epilogue overlap inside a tile, so the slowest of them counts. */
export function tileTime(engine: EngineModel, shape: ProductShape): number {
  const { dm, dn, dk, lanes, hz, bytesPerCycle, tileNs } = engine;
  const { m, n, k, k0, aBits, bBits } = shape;
  const passes = Math.ceil((k0 + k) / dk) * aBits * bBits;
  const cycles = Math.max(
    Math.ceil(m / dm) * Math.ceil(n / dn) * passes,
    (m * n) / lanes,
    productBytes(shape) / bytesPerCycle,
  );
  return tileNs + (cycles * 1e9) / hz;
}

const WHOLE_CPU: Readonly<Record<ElementKind, number>> = {
  embed: 1,
  affine: 0.6,
  relu: 0,
  gelu: 3,
  tanh: 10,
  norm: 0.6,
  softmaxTable: 0.25,
  softmaxExp: 5,
  realContext: 0.3,
  quantise: 0.15,
  range: 0.5,
  copy: 0.1,
  dense: 0.3,
};

const scaled = (factor: number): Readonly<Record<ElementKind, number>> =>
  Object.fromEntries(
    Object.entries(WHOLE_CPU).map(([kind, ns]) => [kind, ns * factor]),
  ) as unknown as Readonly<Record<ElementKind, number>>;

/**
 * The emulator: the engine is this CPU, so nothing overlaps. Its rates are those of one AVX-512 core at about 3.7 GHz; only their
 * ratios matter where nothing overlaps.
 */
export const EMULATOR: CostModel = {
  name: 'emulator',
  engine: { dm: 1, dn: 2, dk: 128, lanes: 2, hz: 3.7e9, bytesPerCycle: 32, tileNs: 150 },
  cpu: { stepNs: 200, elementNs: WHOLE_CPU },
  overlap: false,
};

/** Clock that is assumed where nobody says one; bytes of four 128-bit ports. */
const BOARD_HZ = 200e6;
const BOARD_BYTES = 64;

/**
 * A board: the array that its GEOMETRY register tells, beside four slow cores. Figures of the cores are estimates for Cortex-A53 at
 * about 1.2 GHz, three times slower per core than what the emulator's model says, four of them at work; not measured.
 */
export function boardModel({
  dm,
  dn,
  dk,
  lanes,
  hz = BOARD_HZ,
}: Pick<EngineModel, 'dm' | 'dn' | 'dk'> & { readonly lanes?: number; readonly hz?: number }): CostModel {
  return {
    name: `${dm}x${dn}x${dk}@${hz / 1e6}MHz`,
    engine: { dm, dn, dk, lanes: lanes || dm * dn, hz, bytesPerCycle: BOARD_BYTES, tileNs: 300 },
    cpu: { stepNs: 2000, elementNs: scaled(3) },
    overlap: true,
  };
}
