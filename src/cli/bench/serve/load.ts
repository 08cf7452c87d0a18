/** Load on a model topic, with latencies that leave nothing out: in an open loop they count from when a request was due, not from when it got away. */
import { type Connection, closeConnection, connectBroker } from '../../../client/connection.js';
import { SendWindow } from '../../../client/send-window.js';
import { randomBelow } from '../random.js';

export interface LoadResult {
  /** Milliseconds of every answer. */
  readonly latencies: number[];
  /** Milliseconds of the engine, of those answers that say so. */
  readonly computed: number[];
  readonly seconds: number;
  readonly sent: number;
  /** Requests without an answer when nothing came any more. */
  readonly unanswered: number;
  /** Answers that were errors, by code. */
  readonly errors: Readonly<Record<string, number>>;
}

/** Longest wait for the last answers. */
const QUIET_MS = 10_000;

export class Load {
  readonly #connection: Connection;
  readonly #window: SendWindow;
  readonly #reply: string;
  readonly #due = new Map<string, number>();
  readonly #next = randomBelow(13);
  #sequence = 0;
  #latencies: number[] = [];
  #computed: number[] = [];
  #errors: Record<string, number> = {};
  #onAnswer: () => void = () => undefined;
  #quiet: NodeJS.Timeout | undefined;

  private constructor(connection: Connection, reply: string) {
    this.#connection = connection;
    this.#window = new SendWindow(connection.mqtt);
    this.#reply = reply;
    connection.mqtt.on('message', (_topic, payload, packet) =>
      this.#answered(payload, packet.properties?.correlationData),
    );
  }

  static async connect(url: string): Promise<Load> {
    const clientId = `beta-bench-${process.pid}`;
    const connection = await connectBroker({ url, clientId, protocolVersion: 5, receiveMaximum: 65_535 });
    const reply = `beta/1/reply/${clientId}`;
    await connection.mqtt.subscribeAsync(reply, { qos: 1 });
    return new Load(connection, reply);
  }

  close(): Promise<void> {
    return closeConnection(this.#connection);
  }

  /** As many requests under way as `concurrency`, until so many seconds are over or so many are sent. */
  async closed(
    topic: string,
    payloads: readonly string[],
    concurrency: number,
    until: { seconds?: number; requests?: number },
  ): Promise<LoadResult> {
    this.#begin();
    const start = performance.now();
    const first = this.#sequence;
    const { seconds = Number.POSITIVE_INFINITY, requests = Number.POSITIVE_INFINITY } = until;
    const more = () => performance.now() - start < seconds * 1000 && this.#sequence - first < requests;
    await new Promise<void>((resolve) => {
      this.#onAnswer = () => {
        if (more()) this.#send(topic, payloads, performance.now());
        else if (this.#due.size === 0) resolve();
      };
      for (let i = 0; i < concurrency && more(); i++) this.#send(topic, payloads, performance.now());
      this.#whenQuiet(resolve);
    });
    return this.#result(first, start);
  }

  /** `rate` requests a second for so many seconds, whether answers come or not. */
  async open(topic: string, payloads: readonly string[], rate: number, seconds: number): Promise<LoadResult> {
    this.#begin();
    const first = this.#sequence;
    const start = performance.now();
    const total = Math.ceil(rate * seconds);
    await new Promise<void>((resolve) => {
      let sent = 0;
      const tick = () => {
        const now = performance.now();
        for (
          let due = start + (sent * 1000) / rate;
          sent < total && due <= now;
          due = start + (++sent * 1000) / rate
        )
          this.#send(topic, payloads, due);
        if (sent < total) setTimeout(tick, Math.max(0, start + (sent * 1000) / rate - performance.now()));
        else if (this.#due.size === 0) resolve();
      };
      this.#onAnswer = () => {
        if (sent >= total && this.#due.size === 0) resolve();
      };
      tick();
      this.#whenQuiet(resolve);
    });
    return this.#result(first, start);
  }

  /** Share of `requests` that is answered. */
  progress(requests: number): number {
    return this.#latencies.length / requests;
  }

  /**
   * One request on each topic in turn, over and over, the last of them a message to ourselves: milliseconds on each, on a machine as idle or
   * as busy as requests find it.
   */
  async between(
    topics: readonly string[],
    payloads: readonly string[],
    seconds: number,
  ): Promise<number[][]> {
    const end = performance.now() + seconds * 1000;
    const latencies: number[][] = [...topics, this.#reply].map(() => []);
    while (performance.now() < end)
      for (const [index, topic] of [...topics, this.#reply].entries()) {
        const one = await this.closed(topic, payloads, 1, { requests: 1 });
        latencies[index]!.push(...one.latencies);
      }
    return latencies;
  }

  /** A message to ourselves through the broker, one after another: milliseconds each. */
  async echo(payload: string, seconds: number): Promise<number[]> {
    const { latencies } = await this.closed(this.#reply, [payload], 1, { seconds });
    return latencies;
  }

  #begin(): void {
    this.#latencies = [];
    this.#computed = [];
    this.#errors = {};
    this.#due.clear();
  }

  #send(topic: string, payloads: readonly string[], due: number): void {
    const id = String(this.#sequence++);
    this.#due.set(id, due);
    const properties = { responseTopic: this.#reply, correlationData: Buffer.from(id) };
    // Not in turn: batches of the same sentences would come again and again.
    const payload = payloads[this.#next(payloads.length)]!;
    void this.#window.publish(topic, payload, { properties });
  }

  #answered(payload: Buffer, correlation: Buffer | undefined): void {
    const id = correlation?.toString() ?? '';
    const due = this.#due.get(id);
    if (due === undefined) return;
    this.#due.delete(id);
    this.#latencies.push(performance.now() - due);
    // Errors and times stand before results, which may be long.
    const head = payload.subarray(0, 512).toString('latin1');
    const code = /^.{0,40}"error":\{"code":"(\w+)"/.exec(head)?.[1];
    const computed = /"compute_ms":([\d.]+)/.exec(head)?.[1];
    if (computed !== undefined) this.#computed.push(Number(computed));
    if (code !== undefined) this.#errors[code] = (this.#errors[code] ?? 0) + 1;
    this.#onAnswer();
  }

  /** Calls `resolve` when no answer has come for a while. */
  #whenQuiet(resolve: () => void): void {
    let seen = -1;
    this.#quiet = setInterval(() => {
      if (this.#latencies.length === seen) resolve();
      seen = this.#latencies.length;
    }, QUIET_MS);
    this.#quiet.unref();
  }

  #result(first: number, start: number): LoadResult {
    this.#onAnswer = () => undefined;
    clearInterval(this.#quiet);
    return {
      latencies: this.#latencies,
      computed: this.#computed,
      seconds: (performance.now() - start) / 1000,
      sent: this.#sequence - first,
      unanswered: this.#due.size,
      errors: this.#errors,
    };
  }
}
