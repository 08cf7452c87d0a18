/** The real mosquitto of Debian and Ubuntu as a test partner, and a cable that can be cut. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return port;
}

function executable(): string {
  const folders = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/usr/local/sbin'];
  const found = folders.map((folder) => join(folder, 'mosquitto')).find((path) => existsSync(path));
  if (found === undefined) throw new Error('mosquitto is missing: apt-get install mosquitto');
  return found;
}

export class Mosquitto {
  readonly port: number;
  readonly url: string;
  readonly #folder = mkdtempSync(join(tmpdir(), 'beta-mosquitto-'));
  #process: ChildProcess | undefined;

  private constructor(port: number) {
    this.port = port;
    this.url = `mqtt://127.0.0.1:${port}`;
  }

  /** Starts a broker on a free port; `settings` are more lines for its configuration. */
  static async start(settings = 'allow_anonymous true\nset_tcp_nodelay true'): Promise<Mosquitto> {
    const broker = new Mosquitto(await freePort());
    writeFileSync(join(broker.#folder, 'mosquitto.conf'), `listener ${broker.port} 127.0.0.1\n${settings}\n`);
    await broker.run();
    return broker;
  }

  /** Runs it (again). */
  async run(): Promise<void> {
    const child = spawn(executable(), ['-c', join(this.#folder, 'mosquitto.conf')], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#process = child;
    // A test file that fails half way must not leave a broker behind.
    const last = () => child.kill('SIGKILL');
    process.once('exit', last);
    child.once('exit', () => process.off('exit', last));
    let output = '';
    child.stderr.on('data', (text) => {
      output += text;
    });
    for (let attempt = 0; attempt < 100; attempt++) {
      if (child.exitCode !== null) throw new Error(`mosquitto ended with ${child.exitCode}: ${output}`);
      if (await reachable(this.port)) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`mosquitto does not listen: ${output}`);
  }

  async kill(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (!child || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  }

  async stop(): Promise<void> {
    await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function reachable(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** A TCP relay to a broker: cutting it is what the broker sees when a process is killed or a network breaks. */
export class Cable {
  readonly url: string;
  readonly #server: Server;
  readonly #sockets: Set<Socket>;
  readonly #state: { cut: boolean; silent: boolean };
  readonly #pipes: Set<readonly [Socket, Socket]>;

  private constructor(
    port: number,
    server: Server,
    sockets: Set<Socket>,
    state: { cut: boolean; silent: boolean },
    pipes: Set<readonly [Socket, Socket]>,
  ) {
    this.url = `mqtt://127.0.0.1:${port}`;
    this.#server = server;
    this.#sockets = sockets;
    this.#state = state;
    this.#pipes = pipes;
  }

  static async to(target: number): Promise<Cable> {
    const sockets = new Set<Socket>();
    const state = { cut: false, silent: false };
    const pipes = new Set<readonly [Socket, Socket]>();
    const server = createServer((near) => {
      if (state.cut) {
        near.destroy();
        return;
      }
      const far = connect(target, '127.0.0.1');
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        sockets.add(from);
        from.on('error', () => undefined);
        const pair = [from, to] as const;
        from.on('close', () => {
          sockets.delete(from);
          pipes.delete(pair);
          to.destroy();
        });
        pipes.add(pair);
        if (state.silent) from.pause();
        else from.pipe(to);
      }
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new Cable((server.address() as { port: number }).port, server, sockets, state, pipes);
  }

  cut(): void {
    this.#state.cut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  mend(): void {
    this.#state.cut = false;
  }

  /** Nothing comes through any more, and nobody is told: a network that swallows packets, or a reader that does not read. */
  fallSilent(): void {
    this.#state.silent = true;
    for (const [from, to] of this.#pipes) {
      from.unpipe(to);
      from.pause();
    }
  }

  speakAgain(): void {
    this.#state.silent = false;
    for (const [from, to] of this.#pipes) from.pipe(to);
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}
