/**
 * The project in a QEMU ZCU102 (docs/board-qemu.md): the driver over UIO and a DMA pool, real interrupts, the daemon as the service's user.
 * The engine is the emulator on the host, over the guest's memory.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BetaClient } from '../../src/client/client.js';
import { Mosquitto } from '../integration/mosquitto.js';
import { ENGINE_IRQ, Guest, POOL_AT, POOL_BYTES, REGISTERS_AT } from './guest.js';

const path = (name: string) => fileURLToPath(new URL(`../../${name}`, import.meta.url));
const FENCES = 2000;
const SENTENCES = 200;
const BETA = 'beta';
const NODE = '/usr/lib/beta/bin/node';
const DRIVER = '/sys/bus/platform/drivers/uio_pdrv_genirq';

let built: string;
let guest: Guest;
let engine: ChildProcess;

/** The engine's process: the emulator over the guest's registers and pool. */
async function startEngine(): Promise<void> {
  const hex = (value: number) => `0x${value.toString(16)}`;
  engine = spawn(
    path('native/build/external-engine'),
    [
      `${guest.memory}@${hex(REGISTERS_AT)}`,
      `${guest.memory}@${hex(POOL_AT)}`,
      hex(POOL_BYTES),
      hex(POOL_AT),
      `qtest:${guest.qtest}:${ENGINE_IRQ}`,
    ],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  await once(engine.stdout!, 'data');
}

/** Runs a command in the guest that must succeed. */
async function guestDoes(command: string): Promise<string> {
  const { code, output } = await guest.run(command);
  if (code !== 0) throw new Error(`${command}: exit code ${code}:\n${output}`);
  return output;
}

/** The JSON that a command in the guest prints, as the service's user. */
async function json(command: string, timeoutMs?: number): Promise<{ code: number; value: unknown }> {
  const { code, output } = await guest.runAsService(`${command} 2>/tmp/stderr`, timeoutMs);
  const { output: stderr } = await guest.run('cat /tmp/stderr');
  try {
    return { code, value: JSON.parse(output) };
  } catch {
    throw new Error(`${command}: exit code ${code}, no JSON:\n${output}\n${stderr}`);
  }
}

const exercise = async (name: string, argument = '') =>
  (await json(`${NODE} exercise.mjs ${name} ${argument}`)).value;

/** Runs an exercise in the background, so that something can happen to it; returns how to get its result. */
async function begin(name: string): Promise<() => Promise<unknown>> {
  await guestDoes('rm -f /tmp/go /tmp/on /tmp/out /tmp/err');
  await guestDoes(`su beta -c '${NODE} exercise.mjs ${name} >/tmp/out 2>/tmp/err' &`);
  await until('/tmp/err', 'exercise: ready');
  return async () => JSON.parse(await until('/tmp/out', '\n'));
}

/** Waits until a file in the guest contains a text, and returns the file. */
async function until(file: string, text: string): Promise<string> {
  const deadline = Date.now() + 240_000;
  for (;;) {
    const { code, output } = await guest.run(`cat ${file}`);
    if (code === 0 && output.includes(text)) return output;
    if (Date.now() > deadline)
      throw new Error(
        `no "${text}" in ${file}: ${output}\n${(await guest.run('tail -n 20 /tmp/err /tmp/log; ps; ip addr')).output}`,
      );
    await sleep(200);
  }
}

const WORKS = { tiles: 7, wrong: [] };

beforeAll(async () => {
  const given = process.env.BETA_BOARD_GUEST;
  built = given ?? mkdtempSync(join(tmpdir(), 'beta-guest-'));
  if (given === undefined) {
    const { status, stderr } = spawnSync(path('test/board/build-guest.sh'), [built], { encoding: 'utf8' });
    if (status !== 0) throw new Error(`build-guest.sh: ${stderr}`);
  }
  guest = await Guest.boot(built);
  await startEngine();
});

afterAll(async () => {
  engine?.kill('SIGKILL');
  await guest?.stop();
  if (process.env.BETA_BOARD_GUEST === undefined) rmSync(built, { recursive: true, force: true });
});

test('doctor finds the board well, as the user of the service', async () => {
  const { code, value } = await json(`${BETA} doctor --json`);
  expect(value).toMatchObject({ ok: true, serves: 'uio:beta-qmm0' });
  const { sections } = value as { sections: { name: string; checks: { id: string; state: string }[] }[] };
  const board = sections.find(({ name }) => name === 'uio:beta-qmm0')?.checks ?? [];
  expect(board.find(({ id }) => id === 'self-test')).toMatchObject({ state: 'ok' });
  expect(code).toBe(0);
});

test(`${FENCES} fences are ended by interrupts, none of them lost; a fault and resets in the middle of work are survived`, async () => {
  const counted = async () => Number(await guestDoes('cat /sys/class/uio/uio0/event'));
  const before = await counted();
  const { fences, fault, reset } = (await exercise('all', String(FENCES))) as Record<
    'fences' | 'fault' | 'reset',
    Record<string, number>
  >;
  process.stdout.write(`board: ${JSON.stringify(fences)}\n`);
  expect(fences).toMatchObject({ fences: FENCES, submitted: (FENCES / 5) * 15, missed: 0, lost: 0 });
  // HEAD may be there before a wait looks the first time; mostly it is not. The line falls some time after WAKE has changed, so
  // there are more interrupts than fences.
  expect(fences.taken).toBeGreaterThan(FENCES / 2);
  expect((await counted()) - before).toBeGreaterThanOrEqual(fences.taken!);
  expect(fault).toMatchObject({
    code: 'device-fault',
    message: expect.stringContaining('fault OP in field op'),
    ...WORKS,
  });
  expect(reset).toEqual(WORKS);
});

test(`${SENTENCES} test sentences have the answers of the emulator on this machine`, async () => {
  const texts = readFileSync(path('test/golden/clinc150/split.tsv'), 'utf8')
    .split('\n')
    .slice(0, SENTENCES)
    .map((line) => line.split('\t')[0]!);
  const input = Buffer.from(texts.join('\n')).toString('base64');
  await guestDoes('rm -f /tmp/texts');
  for (let at = 0; at < input.length; at += 1000)
    await guestDoes(`printf %s ${input.slice(at, at + 1000)} >>/tmp/texts`);
  const began = Date.now();
  const { value } = await json(`base64 -d /tmp/texts | ${BETA} run intents --json`, 240_000);
  const here = spawnSync(
    process.execPath,
    [path('dist/cli/main.js'), 'run', 'intents', '--device', 'emu:', '--json'],
    {
      input: texts.join('\n'),
      encoding: 'utf8',
    },
  );
  const board = value as { device: string; results: unknown[] };
  expect(board.device).toBe('uio:beta-qmm0');
  expect(board.results.length).toBe(SENTENCES);
  expect(board.results).toEqual(JSON.parse(here.stdout).results);
  process.stdout.write(`board: ${SENTENCES} sentences in ${Date.now() - began} ms, Node's start included\n`);
});

test('the daemon answers over MQTT, as the user of the service', async () => {
  const broker = await Mosquitto.start();
  try {
    const serve = `${BETA} serve --broker mqtt://10.0.2.2:${broker.port} --node zcu102 --json`;
    const daemon = `su beta -c 'echo $$ >/tmp/pid; exec ${serve} >/tmp/served 2>/tmp/log'`;
    await guestDoes(`(${daemon}; echo $? >/tmp/ended) &`);
    expect(JSON.parse(await until('/tmp/served', '\n'))).toMatchObject({
      ready: true,
      node: 'zcu102',
      device: { uri: 'uio:beta-qmm0' },
    });
    const client = await BetaClient.connect(broker.url);
    const answer = await client.request('intents', 'transfer ten dollars to my savings account', {
      timeoutMs: 60_000,
    });
    expect(answer).toMatchObject({ label: 'transfer' });
    await client.close();
    await guestDoes('kill -TERM $(cat /tmp/pid)');
    expect(await until('/tmp/ended', '\n')).toBe('0\n');
  } finally {
    await broker.stop();
  }
});

describe('what goes wrong ends within its bound with a clear message, and work goes on', () => {
  test('a HEAD that is stuck, because the engine has stopped', async () => {
    const result = await begin('stuck');
    engine.kill('SIGSTOP');
    await guestDoes('touch /tmp/go');
    await until('/tmp/err', 'exercise: timed out');
    engine.kill('SIGCONT');
    await guestDoes('touch /tmp/on');
    const outcome = (await result()) as { ms: number };
    expect(outcome).toMatchObject({
      code: 'device-timeout',
      message: expect.stringMatching(/no progress for 2000 ms/),
      ...WORKS,
    });
    expect(outcome.ms).toBeGreaterThanOrEqual(2000);
    expect(outcome.ms).toBeLessThan(10_000);
  });

  test('a device that is removed while somebody waits for it', async () => {
    const result = await begin('removed');
    engine.kill('SIGSTOP'); // So that the wait lasts until the removal.
    const unbind = `sleep 1; echo 6ffff000.qmm >${DRIVER}/unbind`;
    await guestDoes(`touch /tmp/go; ${unbind}`);
    expect(await result()).toMatchObject({
      code: 'gone',
      message: expect.stringMatching(/the device is gone .*unbound/),
      later: { code: 'gone' },
    });
    engine.kill('SIGCONT');
    const { value } = await json(`${BETA} devices --json`);
    expect(value).toMatchObject({
      devices: [{ usable: false, note: expect.stringContaining('no UIO device is named beta-qmm0') }, {}],
    });
    await guestDoes(`echo 6ffff000.qmm >${DRIVER}/bind; sleep 1; chgrp beta /dev/uio0; chmod 660 /dev/uio0`);
    expect(await exercise('reset')).toEqual(WORKS);
  });
});
