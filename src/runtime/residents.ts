/** The models of one device: which of them have their weights in the window, and which give way when there is no room. */
import type { Device } from '../device/device.js';
import { DeviceError } from '../device/errors.js';
import { Artifact } from '../model/artifact/read.js';
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
    return { resident: [...this.#sessions.keys()], freeBytes: this.#device.allocator.freeBytes };
  }

  /**
   * Adds a model and loads it, so that one that cannot run is refused now. One of its name gives way, and has its place back where this one is
   * refused. Throws ArtifactError, DeviceError, ChangedModelError.
   */
  add(model: ModelFile): void {
    const artifact = openArtifact(model);
    const { name } = artifact;
    const before = this.#files.get(name);
    this.#evict(name);
    this.#files.set(name, model);
    try {
      this.#sessions.set(
        name,
        this.#withRoom(name, () => new Session(this.#device, artifact)),
      );
    } catch (error) {
      // It is loaded again when it is asked for.
      if (before) this.#files.set(name, before);
      else this.#files.delete(name);
      throw error;
    }
  }

  remove(name: string): void {
    this.#evict(name);
    this.#files.delete(name);
  }

  /** Session.run of a model, which is loaded first if it had to give way. */
  run(name: string, sequences: readonly Sequence[]): RunResult {
    const session = this.#session(name);
    return this.#withRoom(name, () => session.run(sequences));
  }

  #session(name: string): Session {
    const model = this.#files.get(name);
    if (!model) throw new Error(`no model is called "${name}"`);
    const session =
      this.#sessions.get(name) ?? this.#withRoom(name, () => new Session(this.#device, openArtifact(model)));
    this.#sessions.delete(name);
    this.#sessions.set(name, session);
    return session;
  }

  /** `call`, with one model after another giving way, longest unused first, while the window is too full for it. */
  #withRoom<T>(name: string, call: () => T): T {
    for (;;) {
      try {
        return call();
      } catch (error) {
        const other = [...this.#sessions.keys()].find((each) => each !== name);
        if (!(error instanceof DeviceError) || error.code !== 'window-full' || other === undefined)
          throw error;
        this.#evict(other);
      }
    }
  }

  #evict(name: string): void {
    this.#sessions.get(name)?.unload();
    this.#sessions.delete(name);
  }
}

/** The artifact that was announced. Throws ArtifactError, ChangedModelError. */
function openArtifact({ file, id }: ModelFile): Artifact {
  const artifact = Artifact.open(file, { tokenizer: false });
  if (artifact.id !== id)
    throw new ChangedModelError(`${file} holds ${artifact.id} now, not ${id}; load it again to serve that`);
  return artifact;
}
