// Turns the JSON of "beta bench qmm --json" into docs: a markdown table on stdout, and with "--svg FILE" a plot.
//   npx beta bench qmm --json | node tools/qmm-report.mjs --svg docs/qmm.svg
import { readFileSync, writeFileSync } from 'node:fs';

function fail(message) {
  console.error(`qmm-report: ${message}`);
  process.exit(2);
}

const [option, svgFile, ...rest] = process.argv.slice(2);
if ((option !== undefined && option !== '--svg') || (option === '--svg' && !svgFile) || rest.length > 0)
  fail('usage: beta bench qmm --json | node tools/qmm-report.mjs [--svg FILE]');
if (process.stdin.isTTY) fail('no input: pipe the output of "beta bench qmm --json" into it');

function read() {
  try {
    return JSON.parse(readFileSync(0, 'utf8'));
  } catch (error) {
    return fail(`the input is no JSON (${error.message}); it takes what "beta bench qmm --json" prints`);
  }
}

const report = read();
if (!Array.isArray(report.rows) || report.rows.length === 0)
  fail(`the input has no rows${report.error ? `: ${report.error.message}` : ''}`);

const figure = (value, digits = 3) => (value === null ? '-' : String(Number(value.toPrecision(digits))));
const ratio = (value) => (value === null ? '-' : value.toFixed(2));
const shape = ({ m, k, n, heads }) => `${heads > 1 ? `${heads} of ` : ''}${m}x${k}x${n}`;

function markdown({ rows, descriptor, clock_ghz, device, cpu, peers }) {
  const columns = [
    ['product', ({ name }) => name],
    ['M x K x N', shape],
    ['A x B', ({ a_format, b_format }) => `${a_format} x ${b_format}`],
    ['output', ({ output }) => output],
    ['GMAC/s', ({ gmacs }) => figure(gmacs)],
    ['MAC/cycle', ({ mac_per_cycle }) => figure(mac_per_cycle)],
    ['oneDNN', ({ onednn_gmacs }) => figure(onednn_gmacs)],
    ['ratio', ({ vs_onednn }) => ratio(vs_onednn)],
    ['in place', ({ vs_onednn_in_place }) => ratio(vs_onednn_in_place)],
    ['OpenBLAS', ({ openblas_gmacs }) => figure(openblas_gmacs)],
    ['ratio', ({ vs_openblas }) => ratio(vs_openblas)],
  ];
  if (rows.some(({ vs_one_thread }) => vs_one_thread !== null))
    columns.push(['to one thread', ({ vs_one_thread }) => ratio(vs_one_thread)]);
  const line = (cells) => `| ${cells.join(' | ')} |`;
  const { ns_per_descriptor, latency_us, idle_latency_us, ring } = descriptor;
  const known = [peers.onednn, peers.openblas].filter((version) => version !== null).join('; ');
  return [
    `${cpu}, ${clock_ghz} GHz while measuring; \`${device}\`${known ? `; ${known}${peers.isa ? ` up to ${peers.isa}` : ''}` : ''}.`,
    '',
    line(columns.map(([title]) => title)),
    line(columns.map(() => '---')),
    ...rows.map((row) => line(columns.map(([, cell]) => cell(row)))),
    '',
    `One descriptor (M = N = 1, K = 128), streaming through a ring of ${ring}: ${ns_per_descriptor} ns. Submit to done of one: ` +
      `${latency_us.p50} µs median, ${latency_us.p99} µs p99; after 200 µs of idleness ${idle_latency_us.p50} and ${idle_latency_us.p99} µs.`,
  ].join('\n');
}

const TITLE = 'Matrix products of BERT-base, GMAC/s by bits of A x B';
const WIDTH = 860;
const LEFT = 190;
const RIGHT = 90;
const BAR = 15;
const GAP = 26;
const TOP = 84;
/** Width of a figure beside a bar, at most. */
const FIGURE = 36;

