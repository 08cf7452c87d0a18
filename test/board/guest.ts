/**
 * A QEMU xlnx-zcu102 with the project in it. Its memory is a file, so that another process can be the engine: registers and DMA pool lie in
 * memory that the guest's kernel leaves alone (guest/zcu102-qemu.dts). Commands go over the second serial line (guest/init).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Where guest/zcu102-qemu.dts has them, in guest memory and so in the file. */
export const REGISTERS_AT = 0x6fff_f000;
export const POOL_AT = 0x7000_0000;
export const POOL_BYTES = 0x0800_0000;
/** Input of the interrupt controller that is pl_ps_irq0. */
export const ENGINE_IRQ = 89;

const MEMORY = '2G';
const BOOT_MS = 180_000;

export interface Outcome {
  readonly code: number;
  readonly output: string;
}

export class Guest {
  readonly #folder: string;
  readonly #machine: ChildProcess;
  readonly #shell: Socket;
  #received = '';

  private constructor(folder: string, machine: ChildProcess, shell: Socket) {
    this.#folder = folder;
    this.#machine = machine;
    this.#shell = shell;
    shell.setEncoding('utf8').on('data', (text: string) => {
      this.#received += text;
    });
  }

  /** The guest's memory. */
  get memory(): string {
    return join(this.#folder, 'memory');
  }

  /** QEMU's qtest socket, where interrupt lines can be driven. */
  get qtest(): string {
    return join(this.#folder, 'qtest');
  }

  /** What its kernel said. */
  get console(): string {
    return readFileSync(join(this.#folder, 'console'), 'utf8');
  }

  /** Boots what build-guest.sh made in `built`. Returns when it takes commands. */
  static async boot(built: string): Promise<Guest> {
    const folder = mkdtempSync(join(tmpdir(), 'beta-board-'));
    const at = (name: string) => join(folder, name);
    const log = openSync(at('qemu.log'), 'w');
    const machine = spawn(
      'qemu-system-aarch64',
      [
        ...['-M', 'xlnx-zcu102,memory-backend=ram', '-smp', '2', '-m', MEMORY, '-accel', 'tcg'],
        ...['-object', `memory-backend-file,id=ram,size=${MEMORY},mem-path=${at('memory')},share=on`],
        ...['-kernel', join(built, 'Image'), '-dtb', join(built, 'zcu102.dtb')],
        ...['-initrd', join(built, 'initrd'), '-append', 'console=ttyPS0 rdinit=/init quiet'],
        ...['-display', 'none', '-monitor', 'none', '-no-reboot'],
        ...['-serial', `file:${at('console')}`, '-serial', `unix:${at('shell')},server=on,wait=off`],
        // QEMU gives its first network to the first of the four ports; "-nic none" takes no port, it is skipped.
        ...['-nic', 'user,model=cadence_gem'],
        ...['-qtest', `unix:${at('qtest')},server=on,wait=off`, '-qtest-log', 'none'],
      ],
      { stdio: ['ignore', log, log], env: { ...process.env, QEMU_AUDIO_DRV: 'none' } },
    );
    closeSync(log);
    const read = (name: string) => {
      try {
        return readFileSync(at(name), 'utf8');
      } catch {
        return '';
      }
    };
    const deadline = Date.now() + BOOT_MS;
    while (!read('console').includes('init: ready')) {
      if (machine.exitCode !== null || machine.signalCode !== null || Date.now() > deadline) {
        machine.kill('SIGKILL');
        throw new Error(`the guest did not boot:\n${read('qemu.log')}\n${read('console').slice(-4000)}`);
      }
      await sleep(200);
    }
    const shell = connect(at('shell'));
    await once(shell, 'connect');
    return new Guest(folder, machine, shell);
  }

  /** Runs one line of shell, as root in /opt/beta. One command at a time. */
  async run(command: string, timeoutMs = 120_000): Promise<Outcome> {
    if (command.includes('\n')) throw new Error('a command is one line');
    this.#received = '';
    this.#shell.write(`${command}\n`);
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they mark the end of a command's output
      const match = /\r?\n\u0001(\d+)\u0002\r?\n$/.exec(this.#received);
      if (match) {
        const output = this.#received.slice(0, match.index).replaceAll('\r\n', '\n');
        return { code: Number(match[1]), output };
      }
      if (Date.now() > deadline || this.#machine.exitCode !== null)
        throw new Error(
          `no end of "${command}" after ${timeoutMs} ms:\n${this.#received}\n${this.console.slice(-2000)}`,
        );
      await sleep(10);
    }
  }

  /** The same as the user the service runs as. */
  runAsService(command: string, timeoutMs?: number): Promise<Outcome> {
    return this.run(`su beta -c '${command.replaceAll("'", `'\\''`)}'`, timeoutMs);
  }

  async stop(): Promise<void> {
    this.#shell.destroy();
    if (this.#machine.exitCode === null && this.#machine.signalCode === null) {
      this.#machine.kill('SIGKILL');
      await once(this.#machine, 'exit');
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
