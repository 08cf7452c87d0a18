/**
 * A ZCU102 made of files: its sysfs, device tree and device files in a temporary folder that BETA_ROOT names, and for an engine the
 * emulator in a process of its own (external-engine) over the same memory.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ENGINE = fileURLToPath(new URL('../../../../native/build/external-engine', import.meta.url));

export const POOL_BUS = 0x8_7001_0000n;
const UIO = '/sys/class/uio/uio3';
const POOL = '/sys/class/u-dma-buf/beta-pool0';

export class FakeBoard {
  readonly root: string;
  readonly #poolBytes: number;
  readonly #before = process.env.BETA_ROOT;
  #engine: ChildProcess | undefined;

  /** A board on which everything is well, but for the engine: start() brings it. */
  constructor(poolBytes = 64 * 2 ** 20) {
    this.#poolBytes = poolBytes;
    this.root = mkdtempSync(join(tmpdir(), 'beta-board-'));
    process.env.BETA_ROOT = this.root;
    this.put('/proc/device-tree/compatible', 'xlnx,zynqmp-zcu102-rev1.0\0xlnx,zynqmp-zcu102\0xlnx,zynqmp\0');
    this.put('/sys/class/fpga_manager/fpga0/state', 'operating\n');
    this.put('/sys/bus/platform/devices/fclk0/of_node/compatible', 'xlnx,fclk\0');
    this.put('/sys/bus/platform/devices/fclk0/driver/uevent', '');
    this.putOverlay();
    this.putUio();
    this.putPool();
  }

  path(path: string): string {
    return join(this.root, path);
  }

  put(path: string, content: string): void {
    mkdirSync(dirname(this.path(path)), { recursive: true });
    writeFileSync(this.path(path), content);
  }

  remove(path: string): void {
    rmSync(this.path(path), { recursive: true, force: true });
  }

  putOverlay(name = 'beta-qmm'): void {
    this.put(`/sys/kernel/config/device-tree/overlays/${name}/status`, 'applied\n');
  }

  putUio(): void {
    this.put('/sys/class/uio/uio0/name', 'axi-pmon\n');
    this.put(`${UIO}/name`, 'beta-qmm0\n');
    this.put(`${UIO}/maps/map0/size`, '0x1000\n');
    this.put(`${UIO}/maps/map0/offset`, '0x0\n');
    this.put('/dev/uio3/map', '');
    truncateSync(this.path('/dev/uio3/map'), 4096);
  }

  putPool(): void {
    this.put(`${POOL}/phys_addr`, `0x${POOL_BUS.toString(16)}\n`);
    this.put(`${POOL}/size`, `${this.#poolBytes}\n`);
    this.put(`${POOL}/dma_coherent`, '0\n');
    this.put(`${POOL}/sync_mode`, '1\n');
    this.put(`${POOL}/sync_for_cpu`, '');
    this.put(`${POOL}/sync_for_device`, '');
    this.put('/dev/beta-pool0', '');
    truncateSync(this.path('/dev/beta-pool0'), this.#poolBytes);
  }

  /** A rail that reads `microwatts`. */
  putRail(hwmon: number, name: string, microwatts: number): void {
    this.put(`/sys/class/hwmon/hwmon${hwmon}/name`, `${name}\n`);
    this.put(`/sys/class/hwmon/hwmon${hwmon}/power1_input`, `${microwatts}\n`);
  }

  /** A bitstream package; `overlay` null leaves it out. */
  putPackage(
    name: string,
    files: { shell?: string; bitstream?: string; overlay?: string | null } = {},
  ): void {
    const folder = `/lib/firmware/xilinx/${name}`;
    const {
      shell = '{"shell_type":"PL_FLAT","num_slots":"0"}',
      bitstream = 'not a real bitstream',
      overlay,
    } = files;
    this.put(`${folder}/shell.json`, shell);
    this.put(`${folder}/${name}.bit.bin`, bitstream);
    if (overlay === null) return;
    mkdirSync(this.path(folder), { recursive: true });
    writeFileSync(this.path(`${folder}/${name}.dtbo`), Buffer.from(overlay ?? 'd00dfeed00000000', 'hex'));
  }

  /** Starts the engine; resolves when it answers. */
  async start(options = ''): Promise<void> {
    const engine = spawn(
      ENGINE,
      [
        `${this.path('/dev/uio3/map')}@0`,
        `${this.path('/dev/beta-pool0')}@0`,
        String(this.#poolBytes),
        `0x${POOL_BUS.toString(16)}`,
        `terminal:${this.path('/dev/uio3/irq')}`,
        options,
      ],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    );
    this.#engine = engine;
    await once(engine.stdout, 'data');
  }

  /** The device process stops where it is: HEAD no longer moves. */
  freeze(): void {
    this.#engine?.kill('SIGSTOP');
  }

  thaw(): void {
    this.#engine?.kill('SIGCONT');
  }

  /** The device is removed: its interrupt file hangs up. */
  async stop(): Promise<void> {
    const engine = this.#engine;
    if (engine === undefined || engine.exitCode !== null) return;
    this.#engine = undefined;
    engine.kill('SIGKILL');
    await once(engine, 'exit');
  }

  async destroy(): Promise<void> {
    await this.stop();
    rmSync(this.root, { recursive: true, force: true });
    if (this.#before === undefined) delete process.env.BETA_ROOT;
    else process.env.BETA_ROOT = this.#before;
  }

  /** A link as sysfs has them. */
  link(path: string, target: string): void {
    mkdirSync(dirname(this.path(path)), { recursive: true });
    symlinkSync(target, this.path(path));
  }
}
