import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { listCandidates, resolveDeviceUri } from '../../../src/device/discovery.js';
import { FakeBoard } from './board/fake-board.js';

const EMULATOR = { uri: 'emu:', usable: true, note: expect.stringContaining('emulator') };

describe('discovery', () => {
  let board: FakeBoard;
  beforeEach(() => {
    board = new FakeBoard();
  });
  afterEach(() => board.destroy());

  it('lists an engine that nothing stands in the way of, and the emulator', () => {
    board.put('/dev/uio3/irq', '');
    expect(listCandidates()).toEqual([
      { uri: 'uio:beta-qmm0', usable: true, note: 'the engine of this board' },
      EMULATOR,
    ]);
    expect(resolveDeviceUri('auto', () => expect.fail('no warning expected'))).toBe('uio:beta-qmm0');
  });

  it('says why a board cannot be used, and what to do', () => {
    board.put('/sys/class/fpga_manager/fpga0/state', 'write error\n');
    expect(listCandidates()).toEqual([
      {
        uri: 'uio:beta-qmm0',
        usable: false,
        note: 'FPGA manager fpga0 is "write error"; load a bitstream: sudo beta load PACKAGE',
      },
      EMULATOR,
    ]);
  });

  it('lists the engines of a board first, by name', () => {
    board.put('/sys/class/uio/uio7/name', 'beta-qmm1\n');
    board.put('/sys/class/uio/uio9/maps/map0/size', '0x1000\n'); // One that is going away has no name.
    expect(listCandidates().map(({ uri }) => uri)).toEqual(['uio:beta-qmm0', 'uio:beta-qmm1', 'emu:']);
  });

  it('says which engine it misses where there is none', () => {
    board.remove('/sys/class/uio/uio3');
    const [first] = listCandidates();
    expect(first).toMatchObject({ uri: 'uio:beta-qmm0', usable: false });
    expect(first?.note).toContain('no UIO device is named beta-qmm0');
    expect(first?.note).toContain('axi-pmon');
  });

  it('takes the emulator for auto, and says why it is not the board', () => {
    board.remove('/proc/device-tree');
    const warnings: string[] = [];
    expect(resolveDeviceUri('auto', (message) => warnings.push(message))).toBe('emu:');
    expect(warnings).toEqual([expect.stringMatching(/^device auto: using emu: \(no board/)]);
  });
});

describe('a device URI', () => {
  it('that is explicit is checked and kept', () => {
    const never = () => expect.fail('no warning expected');
    expect(resolveDeviceUri('emu:?window=64M', never)).toBe('emu:?window=64M');
    expect(() => resolveDeviceUri('emu:?window=7', never)).toThrow(
      expect.objectContaining({ code: 'bad-uri' }),
    );
  });
});
