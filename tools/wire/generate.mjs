// Writes what is derived from the wire contract (src/client/wire/contract.ts): docs/mqtt-reference.md, the JSON Schema and the AsyncAPI document.
// With --check it writes nothing and fails when a file is stale. It reads dist/, so it builds first.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { asyncApi } from './asyncapi.mjs';
import { reference } from './reference.mjs';
import { jsonSchema } from './schema.mjs';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const { status } = spawnSync(process.execPath, [join(root, 'tools', 'build-ts.mjs')], { stdio: 'inherit' });
if (status !== 0) process.exit(status ?? 1);
const wire = await import('../../dist/client/wire.js');

const outputs = [
  ['docs/wire.schema.json', () => `${JSON.stringify(jsonSchema(wire), null, 2)}\n`],
  ['docs/asyncapi.yaml', () => asyncApi(wire)],
  ['docs/mqtt-reference.md', () => reference(wire)],
];

const check = process.argv.includes('--check');
const stale = [];
for (const [path, write] of outputs) {
  const file = join(root, path);
  const text = write();
  if (existsSync(file) && readFileSync(file, 'utf8') === text) continue;
  stale.push(path);
  if (!check) writeFileSync(file, text);
}

if (check && stale.length > 0) {
  console.error(`stale, run "npm run wire" and commit the result: ${stale.join(', ')}`);
  process.exit(1);
}
if (!check) console.log(stale.length > 0 ? `written: ${stale.join(', ')}` : 'everything is up to date');
