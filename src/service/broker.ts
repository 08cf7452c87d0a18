/**
 * The embedded broker: aedes (MQTT 3.1.1) for a daemon that has no other. It serves exactly one node; a fleet needs a
 * broker of its own, with shared subscriptions.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { Aedes } from 'aedes';
import { bounded } from '../client/bounded.js';
import { parseTopic } from '../client/wire.js';
import type { EmbeddedConfig } from './config.js';
import { messageOf, ServiceError } from './errors.js';
import type { Log } from './log.js';

const CLOSE_MS = 2000;

export interface EmbeddedBrokerOptions extends EmbeddedConfig {
  /** MQTT client id of the one daemon that may listen to requests here. */
  readonly owner: string;
  readonly log: Log;
}

export class EmbeddedBroker {
  /** Where clients on this machine find it. */
  readonly url: string;
  readonly #aedes: Aedes;
  readonly #server: Server;
  readonly #sockets: Set<Socket>;

  private constructor(url: string, aedes: Aedes, server: Server, sockets: Set<Socket>) {
    this.url = url;
    this.#aedes = aedes;
    this.#server = server;
    this.#sockets = sockets;
  }

  /** Listens. Throws ServiceError 'broker'. */
  static async start({ host, port, owner, log }: EmbeddedBrokerOptions): Promise<EmbeddedBroker> {
    const aedes = await Aedes.createBroker({
      // Two daemons on this broker would both answer the same request: aedes has no shared subscriptions.
      authorizeSubscribe: (client, subscription, callback) =>
        callback(null, client.id !== owner && wantsRequests(subscription.topic) ? null : subscription),
    });
    const refused = (client: { id: string } | null, error: Error) =>
      log.debug({ client: client?.id, reason: error.message }, 'broker: connection ended with an error');
    aedes.on('clientError', refused);
    aedes.on('connectionError', refused);

    const sockets = new Set<Socket>();
    const server = createServer({ noDelay: true }, (socket) => {
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
      aedes.handle(socket);
    });
    try {
      await listen(server, host, port);
    } catch (error) {
      aedes.close();
      throw explain(error, host, port);
    }
    if (!isLoopback(host))
      log.warn({ host }, 'the embedded broker has no passwords, and listens on more than this machine');
    const address = server.address();
    const realPort = typeof address === 'object' && address ? address.port : port;
    return new EmbeddedBroker(`mqtt://${reachable(host)}:${realPort}`, aedes, server, sockets);
  }

  /** Closes all connections. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    const done = new Promise<void>((resolve) => this.#aedes.close(() => resolve()));
    await bounded(done, CLOSE_MS, 'the broker does not close').catch(() => undefined);
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}

/** Whether a subscription is to request topics alone; someone who watches everything (`#`) is welcome. */
function wantsRequests(filter: string): boolean {
  const kind = parseTopic(filter.replace(/^\$share\/[^/]*\//, ''))?.kind;
  return kind === 'model-infer' || kind === 'node-infer';
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

function explain(error: unknown, host: string, port: number): ServiceError {
  const code = (error as { code?: unknown }).code;
  const reasons: Record<string, string> = {
    EADDRINUSE: `something listens there already. If it is a broker, use it: --broker mqtt://${reachable(host)}:${port}; else take another port: --port N`,
    EACCES: 'this port needs more rights; take one above 1023 with --port',
    EADDRNOTAVAIL: 'this machine has no such address; the usual one is 127.0.0.1',
  };
  const reason = reasons[String(code)] ?? messageOf(error);
  return new ServiceError('broker', `embedded broker on ${host}:${port}: ${reason}`, { cause: error });
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.');
}

/** An address that a client on this machine can connect to. */
function reachable(host: string): string {
  if (host === '0.0.0.0' || host === '::') return '127.0.0.1';
  return host.includes(':') ? `[${host}]` : host;
}
