/** Daemons with a fake engine, and bare MQTT clients that see exactly what is on the wire. */
import mqtt, { type IPublishPacket, type MqttClient } from 'mqtt';
import { pino } from 'pino';
import { parseConfig } from '../../src/service/config.js';
import type { Settings } from '../../src/service/config-file.js';
import { Daemon } from '../../src/service/daemon.js';
import { FakeHost } from '../unit/service/fake-host.js';

export interface Running {
  readonly daemon: Daemon;
  readonly host: FakeHost;
  readonly log: string[];
}

/** Settings of a test node; without `url` it brings its own broker on a free port. */
export function settingsFor(node: string, url?: string, changes: Partial<Settings['limits']> = {}): Settings {
  return {
    node,
    device: 'emu:',
    broker:
      url === undefined
        ? undefined
        : {
            url,
            username: undefined,
            password: undefined,
            clientId: undefined,
            tls: undefined,
            sessionSeconds: 0,
          },
    embedded: url === undefined ? { host: '127.0.0.1', port: 0 } : undefined,
    models: ['intents.beta'],
    modelFolder: undefined,
    commands: true,
    telemetrySeconds: 0,
    http: undefined,
    limits: { ...parseConfig({ version: 1 }).limits, ...changes },
    logLevel: 'debug',
  };
}

export async function startDaemon(settings: Settings, host = new FakeHost()): Promise<Running> {
  const log: string[] = [];
  const daemon = await Daemon.start({
    settings,
    log: pino({ level: 'debug' }, { write: (line: string) => void log.push(line) }),
    startHost: async () => host,
  });
  return { daemon, host, log };
}

export interface Message {
  readonly topic: string;
  readonly text: string;
  readonly packet: IPublishPacket;
}

/** A client that records everything it receives. */
export class Wire {
  readonly client: MqttClient;
  readonly version: 4 | 5;
  readonly messages: Message[] = [];
  #sequence = 0;

  private constructor(client: MqttClient, version: 4 | 5) {
    this.client = client;
    this.version = version;
    client.on('message', (topic, payload, packet) => {
      this.messages.push({ topic, text: payload.toString(), packet });
    });
  }

  static async connect(url: string, version: 4 | 5, options: mqtt.IClientOptions = {}): Promise<Wire> {
    const client = await mqtt.connectAsync(url, { protocolVersion: version, reconnectPeriod: 0, ...options });
    return new Wire(client, version);
  }

  async subscribe(topic: string): Promise<void> {
    await this.client.subscribeAsync(topic, { qos: 1 });
  }

  on(topic: string): Message[] {
    return this.messages.filter((message) => message.topic === topic);
  }

  /** Waits until `condition` holds. */
  async until(condition: () => boolean, what: string, ms = 8000): Promise<void> {
    const deadline = Date.now() + ms;
    while (!condition()) {
      if (Date.now() > deadline)
        throw new Error(
          `${what}: not within ${ms} ms; seen: ${JSON.stringify(this.messages.map((m) => m.text).slice(-5))}`,
        );
      await sleep(5);
    }
  }

  /**
   * Sends a payload as this protocol version does (properties, or replyTo and id inside) and returns every answer that
   * came until some time after the first.
   */
  async ask(topic: string, payload: unknown, quietMs = 150): Promise<Record<string, unknown>[]> {
    const reply = `test/${this.client.options.clientId}/${this.#sequence++}`;
    await this.subscribe(reply);
    await this.send(topic, payload, reply, `c${this.#sequence}`);
    await this.until(() => this.on(reply).length > 0, `an answer to ${topic}`);
    await sleep(quietMs);
    const answers = this.on(reply);
    if (this.version === 5)
      for (const { packet } of answers) {
        if (packet.properties?.correlationData?.toString() !== `c${this.#sequence}`)
          throw new Error('the correlation data did not come back');
      }
    return answers.map(({ text }) => JSON.parse(text));
  }

  async send(topic: string, payload: unknown, reply: string, id: string): Promise<void> {
    if (this.version === 5) {
      const body = typeof payload === 'string' ? payload : JSON.stringify(payload);
      const properties = { responseTopic: reply, correlationData: Buffer.from(id) };
      await this.client.publishAsync(topic, body, { qos: 1, properties });
    } else {
      const body =
        typeof payload === 'string'
          ? payload.replace('REPLY', reply)
          : JSON.stringify({ ...(payload as object), id, replyTo: reply });
      await this.client.publishAsync(topic, body, { qos: 1 });
    }
  }

  async close(): Promise<void> {
    await this.client.endAsync(true);
  }
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
