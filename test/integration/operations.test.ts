/** What operators use: models that come and go, health that cannot lie, metrics, certificates and passwords. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BetaClient, ConnectError, type Telemetry } from '../../src/client/index.js';
import { codedError } from '../unit/service/fake-host.js';
import { type Running, settingsFor, sleep, startDaemon, Wire } from './harness.js';
import { freePort, Mosquitto } from './mosquitto.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'beta-operations-'));
  // Where the tests run as root, mosquitto reads its files as another user.
  chmodSync(folder, 0o755);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('a node under its operator', () => {
  let broker: Mosquitto;
  let running: Running;
  let client: BetaClient;
  let models: string;
  beforeAll(async () => {
    models = join(folder, 'models');
    mkdirSync(models);
    writeFileSync(join(models, 'squad.beta'), '');
    writeFileSync(join(folder, 'secret.beta'), '');
    symlinkSync(join(folder, 'secret.beta'), join(models, 'link.beta'));
    broker = await Mosquitto.start();
    running = await startDaemon({
      ...settingsFor('kitchen', broker.url),
      modelFolder: models,
      telemetrySeconds: 0.1,
      http: { host: '127.0.0.1', port: 0 },
    });
    client = await BetaClient.connect(broker.url);
  });
  afterAll(async () => {
    await client?.close();
    await running?.daemon.stop();
    await broker?.stop();
  });
  const code = (promise: Promise<unknown>) =>
    promise.then(
      () => expect.fail('it was not refused'),
      (error) => error.code,
    );
  const get = async (path: string) => {
    const response = await fetch(`${running.daemon.httpUrl}${path}`);
    return { status: response.status, text: await response.text() };
  };

  it('serves one more model, and one less, while the others go on', async () => {
    expect(await code(client.request('squad', 'a', { timeoutMs: 2000 }))).toBe('unknown_model');
    const loaded = await client.command('kitchen', 'load-model', { file: 'squad.beta' });
    expect(loaded).toMatchObject({ done: 'load-model', models: [expect.any(String), 'squad@0123456789ab'] });
    expect(await client.request('squad', 'a')).toMatchObject({ model: { name: 'squad' } });
    const [node] = await client.nodes();
    expect(node?.info?.models.map(({ name }) => name)).toEqual(['intents', 'squad']);
    expect(await client.command('kitchen', 'unload-model', { model: 'squad' })).toMatchObject({
      models: ['intents@0123456789ab'],
    });
    expect(await client.request('intents', 'a')).toMatchObject({ label: 'transfer' });
  });

  it.each([
    ['load-model', { file: '../secret.beta' }, 'bad_request'],
    ['load-model', { file: 'link.beta' }, 'bad_request'],
    ['load-model', { file: 'absent.beta' }, 'bad_request'],
    ['load-model', { file: '/etc/passwd' }, 'bad_request'],
    ['load-model', {}, 'bad_request'],
    ['unload-model', { model: 'absent' }, 'unknown_model'],
    ['unload-model', { model: 'intents' }, 'refused'],
    ['explode' as 'drain', {}, 'bad_request'],
  ] as const)('refuses %s %j', async (verb, command, expected) => {
    expect(await code(client.command('kitchen', verb, command))).toBe(expected);
  });

  it('carries a command out once, however often it comes', async () => {
    const wire = await Wire.connect(broker.url, 5);
    await wire.subscribe('test/command');
    let loads = 0;
    const load = running.host.loadModel.bind(running.host);
    running.host.loadModel = (file) => {
      loads++;
      return load(file);
    };
    for (let i = 0; i < 3; i++)
      await wire.send('beta/1/node/kitchen/cmd/load-model', { file: 'squad.beta' }, 'test/command', 'once');
    await wire.until(() => wire.on('test/command').length === 3, 'three answers');
    expect(loads).toBe(1);
    expect(new Set(wire.on('test/command').map(({ text }) => text)).size).toBe(1);
    await wire.close();
  });

  it('reports itself', async () => {
    const report = await new Promise<Telemetry>((resolve) => void client.onTelemetry(resolve));
    expect(report).toMatchObject({
      node: 'kitchen',
      ready: true,
      engine_restarts: 0,
      queue: { waiting: 0, limit: 4096 },
    });
  });

  it('is ready only if the device gives the right answer', async () => {
    expect(await get('/readyz')).toMatchObject({ status: 200 });
    running.host.selfTest = async () => {
      throw codedError('self-test', 'self-test: element 0,0 is 3, should be 4');
    };
    await sleep(1100);
    const wrong = await get('/readyz');
    expect(wrong.status).toBe(503);
    expect(JSON.parse(wrong.text)).toMatchObject({
      ok: false,
      checks: { self_test: expect.stringContaining('should be 4') },
    });
    expect((await get('/metrics')).text).toMatch(/beta_selfcheck_mismatches_total [1-9]/);
    expect((await get('/healthz')).status).toBe(200);
    running.host.selfTest = async () => undefined;
    await sleep(1100);
    expect((await get('/readyz')).status).toBe(200);
    await client.command('kitchen', 'drain');
    expect((await get('/readyz')).text).toContain('draining');
    await client.command('kitchen', 'resume');
    running.host.ready = false;
    expect((await get('/readyz')).status).toBe(503);
    running.host.ready = true;
  });

  it('counts what it does, and shows nothing of it', async () => {
    await client.request('intents', 'my secret money');
    await code(client.request('intents', ''));
    const { text } = await get('/metrics');
    expect(text).toMatch(/beta_inference_requests_total\{model="intents",outcome="ok"\} [1-9]/);
    expect(text).toMatch(/beta_inference_requests_total\{model="intents",outcome="empty_text"\} [1-9]/);
    expect(text).toMatch(/beta_queue_seconds_bucket\{le="0.001"\} \d/);
    expect(text).toMatch(/beta_batches_total\{reason="idle"\} [1-9]/);
    expect(text).not.toContain('secret');
    expect(running.log.join('')).not.toContain('secret money');
    expect((await get('/etc/passwd')).status).toBe(404);
    expect((await fetch(`${running.daemon.httpUrl}/metrics`, { method: 'POST' })).status).toBe(405);
  });
});

describe('a broker with certificates', () => {
  let broker: Mosquitto;
  let port: number;
  let running: Running;
  const file = (name: string) => join(folder, name);
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });

  /** A key, and a certificate that an authority signed. */
  function certificate(name: string, authority: string, subject: string): void {
    openssl(
      'req',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.csr`,
      '-subj',
      `/CN=${subject}`,
    );
    writeFileSync(file('ext'), 'subjectAltName=IP:127.0.0.1\n');
    openssl(
      'x509',
      '-req',
      '-in',
      `${name}.csr`,
      '-CA',
      `${authority}.crt`,
      '-CAkey',
      `${authority}.key`,
      '-CAcreateserial',
      '-out',
      `${name}.crt`,
      '-days',
      '2',
      '-extfile',
      'ext',
    );
  }
  const tls = (name: string, authority = 'ca') => {
    const read = (path: string) => readFileSync(file(path));
    return { ca: read(`${authority}.crt`), cert: read(`${name}.crt`), key: read(`${name}.key`) };
  };

  beforeAll(async () => {
    for (const name of ['ca', 'other'])
      openssl(
        'req',
        '-x509',
        '-newkey',
        'rsa:2048',
        '-nodes',
        '-keyout',
        `${name}.key`,
        '-out',
        `${name}.crt`,
        '-subj',
        `/CN=${name}`,
        '-days',
        '2',
      );
    certificate('server', 'ca', 'server');
    certificate('node', 'ca', 'beta-node');
    certificate('user', 'ca', 'user');
    certificate('stranger', 'other', 'beta-node');
    copyFileSync(new URL('../../deploy/fleet/acl', import.meta.url).pathname, file('acl'));
    for (const name of ['server.key', 'acl']) chmodSync(file(name), 0o644);
    port = await freePort();
    broker = await Mosquitto.start(
      `listener ${port} 127.0.0.1
cafile ${file('ca.crt')}
certfile ${file('server.crt')}
keyfile ${file('server.key')}
require_certificate true
use_identity_as_username true
acl_file ${file('acl')}`,
    );
    const settings = settingsFor('kitchen', `mqtts://127.0.0.1:${port}`);
    running = await startDaemon({ ...settings, broker: { ...settings.broker!, tls: tls('node') } });
  }, 60_000);
  afterAll(async () => {
    await running?.daemon.stop();
    await broker?.stop();
  });
  const connect = (options: Parameters<typeof BetaClient.connect>[1]) =>
    BetaClient.connect(`mqtts://127.0.0.1:${port}`, { connectTimeoutMs: 4000, ...options });

  it('serves whoever has one', async () => {
    const client = await connect({ tls: tls('user'), clientId: 'user' });
    expect(await client.request('intents', 'a')).toMatchObject({ label: 'transfer', node: 'kitchen' });
    expect(await client.nodes()).toMatchObject([{ node: 'kitchen', state: 'online' }]);
    await client.close();
  });

  it.each([
    ['no certificate', () => ({ ca: tls('user').ca })],
    ['a certificate of another authority', () => ({ ...tls('stranger'), ca: tls('user').ca })],
    ['no trust in the broker', () => ({ ...tls('user'), ca: tls('user', 'other').ca })],
    ['nothing', () => undefined],
  ])('serves nothing and tells nothing to a client with %s', async (_, credentials) => {
    const before = running.host.seen.length;
    await expect(connect({ tls: credentials() })).rejects.toThrow(ConnectError);
    expect(running.host.seen.length).toBe(before);
  });

  it('does not let a client tell a node what to do, or speak for one', async () => {
    const client = await connect({ tls: tls('user'), clientId: 'user' });
    const refused = await client.command('kitchen', 'drain', {}, 1000).catch((error) => error);
    expect(['timeout', 'closed', 'unknown_node']).toContain(refused.code);
    expect((await client.nodes())[0]?.state).toBe('online');
    await client.close();
  });

  it('does not let a node without a certificate in', async () => {
    const settings = settingsFor('cellar', `mqtts://127.0.0.1:${port}`);
    await expect(
      startDaemon({ ...settings, broker: { ...settings.broker!, tls: { ca: tls('node').ca } } }),
    ).rejects.toMatchObject({ kind: 'broker' });
  });
});

