/**
 * The peer of `beta bench forward`: onnxruntime on BERTs of the same shape, in a process of its own (bench/ort), so that its threads and
 * its memory are not ours. It is optional; a row without it has no ratio.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { Plan } from '../../model/plan.js';

const PEER = fileURLToPath(new URL('../../../bench/ort/peer.mjs', import.meta.url));

/** How to get it, for people. */
export const ORT_HINT = 'npm run bench:peers';

/** What the peer's models are made of. */
export interface OrtShape {
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  readonly intermediate: number;
  readonly labels: number;
  readonly activation: 'relu' | 'gelu';
  readonly batch: number;
  readonly tokens: number;
}

type Reply =
  | { readonly ready: { readonly version: string; readonly variants: readonly string[] } }
  | { readonly times: readonly number[] }
  | { readonly error: string };

/** True where the peer's packages are installed. */
export function isOrtInstalled(): boolean {
  if (!existsSync(PEER)) return false;
  try {
    createRequire(PEER).resolve('onnxruntime-node');
    createRequire(PEER).resolve('onnx-proto');
    return true;
  } catch {
    return false;
  }
}

/** The shape of a model's peer; null where BERT has no such shape (an attention narrower than the hidden state). */
export function ortShape(plan: Plan, batch: number, tokens: number): OrtShape | null {
  const { hidden, heads, attentionSize, intermediate, layers, labels } = plan;
  const first = layers[0];
  if (attentionSize !== hidden || first === undefined) return null;
  const { activation } = first;
  return {
    layers: layers.length,
    hidden,
    heads,
    intermediate,
    labels: Math.max(labels.length, 1),
    activation,
    batch,
    tokens,
  };
}

export class OrtPeer {
  readonly #child: ChildProcess;
  #version = '';
  #variants: readonly string[] = [];

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static start(): OrtPeer {
    return new OrtPeer(fork(PEER, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] }));
  }

  /** Of onnxruntime-node. */
  get version(): string {
    return this.#version;
  }

  /** Forms of the model: "plain f32", "fused f32", "plain int8", "fused int8". */
  get variants(): readonly string[] {
    return this.#variants;
  }

  /** Builds the models of a shape. Throws what onnxruntime says of them. */
  async prepare(shape: OrtShape): Promise<void> {
    const reply = await this.#ask({ shape });
    if (!('ready' in reply)) throw new Error('the peer answered out of turn');
    this.#version = reply.ready.version;
    this.#variants = reply.ready.variants;
  }

  /** Milliseconds of each forward pass of a variant, for about `ms` of them; at least one. */
  async run(variant: string, ms: number): Promise<readonly number[]> {
    const reply = await this.#ask({ run: variant, ms });
    if (!('times' in reply)) throw new Error('the peer answered out of turn');
    return reply.times;
  }

  close(): void {
    if (this.#child.connected) this.#child.disconnect();
  }

  async #ask(message: object): Promise<Reply> {
    if (!this.#child.connected) throw new Error('the onnxruntime peer has ended');
    this.#child.send(message);
    const stopped = new AbortController();
    try {
      const [reply] = (await Promise.race([
        once(this.#child, 'message', { signal: stopped.signal }),
        once(this.#child, 'exit', { signal: stopped.signal }).then(([code, signal]) => {
          throw new Error(`the onnxruntime peer ended (${signal ?? `exit code ${code}`})`);
        }),
      ])) as [Reply];
      if ('error' in reply) throw new Error(`onnxruntime: ${reply.error}`);
      return reply;
    } finally {
      stopped.abort();
    }
  }
}
