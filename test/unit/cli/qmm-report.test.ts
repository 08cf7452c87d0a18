import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import type { QmmRow } from '../../../src/cli/bench/qmm-row.js';
import type { QmmReport } from '../../../src/cli/bench/qmm-table.js';

const TOOL = fileURLToPath(new URL('../../../tools/qmm-report.mjs', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'beta-report-'));
afterAll(() => rmSync(folder, { recursive: true }));

function tool(args: readonly string[], input: string) {
  return spawnSync(process.execPath, [TOOL, ...args], { input, encoding: 'utf8' });
}

const row: QmmRow = {
  name: 'project',
  m: 128,
  k: 768,
  n: 768,
  heads: 1,
  a_bits: 2,
  b_bits: 1,
  a_format: 's2',
  b_format: 'pm1',
  output: 'int32',
  gmacs: 690.4,
  mac_per_cycle: 187,
  clock_ghz: 3.692,
  vs_onednn: 3,
  vs_onednn_in_place: null,
  vs_openblas: null,
  onednn_gmacs: 230.13,
  onednn_in_place_gmacs: null,
  openblas_gmacs: null,
  onednn_implementation: 'brg:avx512_core_vnni',
  vs_one_thread: null,
  rounds: 15,
};
const scores: QmmRow = {
  ...row,
  name: 'scores',
  k: 64,
  n: 128,
  heads: 12,
  b_bits: 2,
  b_format: 's2',
  gmacs: 99,
  vs_onednn_in_place: 4,
};
const report: QmmReport = {
  rows: [row, scores],
  descriptor: {
    ns_per_descriptor: 240,
    latency_us: { p50: 0.7, p99: 2 },
    idle_latency_us: { p50: 30, p99: 60 },
    ring: 1024,
  },
  clock_ghz: 3.692,
  device: 'emu:?a&b<c',
  cpu: 'Some CPU',
  load: 0.1,
  peers: { onednn: 'oneDNN 2.6.3', openblas: null, isa: null },
};

describe('the report of bench qmm', () => {
  it('is a markdown table with a line a row', () => {
    const { status, stdout } = tool([], JSON.stringify(report));
    expect(status).toBe(0);
    expect(stdout).toContain(
      '| project | 128x768x768 | s2 x pm1 | int32 | 690 | 187 | 230 | 3.00 | - | - | - |',
    );
    expect(stdout).toContain(
      '| scores | 12 of 128x64x128 | s2 x s2 | int32 | 99 | 187 | 230 | 3.00 | 4.00 |',
    );
    expect(stdout).toContain('240 ns');
  });

  it('is a plot whose bars are as long as the figures say', () => {
    const file = join(folder, 'qmm.svg');
    expect(tool(['--svg', file], JSON.stringify(report)).status).toBe(0);
    const svg = readFileSync(file, 'utf8');
    expect(svg).toContain('emu:?a&amp;b&lt;c');
    const bars = [...svg.matchAll(/<rect x="190" y="\d+" width="([\d.]+)"/g)].map(([, width]) =>
      Number(width),
    );
    expect(bars).toHaveLength(2);
    expect(bars[0]! / bars[1]!).toBeCloseTo(row.gmacs / scores.gmacs, 1);
    // One mark a row and one in the legend; OpenBLAS was not there.
    expect(svg.match(/stroke="#d94801"/g)).toHaveLength(3);
    expect(svg).not.toContain('OpenBLAS');
  });

  it.each([
    ['no json', /is no JSON/],
    ['{"error":{"code":"failed","message":"it broke"}}', /no rows: it broke/],
  ])('refuses %s', (input, message) => {
    const { status, stderr } = tool([], input);
    expect(status).toBe(2);
    expect(stderr).toMatch(message);
  });
});
