/** The engine host with the real engine process (dist/, which `npm test` builds first). */
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Device } from '../../../src/device/device.js';
import { Artifact } from '../../../src/model/artifact/read.js';
import { EngineHost, HostError, type InferInput } from '../../../src/runtime/host.js';
import { Session } from '../../../src/runtime/session.js';
import { bytesOf } from '../../golden/support.js';
import { randomArtifact, removeFolder, sequencesOf, temporaryFolder } from './support.js';

const module = new URL('../../../dist/runtime/engine.js', import.meta.url);
const device = 'emu:?window=8M';

let folder: string;
const files: string[] = [];
beforeAll(async () => {
  folder = temporaryFolder();
  files.push(await randomArtifact(folder, 'small'));
  files.push(
    await randomArtifact(folder, 'other', { bits: 4, seed: 2, hidden: 40, intermediate: 64, labels: 3 }),
  );
});
afterAll(() => removeFolder(folder));

const hosts: EngineHost[] = [];
async function start(options: Partial<Parameters<typeof EngineHost.start>[0]> = {}): Promise<EngineHost> {
  const host = await EngineHost.start({
    device,
    module,
    models: files.map((file) => ({ file })),
    ...options,
  });
  hosts.push(host);
  return host;
}
afterEach(async () => {
  for (const host of hosts.splice(0)) await host.close();
});

/** On what has the name now. */
const infer = (host: EngineHost, name: string, inputs: readonly InferInput[]) =>
  host.infer(host.models.get(name)!, inputs);

/** Logits of each sequence by a session of this thread, as bytes. */
function expected(file: string, inputs: readonly InferInput[]): string[] {
  const engine = Device.open(device);
  try {
    return new Session(engine, Artifact.open(file)).run(inputs).logits.map(bytesOf);
  } finally {
    engine.close();
  }
}

/** What a promise rejects with; fails where it does not. */
const rejection = (promise: Promise<unknown>) =>
  promise.then(
    () => expect.fail('it did not reject'),
    (error: unknown) => error as HostError,
  );

