/** A model is replaced under load by one with other words, labels and sizes: every answer is that of exactly one version. */
import { copyFileSync, mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { BetaClient } from '../../src/client/index.js';
import { Device } from '../../src/device/device.js';
import { Artifact } from '../../src/model/artifact/read.js';
import { EngineHost } from '../../src/runtime/host.js';
import { compact } from '../../src/runtime/results.js';
import { Session } from '../../src/runtime/session.js';
import { Daemon } from '../../src/service/daemon.js';
import { randomBitCheckpoint, vocabulary, writeCheckpoint } from '../oracle/random.js';
import { SIZES } from '../unit/compiler/models.js';
import { artifactOf, removeFolder, temporaryFolder } from '../unit/runtime/support.js';
import { settingsFor } from './harness.js';
import { Mosquitto } from './mosquitto.js';

const module = new URL('../../dist/runtime/engine.js', import.meta.url);
const WORDS = ['card', 'money', 'transfer', 'to', 'my', 'bank', 'zebra', 'alarm', 'x7', 'weather', 'balance'];
const TEXTS = Array.from({ length: 60 }, (_, i) =>
  Array.from({ length: 1 + (i % 9) }, (_, j) => WORDS[(i * 7 + j * 3) % WORDS.length]).join(' '),
);
/** Requests that wait at any time: some tens of batches. */
const OPEN = 200;
/** As many as any request survives: who is under a third is refused, for it may be the cause. */
const KILLS = 2;

/** Sizes of the two versions, and which words are cut and numbered how. */
const VERSIONS = [
  { ...SIZES, bits: 1, seed: 1, vocab: 150, labels: 5 },
  { ...SIZES, bits: 1, seed: 2, vocab: 120, labels: 3, hidden: 48 },
] as const;

interface Version {
  readonly file: string;
  readonly id: string;
  /** What it says to each text. */
  readonly answers: ReadonlyMap<string, { readonly label: string; readonly logits: number[] }>;
}

/** Label names and numbers of tokens are those of one version only. */
async function makeVersion(folder: string, index: 0 | 1): Promise<Version> {
  mkdirSync(folder, { recursive: true });
  const options = VERSIONS[index];
  const file = await artifactOf(folder, 'm', (source) => {
    const checkpoint = randomBitCheckpoint(options);
    const names = Array.from({ length: options.labels }, (_, label) => `v${index}_${label}`);
    Object.assign(checkpoint.config, {
      id2label: Object.fromEntries(names.map((name, label) => [String(label), name])),
      label2id: Object.fromEntries(names.map((name, label) => [name, label])),
    });
    const [special, words] = [vocabulary(options.vocab).slice(0, 5), vocabulary(options.vocab).slice(5)];
    writeCheckpoint(source, checkpoint, [...special, ...(index === 0 ? words : words.reverse())]);
  });
  const artifact = Artifact.open(file);
  const device = Device.open('emu:?window=8M');
  try {
    const { logits } = new Session(device, artifact).run(
      TEXTS.map((text) => artifact.tokenizer.encode(text, artifact.plan.maxTokens)),
    );
    const answers = new Map(
      TEXTS.map((text, at) => {
        const own = [...logits[at]!];
        const label = artifact.plan.labels[own.indexOf(Math.max(...own))]!;
        return [text, { label, logits: own.map(compact) }];
      }),
    );
    return { file, id: artifact.id, answers };
  } finally {
    device.close();
  }
}

let folder: string;
let served: string;
let versions: Version[];
let broker: Mosquitto;
let daemon: Daemon;
let host: EngineHost;
let client: BetaClient;
beforeAll(async () => {
  folder = temporaryFolder();
  served = join(folder, 'served');
  mkdirSync(served);
  versions = [await makeVersion(join(folder, '0'), 0), await makeVersion(join(folder, '1'), 1)];
  publish(versions[0]!);
  broker = await Mosquitto.start();
  daemon = await Daemon.start({
    settings: {
      ...settingsFor('kitchen', broker.url, { batchSequences: 4 }),
      models: [join(served, 'm.beta')],
      modelFolder: served,
    },
    log: pino({ level: 'silent' }),
    startHost: async (options) => {
      const restarts = { firstMs: 1, mostMs: 4, stableMs: 60_000, attempts: 20 };
      host = await EngineHost.start({ ...options, module, restarts });
      return host;
    },
  });
  client = await BetaClient.connect(broker.url);
});
afterAll(async () => {
  await client?.close();
  await daemon?.stop();
  await broker?.stop();
  removeFolder(folder);
});

/** Puts a version where the node loads from, as one would: the old file is there, then the new one is. */
function publish({ file }: Version): void {
  copyFileSync(file, join(served, 'next'));
  renameSync(join(served, 'next'), join(served, 'm.beta'));
}

/**
 * Keeps requests waiting while `change` goes on; it may wait for a version to answer.
 * Answers by version; throws for one that was refused, or is none of either version's.
 */
async function underLoad(
  change: (answeredBy: (version: Version) => Promise<void>) => Promise<void>,
): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  let going = true;
  let asked = 0;
  const ask = async () => {
    while (going) {
      const text = TEXTS[asked++ % TEXTS.length]!;
      const { model, label, logits } = await client.request('m', text, { logits: true, timeoutMs: 20_000 });
      const version = versions.find(({ id }) => id === model.id);
      expect({ text, id: model.id, label, logits }).toEqual({
        text,
        id: version?.id,
        ...version?.answers.get(text),
      });
      counts.set(model.id, (counts.get(model.id) ?? 0) + 1);
    }
  };
  const answeredBy = async ({ id }: Version) => {
    const before = counts.get(id);
    while (going && counts.get(id) === before) await tick();
  };
  const all = Promise.all(Array.from({ length: OPEN }, ask));
  // One that fails is reported below, not as one that nobody handles.
  all.catch(() => undefined);
  try {
    await Promise.race([change(answeredBy), all]);
  } finally {
    going = false;
  }
  await all;
  return counts;
}

