// Writes what is derived from the wire contract (src/client/wire/contract.ts): docs/mqtt-reference.md, the JSON Schema and the AsyncAPI document.
// With --check it writes nothing and fails when a file is stale. It reads dist/, so it builds first.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { generate, root } from '../generated.mjs';
import { asyncApi } from './asyncapi.mjs';
import { reference } from './reference.mjs';
import { jsonSchema } from './schema.mjs';

const { status } = spawnSync(process.execPath, [join(root, 'tools', 'build-ts.mjs')], { stdio: 'inherit' });
if (status !== 0) process.exit(status ?? 1);
const wire = await import('../../dist/client/wire.js');

const outputs = [
  ['docs/wire.schema.json', () => `${JSON.stringify(jsonSchema(wire), null, 2)}\n`],
  ['docs/asyncapi.yaml', () => asyncApi(wire)],
  ['docs/mqtt-reference.md', () => reference(wire)],
];

generate(outputs, 'npm run wire');
