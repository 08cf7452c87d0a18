/** What `beta bench qmm` prints for people; its JSON is the report itself. */
import { printFacts, printLine, printTable } from '../output.js';
import type { Overhead } from './overhead.js';
import type { QmmRow } from './qmm-row.js';

export interface QmmReport {
  readonly rows: readonly QmmRow[];
  readonly descriptor: Overhead;
  /** Clock of the host's core during the run, median over the rows. */
  readonly clock_ghz: number;
  readonly device: string;
  readonly cpu: string;
  /** One-minute load average of the machine when the run began. */
  readonly load: number;
  /** Versions, null where a peer is not installed; `isa` is what they were kept to. */
  readonly peers: {
    readonly onednn: string | null;
    readonly openblas: string | null;
    readonly isa: string | null;
  };
}

type Column = readonly [string, (row: QmmRow) => string | number];

const ratio = (value: number | null) => (value === null ? '-' : value.toFixed(2));

export function printQmm({ rows, descriptor, clock_ghz, device, cpu, peers }: QmmReport): void {
  const columns: Column[] = [
    ['product', ({ name }) => name],
    ['M x K x N', ({ m, k, n, heads }) => `${heads > 1 ? `${heads} of ` : ''}${m}x${k}x${n}`],
    ['A', ({ a_format }) => a_format],
    ['B', ({ b_format }) => b_format],
    ['output', ({ output }) => output],
    ['GMAC/s', ({ gmacs }) => gmacs],
    ['MAC/cycle', ({ mac_per_cycle }) => mac_per_cycle],
  ];
  if (peers.onednn !== null) columns.push(['vs oneDNN', ({ vs_onednn }) => ratio(vs_onednn)]);
  if (rows.some(({ vs_onednn_in_place }) => vs_onednn_in_place !== null))
    columns.push(['in place', ({ vs_onednn_in_place }) => ratio(vs_onednn_in_place)]);
  if (peers.openblas !== null) columns.push(['vs OpenBLAS', ({ vs_openblas }) => ratio(vs_openblas)]);
  if (rows.some(({ vs_one_thread }) => vs_one_thread !== null))
    columns.push(['vs one thread', ({ vs_one_thread }) => ratio(vs_one_thread)]);
  printTable(
    columns.map(([title]) => title),
    rows.map((row) => columns.map(([, cell]) => cell(row))),
  );
  printLine();
  const { ns_per_descriptor, latency_us, idle_latency_us, ring } = descriptor;
  const facts: [string, string][] = [
    ['device', device],
    ['CPU', `${cpu}, ${clock_ghz} GHz while measuring`],
    ['one descriptor', `${ns_per_descriptor} ns streaming through a ring of ${ring} (M = N = 1, K = 128)`],
    ['submit to done', `${latency_us.p50} us median, ${latency_us.p99} us p99`],
    ['after 200 us idle', `${idle_latency_us.p50} us median, ${idle_latency_us.p99} us p99`],
  ];
  const versions = [peers.onednn, peers.openblas].filter((version) => version !== null);
  if (versions.length > 0)
    facts.push(['peers', `${versions.join('; ')}; one thread${peers.isa ? `, up to ${peers.isa}` : ''}`]);
  printFacts(facts);
}
