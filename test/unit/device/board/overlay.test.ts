/** The device-tree sources compile, apply to a tree with the labels of a ZynqMP, and say what the code looks for. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readPackage } from '../../../../src/device/board/package.js';
import { listProfiles } from '../../../../src/device/board/profile.js';
import { FakeBoard } from './fake-board.js';

const FIRMWARE = fileURLToPath(new URL('../../../../firmware-config/', import.meta.url));

/** What the overlay expects of the board's own tree. */
const BASE = `/dts-v1/;
/ {
	#address-cells = <2>;
	#size-cells = <2>;
	fpga_full: fpga-full { compatible = "fpga-region"; #address-cells = <2>; #size-cells = <2>; ranges; };
	zynqmp_clk: clock-controller { #clock-cells = <1>; };
	gic: interrupt-controller { #address-cells = <0>; #interrupt-cells = <3>; interrupt-controller; };
};
/include/ "${FIRMWARE}overlay/beta-pool.dtsi"
`;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'beta-dt-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function tool(name: string, ...args: string[]): string {
  const { status, stdout, stderr, error } = spawnSync(name, args, { encoding: 'utf8' });
  if (error) throw new Error(`${name} is missing: apt-get install device-tree-compiler`);
  expect(stderr, `${name} ${args.join(' ')}`).toBe('');
  expect(status).toBe(0);
  return stdout.trim();
}

it('overlay and pool compile without a warning, and apply', () => {
  const [base, overlay, merged] = ['base', 'overlay', 'merged'].map((name) =>
    join(folder, `${name}.dtb`),
  ) as [string, string, string];
  writeFileSync(join(folder, 'base.dts'), BASE);
  tool('dtc', '-@', '-I', 'dts', '-O', 'dtb', '-o', base, join(folder, 'base.dts'));
  tool('dtc', '-@', '-I', 'dts', '-O', 'dtb', '-o', overlay, `${FIRMWARE}overlay/beta-qmm.dtso`);
  tool('fdtoverlay', '-i', base, '-o', merged, overlay);
  const { engine } = listProfiles().find(({ board }) => board === 'zcu102')!;
  const get = (node: string, property: string) => tool('fdtget', merged, node, property);
  expect(get('/fpga-full/qmm@a0000000', 'linux,uio-name')).toBe(engine.uio);
  expect(get('/fpga-full/qmm@a0000000', 'compatible')).toBe('generic-uio');
  expect(get('/fpga-full/qmm@a0000000', 'interrupts')).toBe('0 89 4');
  expect(get('/fpga-full/beta-clock', 'compatible')).toBe('xlnx,fclk');
  expect(get('/beta-pool0', 'device-name')).toBe(engine.pool);
  expect(get('/beta-pool0', 'size')).toBe(`0 ${engine.poolBytes}`);
});

it('make-package makes what "beta load" takes', async () => {
  const board = new FakeBoard();
  try {
    board.put('/lib/firmware/xilinx/.keep', '');
    writeFileSync(join(folder, 'design.bit.bin'), 'bits');
    const out = tool(
      `${FIRMWARE}package/make-package`,
      'mine',
      join(folder, 'design.bit.bin'),
      board.path('/lib/firmware/xilinx'),
    );
    const { sha256, overlay } = readPackage('mine');
    expect(out).toContain(sha256);
    expect(readFileSync(overlay, 'latin1')).toContain('xilinx/mine/mine.bit.bin');
  } finally {
    await board.destroy();
  }
});
