/** Daemons as processes of their own, as an operator has them: they can be killed. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { ConfigInput } from '../../src/service/config.js';

const MAIN = new URL('../../dist/cli/main.js', import.meta.url).pathname;

export class NodeProcess {
  readonly name: string;
  readonly #folder = mkdtempSync(join(tmpdir(), 'beta-fleet-'));
  #child: ChildProcess | undefined;
  /** What it wrote to standard error. */
  log = '';
  /** The line of --json. */
  info: Record<string, unknown> = {};

  constructor(name: string, config: Omit<ConfigInput, 'version' | 'node'>) {
    this.name = name;
    writeFileSync(
      join(this.#folder, 'beta.yaml'),
      stringify({ version: 1, node: name, device: 'emu:?window=32M', ...config }),
    );
  }

  get pid(): number {
    return this.#child!.pid!;
  }

  /** Runs it (again); resolves when it is online. */
  async start(): Promise<void> {
    const child = spawn(
      process.execPath,
      [MAIN, 'serve', '--json', '--config', join(this.#folder, 'beta.yaml')],
      {
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    this.#child = child;
    // A test file that fails half way must not leave a daemon behind.
    const last = () => child.kill('SIGKILL');
    process.once('exit', last);
    child.once('exit', () => process.off('exit', last));
    child.stderr.on('data', (text) => {
      this.log += text;
    });
    await new Promise<void>((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`${this.name} ended with ${code}: ${this.log}`)));
      child.stdout.once('data', (line) => {
        this.info = JSON.parse(line);
        resolve();
      });
    });
  }

  /** Sends a signal and waits for the end. */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null;
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
    child.kill(signal);
    return ended;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  async close(): Promise<void> {
    await this.end('SIGKILL');
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
