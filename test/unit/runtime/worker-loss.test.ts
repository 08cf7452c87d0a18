/** A worker that dies, in every way a worker can: modules that take the real one's place and speak its protocol until they end. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EngineHost, type HostError } from '../../../src/runtime/host.js';
import { randomArtifact, removeFolder, sequencesOf, temporaryFolder } from './support.js';

let folder: string;
let file: string;
beforeAll(async () => {
  folder = temporaryFolder();
  file = await randomArtifact(folder, 'model');
});
afterAll(() => removeFolder(folder));

const READY = `parentPort.postMessage({ kind: 'ready', capabilities: { version: { major: 1, minor: 0 }, build: 0 } });`;

/** A worker module of a few statements. */
const module = (statements: string) =>
  new URL(
    `data:text/javascript,${encodeURIComponent(`import { parentPort } from 'node:worker_threads'; ${statements}`)}`,
  );

const start = (statements: string) =>
  EngineHost.start({ device: 'emu:', models: [{ file }], worker: module(statements) });

const rejection = (promise: Promise<unknown>) =>
  promise.then(
    () => expect.fail('it did not reject'),
    (error: unknown) => error as HostError,
  );

describe.each([
  ['ends', `${READY} parentPort.on('message', () => process.exit(3));`, /ended with code 3/],
  ['throws', `${READY} parentPort.on('message', () => { throw new Error('boom'); });`, /boom/],
  ['closes its port', `${READY} parentPort.on('message', () => parentPort.close());`, /ended with code 0/],
  [
    'cannot bring its device back',
    `${READY} parentPort.on('message', ({ request }) => parentPort.postMessage({ kind: 'error', job: request.job, fatal: true, error: { code: 'device-timeout', message: 'no progress' } }));`,
    /could not be reset after: no progress/,
  ],
])('a worker that %s in the middle of a batch', (_, statements, reason) => {
  it('fails every request, tells once, and refuses what comes later', async () => {
    const host = await start(statements);
    const failures: Error[] = [];
    host.onFailure = (error) => failures.push(error);
    const all = Array.from({ length: 5 }, () => rejection(host.infer('model', sequencesOf([3]))));
    const [first, ...others] = await Promise.all(all);
    // The batch that met a fatal error has that error; everything else has lost its worker.
    expect(['worker-lost', 'device-timeout']).toContain(first!.code);
    for (const error of others) {
      expect(error.code).toBe('worker-lost');
      expect(error.message).toMatch(reason);
    }
    expect(await rejection(host.infer('model', sequencesOf([3])))).toMatchObject({ code: 'worker-lost' });
    expect(host.load).toBe(0);
    await host.close();
    expect(failures).toHaveLength(1);
    expect(failures[0]).toMatchObject({ code: 'worker-lost', message: expect.stringMatching(reason) });
  });
});

describe('a worker that does not begin as it should', () => {
  it.each([
    [
      'ends',
      'process.exit(7);',
      { code: 'worker-lost', message: expect.stringContaining('code 7 while it started') },
    ],
    ['throws', `throw new Error('no library');`, { message: 'no library' }],
    [
      'fails',
      `parentPort.postMessage({ kind: 'failed', error: { code: 'incompatible', message: 'MAX_K' } }); parentPort.on('message', () => {});`,
      { code: 'incompatible', message: 'MAX_K' },
    ],
    [
      'speaks out of turn',
      `parentPort.postMessage({ kind: 'result' }); parentPort.on('message', () => {});`,
      { code: 'internal', message: expect.stringContaining('"result"') },
    ],
  ])('%s: the start says so, and nothing is left running', async (_, statements, expected) => {
    expect(await rejection(start(statements))).toMatchObject(expected);
  });
});

it('an idle worker that dies is a failure too', async () => {
  const host = await start(`${READY} setTimeout(() => process.exit(5), 10);`);
  const error = await new Promise<Error>((resolve) => {
    host.onFailure = resolve;
  });
  expect(error).toMatchObject({ code: 'worker-lost', message: expect.stringContaining('code 5') });
  await host.close();
});
