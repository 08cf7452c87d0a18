/** What a node says of itself while it is measured: its telemetry, once a second. */
import { type Connection, closeConnection, connectBroker } from '../../../client/connection.js';
import { type Telemetry, topics } from '../../../client/wire.js';
import { median, rounded } from '../statistics.js';

/** Of the seconds of one row. */
export interface Observed {
  /** How late the event loop of the daemon was in 99 of 100 cases: in the median second, and in the worst. */
  readonly loop_delay_p99_ms: number;
  readonly loop_delay_worst_ms: number;
  /** Share of the time in which the engine computed. */
  readonly engine_busy: number;
}

export class TelemetryWatch {
  readonly #connection: Connection;
  #seen: Telemetry[] = [];
  #skip = Number.POSITIVE_INFINITY;

  private constructor(connection: Connection) {
    this.#connection = connection;
    connection.mqtt.on('message', (_topic, payload) => {
      if (this.#skip > 0) this.#skip--;
      else this.#seen.push(JSON.parse(payload.toString('utf8')));
    });
  }

  static async of(url: string, node: string): Promise<TelemetryWatch> {
    const connection = await connectBroker({ url, clientId: `beta-watch-${process.pid}` });
    await connection.mqtt.subscribeAsync(topics.nodeTelemetry(node), { qos: 0 });
    return new TelemetryWatch(connection);
  }

  close(): Promise<void> {
    return closeConnection(this.#connection);
  }

  /** Takes note from the next whole second on: the first report also tells of what was before. */
  start(): void {
    this.#skip = 1;
  }

  stop(): void {
    this.#skip = Number.POSITIVE_INFINITY;
  }

  /** What was noted since this was last asked; undefined where there was no whole second. */
  take(): Observed | undefined {
    const seen = this.#seen;
    this.#seen = [];
    if (seen.length === 0) return undefined;
    const late = seen.map(({ loop_delay_ms }) => loop_delay_ms.p99);
    return {
      loop_delay_p99_ms: rounded(median(late)),
      loop_delay_worst_ms: rounded(Math.max(...late)),
      engine_busy: rounded(seen.reduce((sum, { engine_busy }) => sum + engine_busy, 0) / seen.length),
    };
  }
}
