import { describe, expect, it } from 'vitest';
import { type Capabilities, checkRequirements, readCapabilities } from '../../../src/device/capabilities.js';
import { CompatibilityError } from '../../../src/device/errors.js';

/** The identity registers by offset: a device of 1/2/4 x 1 bits with outputs up to int32, as the contract lays them out. */
const DEVICE = {
  0: 0x314d4d51,
  4: 0x0001_0007,
  8: (0b111111 << 8) | (0b0001 << 4) | 0b0111,
  12: (4 << 24) | (2 << 16) | (16 << 8) | 8,
  16: 4096,
  20: 128,
  24: 9,
  28: 3,
};
const reader =
  (change: Partial<Record<keyof typeof DEVICE, number>> = {}) =>
  (offset: number) => {
    const registers: Record<number, number> = { ...DEVICE, ...change };
    return registers[offset] ?? 0;
  };

describe('capabilities', () => {
  it('are read from the registers', () => {
    expect(readCapabilities(reader())).toEqual({
      version: { major: 1, minor: 7 },
      build: 3,
      aBits: [1, 2, 4],
      bBits: [1],
      oBits: [1, 2, 4, 8, 16, 32],
      maxK: 4096,
      maxKp: 128,
      ringLog2Max: 9,
      geometry: { dm: 8, dn: 16, dk: 128, lanes: 4 },
    });
  });

  it.each([
    ['an empty bus', { 0: 0 }, /^ID: the device has 0x0, the host needs 0x314D4D51.*bitstream/],
    ['a bus that reads all ones', { 0: 0xffffffff }, /^ID: the device has 0xFFFFFFFF/],
    [
      'a newer engine',
      { 4: 0x0002_0000 },
      /^VERSION: the device has contract v2\.0, the host needs contract v1\.0.*update the host/,
    ],
    ['an older engine', { 4: 0x0000_0009 }, /^VERSION: the device has contract v0\.9.*newer bitstream/],
    ['MAX_K 0', { 16: 0 }, /^MAX_K: the device has 0, the host needs 1 to 16384/],
    ['MAX_K beyond int32', { 16: 16385 }, /^MAX_K: the device has 16385/],
    ['a ring beyond reason', { 24: 17 }, /^RING_MAX: the device has 17, the host needs at most 16/],
  ])('refuse %s with both sides and a fix', (_name, change, pattern) => {
    const read = () => readCapabilities(reader(change));
    expect(read).toThrow(CompatibilityError);
    expect(read).toThrow(pattern);
    expect(read).toThrow(expect.objectContaining({ code: 'incompatible' }));
  });
});

describe('requirements', () => {
  const caps: Capabilities = readCapabilities(reader());
  const needs = { aBits: [1, 4], bBits: [1], oBits: [1, 32], maxK: 4096, maxKp: 128 };

  it('are met when every list is contained and every number reached', () => {
    expect(() => checkRequirements(caps, needs, 'model intents')).not.toThrow();
    expect(() =>
      checkRequirements(caps, { aBits: [], bBits: [], oBits: [], maxK: 1, maxKp: 1 }, 'nothing'),
    ).not.toThrow();
  });

  it.each([
    ['A widths', { aBits: [1, 8] }, '1/2/4 bits, the host needs 1/8 bits'],
    ['B widths', { bBits: [2] }, '1 bits, the host needs 2 bits'],
    ['output widths', { oBits: [64] }, '1/2/4/8/16/32 bits, the host needs 64 bits'],
    ['MAX_K', { maxK: 4097 }, '4096, the host needs 4097'],
    ['MAX_KP', { maxKp: 129 }, '128, the host needs 129'],
  ])('that are not met name %s, both sides and the model', (field, change, sides) => {
    const check = () => checkRequirements(caps, { ...needs, ...change }, 'model intents');
    expect(check).toThrow(CompatibilityError);
    expect(check).toThrow(`${field}: the device has ${sides} for model intents; use the emulator`);
  });
});
