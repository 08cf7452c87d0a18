/** The peers of a run: those that are installed, and how to install the others. */
import { PEERS, Peer, PeerError, type PeerIsa, type PeerName, type PeerProduct } from '../../native/peer.js';
import type { Case } from './cases.js';

const PACKAGES: Readonly<Record<PeerName, string>> = { onednn: 'libdnnl-dev', openblas: 'libopenblas-dev' };

/**
 * Opens every peer that can be used; `warn` gets a sentence for each other one. `folder` is for tests. Throws PeerError
 * where a peer cannot be kept to `isa`: figures under a wrong heading are worse than none.
 */
export function openPeers(
  isa: PeerIsa | undefined,
  warn: (message: string) => void,
  folder?: string,
): ReadonlyMap<PeerName, Peer> {
  const peers = new Map<PeerName, Peer>();
  for (const name of PEERS) {
    try {
      peers.set(name, Peer.open(name, isa, folder));
    } catch (error) {
      if (!(error instanceof PeerError && error.missing)) throw error;
      warn(
        `no comparison with ${error.message}. To have it: sudo apt-get install ${PACKAGES[name]}, then "npm run build:native"`,
      );
    }
  }
  return peers;
}

/**
 * The same product in a peer's terms: codes of 8 bits (oneDNN) or floats (OpenBLAS) whatever the widths. Weights are packed
 * in advance, attention's operands are not; V^T is computed as V, whose plain layout is the one that peers multiply with.
 * Heads lie apart, which peers run faster than where a layer has them (`inPlace`, attention alone).
 */
export function preparePeer(peer: Peer, { role, m, n, k, heads }: Case, inPlace = false): PeerProduct {
  const beside = inPlace ? '-beside' : '';
  switch (role) {
    case 'linear':
      return peer.prepare({ m, n, k, heads, right: 'weights' });
    case 'value':
      return peer.prepare({ m: n, n: m, k, heads, right: 'weights' });
    case 'scores':
      return peer.prepare({ m, n, k, heads, right: `rows-of-k${beside}` });
    case 'context':
      return peer.prepare({ m, n, k, heads, right: `rows-of-n${beside}` });
  }
}

/** Whether operands have another place in a layer than where peers run them fastest. */
export const hasPlace = ({ role }: Case) => role === 'scores' || role === 'context';
