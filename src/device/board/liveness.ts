/**
 * Nothing touches the programmable logic before it is known to be alive: an access to a bus without a clock, or without a
 * bitstream behind it, does not fail, it stops the machine. So everything here is read from the kernel, and only what passes may be
 * mapped. The last proof, the ID register, is libbeta's first access.
 */
import { DeviceError } from '../errors.js';
import { findProfile, machineCompatible, type Profile } from './profile.js';
import { exists, list, mayUse, readLine, readNumber, readStrings, systemPath } from './system.js';

export interface Check {
  /** Stable name. */
  readonly id: string;
  /** `skip`: it does not apply here. */
  readonly state: 'ok' | 'warn' | 'fail' | 'skip';
  /** What is the case. */
  readonly text: string;
  /** What to do about it. */
  readonly fix?: string;
}

/** UIO name, and pool name, of a `uio:` URI as libbeta understands it. */
export function namesOf(uri: string): { uio: string; pool: string } {
  const [uio = '', pool] = (uri.replace(/^uio:/, '').split('?', 1)[0] ?? '').split('/');
  return { uio, pool: pool ?? `beta-pool${/\d+$/.exec(uio)?.[0] ?? '0'}` };
}

/** The number of the UIO device with this name. */
export function findUio(name: string): number | undefined {
  const entry = list('/sys/class/uio').find(
    (uio) => /^uio\d+$/.test(uio) && readLine('/sys/class/uio', uio, 'name') === name,
  );
  return entry === undefined ? undefined : Number(entry.slice(3));
}

/** Every check of what an engine at `uri` needs, in the order in which they depend on each other. Touches no register. */
export function checkLiveness(uri: string, profile: Profile | undefined = findProfile()): Check[] {
  const names = namesOf(uri);
  if (profile === undefined) return [noProfile()];
  const board: Check = { id: 'board', state: 'ok', text: profile.title };
  return [board, ...checkLogic(profile), ...checkUio(names.uio), ...checkPool(names.pool, profile)];
}

/** Throws DeviceError 'not-alive' with the first thing that is missing. */
export function requireAlive(uri: string): void {
  const failed = checkLiveness(uri).find(({ state }) => state === 'fail');
  if (failed)
    throw new DeviceError('not-alive', `${uri}: ${failed.text}${failed.fix ? `; ${failed.fix}` : ''}`);
}

function noProfile(): Check {
  const compatible = machineCompatible();
  if (compatible.length === 0)
    return {
      id: 'board',
      state: 'fail',
      text: 'no board: this machine has no device tree',
      fix: 'the emulator (emu:) serves here',
    };
  return {
    id: 'board',
    state: 'fail',
    text: `no board profile is for this machine (${compatible.join(', ')})`,
    fix: 'write one into /etc/beta/boards, after docs/board.md',
  };
}

function checkLogic({ logic }: Profile): Check[] {
  if (logic === null)
    return [{ id: 'logic', state: 'skip', text: 'the engine of this board is no programmable logic' }];
  return [
    checkManager(logic.manager),
    ...checkBridges(),
    checkOverlay(logic.package),
    checkClock(logic.clock),
  ];
}

function checkManager(manager: string): Check {
  const id = 'fpga-manager';
  const state = readLine('/sys/class/fpga_manager', manager, 'state');
  if (state === 'operating') return { id, state: 'ok', text: `FPGA manager ${manager} is operating` };
  if (state === undefined)
    return {
      id,
      state: 'fail',
      text: `there is no FPGA manager ${manager}`,
      fix: 'use a kernel with CONFIG_FPGA_MGR_ZYNQMP_FPGA, and firmware that lets it load bitstreams',
    };
  return {
    id,
    state: 'fail',
    text: `FPGA manager ${manager} is "${state}"`,
    fix: 'load a bitstream: sudo beta load PACKAGE',
  };
}

function checkBridges(): Check[] {
  const off = list('/sys/class/fpga_bridge').filter(
    (bridge) => readLine('/sys/class/fpga_bridge', bridge, 'state') === 'disabled',
  );
  if (off.length === 0) return [];
  return [
    {
      id: 'bridges',
      state: 'fail',
      text: `FPGA bridge ${off.join(', ')} is disabled`,
      fix: 'load the bitstream with its overlay',
    },
  ];
}

const OVERLAYS = '/sys/kernel/config/device-tree/overlays';

