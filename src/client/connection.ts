/**
 * One connection to a broker: MQTT 5 where the broker speaks it, else MQTT 3.1.1 (the embedded aedes broker is 3.1.1
 * only). Used by the client and by the daemon.
 */
import { Socket } from 'node:net';
import { connect, type IClientOptions, type MqttClient } from 'mqtt';
import { bounded } from './bounded.js';
import { checkBrokerUrl, redact } from './broker-url.js';
import { ConnectError } from './errors.js';
import { gatherWrites } from './gathering.js';

export interface ConnectionOptions {
  readonly url: string;
  readonly clientId: string;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** Published by the broker when the connection breaks. QoS 1, retained. */
  readonly will?: { readonly topic: string; readonly payload: string } | undefined;
  /** Forces a protocol version; by default 5 is tried first, then 4 (which is 3.1.1). */
  readonly protocolVersion?: 4 | 5 | undefined;
  /** Bound for the whole first connection, milliseconds. Later reconnections go on until close. */
  readonly timeoutMs?: number | undefined;
  /** Seconds between pings; the broker publishes the will after one and a half of them. */
  readonly keepalive?: number | undefined;
  /** TLS: certificate authorities, and a client certificate with its key, all PEM. */
  readonly tls?: Tls | undefined;
  /** MQTT 5: how long the broker keeps subscriptions and messages for a client that is away, seconds; 0 or undefined: not at all. */
  readonly sessionSeconds?: number | undefined;
  /** MQTT 5: most messages of QoS 1 that the broker may send before they are acknowledged. */
  readonly receiveMaximum?: number | undefined;
  /** Called with the client before it connects, for listeners that must not miss anything; again if another version has to be tried. */
  readonly prepare?: ((mqtt: MqttClient) => void) | undefined;
  /** Whether subscriptions are made again after a reconnection (default), or the caller does it. */
  readonly resubscribe?: boolean | undefined;
}

export interface Tls {
  readonly ca?: Buffer | undefined;
  readonly cert?: Buffer | undefined;
  readonly key?: Buffer | undefined;
}

export interface Connection {
  readonly mqtt: MqttClient;
  /** 5, or 4 for 3.1.1. */
  readonly version: 4 | 5;
}

const DEFAULT_TIMEOUT_MS = 10_000;
/** Pause between attempts to reconnect: it doubles from the first to the longest, and a part of it is chance, so that not all come at once. */
const RECONNECT_MS = { first: 250, most: 5000 } as const;
/** How long a clean goodbye may take. */
const CLOSE_MS = 2000;

/** "Unacceptable protocol version" as a 3.1.1 broker and as a 5 broker says it. */
const VERSION_REFUSED = new Set<unknown>([1, 132]);

class RefusedVersion extends Error {}

/** Connects, or throws a ConnectError that says what to do. */
export async function connectBroker(options: ConnectionOptions): Promise<Connection> {
  checkBrokerUrl(options.url);
  const deadline = Date.now() + (options.timeoutMs ?? DEFAULT_TIMEOUT_MS);
  const versions = options.protocolVersion === undefined ? ([5, 4] as const) : [options.protocolVersion];
  for (const version of versions) {
    try {
      return { mqtt: await attempt(options, version, deadline), version };
    } catch (error) {
      if (!(error instanceof RefusedVersion)) throw error;
    }
  }
  const names = versions.map((version) => (version === 5 ? '5' : '3.1.1')).join(' nor ');
  throw new ConnectError(`${redact(options.url)}: this broker speaks neither MQTT ${names}`);
}

/** Says goodbye, so that the broker drops the will; cuts the connection if that takes too long. */
export async function closeConnection({ mqtt, version }: Connection): Promise<void> {
  try {
    // The broker need not keep a session for whoever says goodbye.
    const goodbye = version === 5 && !mqtt.options.clean ? { properties: { sessionExpiryInterval: 0 } } : {};
    await bounded(mqtt.endAsync(!mqtt.connected, goodbye), CLOSE_MS, 'the broker does not answer');
  } catch {
    // end() waits for acknowledgements that may never come, and a second end() would do nothing.
    mqtt.stream.destroy();
  }
}

