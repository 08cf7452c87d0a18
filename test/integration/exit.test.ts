/** A process may end without closing its devices: their threads must not outlive the library under their feet. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const DIST = fileURLToPath(new URL('../../dist', import.meta.url));

const PROGRAM = `
const { Device } = await import('${DIST}/device/device.js');
const { Artifact } = await import('${DIST}/model/artifact/read.js');
const { Session } = await import('${DIST}/runtime/session.js');
const { modelFile } = await import('${DIST}/cli/model-file.js');
const session = new Session(Device.open(process.argv[1]), Artifact.open(modelFile('intents')));
for (let i = 0; i < 20; i++) session.run([{ ids: Uint32Array.from([2, 5, 6, 3]) }]);
console.log('ran');
`;

test.each(['emu:', 'emu:?threads=2'])('%s', (uri) => {
  for (let attempt = 0; attempt < 3; attempt++) {
    const { status, signal, stdout, stderr } = spawnSync(
      process.execPath,
      ['--input-type=module', '--eval', PROGRAM, uri],
      { encoding: 'utf8', timeout: 30_000 },
    );
    expect([status, signal, stdout.trim()], stderr).toEqual([0, null, 'ran']);
  }
});
