/** `beta serve` and `beta request` as a person or a script uses them. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { EXIT } from '../../src/cli/exit.js';
import * as requestCommand from '../../src/cli/request.js';
import { readyText, serve } from '../../src/cli/serve.js';
import { FakeHost, MAX_TOKENS } from '../unit/service/fake-host.js';
import { type Running, settingsFor, sleep, startDaemon } from './harness.js';
import { freePort, Mosquitto } from './mosquitto.js';

let out: string;
let err: string;

beforeEach(() => {
  out = '';
  err = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    out += text;
    return true;
  });
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    err += text;
    return true;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  process.exitCode = undefined;
});

describe('beta request', () => {
  let running: Running;
  beforeAll(async () => {
    running = await startDaemon(settingsFor('kitchen'));
  });
  afterAll(async () => running?.daemon.stop());

  /** Runs the command; returns its exit code. Wrong usage throws, as it does in the real program. */
  async function run(...words: string[]): Promise<number> {
    const program = new Command().exitOverride().configureOutput({ writeErr: () => undefined });
    requestCommand.register(program);
    for (const command of program.commands) command.exitOverride().copyInheritedSettings(program);
    await program.parseAsync(['request', '--broker', running.daemon.brokerUrl, ...words], { from: 'user' });
    return Number(process.exitCode ?? 0);
  }

  it('prints label, score and timing, one line for each text', async () => {
    expect(await run('--model', 'intents', 'my money', 'a')).toBe(EXIT.OK);
    const lines = out.trimEnd().split('\n');
    expect(lines[0]).toMatch(/^weather {2}0\.8\d{3} {2}compute 1\.5 ms, total \d+\.\d ms {2}"my money"$/);
    expect(lines[1]).toMatch(/^transfer .*"a"$/);
    expect(lines).toHaveLength(2);
    expect(err).toBe('');
  });

  it('prints the best labels', async () => {
    expect(await run('--model', 'intents', '--top', '2', 'a')).toBe(EXIT.OK);
    expect(out.trimEnd().split('\n').slice(1)).toEqual([
      expect.stringMatching(/^ {4}0\.\d{4} {2}transfer$/),
      expect.stringMatching(/balance$/),
    ]);
  });

  it('prints one JSON document, with the failures in their places', async () => {
    expect(await run('--model', 'intents', '--json', 'a', '', '--ids', '2,10,3', '--node', 'kitchen')).toBe(
      EXIT.FAILED,
    );
    expect(JSON.parse(out)).toEqual({
      results: [
        expect.objectContaining({ text: 'a', label: 'transfer', score: expect.any(Number), node: 'kitchen' }),
        { text: '', error: { code: 'empty_text', message: expect.any(String) } },
        expect.objectContaining({ input_ids: [2, 10, 3], label: 'balance', tokens: 3 }),
      ],
      model: { name: 'intents', id: 'intents@0123456789ab' },
      device: 'emu:',
    });
  });

  it('cuts long texts only when told to', async () => {
    const long = 'word '.repeat(MAX_TOKENS);
    expect(await run('--model', 'intents', long)).toBe(EXIT.FAILED);
    expect(err).toContain('text_too_long');
    expect(await run('--model', 'intents', '--truncate', long)).toBe(EXIT.OK);
    expect(out).toContain('(cut: 14 tokens)');
  });

  it('has an exit code for each way to fail', async () => {
    expect(await run('--model', 'nothing', 'a')).toBe(EXIT.FAILED);
    expect(err).toContain('unknown_model');
    running.host.before = () => sleep(700);
    expect(await run('--model', 'intents', '--timeout', '0.2', 'a')).toBe(EXIT.TIMEOUT);
    running.host.before = async () => undefined;
    expect(await run('--model', 'intents', '--broker', `mqtt://127.0.0.1:${await freePort()}`, 'a')).toBe(
      EXIT.CONNECT,
    );
    expect(err).toContain('nothing listens there');
    await expect(run('--model', 'intents')).rejects.toMatchObject({ exitCode: EXIT.USAGE });
    for (const words of [
      ['--top', '0'],
      ['--timeout', 'x'],
      ['--ids', '1,b'],
    ]) {
      await expect(run('--model', 'intents', ...words, 'a')).rejects.toMatchObject({
        code: 'commander.invalidArgument',
      });
    }
  });
});

