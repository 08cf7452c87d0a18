/** How often requests were sent, as the broker hands them on, and how often each node ran them, as its log says. */
import mqtt, { type MqttClient } from 'mqtt';
import type { NodeProcess } from './fleet.js';

/** Requester and correlation: what makes a request the same one. */
const keyOf = (client: string, correlation: string) => `${client} ${correlation}`;

/** A listener beside the nodes: it gets what they get, each time that it is sent. */
export class Sends {
  readonly counts = new Map<string, number>();
  readonly #mqtt: MqttClient;

  private constructor(client: MqttClient) {
    this.#mqtt = client;
    client.on('message', (_topic, _payload, { properties = {} }) => {
      const key = keyOf(
        String(properties.responseTopic),
        `c${properties.correlationData?.toString('latin1')}`,
      );
      this.counts.set(key, (this.counts.get(key) ?? 0) + 1);
    });
  }

  static async of(url: string): Promise<Sends> {
    const client = await mqtt.connectAsync(url, {
      protocolVersion: 5,
      properties: { receiveMaximum: 65_535 },
    });
    await client.subscribeAsync(['beta/1/model/+/infer', 'beta/1/node/+/infer/+'], { qos: 1 });
    return new Sends(client);
  }

  close(): Promise<void> {
    return this.#mqtt.endAsync(true);
  }
}

interface Line {
  readonly msg?: string;
  readonly code?: string;
  readonly client?: string;
  readonly correlation?: string;
}

/** Of every request, the node of each of its runs. Nodes log at level debug. */
export function runsOf(nodes: readonly Pick<NodeProcess, 'name' | 'log'>[]): Map<string, string[]> {
  const runs = new Map<string, string[]>();
  for (const { name, log } of nodes)
    for (const line of log.split('\n')) {
      // The last line of a node that was killed may be half of one.
      if (!line.startsWith('{') || !line.endsWith('}')) continue;
      const { msg, code, client, correlation } = JSON.parse(line) as Line;
      if (msg !== 'answered' || code !== 'ok') continue;
      const key = keyOf(client!, correlation!);
      runs.set(key, [...(runs.get(key) ?? []), name]);
    }
  return runs;
}

/** Requests that one node ran more than once. */
export function twiceOnOneNode(runs: ReadonlyMap<string, readonly string[]>): string[] {
  return [...runs].filter(([, nodes]) => new Set(nodes).size < nodes.length).map(([key]) => key);
}

/** Requests that were run more often than they were sent. */
export function moreRunsThanSends(runs: ReadonlyMap<string, readonly string[]>, { counts }: Sends): string[] {
  return [...runs]
    .filter(([key, { length }]) => length > (counts.get(key) ?? 0))
    .map(([key, nodes]) => `${key}: sent ${counts.get(key) ?? 0} times, run by ${nodes.join(', ')}`);
}
