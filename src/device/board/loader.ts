/**
 * Asks the privileged helper (native/loader) to load or unload a bitstream package: directly for root, else through the socket that systemd
 * listens on for the group "beta".
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { DeviceError } from '../errors.js';
import { systemPath, systemRoot } from './system.js';

const HELPER = fileURLToPath(new URL('../../../native/build/beta-loader', import.meta.url));
const SOCKET = '/run/beta/loader.sock';
/** A bitstream of 30 MB loads in a second or two. */
const TIMEOUT_MS = 30_000;
const MAX_ANSWER = 4096;

export type LoaderRequest =
  | readonly ['load', string]
  | readonly ['load', string, 'axi-timeout']
  | readonly ['unload', string];

/** Sends a request. Throws DeviceError 'load-failed' with the helper's sentence, or with how to get at the helper. */
export async function askLoader(request: LoaderRequest): Promise<void> {
  const answer = await exchange(request);
  if (answer === 'ok') return;
  throw new DeviceError('load-failed', `beta-loader: ${answer.replace(/^error: /, '') || 'no answer'}`);
}

function exchange(request: LoaderRequest): Promise<string> {
  // Under BETA_ROOT nothing belongs to root.
  if (process.getuid?.() === 0 || systemRoot() !== '') return runHelper(request);
  const socket = systemPath(SOCKET);
  if (existsSync(socket)) return askSocket(socket, request);
  throw new DeviceError(
    'load-failed',
    `loading bitstreams needs root: use sudo, or enable beta-loader.socket and join the group "beta" (there is no ${socket})`,
  );
}

function runHelper(request: LoaderRequest): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(HELPER, [...request], { stdio: ['ignore', 'pipe', 'inherit'], timeout: TIMEOUT_MS });
    let answer = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      answer = (answer + text).slice(0, MAX_ANSWER);
    });
    child.on('error', (error) => reject(new DeviceError('load-failed', `${HELPER}: ${error.message}`)));
    child.on('close', () => resolve(answer.trim()));
  });
}

function askSocket(path: string, request: LoaderRequest): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = '';
    const socket = connect(path, () => socket.write(`${request.join(' ')}\n`));
    socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error(`no answer in ${TIMEOUT_MS / 1000} s`)));
    socket.setEncoding('utf8').on('data', (text: string) => {
      answer = (answer + text).slice(0, MAX_ANSWER);
    });
    socket.on('error', (error) => reject(new DeviceError('load-failed', `${path}: ${error.message}`)));
    socket.on('close', () => resolve(answer.trim()));
  });
}
