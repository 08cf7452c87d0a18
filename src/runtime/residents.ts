/**
 * The models of one device, by digest id: two versions of one name are two models. Which of them have their weights in the window, and which
 * give way when there is no room.
 */
import type { Device } from '../device/device.js';
import { DeviceError } from '../device/errors.js';
import { Artifact } from '../model/artifact/read.js';
import { HostError } from './errors.js';
import type { ModelFile, WindowUse } from './protocol.js';
import { type RunResult, type Sequence, Session } from './session.js';

/** An artifact is not the one that was announced. */
export class ChangedModelError extends Error {
  readonly code = 'model-changed';
}

export class Residents {
  readonly #device: Device;
  readonly #files = new Map<string, ModelFile>();
  /** Sessions of the models in the window; a Map keeps insertion order, so the first is the one used longest ago. */
  readonly #sessions = new Map<string, Session>();

  constructor(device: Device) {
    this.#device = device;
  }

  get use(): WindowUse {
    return {
      resident: [...this.#sessions.values()].map(({ artifact }) => artifact.name),
      freeBytes: this.#device.allocator.freeBytes,
    };
  }

  /**
   * Adds a model and loads it, so that one that cannot run is refused now. The same model is loaded anew, from where it is now. Throws
   * ArtifactError, DeviceError, ChangedModelError; what was there before stays.
   */
  add(model: ModelFile): void {
    const artifact = openArtifact(model);
    const { id } = model;
    this.#evict(id);
    this.#sessions.set(
      id,
      this.#withRoom(id, () => new Session(this.#device, artifact)),
    );
    // Where this was not reached, one that was there before is loaded again when it is asked for.
    this.#files.set(id, model);
  }

  remove(id: string): void {
    this.#evict(id);
    this.#files.delete(id);
  }

  /** Session.run of a model, which is loaded first if it had to give way. Throws HostError 'unknown-model' too. */
  run(id: string, sequences: readonly Sequence[]): RunResult {
    const session = this.#session(id);
    return this.#withRoom(id, () => session.run(sequences));
  }

  #session(id: string): Session {
    const model = this.#files.get(id);
    if (!model) throw new HostError({ code: 'unknown-model', message: `the engine does not have ${id}` });
    const session =
      this.#sessions.get(id) ?? this.#withRoom(id, () => new Session(this.#device, openArtifact(model)));
    this.#sessions.delete(id);
    this.#sessions.set(id, session);
    return session;
  }

  /** `call`, with one model after another giving way, longest unused first, while the window is too full for it. */
  #withRoom<T>(id: string, call: () => T): T {
    for (;;) {
      try {
        return call();
      } catch (error) {
        const other = [...this.#sessions.keys()].find((each) => each !== id);
        if (!(error instanceof DeviceError) || error.code !== 'window-full' || other === undefined)
          throw error;
        this.#evict(other);
      }
    }
  }

  #evict(id: string): void {
    const session = this.#sessions.get(id);
    if (!session) return;
    session.unload();
    this.#sessions.delete(id);
    for (const other of this.#sessions.values()) other.useMoreRoom();
  }
}

/** The artifact that was announced. Throws ArtifactError, ChangedModelError. */
function openArtifact({ file, id }: ModelFile): Artifact {
  const artifact = Artifact.open(file, { tokenizer: false });
  if (artifact.id !== id)
    throw new ChangedModelError(`${file} holds ${artifact.id} now, not ${id}; load it again to serve that`);
  return artifact;
}
