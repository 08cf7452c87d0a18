/** The test stand of `beta bench serve`: a real broker and the daemon, each in a process of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';

const MAIN = fileURLToPath(new URL('../main.js', import.meta.url));
const START_MS = 30_000;
const STOP_MS = 15_000;
/** Debian keeps the broker where users do not look. */
const SBIN = ['/usr/sbin', '/usr/local/sbin'];

export interface StandOptions {
  readonly model: string;
  readonly device: string;
  /** A broker that runs already; mosquitto is started where there is none. */
  readonly broker: string | undefined;
  /** Sequences the daemon accepts before it says `busy`. */
  readonly queue: number;
}

function mosquitto(): string {
  const folders = [...(process.env.PATH ?? '').split(':'), ...SBIN];
  const found = folders.map((folder) => join(folder, 'mosquitto')).find((path) => existsSync(path));
  if (found) return found;
  throw new Error(
    'no mosquitto to measure with: sudo apt-get install mosquitto, or name a running broker with --broker',
  );
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const end = (reached: boolean) => () => {
      socket.destroy();
      resolve(reached);
    };
    socket.once('connect', end(true)).once('error', end(false));
  });
}

async function end(child: ChildProcess | undefined, signal: NodeJS.Signals): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill(signal);
  const late = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
  await exited;
  clearTimeout(late);
}

/** Processes that have `pid` among their ancestors, and itself. */
function familyOf(pid: number): number[] {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
    return [pid, ...(children === '' ? [] : children.split(' ').flatMap((child) => familyOf(Number(child))))];
  } catch {
    return [];
  }
}

export class Stand {
  readonly broker: string;
  readonly #folder: string;
  readonly #mosquitto: ChildProcess | undefined;
  #daemon: ChildProcess | undefined;

  private constructor(broker: string, folder: string, mosquitto: ChildProcess | undefined) {
    this.broker = broker;
    this.#folder = folder;
    this.#mosquitto = mosquitto;
  }

  /** Starts both. Throws an Error that says which one did not, and what it said. */
  static async start(options: StandOptions): Promise<Stand> {
    const folder = mkdtempSync(join(tmpdir(), 'beta-bench-serve-'));
    let stand: Stand | undefined;
    try {
      stand = options.broker
        ? new Stand(options.broker, folder, undefined)
        : await Stand.#startBroker(folder);
      await stand.#startDaemon(options);
      return stand;
    } catch (error) {
      await stand?.stop();
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  static async #startBroker(folder: string): Promise<Stand> {
    const port = await freePort();
    const config = join(folder, 'mosquitto.conf');
    // No limits of its own: what is measured is the daemon behind it.
    writeFileSync(
      config,
      `listener ${port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\nmax_queued_messages 0\nmax_inflight_messages 0\n`,
    );
    const child = spawn(mosquitto(), ['-c', config], { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-2000);
    });
    const deadline = Date.now() + START_MS;
    while (!(await answers(port))) {
      if (child.exitCode !== null || Date.now() > deadline) {
        child.kill('SIGKILL');
        throw new Error(`mosquitto does not listen: ${said.trim()}`);
      }
      await sleep(20);
    }
    return new Stand(`mqtt://127.0.0.1:${port}`, folder, child);
  }

  async #startDaemon({ model, device, queue }: StandOptions): Promise<void> {
    const config = join(this.#folder, 'beta.yaml');
    writeFileSync(
      config,
      stringify({
        version: 1,
        node: `bench-${process.pid}`,
        device,
        broker: { url: this.broker },
        models: [model],
        limits: { queue },
        log: { level: 'warn' },
      }),
    );
    const child = spawn(process.execPath, [MAIN, 'serve', '--config', config, '--json'], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#daemon = child;
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-4000);
    });
    const late = setTimeout(() => child.kill('SIGKILL'), START_MS);
    for await (const line of createInterface({ input: child.stdout })) {
      if (!line.startsWith('{')) continue;
      clearTimeout(late);
      child.stdout.resume();
      return;
    }
    clearTimeout(late);
    throw new Error(`the daemon did not start: ${said.trim()}`);
  }

  /** Resident memory of the daemon with its engine, MiB; 0 once it has ended. */
  memoryMib(): number {
    const pages = familyOf(this.#daemon?.pid ?? 0).map((pid) => {
      try {
        return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
      } catch {
        return 0;
      }
    });
    return pages.reduce((a, b) => a + b, 0) / 1024;
  }

  async stop(): Promise<void> {
    await end(this.#daemon, 'SIGTERM');
    await end(this.#mosquitto, 'SIGTERM');
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
