/**
 * The commands on a board made of files whose engine is the emulator in another process: what a person at a ZCU102 would type, in the
 * order in which they would.
 */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readPackage } from '../../src/device/board/package.js';
import { FakeBoard } from '../unit/device/board/fake-board.js';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const SPLIT = fileURLToPath(new URL('../golden/clinc150/split.tsv', import.meta.url));
const OVERLAY = '/sys/kernel/config/device-tree/overlays/beta-qmm';

function beta(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    const out = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const)
      child[name].setEncoding('utf8').on('data', (text: string) => {
        out[name] += text;
      });
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, ...out }));
  });
}

let board: FakeBoard;
beforeEach(() => {
  board = new FakeBoard();
});
afterEach(() => board.destroy());

describe('a board with its engine', () => {
  test('200 test sentences have the answers of the emulator, bit for bit', async () => {
    await board.start();
    const texts = readFileSync(SPLIT, 'utf8')
      .split('\n')
      .slice(0, 200)
      .map((line) => line.split('\t')[0] ?? '');
    expect(texts.length).toBe(200);
    const [onBoard, emulated] = await Promise.all([
      beta('run', 'intents', ...texts, '--device', 'auto', '--json'),
      beta('run', 'intents', ...texts, '--device', 'emu:', '--json'),
    ]);
    const [a, b] = [JSON.parse(onBoard.stdout), JSON.parse(emulated.stdout)];
    expect(a.device).toBe('uio:beta-qmm0');
    expect(b.device).toBe('emu:');
    expect(a.results).toEqual(b.results);
  });

  test('devices and doctor tell what is there', async () => {
    await board.start();
    const devices = JSON.parse((await beta('devices', '--json')).stdout).devices;
    expect(devices).toMatchObject([
      { uri: 'uio:beta-qmm0', usable: true, capabilities: { build: 0 } },
      { uri: 'emu:', usable: true },
    ]);
    const { code, stdout } = await beta('doctor', '--json');
    const report = JSON.parse(stdout);
    expect(report).toMatchObject({ ok: true, serves: 'uio:beta-qmm0' });
    const checks = report.sections.find(({ name }: { name: string }) => name === 'uio:beta-qmm0').checks;
    expect(checks).toContainEqual(expect.objectContaining({ id: 'self-test', state: 'ok' }));
    expect(code).toBe(0);
  });

  test('doctor fails when the board is not well, and the emulator serves', async () => {
    board.put('/sys/class/fpga_manager/fpga0/state', 'unknown\n');
    const { code, stdout } = await beta('doctor', '--json');
    const report = JSON.parse(stdout);
    expect(report).toMatchObject({ ok: false, serves: 'emu:' });
    expect(code).toBe(1);
    const text = (await beta('doctor')).stdout;
    expect(text).toMatch(/FAIL {2}fpga-manager +FPGA manager fpga0 is "unknown"\n +-> load a bitstream/);
  });
});

