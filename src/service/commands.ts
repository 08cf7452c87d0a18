/** What a node can be told to do over MQTT: drain, resume, load and unload models. Each is carried out once, one after another. */
import { realpathSync } from 'node:fs';
import { basename, resolve, sep } from 'node:path';
import { type Command, CommandSchema, type NodeState, VERBS, type Verb } from '../client/wire.js';
import { checked } from './decode.js';
import type { InferenceHost } from './engine.js';
import { messageOf } from './errors.js';
import { RequestFailure } from './failure.js';
import type { Log } from './log.js';

export interface CommandsOptions {
  readonly host: InferenceHost;
  readonly log: Log;
  /** Whether commands are taken at all. */
  readonly enabled: boolean;
  /** The one folder that models are loaded from; undefined: none are. */
  readonly modelFolder: string | undefined;
  /** Carries a change to the network: topics, info, state. */
  readonly onState: (state: NodeState) => Promise<void>;
  readonly onModels: () => Promise<void>;
}

export class Commands {
  readonly #options: CommandsOptions;
  #last: Promise<unknown> = Promise.resolve();
  #state: NodeState = 'online';

  constructor(options: CommandsOptions) {
    this.#options = options;
  }

  get state(): NodeState {
    return this.#state;
  }

  /** Carries a command out, after those before it. Throws RequestFailure. */
  run(verb: string, body: unknown): Promise<{ done: Verb; models: string[]; state: NodeState }> {
    const turn = this.#last.then(() => this.#run(verb, body));
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  async #run(name: string, body: unknown): Promise<{ done: Verb; models: string[]; state: NodeState }> {
    const { host, log, enabled } = this.#options;
    const verb = VERBS.find((each) => each === name);
    if (!verb)
      throw new RequestFailure(
        'bad_request',
        `no command ${JSON.stringify(name.slice(0, 64))}; there are ${VERBS.join(', ')}`,
      );
    if (!enabled)
      throw new RequestFailure('refused', 'commands are switched off in the configuration of this node');
    const command = checked(CommandSchema, body);
    await this.#carryOut(verb, command);
    const models = [...host.models.values()].map(({ id }) => id);
    log.info({ verb, models, state: this.#state }, 'command');
    return { done: verb, models, state: this.#state };
  }

  async #carryOut(verb: Verb, { model, file }: Command): Promise<void> {
    const { host, onState, onModels } = this.#options;
    switch (verb) {
      case 'drain':
      case 'resume':
        this.#state = verb === 'drain' ? 'draining' : 'online';
        await onState(this.#state);
        return;
      case 'load-model':
        await this.#asFailure(host.loadModel(this.#locate(file)));
        await onModels();
        return;
      case 'unload-model':
        if (model === undefined)
          throw new RequestFailure('bad_request', 'give "model": the name of the model to unload');
        if (!host.models.has(model))
          throw new RequestFailure(
            'unknown_model',
            `${JSON.stringify(model.slice(0, 64))} is not served here`,
          );
        if (host.models.size === 1)
          throw new RequestFailure(
            'refused',
            `${model} is the last model of this node; drain or stop the node instead`,
          );
        await this.#asFailure(host.unloadModel(model));
        await onModels();
    }
  }

  /** A file of the folder, which must really lie there: names come from strangers, and links may lead anywhere. */
  #locate(file: string | undefined): string {
    const { modelFolder } = this.#options;
    if (modelFolder === undefined)
      throw new RequestFailure(
        'refused',
        'this node loads no models over MQTT; "modelFolder" in its configuration allows it',
      );
    if (file === undefined || file !== basename(file) || !/^[A-Za-z0-9][\w.-]*\.beta$/.test(file))
      throw new RequestFailure(
        'bad_request',
        'give "file": the name of a .beta file in the folder of this node, without a path',
      );
    try {
      const folder = realpathSync(modelFolder);
      const path = realpathSync(resolve(folder, file));
      if (!path.startsWith(`${folder}${sep}`)) throw new Error('outside');
      return path;
    } catch {
      throw new RequestFailure('bad_request', `${file} is not in the model folder of this node`);
    }
  }

  async #asFailure(work: Promise<unknown>): Promise<void> {
    await work.catch((error) => {
      this.#options.log.warn({ reason: messageOf(error) }, 'a model command failed');
      // The message may name paths of this machine: the folder is the operator's, its name is no secret of theirs.
      throw new RequestFailure('refused', messageOf(error));
    });
  }
}
