import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkLiveness, namesOf, requireAlive } from '../../../../src/device/board/liveness.js';
import { Device } from '../../../../src/device/device.js';
import { FakeBoard } from './fake-board.js';

const URI = 'uio:beta-qmm0';
const OVERLAY = '/sys/kernel/config/device-tree/overlays/beta-qmm';
const POOL = '/sys/class/u-dma-buf/beta-pool0';

let board: FakeBoard;
beforeEach(() => {
  board = new FakeBoard();
});
afterEach(() => board.destroy());

const failed = () => checkLiveness(URI).filter(({ state }) => state === 'fail');

describe('a board on which all is well', () => {
  it('passes every check', () => {
    expect(checkLiveness(URI).filter(({ state }) => state === 'fail')).toEqual([]);
    expect(() => requireAlive(URI)).not.toThrow();
  });

  it('may have the engine in its device tree from the start', () => {
    board.remove(OVERLAY);
    board.put('/sys/class/uio/uio3/device/of_node/name', 'qmm');
    expect(failed()).toEqual([]);
  });
});

describe('before anything is mapped', () => {
  const breaks: [what: string, id: string, text: RegExp, act: () => void][] = [
    ['no device tree', 'board', /no device tree/, () => board.remove('/proc/device-tree')],
    [
      'a board nobody described',
      'board',
      /no board profile is for this machine \(acme,one, acme\)/,
      () => board.put('/proc/device-tree/compatible', 'acme,one\0acme\0'),
    ],
    [
      'no FPGA manager',
      'fpga-manager',
      /there is no FPGA manager fpga0/,
      () => board.remove('/sys/class/fpga_manager'),
    ],
    [
      'an empty fabric',
      'fpga-manager',
      /is "unknown"/,
      () => board.put('/sys/class/fpga_manager/fpga0/state', 'unknown\n'),
    ],
    [
      'a failed load',
      'fpga-manager',
      /is "write complete error"/,
      () => board.put('/sys/class/fpga_manager/fpga0/state', 'write complete error\n'),
    ],
    [
      'a closed bridge',
      'bridges',
      /br0 is disabled/,
      () => board.put('/sys/class/fpga_bridge/br0/state', 'disabled\n'),
    ],
    ['a refused overlay', 'overlay', /is "unapplied"/, () => board.put(`${OVERLAY}/status`, 'unapplied\n')],
    ['no overlay', 'overlay', /beta-qmm is not applied/, () => board.remove(OVERLAY)],
    [
      'a clock nobody holds',
      'clock',
      /nothing holds the clock/,
      () => board.remove('/sys/bus/platform/devices/fclk0'),
    ],
    [
      'a clock without its driver',
      'clock',
      /no driver has enabled the clock fclk0/,
      () => board.remove('/sys/bus/platform/devices/fclk0/driver'),
    ],
    ['no UIO device', 'uio', /no UIO device is named beta-qmm0/, () => board.remove('/sys/class/uio/uio3')],
    ['no device file', 'access /dev/uio3', /does not exist/, () => board.remove('/dev/uio3')],
    ['no pool', 'pool', /no u-dma-buf is named beta-pool0/, () => board.remove(POOL)],
    [
      'a pool without its file',
      'access /dev/beta-pool0',
      /does not exist/,
      () => board.remove('/dev/beta-pool0'),
    ],
    [
      'a pool that is coherent behind a port that is not',
      'coherence',
      /results would be wrong/,
      () => board.put(`${POOL}/dma_coherent`, '1\n'),
    ],
  ];

  it.each(breaks)('%s is found, named and has a fix', (_what, id, text, act) => {
    act();
    const first = failed()[0];
    expect(first).toMatchObject({ id, text: expect.stringMatching(text), fix: expect.stringMatching(/\w/) });
    expect(() => requireAlive(URI)).toThrow(expect.objectContaining({ code: 'not-alive' }));
    expect(() => Device.open(URI)).toThrow(expect.objectContaining({ code: 'not-alive' }));
  });

  it('a pool smaller than the profile expects is a remark', () => {
    expect(checkLiveness(URI).find(({ id }) => id === 'pool')).toMatchObject({ state: 'warn' });
  });
});

describe('profiles of this machine', () => {
  it('override those that come with the package', async () => {
    board.put(
      '/etc/beta/boards/mine.yaml',
      `version: 1
board: mine
title: My carrier
compatible: ['xlnx,zynqmp-zcu102-rev1.0']
logic: { manager: fpga0, package: mine, clock: boot }
engine: { coherent: true, poolBytes: 65536 }
`,
    );
    board.put(`${POOL}/dma_coherent`, '1\n');
    board.remove('/sys/bus/platform/devices/fclk0');
    board.remove(OVERLAY);
    board.putOverlay('mine');
    expect(failed()).toEqual([]);
    expect(checkLiveness(URI)[0]).toMatchObject({ text: 'My carrier' });
  });

  it('that are wrong say where', () => {
    board.put('/etc/beta/boards/bad.yaml', 'version: 1\nboard: x\n');
    expect(() => checkLiveness(URI)).toThrow(/bad\.yaml: title: /);
    board.put('/etc/beta/boards/bad.yaml', 'version: [');
    expect(() => checkLiveness(URI)).toThrow(/bad\.yaml: /);
  });
});

it('names of a URI are as libbeta takes them', () => {
  expect(namesOf('uio:beta-qmm0')).toEqual({ uio: 'beta-qmm0', pool: 'beta-pool0' });
  expect(namesOf('uio:beta-qmm12?spin=0')).toEqual({ uio: 'beta-qmm12', pool: 'beta-pool12' });
  expect(namesOf('uio:x/y?spin=0')).toEqual({ uio: 'x', pool: 'y' });
  expect(namesOf('uio:x')).toEqual({ uio: 'x', pool: 'beta-pool0' });
});
