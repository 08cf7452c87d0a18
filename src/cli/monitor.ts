/** `beta monitor`: a live view of the nodes of a broker. */
import type { Command } from 'commander';
import type { BetaClient } from '../client/client.js';
import type { NodeStatus } from '../client/fleet.js';
import type { Telemetry } from '../client/wire.js';
import { type BrokerFlags, brokerOptions, withClient } from './broker-options.js';
import { EXIT, type ExitCode } from './exit.js';
import { formatBytes, printable } from './output.js';

type Flags = BrokerFlags & { readonly json?: boolean; readonly node?: string };

const REDRAW_MS = 1000;
/** Clears the screen and puts the cursor at its top. */
const CLEAR = '\u001b[H\u001b[2J';
const HISTORY = 40;
const BARS = ' ▁▂▃▄▅▆▇█';

export function register(program: Command): void {
  brokerOptions(program.command('monitor'))
    .description('watch the nodes of a broker: queue, batches, latency, engine, power')
    .option('--node <id>', 'only this one')
    .option('--json', 'print every report as one JSON line, until it is stopped')
    .addHelpText(
      'after',
      '\nExamples:\n  $ beta monitor\n  $ beta monitor --node kitchen --json | jq .latency_ms.p99\n\nStops with Ctrl-C. Exit codes: 0 stopped, 3 no broker.',
    )
    .action(async (flags: Flags) => {
      process.exitCode = await withClient('monitor', flags, (client) => watch(client, flags));
    });
}

async function watch(client: BetaClient, { node, json }: Flags): Promise<ExitCode> {
  const stopped = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  });
  const reports = new Map<string, Telemetry[]>();
  await client.onTelemetry((report) => {
    if (node !== undefined && report.node !== node) return;
    if (json) process.stdout.write(`${JSON.stringify(report)}\n`);
    else reports.set(report.node, [...(reports.get(report.node) ?? []).slice(1 - HISTORY), report]);
  });
  const draw = async () => {
    const nodes = (await client.nodes()).filter((each) => node === undefined || each.node === node);
    process.stdout.write(`${process.stdout.isTTY ? CLEAR : ''}${view(nodes, reports)}\n`);
  };
  const timer = json ? undefined : setInterval(() => void draw().catch(() => undefined), REDRAW_MS);
  if (!json) await draw();
  await stopped;
  clearInterval(timer);
  return EXIT.OK;
}

/** The whole screen. */
export function view(
  nodes: readonly NodeStatus[],
  reports: ReadonlyMap<string, readonly Telemetry[]>,
): string {
  if (nodes.length === 0) return 'no node was ever on this broker';
  return nodes.map((node) => block(node, reports.get(node.node) ?? [])).join('\n\n');
}

function block({ node, state, info }: NodeStatus, reports: readonly Telemetry[]): string {
  const models = info?.models.map(({ name }) => name).join(', ') ?? 'no models';
  const title = printable(`${node}  ${state}  ${info?.device.uri ?? ''}  ${models}`);
  const now = reports.at(-1);
  if (!now || state === 'offline')
    return `${title}\n  ${state === 'offline' ? 'gone' : 'waiting for its first report'}`;
  const line = (name: string, text: string) => `  ${name.padEnd(10)}${text}`;
  const curve = (of: (report: Telemetry) => number) => sparkline(reports.map(of));
  const { queue, latency_ms: latency, queue_ms: waiting, loop_delay_ms: loop, outbox, window } = now;
  return [
    title,
    line(
      'health',
      `${now.ready ? 'ready' : 'NOT READY'}, up ${duration(now.uptime_s)}, engine started again ${now.engine_restarts} times`,
    ),
    line(
      'requests',
      `${now.requests_per_s}/s, ${now.failures_per_s}/s failed   ${curve((each) => each.requests_per_s)}`,
    ),
    line('latency', `p50 ${latency.p50} ms, p99 ${latency.p99} ms   ${curve((each) => each.latency_ms.p99)}`),
    line(
      'queue',
      `${queue.waiting} of ${queue.limit} wait, p50 ${waiting.p50} ms, p99 ${waiting.p99} ms   ${curve((each) => each.queue.waiting)}`,
    ),
    line(
      'engine',
      `${Math.round(now.engine_busy * 100)} % busy, ${now.sequences_per_s} sequences/s, ${now.batch} in a batch   ${curve((each) => each.engine_busy)}`,
    ),
    line(
      'memory',
      `${formatBytes(now.rss_bytes)}, window ${formatBytes(window.free_bytes)} free, holds ${printable(window.resident.join(', '))}`,
    ),
    line('loop', `p50 ${loop.p50} ms, p99 ${loop.p99} ms late`),
    line('outbox', `${outbox.pending} pending, ${outbox.dropped} dropped`),
    ...(now.power_watts === undefined
      ? []
      : [line('power', `${now.power_watts} W   ${curve((each) => each.power_watts ?? 0)}`)]),
  ].join('\n');
}

/** A line of bars, each value against the largest. */
export function sparkline(values: readonly number[]): string {
  const most = Math.max(...values, Number.MIN_VALUE);
  return values.map((value) => BARS[Math.ceil((Math.max(0, value) / most) * (BARS.length - 1))]).join('');
}

function duration(seconds: number): string {
  const minutes = Math.floor(seconds / 60);
  if (minutes < 1) return `${Math.round(seconds)} s`;
  if (minutes < 60) return `${minutes} min`;
  return minutes < 1440
    ? `${Math.floor(minutes / 60)} h ${minutes % 60} min`
    : `${Math.floor(minutes / 1440)} d`;
}