/** Widths of a row's operands: where the weights are not one bit, both. */
const widths = ({ a_bits, b_bits }) => `${a_bits} x ${b_bits}`;
/** One hue, darker for fewer bits: the order of the bars needs no legend. */
const SHADES = { 1: '#08306b', 2: '#2171b5', 4: '#6baed6', 8: '#9ecae1' };
const shade = ({ a_bits, b_bits }) => SHADES[Math.max(a_bits, b_bits)];
const PEERS = [
  { key: 'onednn_gmacs', title: 'oneDNN u8s8s32', colour: '#d94801' },
  { key: 'openblas_gmacs', title: 'OpenBLAS sgemm', colour: '#636363' },
];

const escaped = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
const text = (x, y, content, more = '') => `<text x="${x}" y="${y}" ${more}>${escaped(content)}</text>`;

/** A round step that divides the axis into four to eight parts. */
function axisStep(most) {
  const power = 10 ** Math.floor(Math.log10(most / 4));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => most / step <= 8);
}

function svg({ rows, clock_ghz, device, cpu }) {
  const names = [...new Set(rows.map(({ name }) => name))];
  const groups = names.map((name) => rows.filter((row) => row.name === name));
  const most = Math.max(
    ...rows.flatMap((row) => [row.gmacs, row.onednn_gmacs ?? 0, row.openblas_gmacs ?? 0]),
  );
  const step = axisStep(most);
  const x = (value) => Number((LEFT + (value / most) * (WIDTH - LEFT - RIGHT)).toFixed(1));
  const parts = [];
  const compared = PEERS.filter(({ key }) => rows.some((row) => row[key] !== null));
  let y = TOP;
  for (const group of groups) {
    const [first] = group;
    const middle = y + (group.length * BAR) / 2;
    parts.push(text(10, middle - 2, first.name, 'font-weight="bold"'), text(10, middle + 13, shape(first)));
    for (const row of group) {
      const peers = compared.filter(({ key }) => row[key] !== null);
      const end = x(row.gmacs);
      // A peer's mark just behind the bar would strike through the figure.
      const marks = peers.map(({ key }) => x(row[key])).filter((mark) => mark > end && mark < end + FIGURE);
      parts.push(
        text(LEFT - 8, y + BAR - 4, widths(row), 'text-anchor="end"'),
        `<rect x="${LEFT}" y="${y + 1}" width="${Number((end - LEFT).toFixed(1))}" height="${BAR - 2}" fill="${shade(row)}"/>`,
        text(Math.max(end, ...marks) + 5, y + BAR - 4, figure(row.gmacs)),
      );
      for (const { key, colour } of peers) {
        parts.push(
          `<line x1="${x(row[key])}" x2="${x(row[key])}" y1="${y}" y2="${y + BAR}" stroke="${colour}" stroke-width="2.5"/>`,
        );
      }
      y += BAR;
    }
    y += GAP;
  }
  const bottom = y - GAP + 6;
  const axis = [];
  for (let value = 0; value <= most; value += step) {
    axis.push(
      `<line x1="${x(value)}" x2="${x(value)}" y1="${TOP - 6}" y2="${bottom}" stroke="#e0e0e0"/>`,
      text(x(value), bottom + 14, String(Number(value.toPrecision(3))), 'text-anchor="middle"'),
    );
  }
  const legend = compared.flatMap(({ title, colour }, index) => [
    `<line x1="${LEFT + index * 150}" x2="${LEFT + index * 150}" y1="56" y2="70" stroke="${colour}" stroke-width="2.5"/>`,
    text(LEFT + index * 150 + 7, 67, title),
  ]);
  const height = bottom + 26;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12" fill="#222">`,
    `<title>${TITLE}</title>`,
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    text(10, 24, TITLE, 'font-size="16" font-weight="bold"'),
    text(
      10,
      42,
      `${cpu}, ${clock_ghz} GHz, ${device}; each peer on one thread, in the same run`,
      'fill="#555"',
    ),
    ...legend,
    ...axis,
    ...parts,
    '</svg>',
    '',
  ].join('\n');
}

console.log(markdown(report));
if (svgFile) writeFileSync(svgFile, svg(report));