const tick = () => new Promise((resolve) => setTimeout(resolve, 1));

const waiting = async () => {
  while (daemon.queued < OPEN / 2) await tick();
};

async function replace(version: Version): Promise<void> {
  await waiting();
  publish(version);
  expect(await client.command('kitchen', 'load-model', { file: 'm.beta' })).toMatchObject({
    models: [version.id],
  });
}

/** Nothing is left of what requests were waiting for. */
async function expectOnly(version: Version): Promise<void> {
  expect(daemon.queued).toBe(0);
  expect(await client.request('m', TEXTS[0]!)).toMatchObject({ model: { id: version.id } });
  await daemon.selfTest();
  expect(host.window.resident).toEqual(['m']);
}

it('replaced again and again: all requests are answered, each by one version', async () => {
  const counts = await underLoad(async (answeredBy) => {
    await replace(versions[1]!);
    // A version that is replaced at once may get no request: those that wait then are all of the one before it.
    await answeredBy(versions[1]!);
    for (let round = 2; round <= 8; round++) await replace(versions[round % 2]!);
  });
  expect([...counts.keys()].sort()).toEqual(versions.map(({ id }) => id).sort());
  await expectOnly(versions[0]!);
});

it('replaced, and the engine process killed while the version before has requests: the same', async () => {
  const counts = await underLoad(async (answeredBy) => {
    for (let round = 1; round <= KILLS; round++) {
      const version = versions[round % 2]!;
      await replace(version);
      process.kill(host.pid!, 'SIGKILL');
      while (host.restarts < round || !host.ready) await tick();
      await answeredBy(version);
    }
  });
  expect(host.restarts).toBe(KILLS);
  expect([...counts.keys()].sort()).toEqual(versions.map(({ id }) => id).sort());
  await expectOnly(versions[0]!);
});