it('a broker with passwords serves nothing without one', async () => {
  execFileSync('mosquitto_passwd', ['-c', '-b', join(folder, 'passwords'), 'beta', 'hunter2']);
  chmodSync(join(folder, 'passwords'), 0o644);
  const broker = await Mosquitto.start(`allow_anonymous false\npassword_file ${join(folder, 'passwords')}`);
  const settings = settingsFor('kitchen', broker.url);
  const running = await startDaemon({
    ...settings,
    broker: { ...settings.broker!, username: 'beta', password: 'hunter2' },
  });
  for (const options of [
    {},
    { username: 'beta', password: 'wrong' },
    { username: 'other', password: 'hunter2' },
  ])
    await expect(BetaClient.connect(broker.url, options)).rejects.toThrow(/authorise|user name or password/);
  const client = await BetaClient.connect(broker.url, { username: 'beta', password: 'hunter2' });
  expect(await client.request('intents', 'a')).toMatchObject({ label: 'transfer' });
  await client.close();
  await running.daemon.stop();
  await broker.stop();
});

it('a session keeps requests for a node that is away', async () => {
  const broker = await Mosquitto.start();
  const settings = settingsFor('kitchen', broker.url);
  const withSession = { ...settings, broker: { ...settings.broker!, sessionSeconds: 60 } };
  const wire = await Wire.connect(broker.url, 5);
  await wire.subscribe('test/session');
  // A node that dies: its connection is cut without a goodbye.
  const dead = await Wire.connect(broker.url, 5, {
    clientId: 'beta-node-kitchen',
    clean: false,
    properties: { sessionExpiryInterval: 60 },
  });
  await dead.subscribe('beta/1/node/kitchen/infer/+');
  dead.client.stream.destroy();
  await sleep(100);
  await wire.send('beta/1/node/kitchen/infer/intents', { text: 'a' }, 'test/session', 'kept');
  const running = await startDaemon(withSession);
  await wire.until(() => wire.on('test/session').length === 1, 'the answer');
  expect(JSON.parse(wire.on('test/session')[0]!.text)).toMatchObject({ label: 'transfer' });
  await running.daemon.stop();
  await wire.close();
  await broker.stop();
});