describe('a running host', () => {
  it('says what it serves and on which device', async () => {
    const host = await start();
    expect(host.device).toEqual({ uri: device, kind: 'emulator', version: '1.0', build: 0 });
    expect([...host.models.keys()]).toEqual(['small', 'other']);
    const { labels, maxTokens, vocabSize, typeVocabSize, description } = host.models.get('other')!;
    expect({ labels, maxTokens, vocabSize, typeVocabSize }).toEqual({
      labels: ['intent_0', 'intent_1', 'intent_2'],
      maxTokens: 40,
      vocabSize: 100,
      typeVocabSize: 2,
    });
    expect(description).toMatchObject({ layers: 2, hidden: 40, heads: 2 });
    expect(host.models.get('small')!.encode('the card').ids.length).toBeGreaterThanOrEqual(3);
    expect(host.ready).toBe(true);
    expect(host.window).toMatchObject({ resident: ['small', 'other'] });
  });

  it('answers many requests of several models and sizes at once, each with the bytes of a session', async () => {
    const host = await start();
    const requests = Array.from({ length: 60 }, (_, i) => {
      const lengths = Array.from({ length: [1, 3, 7, 70][i % 4]! }, (_, j) => 1 + ((i * 5 + j * 11) % 40));
      return { model: i % 3 === 0 ? 'other' : 'small', inputs: sequencesOf(lengths, i) };
    });
    const done = await Promise.all(requests.map(({ model, inputs }) => infer(host, model, inputs)));
    for (const name of ['small', 'other']) {
      const mine = requests.flatMap((request, index) => (request.model === name ? [index] : []));
      const all = mine.flatMap((index) => requests[index]!.inputs);
      const found = mine.flatMap((index) => done[index]!.logits.map(bytesOf));
      expect(found).toEqual(expected(files[name === 'small' ? 0 : 1]!, all));
    }
    for (const { times } of done) expect(times.total).toBeGreaterThan(0);
  });

  it('passes token types on, also beside requests that have none', async () => {
    const host = await start();
    const [{ ids }] = sequencesOf([9]) as [{ ids: Uint32Array }];
    const types = Uint32Array.from(ids, (_, i) => i % 2);
    const inputs: InferInput[] = [{ ids }, { ids, types }, { ids }];
    const { logits } = await infer(host, 'small', inputs);
    expect(logits.map(bytesOf)).toEqual(expected(files[0]!, inputs));
  });

  it('answers a request for nothing with nothing', async () => {
    const host = await start();
    const [nothing, something] = await Promise.all([
      infer(host, 'small', []),
      infer(host, 'small', sequencesOf([4])),
    ]);
    expect(nothing.logits).toEqual([]);
    expect(something.logits).toHaveLength(1);
  });

  it('refuses a bad request by itself: those that came with it get their answers', async () => {
    const host = await start();
    const good = sequencesOf([5, 6]);
    const bad: [InferInput, RegExp][] = [
      [{ ids: Uint32Array.of(1, 100) }, /input 0: token id 100 at 1/],
      [{ ids: new Uint32Array(0) }, /input 0 has 0 tokens/],
      [{ ids: Uint32Array.of(1, 2), types: Uint32Array.of(0) }, /1 token types for 2 tokens/],
      [{ ids: Uint32Array.of(1, 2), types: Uint32Array.of(0, 2) }, /token type 2/],
    ];
    // Something to wait behind, so that all of these would be one batch.
    const first = infer(host, 'small', sequencesOf([40]));
    const before = infer(host, 'small', [good[0]!]);
    const refused = bad.map(([input]) => rejection(infer(host, 'small', [input])));
    const after = infer(host, 'small', [good[1]!]);
    for (const [index, error] of (await Promise.all(refused)).entries()) {
      expect(error).toBeInstanceOf(HostError);
      expect(error.code).toBe('bad-input');
      expect(error.message).toMatch(bad[index]![1]);
    }
    await first;
    const answers = [(await before).logits[0]!, (await after).logits[0]!];
    expect(answers.map(bytesOf)).toEqual(expected(files[0]!, good));
  });

  it('refuses a model that it does not have', async () => {
    const host = await start();
    expect(
      await rejection(host.infer({ ...host.models.get('small')!, id: 'small@absent' }, sequencesOf([3]))),
    ).toMatchObject({
      code: 'unknown-model',
      message: expect.stringContaining('small@absent'),
    });
  });

  it('reports what does not fit the window, and goes on', async () => {
    const file = await randomArtifact(folder, 'long', { positions: 250, hidden: 16, intermediate: 16 });
    const host = await start({ device: 'emu:?window=256K', models: [{ file }] });
    const error = await rejection(infer(host, 'long', sequencesOf([250])));
    expect(error.code).toBe('window-full');
    const inputs = sequencesOf([8, 9]);
    expect((await infer(host, 'long', inputs)).logits.map(bytesOf)).toEqual(expected(file, inputs));
  });

  it('lets models that do not fit together give way to one another, and loads and unloads them', async () => {
    const big = { hidden: 128, intermediate: 256, heads: 2 };
    const pair = [
      await randomArtifact(folder, 'first', big),
      await randomArtifact(folder, 'second', { ...big, seed: 5 }),
    ];
    const inputs = sequencesOf([4, 7]);
    /** A host in a window of so many KiB, if it takes a model with its activations. */
    const tried = async (window: number) => {
      const host = await start({
        device: `emu:?window=${window}K`,
        models: pair.map((file) => ({ file })),
      }).catch(() => undefined);
      const ran = await (host && infer(host, 'second', inputs).catch(() => undefined));
      return ran && host;
    };
    let host: EngineHost | undefined;
    for (let window = 128; !host && window < 8192; window += 64) host = await tried(window);
    // The smallest window that takes either of them.
    expect(host!.window.resident).toEqual(['second']);
    for (const [index, name] of ['first', 'second', 'first'].entries()) {
      const { logits } = await infer(host!, name, inputs).catch((error) =>
        expect.fail(`${name}: ${error.message}`),
      );
      expect(logits.map(bytesOf)).toEqual(expected(pair[index % 2]!, inputs));
      expect(host!.window.resident).toEqual([name]);
    }
    const first = host!.models.get('first')!;
    await host!.unloadModel('first');
    expect(host!.window.resident).toEqual([]);
    expect(await rejection(host!.infer(first, inputs))).toMatchObject({ code: 'unknown-model' });
    expect((await host!.loadModel(pair[0]!)).name).toBe('first');
    expect((await infer(host!, 'first', inputs)).logits.map(bytesOf)).toEqual(expected(pair[0]!, inputs));
  });

  it('keeps a version that is in use beside the one that has taken its name, and no longer', async () => {
    const twins = temporaryFolder();
    const next = await randomArtifact(twins, 'small', { seed: 9, labels: 3 });
    const host = await start({ models: [{ file: files[0]! }] });
    const inputs = sequencesOf([5, 9]);
    const first = host.models.get('small')!;
    await host.using(first, async () => {
      const second = await host.loadModel(next);
      expect(host.models.get('small')).toBe(second);
      expect(host.window.resident).toEqual(['small', 'small']);
      for (const [model, file] of [
        [first, files[0]!],
        [second, next],
      ] as const)
        expect((await host.infer(model, inputs)).logits.map(bytesOf)).toEqual(expected(file, inputs));
    });
    await host.selfTest();
    expect(host.window.resident).toEqual(['small']);
    expect(await rejection(host.infer(first, inputs))).toMatchObject({ code: 'unknown-model' });
    removeFolder(twins);
  });

  it('keeps a version that comes back while the last who used it before ends', async () => {
    const twins = temporaryFolder();
    const next = await randomArtifact(twins, 'small', { seed: 9, labels: 3 });
    const host = await start({ models: [{ file: files[0]! }] });
    const inputs = sequencesOf([5]);
    const first = expected(files[0]!, inputs);
    // However far the loading has come by then.
    for (let turns = 0; turns < 12; turns++) {
      let back: Promise<unknown> | undefined;
      await host.using(host.models.get('small')!, async () => {
        await host.loadModel(next);
        back = host.loadModel(files[0]!);
        await host.selfTest();
        for (let i = 0; i < turns; i++) await new Promise(setImmediate);
      });
      await back;
      await host.selfTest();
      expect((await infer(host, 'small', inputs)).logits.map(bytesOf)).toEqual(first);
    }
    // The same one again, in use, is still one.
    await host.using(host.models.get('small')!, () => host.loadModel(files[0]!));
    await host.selfTest();
    expect(host.window.resident).toEqual(['small']);
    expect((await infer(host, 'small', inputs)).logits.map(bytesOf)).toEqual(first);
    removeFolder(twins);
  });

  it('leaves the version before where the next one cannot be loaded, and unloads one from under whoever uses it', async () => {
    const host = await start();
    const inputs = sequencesOf([5]);
    const small = host.models.get('small')!;
    const broken = join(folder, 'damaged.beta');
    const bytes = readFileSync(files[0]!);
    bytes[bytes.length - 1]! ^= 1;
    writeFileSync(broken, bytes);
    expect((await rejection(host.loadModel(broken))).message).toContain(broken);
    expect((await infer(host, 'small', inputs)).logits.map(bytesOf)).toEqual(expected(files[0]!, inputs));
    await host.using(small, async () => {
      await host.unloadModel('small');
      expect(await rejection(host.infer(small, inputs))).toMatchObject({ code: 'unknown-model' });
      await host.loadModel(files[0]!);
    });
    await host.selfTest();
    expect((await infer(host, 'small', inputs)).logits.map(bytesOf)).toEqual(expected(files[0]!, inputs));
  });

  it('checks the device with a tile', async () => {
    const host = await start();
    await Promise.all([host.selfTest(), infer(host, 'small', sequencesOf([4])), host.selfTest()]);
  });

  it('leaves the event loop free while the engine computes', async () => {
    const host = await start();
    let ticks = 0;
    const ticker = setInterval(() => ticks++, 2);
    const began = performance.now();
    try {
      while (performance.now() - began < 150) await infer(host, 'other', sequencesOf(Array(64).fill(40)));
    } finally {
      clearInterval(ticker);
    }
    // At 2 ms a tick there could be 75; one that waited for whole batches would have a handful.
    expect(ticks).toBeGreaterThan(15);
  });

  it('finishes what waits when it is closed, and takes nothing new', async () => {
    const host = await start();
    const inputs = sequencesOf([10, 20, 30]);
    const waiting = Array.from({ length: 10 }, () => infer(host, 'small', inputs));
    const closed = host.close();
    expect(await rejection(infer(host, 'small', inputs))).toMatchObject({ code: 'closed' });
    const answers = await Promise.all(waiting);
    expect(answers.every(({ logits }) => logits.length === 3)).toBe(true);
    await Promise.all([closed, host.close()]);
    expect(await rejection(infer(host, 'small', inputs))).toMatchObject({ code: 'closed' });
  });

  it('does not call a close a failure', async () => {
    const host = await start();
    let failures = 0;
    host.onFailure = () => failures++;
    await host.close();
    await host.close();
    expect(failures).toBe(0);
  });
});

