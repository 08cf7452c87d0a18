/** What the benchmark of serving talks to: a real broker and a real daemon, each in a process of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const START_MS = 60_000;
const STOP_MS = 15_000;

export interface Process {
  readonly url: string;
  readonly pid: number;
  stop(): Promise<void>;
}

/** mosquitto on a free port of this machine. Throws where there is none. */
export async function startMosquitto(): Promise<Process> {
  const folders = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/usr/local/sbin'];
  const path = folders.map((folder) => join(folder, 'mosquitto')).find((each) => existsSync(each));
  if (path === undefined)
    throw new Error('mosquitto is missing: apt-get install mosquitto, or give a broker with --broker');
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), 'beta-bench-'));
  // Its own queue is opened wide: what is measured is the daemon's, and a message that a broker drops is not the daemon's loss.
  const settings = [
    `listener ${port} 127.0.0.1`,
    'allow_anonymous true',
    'set_tcp_nodelay true',
    'max_queued_messages 0',
  ];
  writeFileSync(join(folder, 'mosquitto.conf'), `${settings.join('\n')}\n`);
  const child = spawn(path, ['-c', join(folder, 'mosquitto.conf')], { stdio: 'ignore' });
  await new Promise((resolve) => setTimeout(resolve, 300));
  if (child.exitCode !== null) throw new Error(`mosquitto ended with code ${child.exitCode}`);
  return {
    url: `mqtt://127.0.0.1:${port}`,
    pid: child.pid!,
    stop: async () => {
      await end(child, 'SIGKILL');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

export interface ServedInfo {
  readonly node: string;
  readonly models: readonly { readonly name: string; readonly id: string }[];
}

/** `beta serve` with a model on a broker; it may load models of the same folder. */
export async function startDaemon(
  broker: string,
  model: string,
  device: string,
): Promise<Process & { readonly info: ServedInfo }> {
  const main = fileURLToPath(new URL('../../main.js', import.meta.url));
  const folder = mkdtempSync(join(tmpdir(), 'beta-bench-'));
  const config = {
    version: 1,
    node: `bench-${process.pid}`,
    device,
    models: [model],
    modelFolder: dirname(model),
    broker: { url: broker },
    telemetrySeconds: 1,
  };
  // JSON is YAML.
  writeFileSync(join(folder, 'beta.yaml'), JSON.stringify(config));
  const child = spawn(process.execPath, [main, 'serve', '--json', '--config', join(folder, 'beta.yaml')], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const info = JSON.parse(await firstLine(child, 'beta serve'));
  return {
    url: broker,
    pid: child.pid!,
    info,
    stop: async () => {
      await end(child, 'SIGTERM');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** relay.ts on a topic of a broker. */
export async function startRelay(broker: string, topic: string): Promise<Process> {
  const relay = fileURLToPath(new URL('./relay.js', import.meta.url));
  const child = spawn(process.execPath, [relay, broker, topic], { stdio: ['ignore', 'pipe', 'pipe'] });
  await firstLine(child, 'the relay');
  return { url: broker, pid: child.pid!, stop: () => end(child, 'SIGKILL') };
}

/** What a process prints first. Rejects where it ends before, with what it complained about. */
function firstLine(child: ChildProcess, name: string): Promise<string> {
  let output = '';
  let problems = '';
  child.stderr!.on('data', (piece) => {
    problems = `${problems}${piece}`.slice(-2000);
  });
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${name} is not ready in time`)), START_MS);
    child.once('exit', (code) => reject(new Error(`${name} ended with code ${code}: ${problems}`)));
    child.stdout!.on('data', (piece) => {
      output += piece;
      if (!output.includes('\n')) return;
      clearTimeout(timer);
      resolve(output);
    });
  });
}

/** Resident memory of a process, bytes. */
export function residentBytes(pid: number): number {
  const found = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(found) * 1024;
}

/** CPU time of a process so far, all its threads, microseconds. The kernel counts in hundredths of a second. */
export function cpuMicroseconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10_000;
}

/** Process id of a process's only child. */
export function childOf(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')[0]);
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
  await ended;
  clearTimeout(timer);
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return port;
}
