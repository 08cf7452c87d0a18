/** The connection of a node to its broker: its last will, its inbox from the first moment on, and a node id that nobody else has. */
import { randomBytes } from 'node:crypto';
import { bounded } from '../client/bounded.js';
import { redact } from '../client/broker-url.js';
import {
  type Connection,
  type ConnectionOptions,
  closeConnection,
  connectBroker,
} from '../client/connection.js';
import { SendWindow } from '../client/send-window.js';
import type { BrokerLogin } from './config-file.js';
import { messageOf, ServiceError } from './errors.js';
import { Inbox } from './inbox.js';
import type { Log } from './log.js';
import { Presence, willOf } from './presence.js';

export interface NodeLineOptions extends BrokerLogin {
  readonly node: string;
  readonly clientId: string;
  /** This node has the broker to itself (the embedded one), so it answers for models that nobody serves too. */
  readonly exclusive: boolean;
  /** Most requests that the broker may have under way to this node (MQTT 5): more than the queue, so that a full queue is told of. */
  readonly receiveMaximum: number;
  readonly log: Log;
}

export interface NodeLine {
  readonly connection: Connection;
  readonly window: SendWindow;
  readonly presence: Presence;
  readonly inbox: Inbox;
}

/** For a first connection: a wrong address is refused at once, and a slow CPU is busy with its own start for many seconds. */
const DIAL_MS = 30_000;
/** Bound of every further exchange with the broker while a node starts. */
export const CONNECT_MS = 10_000;
export const SILENT = 'the broker does not answer';

/** An MQTT client id that no second daemon has. */
export function newClientId(node: string): string {
  return `beta-node-${node}-${randomBytes(4).toString('hex')}`;
}

/** Throws ServiceError 'broker'. */
export async function connectNode(options: NodeLineOptions): Promise<NodeLine> {
  const { node, log, sessionSeconds, exclusive } = options;
  // With a session the client id is always the same, and a connection under it would cut that of its owner: a scout asks first.
  if (sessionSeconds && !exclusive) {
    const scout = await dial({ ...options, clientId: newClientId(node), sessionSeconds: 0 });
    try {
      await checkNode(new Presence(node, scout, new SendWindow(scout.mqtt), log), options);
    } finally {
      await closeConnection(scout);
    }
  }
  let inbox: Inbox | undefined;
  const connection = await dial({
    ...options,
    will: willOf(node),
    prepare: (mqtt) => {
      inbox = new Inbox(mqtt);
    },
  });
  const window = new SendWindow(connection.mqtt);
  const presence = new Presence(node, connection, window, log);
  try {
    if (!sessionSeconds && !exclusive) await checkNode(presence, options);
  } catch (error) {
    await closeConnection(connection);
    throw error;
  }
  return { connection, window, presence, inbox: inbox! };
}

async function dial(options: ConnectionOptions): Promise<Connection> {
  return connectBroker({ ...options, timeoutMs: DIAL_MS }).catch((error) => {
    throw new ServiceError('broker', messageOf(error), { cause: error });
  });
}

async function checkNode(presence: Presence, { node, url }: NodeLineOptions): Promise<void> {
  try {
    if (await bounded(presence.nameInUse(), CONNECT_MS, SILENT))
      throw new Error(`another daemon is online as node "${node}"; give this one another id with --node`);
  } catch (error) {
    throw new ServiceError('broker', `${redact(url)}: ${messageOf(error)}`, { cause: error });
  }
}