describe('load', () => {
  /** The kernel: applies an overlay that is written, and brings the engine; `state` is what the FPGA manager ends in. */
  function kernel(state = 'operating', status = 'applied'): NodeJS.Timeout {
    board.remove('/sys/kernel/config/device-tree/overlays/beta-qmm');
    board.put('/sys/kernel/config/device-tree/overlays/.keep', '');
    board.put('/sys/class/fpga_manager/fpga0/state', 'unknown\n');
    board.remove('/sys/class/uio/uio3');
    board.remove('/dev/uio3');
    let loaded = false;
    return setInterval(() => {
      if (loaded || !existsSync(board.path(`${OVERLAY}/dtbo`))) return;
      loaded = true;
      board.putUio();
      void board.start().then(() => {
        board.put('/sys/class/fpga_manager/fpga0/state', `${state}\n`);
        board.put(`${OVERLAY}/status`, `${status}\n`);
      });
    }, 20);
  }

  test('brings the engine, proves it, and writes which bitstream it is; unload takes it away', async () => {
    board.putPackage('beta-qmm', { bitstream: 'a bitstream' });
    const timer = kernel();
    try {
      const { code, stdout, stderr } = await beta('load', 'beta-qmm', '--json');
      expect(stderr).toBe('');
      expect(code).toBe(0);
      const { sha256 } = readPackage('beta-qmm');
      expect(JSON.parse(stdout)).toMatchObject({
        loaded: 'beta-qmm',
        device: 'uio:beta-qmm0',
        sha256,
        verified: true,
        tiles: 7,
      });
      const doctor = JSON.parse((await beta('doctor', '--json')).stdout);
      const { checks } = doctor.sections.find(({ name }: { name: string }) => name === 'uio:beta-qmm0');
      expect(checks).toContainEqual({
        id: 'bitstream',
        state: 'ok',
        text: expect.stringContaining(sha256.slice(0, 32)),
      });
      const again = await beta('load', 'beta-qmm');
      expect([again.code, again.stderr]).toEqual([1, expect.stringContaining('loaded already')]);
      expect((await beta('unload', 'beta-qmm')).stdout).toBe('beta-qmm is unloaded\n');
      expect(existsSync(board.path(OVERLAY))).toBe(false);
      expect(await beta('unload', 'beta-qmm')).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('is not loaded'),
      });
    } finally {
      clearInterval(timer);
    }
  });

  test('unloads again what does not come to life', async () => {
    board.putPackage('beta-qmm');
    const timer = kernel('write error');
    try {
      const { code, stderr } = await beta('load', 'beta-qmm');
      expect([code, stderr]).toEqual([1, expect.stringContaining('FPGA manager fpga0 is "write error"')]);
      expect(existsSync(board.path(OVERLAY))).toBe(false);
    } finally {
      clearInterval(timer);
    }
  });

  test('says what the kernel cannot do', async () => {
    board.putPackage('beta-qmm');
    board.remove('/sys/kernel');
    const { code, stderr } = await beta('load', 'beta-qmm');
    expect([code, stderr]).toEqual([1, expect.stringContaining('takes no overlays at run time')]);
  });

  test('gives up on an overlay that the kernel refuses', async () => {
    board.putPackage('beta-qmm');
    const timer = kernel('operating', 'unapplied');
    try {
      const { code, stderr } = await beta('load', 'beta-qmm');
      expect([code, stderr]).toEqual([1, expect.stringContaining('is not applied after 10 s')]);
      expect(existsSync(board.path(OVERLAY))).toBe(false);
    } finally {
      clearInterval(timer);
    }
  });
});

describe('power', () => {
  test('gives rails, domains and joules for a batch', async () => {
    await board.start();
    board.putRail(0, 'ina226_u79', 2_000_000);
    board.putRail(1, 'ina226_u93', 500_000);
    const report = JSON.parse((await beta('power', 'intents', '--seconds', '1', '--json')).stdout);
    expect(report).toMatchObject({
      board: 'zcu102',
      idle: { watts: { PL: 2, PS: 0, DDR: 0.5, accelerator: 2, all: 2.5 } },
      inference: { device: 'uio:beta-qmm0', watts: { PL: 2, DDR: 0.5 } },
    });
    const { sequences, seconds, joules_per_inference, joules_per_inference_above_idle } = report.inference;
    expect(joules_per_inference.all).toBeCloseTo((2.5 * seconds) / sequences, 4);
    expect(joules_per_inference_above_idle.all).toBeCloseTo(0, 6);
    expect((await beta('power', '--seconds', '1')).stdout).toMatch(/u79 +VCCINT +PL +2\n/);
  });

  test('says so where there is nothing to read', async () => {
    const { code, stdout } = await beta('power', '--json');
    expect(code).toBe(1);
    expect(JSON.parse(stdout).error).toMatchObject({
      code: 'no-rails',
      message: expect.stringContaining('none of the 18 rails'),
    });
  });
});