/** The overlay of the package, or a node that was in the device tree from the start. */
function checkOverlay(name: string): Check {
  const id = 'overlay';
  if (exists(OVERLAYS, name)) {
    const status = readLine(OVERLAYS, name, 'status');
    return status === 'applied'
      ? { id, state: 'ok', text: `overlay ${name} is applied` }
      : {
          id,
          state: 'fail',
          text: `overlay ${name} is "${status ?? 'unreadable'}"`,
          fix: `sudo beta unload ${name}, then load it again`,
        };
  }
  const hasNode = list('/sys/class/uio').some(
    (uio) =>
      readLine('/sys/class/uio', uio, 'name')?.startsWith('beta-') &&
      exists('/sys/class/uio', uio, 'device/of_node'),
  );
  if (hasNode) return { id, state: 'ok', text: 'the engine is in the device tree itself' };
  return { id, state: 'fail', text: `overlay ${name} is not applied`, fix: `sudo beta load ${name}` };
}

/**
 * The fclk driver enables its clock when it binds. A clock that nobody holds may be gated by the kernel at any time, so "probably
 * on" is not enough.
 */
function checkClock(kind: 'fclk' | 'boot'): Check {
  const id = 'clock';
  if (kind === 'boot')
    return {
      id,
      state: 'ok',
      text: 'the profile says that the boot loader starts the clock, and nothing stops it',
    };
  const devices = list('/sys/bus/platform/devices').filter((device) =>
    readStrings('/sys/bus/platform/devices', device, 'of_node/compatible').includes('xlnx,fclk'),
  );
  const bound = devices.filter((device) => exists('/sys/bus/platform/devices', device, 'driver'));
  if (bound.length > 0) return { id, state: 'ok', text: `clock held by ${bound.join(', ')}` };
  return {
    id,
    state: 'fail',
    text:
      devices.length > 0
        ? `no driver has enabled the clock ${devices.join(', ')}`
        : 'nothing holds the clock of the programmable logic',
    fix: 'use a kernel with the xlnx,fclk driver, or set "clock: boot" in the profile if the boot loader starts it for good',
  };
}

function checkUio(name: string): Check[] {
  const number = findUio(name);
  if (number === undefined) {
    const others = list('/sys/class/uio').map((uio) => readLine('/sys/class/uio', uio, 'name'));
    return [
      {
        id: 'uio',
        state: 'fail',
        text: `no UIO device is named ${name} in ${systemPath('/sys/class/uio')}${others.length > 0 ? ` (there are: ${others.join(', ')})` : ''}`,
        fix: 'load uio_pdrv_genirq with of_id=generic-uio, and apply the overlay',
      },
    ];
  }
  return [{ id: 'uio', state: 'ok', text: `${name} is /dev/uio${number}` }, checkAccess(`/dev/uio${number}`)];
}

function checkAccess(file: string): Check {
  const id = `access ${file}`;
  if (!exists(file))
    return {
      id,
      state: 'fail',
      text: `${file} does not exist`,
      fix: 'is udev running, or devtmpfs mounted?',
    };
  if (mayUse(file)) return { id, state: 'ok', text: `${file} may be read and written` };
  return {
    id,
    state: 'fail',
    text: `${file} is not for this user`,
    fix: 'install the udev rule of deploy/, and join the group: sudo usermod -aG beta $USER',
  };
}

function checkPool(name: string, { engine }: Profile): Check[] {
  const folder = `/sys/class/u-dma-buf/${name}`;
  const [size, bus] = [readNumber(folder, 'size'), readNumber(folder, 'phys_addr')];
  if (size === undefined || bus === undefined)
    return [
      {
        id: 'pool',
        state: 'fail',
        text: `no u-dma-buf is named ${name}`,
        fix: 'load the module u-dma-buf with the node of firmware-config/overlay/beta-pool.dtsi',
      },
    ];
  const where = `${name}: ${Math.floor(size / 2 ** 20)} MiB at 0x${bus.toString(16)}`;
  const large: Check =
    size >= engine.poolBytes
      ? { id: 'pool', state: 'ok', text: where }
      : {
          id: 'pool',
          state: 'warn',
          text: `${where}, the profile expects ${Math.floor(engine.poolBytes / 2 ** 20)} MiB`,
          fix: 'enlarge its reserved memory',
        };
  return [large, checkCoherence(folder, engine.coherent), checkAccess(`/dev/${name}`)];
}

/** The kernel skips cache maintenance for a pool that it believes coherent: wrong results, if the engine's port is not. */
function checkCoherence(folder: string, port: boolean): Check {
  const id = 'coherence';
  const kernel = readNumber(folder, 'dma_coherent') === 1;
  if (kernel === port)
    return {
      id,
      state: 'ok',
      text: port ? 'coherent: no cache maintenance' : 'not coherent: caches are synchronised by range',
    };
  if (kernel)
    return {
      id,
      state: 'fail',
      text: 'the pool is dma-coherent, but the profile says that the engine is not behind a coherent port: results would be wrong',
      fix: 'remove dma-coherent from the pool, or set engine.coherent in the profile',
    };
  return {
    id,
    state: 'warn',
    text: 'the engine is behind a coherent port, but the pool is not dma-coherent: caches are synchronised for nothing',
    fix: 'add dma-coherent to the pool',
  };
}
