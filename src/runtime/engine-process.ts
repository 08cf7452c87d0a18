/** One life of an engine process: started, asked job after job, and watched until it ends. host.ts starts the next one. */
import { type ChildProcess, spawn } from 'node:child_process';
import type { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { HostError } from './errors.js';
import { encodeFrame, type Frame, FrameReader } from './frames.js';
import type { FromEngine, ModelFile, ToEngine } from './protocol.js';

export type Ready = Extract<FromEngine, { kind: 'ready' }>;

export interface EngineProcessOptions {
  readonly module: URL;
  readonly device: string;
  readonly models: readonly ModelFile[];
}

/** Opening a board and checking the weights of many models takes seconds; this is the bound for "never". */
const START_MS = 120_000;
/** Longest wait for a process to stop by itself. */
const CLOSE_MS = 10_000;

export class EngineProcess {
  /** Fulfilled when device and models are ready; rejects with HostError: the code of what went wrong, or 'worker-lost'. */
  readonly started: Promise<Ready>;
  /** `done` or `error` of a job. */
  onAnswer?: (message: FromEngine, body: Frame['body']) => void;
  /** Called once, after `started` was fulfilled: whatever was under way is lost. */
  onEnd?: (reason: string) => void;
  readonly #child: ChildProcess;
  readonly #socket: Duplex;
  readonly #reader = new FrameReader();
  readonly #exited: Promise<void>;

  constructor({ module, device, models }: EngineProcessOptions) {
    // A process group of its own: Ctrl-C in a terminal is for the daemon, which first answers what it accepted. Standard output is
    // for results of commands, so whatever the engine prints goes to standard error.
    this.#child = spawn(process.execPath, [fileURLToPath(module)], {
      stdio: ['ignore', 2, 2, 'pipe'],
      detached: true,
    });
    this.#socket = this.#child.stdio[3] as Duplex;
    let started = false;
    let ended = false;
    let finish: { resolve: (ready: Ready) => void; reject: (error: HostError) => void };
    this.started = new Promise((resolve, reject) => {
      finish = { resolve, reject };
    });
    this.started.catch(() => undefined); // Whoever awaits it later still sees it.
    const timer = setTimeout(
      () => end(`the engine process was not ready within ${START_MS / 1000} s`),
      START_MS,
    );
    const end = (reason: string) => {
      if (ended) return;
      ended = true;
      clearTimeout(timer);
      this.#child.kill('SIGKILL');
      if (started) this.onEnd?.(reason);
      else finish.reject(new HostError({ code: 'worker-lost', message: `${reason} while it started` }));
    };
    this.#exited = new Promise((resolve) => {
      // Not 'exit': what the process wrote before it ended is read first.
      this.#child.once('close', (code, signal) => {
        end(`the engine process ended with ${signal ?? `code ${code}`}`);
        resolve();
      });
      this.#child.once('error', (error) => {
        end(`the engine process cannot be started: ${error.message}`);
        resolve();
      });
    });
    this.#socket.on('error', () => undefined); // The process is gone; 'close' says how.
    this.#socket.on('data', (piece: Buffer) => {
      if (ended) return;
      try {
        for (const { header, body } of this.#reader.push(piece)) {
          const message = header as FromEngine;
          if (started) this.onAnswer?.(message, body);
          else if (message.kind === 'ready') {
            started = true;
            clearTimeout(timer);
            finish.resolve(message);
          } else {
            const error =
              message.kind === 'failed'
                ? message.error
                : { code: 'internal', message: `the engine process began with "${message.kind}"` };
            ended = true;
            clearTimeout(timer);
            this.#child.kill('SIGKILL');
            finish.reject(new HostError(error));
            return;
          }
        }
      } catch (error) {
        end(`the engine process said what nobody understands: ${(error as Error).message}`);
      }
    });
    this.post({ kind: 'open', device, models: models.map(({ file, id }) => ({ file, id })) });
  }

  /** Process id, for messages and tests. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Hands a message over. What the socket cannot take at once waits in its buffer: there are never more than two batches under way. */
  post(message: ToEngine, ...bodies: readonly Uint8Array[]): void {
    if (this.#socket.writable) this.#socket.write(encodeFrame(message, ...bodies));
  }

  /** Ends it at once. */
  kill(): void {
    this.#child.kill('SIGKILL');
  }

  /** Asks it to end after what it was given, and waits; kills it if that takes too long. */
  async close(): Promise<void> {
    this.post({ kind: 'close' });
    this.#socket.end();
    const timer = setTimeout(() => this.kill(), CLOSE_MS);
    await this.#exited;
    clearTimeout(timer);
  }
}

/** A process that is ready. */
export interface Begun {
  readonly process: EngineProcess;
  readonly ready: Ready;
}

/** A process with the models on its device. Rejects with HostError. */
export async function beginEngine(options: EngineProcessOptions): Promise<Begun> {
  const process = new EngineProcess(options);
  return { process, ready: await process.started };
}