describe('a host that cannot start', () => {
  it('names a file that is missing, or is no artifact', async () => {
    const missing = join(folder, 'missing.beta');
    expect(await rejection(start({ models: [{ file: missing }] }))).toMatchObject({
      code: 'not-found',
      message: expect.stringContaining(missing),
    });
    const broken = join(folder, 'broken.beta');
    writeFileSync(broken, 'no artifact');
    expect(await rejection(start({ models: [{ file: files[0]! }, { file: broken }] }))).toMatchObject({
      message: expect.stringContaining(broken),
    });
  });

  it('names both files of one name', async () => {
    const twin = join(temporaryFolder(), 'small.beta');
    copyFileSync(files[0]!, twin);
    const error = await rejection(start({ models: [{ file: files[0]! }, { file: twin }] }));
    removeFolder(join(twin, '..'));
    expect(error).toBeInstanceOf(HostError);
    expect(error.code).toBe('name-taken');
    for (const text of [twin, files[0]!, '"small"']) expect(error.message).toContain(text);
  });

  it.each([
    ['emu:?nonsense=1', 'bad-uri'],
    ['fpga:x', 'no-device'],
    ['no uri', 'bad-uri'],
    ['emu:?max_k=8', 'incompatible'],
    ['emu:?window=64K', /./],
  ])('on device %s says why', async (uri, code) => {
    const error = await rejection(start({ device: uri }));
    expect(error.code).toMatch(code);
    expect(error.message.length).toBeGreaterThan(20);
  });
});
