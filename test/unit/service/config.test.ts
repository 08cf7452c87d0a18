import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { configJsonSchema, defaultNode } from '../../../src/service/config.js';
import { loadSettings } from '../../../src/service/config-file.js';
import { ServiceError } from '../../../src/service/errors.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'beta-config-'));
  writeFileSync(join(folder, 'a.beta'), '');
});
afterEach(() => rmSync(folder, { recursive: true }));

function file(text: string): string {
  const path = join(folder, 'beta.yaml');
  writeFileSync(path, text);
  return path;
}

/** The message of the error, which must be of kind 'config'. */
function problem(text: string, overrides = {}): string {
  try {
    loadSettings(file(text), overrides);
  } catch (error) {
    expect(error).toBeInstanceOf(ServiceError);
    expect((error as ServiceError).kind).toBe('config');
    return (error as Error).message;
  }
  throw new Error('it was accepted');
}

describe('configuration', () => {
  it('has a default for everything but the models', () => {
    const settings = loadSettings(undefined, { models: [join(folder, 'a.beta')] });
    expect(settings).toMatchObject({
      device: 'auto',
      broker: undefined,
      embedded: { host: '127.0.0.1', port: 1883 },
      models: [join(folder, 'a.beta')],
      limits: {
        payloadBytes: 1_048_576,
        inputs: 256,
        queue: 4096,
        textChars: 65_536,
        answerNumbers: 524_288,
        batchSequences: 64,
        batchTokens: 1024,
        maxDelayMs: 0,
        retrySeconds: 60,
        retryBytes: 16_777_216,
        outbox: 16_384,
        outboxBytes: 67_108_864,
        drainSeconds: 10,
      },
      modelFolder: undefined,
      commands: true,
      telemetrySeconds: 5,
      http: undefined,
      logLevel: 'info',
    });
    expect(settings.node).toMatch(/^[a-z0-9][a-z0-9-]{0,62}$/);
  });

  it('reads a file, relative to its own folder', () => {
    mkdirSync(join(folder, 'models'));
    for (const name of ['z.beta', 'b.beta', 'readme.txt']) writeFileSync(join(folder, 'models', name), '');
    writeFileSync(join(folder, 'secret'), 'hunter2\nsecond line\n');
    const settings = loadSettings(
      file(`version: 1
node: kitchen
device: "emu:?threads=1"
broker: { url: "mqtt://192.168.1.10:1883", username: beta, passwordFile: secret }
models: [a.beta, models, a.beta]
limits: { queue: 300 }
log: { level: debug }
`),
    );
    expect(settings).toEqual({
      node: 'kitchen',
      device: 'emu:?threads=1',
      broker: {
        url: 'mqtt://192.168.1.10:1883',
        username: 'beta',
        password: 'hunter2',
        clientId: undefined,
        tls: undefined,
        sessionSeconds: 0,
      },
      embedded: undefined,
      models: ['a.beta', 'models/b.beta', 'models/z.beta'].map((name) => join(folder, name)),
      limits: {
        payloadBytes: 1_048_576,
        inputs: 256,
        queue: 300,
        textChars: 65_536,
        answerNumbers: 524_288,
        batchSequences: 64,
        batchTokens: 1024,
        maxDelayMs: 0,
        retrySeconds: 60,
        retryBytes: 16_777_216,
        outbox: 16_384,
        outboxBytes: 67_108_864,
        drainSeconds: 10,
      },
      modelFolder: undefined,
      commands: true,
      telemetrySeconds: 5,
      http: undefined,
      logLevel: 'debug',
    });
  });

  it('lets the command line win', () => {
    const text = 'version: 1\nnode: kitchen\nmodels: [a.beta]\nembedded: { port: 2000 }\n';
    const settings = loadSettings(file(text), {
      node: 'cellar',
      device: 'emu:',
      broker: 'mqtt://other:1883',
    });
    expect(settings).toMatchObject({
      node: 'cellar',
      device: 'emu:',
      broker: { url: 'mqtt://other:1883' },
      embedded: undefined,
    });
    expect(loadSettings(file(text), { port: 3000 }).embedded?.port).toBe(3000);
  });

  it.each([
    ['node: x', 'version'],
    ['version: 2', 'version'],
    ['version: 1\nlimit: {}', 'unknown key "limit"; known keys: version, node, device'],
    ['version: 1\nlimits: { payload: 1 }', 'limits: unknown key "payload"; known keys: payloadBytes, inputs'],
    [
      'version: 1\nbroker: { url: "mqtt://h", user: x }',
      'broker: unknown key "user"; known keys: url, username',
    ],
    ['version: 1\nnode: Kitchen!', 'node: lower-case letters'],
    ['version: 1\nlimits: { inputs: many }', 'limits.inputs'],
    ['version: 1\nlimits: { inputs: 512, queue: 256 }', 'inputs must not be larger than queue'],
    ['version: 1\nbroker: { url: "http://h" }', 'broker.url: "http:" is not supported'],
    ['version: 1\nbroker: { url: "mqtt://h", password: a, passwordFile: b }', 'not both'],
    ['version: 1\nbroker: { url: "mqtt://h" }\nembedded: {}', 'not both'],
    ['version: 1\nembedded: { port: 70000 }', 'embedded.port'],
    ['version: 1\nmodels: [missing.beta]', 'no such file'],
    ['version: 1\nmodels: []', 'none'],
    [
      'version: 1\nmodels: [a.beta]\nbroker: { url: "mqtt://h", passwordFile: nowhere }',
      'broker.passwordFile',
    ],
    ['version: 1\nversion: 1', 'unique'],
    ['version: [1', 'line'],
    ['- version', 'expected object'],
    [
      'a: &a [x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: [*c, *c, *c, *c]',
      '',
    ],
  ])('refuses %j and says why', (text, expected) => {
    expect(problem(text)).toContain(expected);
  });

  it('refuses a wrong command line, and --port together with --broker', () => {
    const text = 'version: 1\nmodels: [a.beta]';
    expect(problem(text, { node: 'UPPER' })).toContain('command line: node');
    expect(problem(text, { broker: 'nonsense' })).toContain('command line: broker.url');
    expect(problem(text, { broker: 'mqtt://h', port: 1 })).toContain('not both');
  });

  it('does not repeat a password in an error', () => {
    expect(problem('version: 1\nbroker: { url: "http://user:hunter2@h" }')).not.toContain('hunter2');
    expect(problem('version: 1', { broker: 'user:hunter2@//h' })).not.toContain('hunter2');
  });

  it('refuses an empty model folder', () => {
    mkdirSync(join(folder, 'empty'));
    expect(problem('version: 1\nmodels: [empty]')).toContain('no .beta file');
  });

  it('gives its JSON Schema', () => {
    const schema = configJsonSchema() as {
      properties: Record<string, unknown>;
      additionalProperties: boolean;
    };
    expect(Object.keys(schema.properties)).toEqual([
      'version',
      'node',
      'device',
      'broker',
      'embedded',
      'models',
      'modelFolder',
      'commands',
      'telemetrySeconds',
      'http',
      'limits',
      'log',
    ]);
    expect(schema.additionalProperties).toBe(false);
  });
});

it.each([
  ['Kitchen', 'kitchen'],
  ['my_host.local', 'my-host-local'],
  ['--x', 'x'],
  ['ÄÖÜ', 'node'],
  ['', 'node'],
  ['a'.repeat(80), 'a'.repeat(63)],
])('makes a node id of the host name %j', (name, id) => {
  expect(defaultNode(name)).toBe(id);
});
