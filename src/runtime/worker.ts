/** The engine worker: owns the device and its sessions, so that the main thread's event loop never waits for an engine. */
import { parentPort, workerData } from 'node:worker_threads';
import { Device, needsReset } from '../device/device.js';
import { Artifact } from '../model/artifact/read.js';
import {
  type FromWorker,
  type RunRequest,
  type ToWorker,
  toWireError,
  type WorkerOptions,
} from './protocol.js';
import { Session } from './session.js';

const port = parentPort!;
const say = (message: FromWorker, transfer: ArrayBuffer[] = []) => port.postMessage(message, transfer);

function start({ device: uri, models }: WorkerOptions): { device: Device; sessions: Map<string, Session> } {
  const device = Device.open(uri);
  try {
    return {
      device,
      sessions: new Map(models.map(({ name, file }) => [name, new Session(device, Artifact.open(file))])),
    };
  } catch (error) {
    device.close();
    throw error;
  }
}

function run(session: Session, { job, ids, types, lengths }: RunRequest): void {
  let at = 0;
  const sequences = lengths.map((length) => {
    const begin = at;
    at += length;
    return { ids: ids.subarray(begin, at), ...(types && { types: types.subarray(begin, at) }) };
  });
  const { logits, times } = session.run(sequences);
  const packed = new Float32Array(logits.reduce((sum, { length }) => sum + length, 0));
  let end = 0;
  for (const values of logits) {
    packed.set(values, end);
    end += values.length;
  }
  say({ kind: 'result', job, logits: packed, times }, [packed.buffer]);
}

try {
  const { device, sessions } = start(workerData as WorkerOptions);
  port.on('message', (message: ToWorker) => {
    if (message.kind === 'close') {
      device.close();
      port.close();
      return;
    }
    const { request } = message;
    try {
      run(sessions.get(request.model)!, request);
    } catch (error) {
      let fatal = false;
      if (needsReset(error)) {
        try {
          device.reset();
        } catch {
          fatal = true; // The first error is the one to report; that no reset helped is what `fatal` says.
        }
      }
      say({ kind: 'error', job: request.job, error: toWireError(error), fatal });
    }
  });
  say({ kind: 'ready', capabilities: device.capabilities });
} catch (error) {
  say({ kind: 'failed', error: toWireError(error) });
}
