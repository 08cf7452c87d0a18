/** An engine process that dies, in every way a process can: modules that take the real one's place and speak its protocol until they end. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EngineHost, type HostError } from '../../../src/runtime/host.js';
import { Restarts } from '../../../src/runtime/restarts.js';
import { bytesOf } from '../../golden/support.js';
import { randomArtifact, removeFolder, sequencesOf, temporaryFolder } from './support.js';

const dist = new URL('../../../dist/runtime/', import.meta.url);
/** Gives up after two restarts. */
const restarts = { firstMs: 1, mostMs: 4, stableMs: 60_000, attempts: 2 };

let folder: string;
let file: string;
beforeAll(async () => {
  folder = temporaryFolder();
  file = await randomArtifact(folder, 'model');
});
afterAll(() => removeFolder(folder));

/** Ready; the first time, when it is told of no models yet, it describes and loads the one of the tests. */
const READY = `
say({ kind: 'ready', capabilities: { version: { major: 1, minor: 0 }, build: 0 }, window });
if (opened.models.length === 0) {
  const { description, pieces } = describeModel(Artifact.open(next().header.file));
  say({ kind: 'done', job: 0, window, model: description }, ...pieces);
  say({ kind: 'done', job: next().header.job, window });
}`;
/** Reads one frame after another, until the daemon is gone. */
const WAIT = 'while (next());';

let modules = 0;
/** An engine process of a few statements; the message that opens the device is read already. */
function module(statements: string): URL {
  mkdirSync(join(folder, 'modules'), { recursive: true });
  const path = join(folder, 'modules', `${modules++}.mjs`);
  writeFileSync(
    path,
    `import { readFrames, writeFrame } from '${new URL('frames.js', dist)}';
import { existsSync, writeFileSync } from 'node:fs';
import { describeModel } from '${new URL('model-description.js', dist)}';
import { Artifact } from '${new URL('../model/artifact/read.js', dist)}';
const say = (header, ...bodies) => writeFrame(3, header, ...bodies);
const frames = readFrames(3);
const next = () => frames.next().value;
const opened = next().header;
const window = { resident: [], freeBytes: 0 };
${statements}`,
  );
  return pathToFileURL(path);
}

const start = (statements: string) =>
  EngineHost.start({ device: 'emu:', models: [{ file }], module: module(statements), restarts });

const rejection = (promise: Promise<unknown>) =>
  promise.then(
    () => expect.fail('it did not reject'),
    (error: unknown) => error as HostError,
  );

describe.each([
  ['ends', `${READY} next(); process.exit(3);`, /ended with code 3/],
  ['aborts', `${READY} next(); process.abort();`, /ended with SIGABRT/],
  ['throws', `${READY} next(); throw new Error('boom');`, /ended with code 1/],
  [
    'talks nonsense',
    `${READY} next(); writeFrame(3, 1, new Uint8Array(1)); process.stdout.write('');`,
    /ended with code 0/,
  ],
  [
    'cannot bring its device back',
    `${READY} const { header } = next(); say({ kind: 'error', job: header.job, fatal: true, error: { code: 'device-timeout', message: 'no progress' } });`,
    /ended with code 0/,
  ],
])('an engine process that always %s in the middle of a batch', (_, statements, reason) => {
  it('fails what was under way, is started again, and at last given up: told once', async () => {
    const host = await start(statements);
    const events: string[] = [];
    const failed = new Promise<Error>((resolve) => {
      host.onFailure = (error) => {
        events.push('failure');
        resolve(error);
      };
    });
    const ask = () =>
      Promise.all([0, 1].map(() => rejection(host.infer(host.models.get('model')!, sequencesOf([3])))));
    host.onReady = (ready) => {
      events.push(ready ? 'up' : 'down');
      if (ready) void ask();
    };
    const [first, second] = await ask();
    expect(['worker-lost', 'device-timeout']).toContain(first!.code);
    expect(second!.code).toBe('worker-lost');
    expect(second!.message).toMatch(reason);
    expect(await failed).toMatchObject({ code: 'worker-lost', message: expect.stringMatching(reason) });
    expect(events).toEqual(['down', 'up', 'down', 'up', 'failure']);
    expect(host.lost).toBe(true);
    expect(host.ready).toBe(false);
    expect(await rejection(host.infer(host.models.get('model')!, sequencesOf([3])))).toMatchObject({
      code: 'worker-lost',
    });
    await host.close();
  });
});

describe('an engine process that does not begin as it should', () => {
  it.each([
    [
      'ends',
      'process.exit(7);',
      { code: 'worker-lost', message: expect.stringContaining('code 7 while it started') },
    ],
    ['throws', `throw new Error('no library');`, { code: 'worker-lost' }],
    [
      'fails',
      `say({ kind: 'failed', error: { code: 'incompatible', message: 'MAX_K' } }); ${WAIT}`,
      { code: 'incompatible', message: 'MAX_K' },
    ],
    [
      'speaks out of turn',
      `say({ kind: 'done' }); ${WAIT}`,
      { code: 'internal', message: expect.stringContaining('"done"') },
    ],
  ])('%s: the start says so, and nothing is left running', async (_, statements, expected) => {
    expect(await rejection(start(statements))).toMatchObject(expected);
  });
});

it('an idle engine process that dies is started again', async () => {
  const mark = join(folder, 'died-once');
  const host = await start(
    `${READY} if (!existsSync('${mark}')) { writeFileSync('${mark}', ''); setTimeout(() => process.exit(5), 10); } else { ${WAIT} }`,
  );
  const events: [boolean, string][] = [];
  await new Promise<void>((resolve) => {
    host.onReady = (ready, reason) => {
      events.push([ready, reason]);
      if (ready) resolve();
    };
  });
  expect(events[0]).toEqual([false, expect.stringContaining('code 5')]);
  expect(host.restarts).toBe(1);
  await host.close();
});

it('the real one, killed under a batch, comes back and gives the same bytes', async () => {
  const host = await EngineHost.start({
    device: 'emu:?window=8M',
    models: [{ file }],
    module: new URL('engine.js', dist),
    restarts,
  });
  const inputs = sequencesOf([5, 9]);
  const before = (await host.infer(host.models.get('model')!, inputs)).logits.map(bytesOf);
  const back = new Promise<void>((resolve) => {
    host.onReady = (ready) => ready && resolve();
  });
  const lost = rejection(host.infer(host.models.get('model')!, sequencesOf(Array(64).fill(40))));
  process.kill(host.pid!, 'SIGKILL');
  expect(await lost).toMatchObject({ code: 'worker-lost', message: expect.stringContaining('SIGKILL') });
  await back;
  expect((await host.infer(host.models.get('model')!, inputs)).logits.map(bytesOf)).toEqual(before);
  await host.close();
});

describe('restarts', () => {
  const policy = { firstMs: 50, mostMs: 300, stableMs: 1000, attempts: 4 };
  it('come later and later, and end', () => {
    const all = new Restarts(policy);
    all.started(0);
    expect([1, 2, 3, 4, 5].map((now) => all.failed(now, true))).toEqual([50, 100, 200, 300, undefined]);
    expect(all.total).toBe(4);
  });

  it('begin anew after a process that lived long', () => {
    const all = new Restarts(policy);
    all.started(0);
    for (const now of [10, 20, 30]) all.failed(now, true);
    all.started(100);
    expect(all.failed(1100, true)).toBe(50);
    all.started(1200);
    expect(all.failed(1300, true)).toBe(100);
    // One that was never ready did not live at all.
    expect(all.failed(9000, false)).toBe(200);
  });
});
