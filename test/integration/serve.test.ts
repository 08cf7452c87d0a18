/** The daemon as `npm start` runs it, with the bundled model on the emulator and the embedded broker, and `beta request` beside it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import { BetaClient } from '../../src/client/index.js';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

let daemon: ChildProcess | undefined;
afterEach(() => {
  daemon?.kill('SIGKILL');
});

/** Starts the daemon on a free port; resolves with what it says on stdout. */
async function start(): Promise<{ broker: string; ask: string }> {
  daemon = spawn(process.execPath, [MAIN, 'serve', '--port', '0', '--node', 'test', '--json'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let text = '';
  for await (const chunk of daemon.stdout!) {
    text += String(chunk);
    if (text.includes('\n')) break;
  }
  return JSON.parse(text);
}

function run(args: readonly string[]): Promise<{ code: number | null; stdout: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'ignore'] });
    let stdout = '';
    child.stdout.on('data', (chunk) => {
      stdout += chunk;
    });
    child.on('close', (code) => resolve({ code, stdout }));
  });
}

test('asks the bundled model, and gets the intent', async () => {
  const { broker, ask } = await start();
  expect(ask).toContain('beta request --model intents');
  const person = await run([
    'request',
    '--model',
    'intents',
    '--broker',
    broker,
    'transfer ten dollars to my savings account',
  ]);
  expect(person.code).toBe(0);
  expect(person.stdout).toMatch(/^transfer +0\.99/);
  expect(person.stdout).toContain('ms');
  const program = await run([
    'request',
    '--model',
    'intents',
    '--broker',
    broker,
    '--json',
    'what is the weather like',
  ]);
  expect(JSON.parse(program.stdout).results[0]).toMatchObject({ label: 'weather' });
});

test('SIGTERM under load: everything accepted is answered, and the daemon ends with 0', async () => {
  const { broker } = await start();
  const client = await BetaClient.connect(broker);
  try {
    const answers = Array.from({ length: 200 }, (_, index) =>
      client.request('intents', `set an alarm for ${index}`),
    );
    await Promise.race(answers); // The first answer: the daemon is in the middle of it.
    const ended = new Promise((resolve) => daemon!.once('exit', resolve));
    daemon!.kill('SIGTERM');
    const outcomes = await Promise.allSettled(answers);
    for (const outcome of outcomes) {
      // A request that came too late may be refused, by name; none may stay without an answer.
      if (outcome.status === 'fulfilled') expect(outcome.value).toHaveProperty('label');
      else expect((outcome.reason as { code: string }).code).toBe('shutting_down');
    }
    expect(outcomes.filter(({ status }) => status === 'fulfilled').length).toBeGreaterThan(0);
    expect(await ended).toBe(0);
  } finally {
    await client.close();
  }
});