describe('beta serve', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'beta-serve-'));
    writeFileSync(join(folder, 'intents.beta'), '');
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it('says what it serves, and stops on SIGTERM with 0', async () => {
    const before = process.listeners('SIGTERM');
    const host = new FakeHost();
    const asked: unknown[] = [];
    const done = serve(
      { model: [folder], port: 0, node: 'attic', device: 'emu:', json: true },
      async ({ device, models }) => {
        asked.push(device, models);
        return host;
      },
    );
    for (let wait = 0; out === '' && wait < 500; wait++) await sleep(10);
    expect(JSON.parse(out)).toMatchObject({
      ready: true,
      node: 'attic',
      models: [{ name: 'intents', labels: 3, max_tokens: MAX_TOKENS }],
      device: { uri: 'emu:' },
      broker: expect.stringMatching(/^mqtt:\/\/127\.0\.0\.1:\d+$/),
      embedded: true,
      protocol: 'MQTT 3.1.1',
      ask: expect.stringMatching(
        /^npx beta request --model intents --broker mqtt:\S+ "transfer ten dollars to my savings account"$/,
      ),
    });
    expect(asked).toEqual(['emu:', [{ file: join(folder, 'intents.beta') }]]);
    const handler = process.listeners('SIGTERM').find((listener) => !before.includes(listener)) as (
      signal: string,
    ) => void;
    handler('SIGTERM');
    expect(await done).toBe(EXIT.OK);
    expect(host.closed).toBe(true);
    expect(process.listeners('SIGTERM')).toEqual(before);
  });

  it('ends with its own code when the engine is lost', async () => {
    const host = new FakeHost();
    const done = serve({ model: [folder], port: 0, json: true }, async () => host);
    for (let wait = 0; out === '' && wait < 500; wait++) await sleep(10);
    host.onFailure?.(new Error('the engine worker ended with code 134'));
    expect(await done).toBe(EXIT.ENGINE_LOST);
  });

  it('has an exit code for each way not to start', async () => {
    expect(await serve({ model: [join(folder, 'missing.beta')] })).toBe(EXIT.USAGE);
    expect(err).toContain('no such file');
    expect(await serve({ model: [folder], node: 'NO' })).toBe(EXIT.USAGE);
    const broker = await Mosquitto.start();
    expect(await serve({ model: [folder], port: broker.port })).toBe(EXIT.CONNECT);
    expect(err).toContain(`--broker mqtt://127.0.0.1:${broker.port}`);
    await broker.stop();
    const failing = async () => {
      throw Object.assign(new Error('intents.beta: truncated'), { code: 'bad-artifact' });
    };
    expect(await serve({ model: [folder], port: 0 }, failing)).toBe(EXIT.FAILED);
    expect(err).toContain('beta serve: intents.beta: truncated');
  });
});

it('the ready text can be read, and its command pasted', () => {
  const info = {
    node: 'kitchen',
    version: '0.1.0',
    wire: 1,
    device: { uri: 'emu:', kind: 'emulator', version: '1.0', build: 0 },
    models: [{ name: 'intents', id: 'intents@0123', labels: 150, max_tokens: 128 }],
    limits: { payload_bytes: 1, inputs: 1, queue: 1, text_chars: 1 },
  };
  const text = readyText({
    info,
    brokerUrl: 'mqtt://127.0.0.1:1883',
    embedded: true,
    protocolVersion: 4,
    httpUrl: undefined,
  });
  expect(text).toBe(`beta 0.1.0: node kitchen is online
  model   intents@0123: 150 labels, up to 128 tokens
  device  emu: (emulator 1.0)
  broker  mqtt://127.0.0.1:1883 (embedded, MQTT 3.1.1)
Ask it from another terminal:
  npx beta request --model intents "transfer ten dollars to my savings account"
Stop it with Ctrl-C.
`);
});