async function attempt(options: ConnectionOptions, version: 4 | 5, deadline: number): Promise<MqttClient> {
  const settings: IClientOptions = {
    protocolVersion: version,
    clientId: options.clientId,
    clean: !options.sessionSeconds,
    keepalive: options.keepalive ?? 30,
    reconnectPeriod: RECONNECT_MS.first,
    reconnectOnConnackError: true,
    // The bound is kept here; the library's own would start again with every reconnection.
    connectTimeout: DEFAULT_TIMEOUT_MS,
    resubscribe: options.resubscribe ?? true,
    // Pings go by the clock; with every packet the library would stop a timer and start another.
    reschedulePings: false,
    // It formats a dozen lines for every message, for a log that nobody reads.
    log: () => undefined,
  };
  if (version === 5) {
    settings.properties = {
      ...(options.sessionSeconds ? { sessionExpiryInterval: options.sessionSeconds } : {}),
      ...(options.receiveMaximum === undefined ? {} : { receiveMaximum: options.receiveMaximum }),
    };
  }
  // Whatever the environment says, a certificate that does not verify is no certificate.
  if (options.url.startsWith('mqtts:')) Object.assign(settings, options.tls, { rejectUnauthorized: true });
  if (options.username !== undefined) settings.username = options.username;
  if (options.password !== undefined) settings.password = options.password;
  if (options.will)
    settings.will = {
      topic: options.will.topic,
      payload: Buffer.from(options.will.payload),
      qos: 1,
      retain: true,
    };

  const mqtt = connect(options.url, settings);
  options.prepare?.(mqtt);
  let failures = 0;
  mqtt.on('close', () => {
    // For the attempt after the next: the timer of the next one runs already.
    const pause = Math.min(RECONNECT_MS.most, RECONNECT_MS.first * 2 ** ++failures);
    mqtt.options.reconnectPeriod = Math.round(pause * (0.5 + Math.random() / 2));
  });
  mqtt.on('connect', () => {
    failures = 0;
    mqtt.options.reconnectPeriod = RECONNECT_MS.first;
    // Each reconnection brings a new stream. Without `noDelay` a small packet waits up to 40 ms for the acknowledgement of the one before
    // it (Nagle's algorithm against delayed acknowledgement).
    if (mqtt.stream instanceof Socket) mqtt.stream.setNoDelay(true);
    gatherWrites(mqtt.stream);
  });
  try {
    await firstConnection(mqtt, options.url, version, deadline);
  } catch (error) {
    mqtt.end(true);
    throw error;
  }
  return mqtt;
}

function firstConnection(mqtt: MqttClient, url: string, version: 4 | 5, deadline: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let done = false;
    const finish = (error?: Error) => {
      if (done) return;
      done = true;
      clearTimeout(timer);
      if (error) reject(error);
      else resolve();
    };
    const late = () =>
      finish(new ConnectError(`${redact(url)}: no connection in time; is the address right?`));
    // A process that was too busy to read (a slow CPU that still compiles) finds its timer due before what has long arrived.
    const timer = setTimeout(() => setImmediate(late), Math.max(0, deadline - Date.now()));
    mqtt.once('connect', () => finish());
    // Stays for the life of the connection: an 'error' without a listener would end the process, and what matters
    // of it shows as 'close' and in the callbacks.
    mqtt.on('error', (error) => finish(explain(error, url)));
    // Some old brokers refuse an unknown version by closing the connection without a word.
    mqtt.once('close', () =>
      finish(
        version === 5
          ? new RefusedVersion()
          : new ConnectError(`${redact(url)}: the connection was closed before the broker accepted it`),
      ),
    );
  });
}

const NOT_TRUSTED = 'the broker\'s certificate is not trusted; give the authority that signed it as "ca"';

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED:
    'nothing listens there; start "beta serve" or a broker, or give another address with --broker',
  ENOTFOUND: 'this host name is not known',
  EAI_AGAIN: 'the host name cannot be resolved now',
  EHOSTUNREACH: 'the host cannot be reached',
  ENETUNREACH: 'the network cannot be reached',
  ETIMEDOUT: 'the host does not answer',
  // CONNACK codes of 3.1.1 and of 5.
  2: 'the broker refuses the client id',
  133: 'the broker refuses the client id',
  4: 'the broker refuses the user name or password',
  134: 'the broker refuses the user name or password',
  5: 'the broker does not authorise this client; are user name and password needed?',
  135: 'the broker does not authorise this client; are user name and password needed?',
  138: 'the broker has banned this client',
  // TLS.
  ERR_SSL_WRONG_VERSION_NUMBER: 'this port does not speak TLS; is it the one for mqtt://?',
  DEPTH_ZERO_SELF_SIGNED_CERT: NOT_TRUSTED,
  SELF_SIGNED_CERT_IN_CHAIN: NOT_TRUSTED,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: NOT_TRUSTED,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: NOT_TRUSTED,
  CERT_HAS_EXPIRED: "the broker's certificate has expired",
  ERR_TLS_CERT_ALTNAME_INVALID: "the broker's certificate is for another host name",
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: 'the broker wants a client certificate; give "cert" and "key"',
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: 'the broker does not trust the client certificate',
};

function explain(error: Error, url: string): Error {
  const code = (error as { code?: unknown }).code;
  if (VERSION_REFUSED.has(code)) return new RefusedVersion(error.message);
  const reason = REASONS[String(code)] ?? (error.message || String(code));
  return new ConnectError(`${redact(url)}: ${reason}`, { cause: error });
}
