/** What the package says about itself. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = new URL('../../', import.meta.url);

/** Version of this package. */
export function packageVersion(): string {
  const { version } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8')) as { version: string };
  return version;
}

/** The model that comes with the package: what is served when nothing else is asked for. */
export function bundledModel(): string {
  return fileURLToPath(new URL('models/intents.beta', root));
}
