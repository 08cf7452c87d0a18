// Sizes and times of the programs of several checkpoints, as a markdown table on stdout (docs/performance.md): each is imported, and one
// sentence is passed through it.
//   node tools/widths-report.mjs [--device URI] [--tokens N] [--seconds S] CHECKPOINT_FOLDER...
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const USAGE =
  'usage: node tools/widths-report.mjs [--device URI] [--tokens N] [--seconds S] CHECKPOINT_FOLDER...';
const BETA = new URL('../dist/cli/main.js', import.meta.url).pathname;

function fail(message) {
  console.error(`widths-report: ${message}`);
  process.exit(2);
}

/** Options and folders; every mistake is one of usage. */
function parse() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        device: { type: 'string', default: 'emu:' },
        tokens: { type: 'string', default: '32' },
        seconds: { type: 'string', default: '1' },
      },
    });
    if (positionals.length === 0) throw new Error('no checkpoint folder');
    return { ...values, folders: positionals };
  } catch (error) {
    return fail(`${error.message}\n${USAGE}`);
  }
}

function beta(...args) {
  try {
    return JSON.parse(
      execFileSync(process.execPath, [BETA, ...args, '--json'], { encoding: 'utf8', maxBuffer: 2 ** 28 }),
    );
  } catch (error) {
    const said = /"message":"([^"]*)"/.exec(error.stdout ?? '')?.[1];
    return fail(`beta ${args[0]}: ${said ?? error.message}`);
  }
}

/** How many products leave codes (the engine's epilogue requantises), int16 or int32 (a vector step does). */
function choices(layers) {
  const leaves = layers.flatMap(({ products }) => products.map((product) => product.leaves));
  const count = (test) => leaves.filter(test).length;
  return [
    count((leave) => !leave.startsWith('int') && leave !== 'real'),
    count((leave) => leave === 'int16'),
    count((leave) => leave === 'int32'),
  ].join(' / ');
}

function measure(folder, { device, tokens, seconds }, space) {
  const file = join(space, 'model.beta');
  beta('import', folder, '-o', file, '--name', 'model');
  const { plan, bytes } = beta('inspect', file);
  const { layers } = beta('explain', file, '--tokens', tokens);
  const { rows } = beta(
    'bench',
    'forward',
    file,
    '--device',
    device,
    '--batch',
    '1',
    '--tokens',
    tokens,
    '--seconds',
    seconds,
  );
  rmSync(file);
  const [{ ms_p50: ms, qmm_share: qmm, vector_share: vector }] = rows;
  const checkpoint = ['pytorch_model.bin', 'model.safetensors']
    .map((name) => statSync(join(folder, name), { throwIfNoEntry: false })?.size)
    .find((size) => size !== undefined);
  return [
    plan.family,
    `${plan.layers.length} x ${plan.hidden}`,
    checkpoint === undefined ? '-' : checkpoint.toLocaleString('en-US'),
    bytes.toLocaleString('en-US'),
    choices(layers),
    ms.toPrecision(3),
    (ms * qmm).toPrecision(3),
    (ms * vector).toPrecision(3),
  ];
}

const options = parse();
const space = mkdtempSync(join(tmpdir(), 'widths-'));
try {
  const rows = options.folders.map((folder) => measure(folder, options, space));
  const line = (cells) => `| ${cells.join(' | ')} |`;
  const titles = [
    'model',
    'layers x hidden',
    'checkpoint, bytes',
    'artifact, bytes',
    'products: codes / int16 / int32',
    'ms',
    'qmm ms',
    'vector ms',
  ];
  console.log(`${cpus()[0].model}; \`${options.device}\`; one sentence of ${options.tokens} tokens.\n`);
  console.log(line(titles));
  console.log(line(titles.map(() => '---')));
  for (const row of rows) console.log(line(row));
} finally {
  rmSync(space, { recursive: true });
}
