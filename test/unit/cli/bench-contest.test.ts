import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { casesOf, SHAPES } from '../../../src/cli/bench/cases.js';
import { type Contestant, contest } from '../../../src/cli/bench/contest.js';
import { measureOverhead } from '../../../src/cli/bench/overhead.js';
import { openPeers, preparePeer } from '../../../src/cli/bench/peers.js';
import { measure } from '../../../src/cli/bench/qmm-row.js';
import { median, quantile } from '../../../src/cli/bench/statistics.js';
import { Device } from '../../../src/device/device.js';
import { coreHz } from '../../../src/native/clock.js';
import { PEER_FOLDER, PEERS } from '../../../src/native/peer.js';

const folder = mkdtempSync(join(tmpdir(), 'beta-peers-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe('statistics', () => {
  it('take samples that occurred', () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(quantile([5, 1], 0.99)).toBe(5);
    expect(
      quantile(
        Array.from({ length: 100 }, (_, i) => i),
        0.99,
      ),
    ).toBe(99);
    expect(quantile([7], 1)).toBe(7);
  });
});

/** Takes `ms` for each turn, however fast the machine. */
function idler(ms: number): Contestant {
  return {
    multiplications: 1000,
    run: (turns) => {
      const end = performance.now() + turns * ms;
      while (performance.now() < end);
    },
  };
}

describe('a contest', () => {
  it('gives each contestant its own rate', () => {
    const { rates, hz, rounds } = contest([idler(0.1), idler(0.4)], { seconds: 0.1 });
    const [fast, slow] = rates as [number, number];
    // No turn is shorter than it says; a busy machine may make it longer.
    expect(fast).toBeLessThanOrEqual(10_000_100);
    expect(slow).toBeLessThanOrEqual(2_500_100);
    expect(fast / slow).toBeGreaterThan(2);
    expect(hz).toBeGreaterThan(1e8);
    expect(rounds).toBeGreaterThanOrEqual(5);
  });

  it('has enough rounds for a median even in no time', () => {
    expect(contest([idler(3)], { seconds: 0.001 }).rounds).toBeGreaterThanOrEqual(5);
  });
});

describe('the clock', () => {
  it('is that of a CPU', () => {
    const hz = coreHz(1000);
    expect(hz).toBeGreaterThan(0.2e9);
    expect(hz).toBeLessThan(8e9);
  });
});

describe('peers', () => {
  it('that are absent are named with what to install, and leave null', () => {
    const warnings: string[] = [];
    const peers = openPeers(undefined, (message) => warnings.push(message), folder);
    expect(peers.size).toBe(0);
    expect(warnings).toEqual([
      expect.stringMatching(/onednn.*libdnnl-dev.*npm run build:native/),
      expect.stringMatching(/openblas.*libopenblas-dev.*npm run build:native/),
    ]);
    const device = Device.open('emu:');
    try {
      const [scores] = casesOf([{ ...SHAPES[4]!, m: 8, n: 8, heads: 2 }], [2]);
      expect(measure(device, undefined, peers, scores!, 0.01)).toMatchObject({
        m: 8,
        k: 64,
        n: 8,
        heads: 2,
        a_bits: 2,
        b_bits: 2,
        vs_onednn: null,
        vs_onednn_in_place: null,
        vs_openblas: null,
        vs_one_thread: null,
      });
    } finally {
      device.close();
    }
  });

  it('that are no libraries count as absent', () => {
    for (const name of PEERS) writeFileSync(join(folder, `${name}.so`), 'not a library');
    const warnings: string[] = [];
    expect(openPeers(undefined, (message) => warnings.push(message), folder).size).toBe(0);
    expect(warnings.every((message) => message.includes('cannot be loaded'))).toBe(true);
  });

  const built = PEERS.filter((name) => existsSync(join(PEER_FOLDER, `${name}.so`)));
  it.runIf(built.length > 0)('that are installed compute every kind of product', () => {
    const peers = openPeers(undefined, () => undefined);
    expect([...peers.keys()]).toEqual(built);
    for (const peer of peers.values()) {
      expect(peer.version).toMatch(/\d+\.\d+/);
      for (const work of casesOf(SHAPES, [1])) {
        for (const inPlace of [false, true]) {
          const product = preparePeer(peer, { ...work, m: 16, n: 16 }, inPlace);
          product.run(2);
          product.free();
          expect(() => product.run(1)).toThrow('was freed');
        }
      }
    }
  });
});

describe('the cost of a descriptor', () => {
  it('is measured with the smallest product', () => {
    const device = Device.open('emu:?ring_log2=8');
    try {
      const free = device.allocator.freeBytes;
      const { ns_per_descriptor, latency_us, ring } = measureOverhead(device, 0.01);
      expect(ring).toBe(256);
      expect(ns_per_descriptor).toBeGreaterThan(1);
      expect(latency_us.p50 * 1000).toBeGreaterThan(1);
      expect(latency_us.p99).toBeGreaterThanOrEqual(latency_us.p50);
      expect(device.allocator.freeBytes).toBe(free);
    } finally {
      device.close();
    }
  });
});
