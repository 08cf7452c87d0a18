/** What can be asked of a client beside the request itself. */
import type { Tls } from './connection.js';
import type { Wishes } from './inputs.js';
import type { Codec } from './wire.js';

export interface ClientOptions {
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** For mqtts://: certificate authorities, client certificate and key, PEM. */
  readonly tls?: Tls | undefined;
  /** Part of the reply topic, so letters, digits, `-` and `_` only. Default: a random one. */
  readonly clientId?: string | undefined;
  /** Forces MQTT 5 or 3.1.1 (4); by default 5 is tried first. */
  readonly protocolVersion?: 4 | 5 | undefined;
  /** Bound for connecting, milliseconds (default 10 000). */
  readonly connectTimeoutMs?: number | undefined;
  /** How payloads are written; CBOR needs MQTT 5 (default JSON). */
  readonly codec?: Codec | undefined;
}

export interface RequestOptions extends Wishes {
  /** Asks this node; by default whichever node serves the model. */
  readonly node?: string | undefined;
  /** Bound for the answer, milliseconds (default 30 000). */
  readonly timeoutMs?: number | undefined;
  /** Takes the request back: it rejects with `cancelled`, and a node that has not run it yet will not. */
  readonly signal?: AbortSignal | undefined;
}

export interface StreamOptions extends RequestOptions {
  /** Requests under way at once (default 64); nodes make batches of them. */
  readonly concurrency?: number | undefined;
}
