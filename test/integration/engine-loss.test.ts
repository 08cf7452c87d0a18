/** The engine process dies under a daemon: it is started again, and every request gets its one answer. */

import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BetaClient } from '../../src/client/index.js';
import { EngineHost } from '../../src/runtime/host.js';
import { Daemon } from '../../src/service/daemon.js';
import { runsOf, twiceOnOneNode } from './executions.js';
import { settingsFor } from './harness.js';
import { Mosquitto } from './mosquitto.js';

const module = new URL('../../dist/runtime/engine.js', import.meta.url);
const model = new URL('../../models/intents.beta', import.meta.url).pathname;

/** A request may survive one of them; the second is far enough away that it was answered before. */
const KILLS = 2;

const log: string[] = [];
let broker: Mosquitto;
let daemon: Daemon;
let host: EngineHost;
let client: BetaClient;
beforeAll(async () => {
  broker = await Mosquitto.start();
  daemon = await Daemon.start({
    settings: { ...settingsFor('kitchen', broker.url), models: [model] },
    log: pino({ level: 'debug' }, { write: (line: string) => void log.push(line) }),
    startHost: async (options) => {
      host = await EngineHost.start({ ...options, module });
      return host;
    },
  });
  client = await BetaClient.connect(broker.url);
});
afterAll(async () => {
  await client?.close();
  await daemon?.stop();
  await broker?.stop();
});

describe('an engine process that aborts', () => {
  it('under load: all requests are answered with what they ask for', async () => {
    const texts = Array.from({ length: 100 }, (_, i) => `transfer ${i} dollars to my savings account`);
    const before = await client.request('intents', texts.slice(0, 2), { logits: true });
    const killed = new Set<number>();
    const killer = setInterval(() => {
      const { pid } = host;
      if (pid === undefined || killed.has(pid) || daemon.queued === 0 || killed.size >= KILLS) return;
      // As the C library would end it: abort(), in the middle of whatever it does.
      process.kill(pid, 'SIGABRT');
      killed.add(pid);
    }, 30);
    const rounds = [];
    while (killed.size < KILLS)
      rounds.push(
        ...(await Promise.all(texts.map((text) => client.request('intents', text, { logits: true })))),
      );
    clearInterval(killer);
    expect(host.restarts).toBe(KILLS);
    expect(rounds[0]?.logits).toEqual(before.results[0]?.logits);
    expect(rounds.every(({ label }) => label === 'transfer')).toBe(true);
    expect(daemon.queued).toBe(0);
    // What the engine lost was begun again; no request was brought to its end twice.
    const runs = runsOf([{ name: 'kitchen', log: log.join('') }]);
    expect(runs.size).toBe(rounds.length + 1);
    expect(twiceOnOneNode(runs)).toEqual([]);
  });
});
