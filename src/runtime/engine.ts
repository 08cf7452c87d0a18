/**
 * The engine process: owns the device and the models on it, and opens their artifacts. A process and not a thread, because the native side may abort, and an abort
 * takes its whole process with it; then the daemon lives on, starts another one, and runs again what was under way.
 */
import { Device, needsReset } from '../device/device.js';
import { Artifact } from '../model/artifact/read.js';
import { packValues, unpackBatch } from './batch-body.js';
import { type Frame, readFrames, writeFrame } from './frames.js';
import { HealthTile } from './health-tile.js';
import { describeModel } from './model-description.js';
import { ENGINE_FD, type FromEngine, type ToEngine, toWireError } from './protocol.js';
import { Residents } from './residents.js';

const say = (message: FromEngine, ...bodies: readonly Uint8Array[]) =>
  writeFrame(ENGINE_FD, message, ...bodies);

interface Engine {
  readonly device: Device;
  readonly models: Residents;
  readonly selfTest: HealthTile;
}

/** Opens the device with the models on it, or says why not. */
function open(message: ToEngine): Engine | undefined {
  let device: Device | undefined;
  try {
    if (message.kind !== 'open') throw new Error(`the engine process was sent "${message.kind}" first`);
    device = Device.open(message.device);
    const selfTest = new HealthTile(device);
    const models = new Residents(device);
    for (const model of message.models) models.add(model);
    selfTest.run();
    say({ kind: 'ready', capabilities: device.capabilities, window: models.use });
    return { device, models, selfTest };
  } catch (error) {
    device?.close();
    say({ kind: 'failed', error: toWireError(error) });
    return undefined;
  }
}

function run(models: Residents, request: Extract<ToEngine, { kind: 'run' }>, { body }: Frame): void {
  const { job, model } = request;
  const { logits, times } = models.run(model, unpackBatch(request, body));
  say({ kind: 'done', job, times, window: models.use }, packValues(logits));
}

/** One job; whether the device can still be used. */
function serve({ device, models, selfTest }: Engine, frame: Frame): boolean {
  const message = frame.header as Exclude<ToEngine, { kind: 'open' | 'close' }>;
  const { job } = message;
  try {
    if (message.kind === 'run') run(models, message, frame);
    else if (message.kind === 'describe') {
      const { description, pieces } = describeModel(Artifact.open(message.file));
      say({ kind: 'done', job, window: models.use, model: description }, ...pieces);
    } else {
      if (message.kind === 'load') models.add(message.model);
      else if (message.kind === 'self-test') selfTest.run();
      else models.remove(message.model);
      say({ kind: 'done', job, window: models.use });
    }
    return true;
  } catch (error) {
    let fatal = false;
    if (needsReset(error)) {
      try {
        device.reset();
      } catch {
        fatal = true; // The first error is the one to report; that no reset helped is what `fatal` says.
      }
    }
    say({ kind: 'error', job, error: toWireError(error), fatal });
    return !fatal;
  }
}

let engine: Engine | undefined;
for (const frame of readFrames(ENGINE_FD)) {
  const { kind } = frame.header as ToEngine;
  // The daemon says goodbye; where it is gone, frames end.
  if (kind === 'close') break;
  if (engine) {
    if (!serve(engine, frame)) break;
  } else {
    engine = open(frame.header as ToEngine);
    if (!engine) break;
  }
}
engine?.device.close();
