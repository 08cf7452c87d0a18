import { expect, it } from 'vitest';
import { listProfiles, ProfileSchema, profileJsonSchema } from '../../../../src/device/board/profile.js';

it('the bundled profiles are valid, and no two are for the same machine', () => {
  const profiles = listProfiles();
  expect(profiles.map(({ board }) => board)).toContain('zcu102');
  const strings = profiles.flatMap(({ compatible }) => compatible);
  expect(new Set(strings).size).toBe(strings.length);
  for (const { rails } of profiles) expect(new Set(rails.map(({ chip }) => chip)).size).toBe(rails.length);
});

it('the ZCU102 has its 18 monitors in three domains', () => {
  const { rails } = listProfiles().find(({ board }) => board === 'zcu102')!;
  const count = (domain: string) => rails.filter((rail) => rail.domain === domain).length;
  expect([count('PL'), count('PS'), count('DDR')]).toEqual([8, 9, 1]);
  expect(rails.filter(({ accelerator }) => accelerator).map(({ rail }) => rail)).toEqual([
    'VCCINT',
    'VCCBRAM',
    'VCCAUX',
  ]);
});

it('the schema takes other boards', () => {
  const kv260 = {
    version: 1,
    board: 'kv260',
    title: 'Kria KV260',
    compatible: ['xlnx,zynqmp-sk-kv260-revB'],
    logic: { manager: 'fpga0', package: 'beta-qmm', clock: 'fclk' },
    engine: { coherent: true, poolBytes: 2 ** 26 },
  };
  expect(ProfileSchema.parse(kv260)).toMatchObject({
    engine: { uio: 'beta-qmm0', pool: 'beta-pool0' },
    rails: [],
  });
  expect(() => ProfileSchema.parse({ ...kv260, compatible: [] })).toThrow();
  expect(() => ProfileSchema.parse({ ...kv260, engine: { poolBytes: 1 } })).toThrow();
  expect(() => ProfileSchema.parse({ ...kv260, engine: { poolBytes: 2 ** 26, uio: '../x' } })).toThrow();
  expect(() => ProfileSchema.parse({ ...kv260, typo: 1 })).toThrow(/typo/);
  expect(profileJsonSchema()).toMatchObject({ type: 'object' });
});
