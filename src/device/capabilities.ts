/** Who the device says it is and what it can do, read from its registers and checked against this host. */
import {
  BITS,
  CONTRACT_VERSION,
  ENGINE_ID,
  MAX_K_LIMIT,
  REG,
  RING_LOG2_LIMIT,
} from './contract.generated.js';
import { CompatibilityError } from './errors.js';

/** Identity, limits and geometry of a device (contract section 2). */
export interface Capabilities {
  readonly version: { readonly major: number; readonly minor: number };
  /** Implementation: 0 is the emulator, else the RTL revision. */
  readonly build: number;
  /** Supported widths, bits. */
  readonly aBits: readonly number[];
  readonly bBits: readonly number[];
  readonly oBits: readonly number[];
  /** Largest K, elements. */
  readonly maxK: number;
  /** Largest ceil((k0+K)/128) * bits of one operand row. */
  readonly maxKp: number;
  readonly ringLog2Max: number;
  /** For cost models only. */
  readonly geometry: {
    readonly dm: number;
    readonly dn: number;
    readonly dk: number;
    readonly lanes: number;
  };
}

/** What a program needs of a device; every list must be contained, every number reached. */
export interface Requirements {
  readonly aBits: readonly number[];
  readonly bBits: readonly number[];
  readonly oBits: readonly number[];
  readonly maxK: number;
  readonly maxKp: number;
}

const field = (word: number, bits: { shift: number; mask: number }) => (word >>> bits.shift) & bits.mask;
const widths = (mask: number, count: number) =>
  Array.from({ length: count }, (_, log2) => log2)
    .filter((log2) => mask & (1 << log2))
    .map((log2) => 1 << log2);

/** Reads the identity registers; throws CompatibilityError when this host cannot drive what it finds. */
export function readCapabilities(read: (offset: number) => number): Capabilities {
  const id = read(REG.ID);
  const hex = (value: number) => `0x${(value >>> 0).toString(16).toUpperCase()}`;
  if (id !== ENGINE_ID) {
    throw new CompatibilityError(
      'ID',
      hex(id),
      `${hex(ENGINE_ID)} ("QMM1")`,
      'no engine answers at this address: is the bitstream loaded?',
    );
  }
  const word = read(REG.VERSION);
  const version = { major: field(word, BITS.VERSION_MAJOR), minor: field(word, BITS.VERSION_MINOR) };
  if (version.major !== CONTRACT_VERSION.major) {
    const name = (v: { major: number; minor: number }) => `contract v${v.major}.${v.minor}`;
    throw new CompatibilityError(
      'VERSION',
      name(version),
      `${name(CONTRACT_VERSION)} (any minor)`,
      version.major > CONTRACT_VERSION.major ? 'update the host software' : 'load a newer bitstream',
    );
  }
  const caps = read(REG.CAPS);
  const geometry = read(REG.GEOMETRY);
  const limits = { maxK: read(REG.MAX_K), maxKp: read(REG.MAX_KP), ringLog2Max: read(REG.RING_MAX) };
  if (limits.maxK < 1 || limits.maxK > MAX_K_LIMIT) {
    throw new CompatibilityError(
      'MAX_K',
      String(limits.maxK),
      `1 to ${MAX_K_LIMIT}`,
      'the bitstream breaks the contract',
    );
  }
  if (limits.ringLog2Max > RING_LOG2_LIMIT) {
    throw new CompatibilityError(
      'RING_MAX',
      String(limits.ringLog2Max),
      `at most ${RING_LOG2_LIMIT}`,
      'the bitstream breaks the contract',
    );
  }
  return {
    version,
    build: read(REG.BUILD),
    aBits: widths(field(caps, BITS.CAPS_A_WIDTHS), 4),
    bBits: widths(field(caps, BITS.CAPS_B_WIDTHS), 4),
    oBits: widths(field(caps, BITS.CAPS_O_WIDTHS), 6),
    ...limits,
    geometry: {
      dm: field(geometry, BITS.GEOMETRY_DM),
      dn: field(geometry, BITS.GEOMETRY_DN),
      dk: field(geometry, BITS.GEOMETRY_DK64) * 64,
      lanes: field(geometry, BITS.GEOMETRY_LANES),
    },
  };
}

/** Throws CompatibilityError naming the first field in which `caps` falls short of what `who` needs. */
export function checkRequirements(caps: Capabilities, needs: Requirements, who: string): void {
  for (const [name, has, wants] of [
    ['A widths', caps.aBits, needs.aBits],
    ['B widths', caps.bBits, needs.bBits],
    ['output widths', caps.oBits, needs.oBits],
  ] as const) {
    if (!wants.every((bits) => has.includes(bits))) {
      throw new CompatibilityError(
        name,
        `${has.join('/')} bits`,
        `${wants.join('/')} bits for ${who}`,
        'use the emulator (emu:) or another bitstream',
      );
    }
  }
  for (const [name, has, wants] of [
    ['MAX_K', caps.maxK, needs.maxK],
    ['MAX_KP', caps.maxKp, needs.maxKp],
  ] as const) {
    if (wants > has)
      throw new CompatibilityError(
        name,
        String(has),
        `${wants} for ${who}`,
        'use the emulator (emu:) or another bitstream',
      );
  }
}
