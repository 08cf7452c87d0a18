/** One row of `beta bench qmm`: a case, its contestants and what they took. */
import { formatName } from '../../device/descriptor.js';
import type { Device } from '../../device/device.js';
import type { Peer, PeerName, PeerProduct } from '../../native/peer.js';
import { type Case, multiplications } from './cases.js';
import { type Contestant, contest } from './contest.js';
import { hasPlace, preparePeer } from './peers.js';
import { rounded } from './statistics.js';
import { Workload } from './workload.js';

/** Shape of one product in elements; ratios are of medians in the same run. Every key is always there. */
export interface QmmRow {
  readonly name: string;
  readonly m: number;
  readonly k: number;
  readonly n: number;
  /** Products of this shape that make one unit of work. */
  readonly heads: number;
  readonly a_bits: number;
  readonly b_bits: number;
  readonly a_format: string;
  readonly b_format: string;
  /** Format of the result; one bit goes through thresholds. */
  readonly output: string;
  /** 10^9 multiply-accumulates in a second. */
  readonly gmacs: number;
  readonly mac_per_cycle: number;
  readonly clock_ghz: number;
  /** null where the peer is not installed. */
  readonly vs_onednn: number | null;
  /** To oneDNN on heads that lie where a layer has them, side by side in wider rows; null where there is no such thing. */
  readonly vs_onednn_in_place: number | null;
  readonly vs_openblas: number | null;
  readonly onednn_gmacs: number | null;
  readonly onednn_in_place_gmacs: number | null;
  readonly openblas_gmacs: number | null;
  /** What oneDNN chose to compute with. */
  readonly onednn_implementation: string | null;
  /** null where the device ran on one thread. */
  readonly vs_one_thread: number | null;
  readonly rounds: number;
}

type Opponent = PeerName | 'onednn-in-place';

/** Rates of a row's contestants, multiplications in a second. */
interface Rates {
  readonly own: number;
  readonly single: number | undefined;
  readonly peers: ReadonlyMap<Opponent, number>;
}

function row(
  work: Case,
  { own, single, peers }: Rates,
  hz: number,
  rounds: number,
  implementation: string | null,
): QmmRow {
  const ratio = (rate: number | undefined) => (rate === undefined ? null : rounded(own / rate));
  const giga = (rate: number | undefined) => (rate === undefined ? null : rounded(rate / 1e9));
  return {
    name: work.name,
    m: work.m,
    k: work.k,
    n: work.n,
    heads: work.heads,
    a_bits: work.a.bits,
    b_bits: work.b.bits,
    a_format: formatName(work.a),
    b_format: formatName(work.b),
    output: formatName(work.o),
    gmacs: rounded(own / 1e9),
    mac_per_cycle: rounded(own / hz),
    clock_ghz: rounded(hz / 1e9),
    vs_onednn: ratio(peers.get('onednn')),
    vs_onednn_in_place: ratio(peers.get('onednn-in-place')),
    vs_openblas: ratio(peers.get('openblas')),
    onednn_gmacs: giga(peers.get('onednn')),
    onednn_in_place_gmacs: giga(peers.get('onednn-in-place')),
    openblas_gmacs: giga(peers.get('openblas')),
    onednn_implementation: implementation,
    vs_one_thread: ratio(single),
    rounds,
  };
}

/** Measures one case on `device`; `single` is the same device with one thread. Throws DeviceError or PeerError. */
export function measure(
  device: Device,
  single: Device | undefined,
  peers: ReadonlyMap<PeerName, Peer>,
  work: Case,
  seconds: number,
): QmmRow {
  const workloads: Workload[] = [];
  const products = new Map<Opponent, PeerProduct>();
  try {
    for (const target of single ? [device, single] : [device]) workloads.push(new Workload(target, work));
    for (const [name, peer] of peers) products.set(name, preparePeer(peer, work));
    const onednn = peers.get('onednn');
    if (onednn && hasPlace(work)) products.set('onednn-in-place', preparePeer(onednn, work, true));
    const others = [...products.values()].map(
      (product): Contestant => ({
        multiplications: multiplications(work),
        run: (turns) => product.run(turns),
      }),
    );
    const { rates, hz, rounds } = contest([...workloads, ...others], { seconds });
    const peerRates = [...products.keys()].map(
      (name, index) => [name, rates[workloads.length + index]!] as const,
    );
    return row(
      work,
      { own: rates[0]!, single: single && rates[1], peers: new Map(peerRates) },
      hz,
      rounds,
      products.get('onednn')?.implementation ?? null,
    );
  } finally {
    for (const workload of workloads) workload.free();
    for (const product of products.values()) product.free();
  }
}
