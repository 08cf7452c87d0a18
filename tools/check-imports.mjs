// The house has storeys: an import may stay on its own floor or go down, never up (docs/architecture.md).
// Fails with one line per import that breaks a rule.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

const src = join(dirname(dirname(fileURLToPath(import.meta.url))), 'src');

// What each folder may import from, itself apart.
const allowed = {
  cli: ['service', 'client', 'runtime', 'compiler', 'model', 'device', 'native'],
  service: ['client', 'runtime', 'compiler', 'model', 'device', 'native'],
  client: [],
  runtime: ['compiler', 'model', 'device', 'native'],
  compiler: ['model', 'device/contract.generated', 'device/descriptor', 'native/steps.generated'],
  model: ['device/contract.generated'],
  device: ['native'],
  native: [],
};

// Packages that only one folder may know.
const confined = {
  koffi: ['native'],
  mqtt: ['client', 'service'],
  aedes: ['service'],
  cborg: ['client'],
  'cborg/taglib': ['client'],
  'prom-client': ['service'],
  commander: ['cli'],
  yauzl: ['model'],
  '@huggingface/tokenizers': ['model'],
};

function* files(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* files(path);
    else if (entry.name.endsWith('.ts')) yield path;
  }
}

const problems = [];
for (const file of files(src)) {
  const from = relative(src, file).split(sep)[0];
  const text = readFileSync(file, 'utf8');
  for (const match of text.matchAll(/(?:from|import)\s*\(?\s*['"]([^'"]+)['"]/g)) {
    const target = match[1];
    const where = `src/${relative(src, file)}`;
    if (!target.startsWith('.')) {
      const owners = confined[target];
      if (owners && !owners.includes(from))
        problems.push(`${where}: only ${owners.join(', ')} may import "${target}"`);
      continue;
    }
    const path = relative(src, resolve(dirname(file), target)).replace(/\.js$/, '');
    if (path.startsWith('..')) continue;
    const to = path.split(sep)[0];
    if (to === from) continue;
    if (!(from in allowed)) problems.push(`${where}: unknown folder "${from}"`);
    else if (!allowed[from].some((rule) => path === rule || path.startsWith(`${rule}/`)))
      problems.push(`${where}: ${from} may not import ${path}`);
  }
}

for (const problem of problems) console.error(problem);
if (problems.length > 0) process.exit(1);
