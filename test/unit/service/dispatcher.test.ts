/** The queue's mechanism with a host whose batches end when the test says so. */
import { beforeEach, describe, expect, it } from 'vitest';
import type { BatchResult, ServedModel, TokenSequence } from '../../../src/service/engine.js';
import { type Ask, Cancel, Dispatcher } from '../../../src/service/queue/dispatcher.js';
import type { Decision } from '../../../src/service/queue/ticket.js';
import { codedError, FakeHost, fakeLogits, fakeModel } from './fake-host.js';

const LIMITS = { queue: 20, batchSequences: 4, batchTokens: 40, maxDelayMs: 0 };

const MODEL = fakeModel('m');

interface Started {
  readonly model: ServedModel;
  readonly sequences: readonly TokenSequence[];
  readonly end: () => void;
  readonly fail: (error: Error) => void;
}

class ManualHost extends FakeHost {
  readonly started: Started[] = [];
  override infer(model: ServedModel, sequences: readonly TokenSequence[]): Promise<BatchResult> {
    return new Promise((resolve, reject) => {
      this.started.push({
        model,
        sequences,
        end: () =>
          resolve({
            logits: sequences.map(({ ids }) => fakeLogits(ids)),
            times: { total: 2, engine: 1, vector: 1, host: 0 },
          }),
        fail: reject,
      });
    });
  }
}

let host: ManualHost;
let queue: Dispatcher;
let trace: Decision[];
beforeEach(() => {
  host = new ManualHost();
  trace = [];
  queue = new Dispatcher({ host, limits: LIMITS, trace: (decision) => trace.push(decision) });
});

const settle = () => new Promise((resolve) => setImmediate(resolve));
const sequences = (...lengths: number[]) =>
  lengths.map((length) => ({ ids: new Uint32Array(length).fill(3) }));
const infer = (lengths: number[], ask: Partial<Ask> = {}) =>
  queue.infer(MODEL, sequences(...lengths), { client: 'a', ...ask });
const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => expect.fail('it did not reject'),
    (error: { code?: string }) => error.code,
  );

describe('dispatcher', () => {
  it('puts requests together and gives each its own results', async () => {
    const first = infer([1]);
    await settle();
    const all = [infer([2, 3]), infer([4])];
    await settle();
    expect(host.started).toHaveLength(1);
    host.started[0]?.end();
    expect((await first).timings).toMatchObject({ computeMs: 2, batch: 1 });
    await settle();
    expect(host.started[1]?.sequences.map(({ ids }) => ids.length)).toEqual([2, 3, 4]);
    host.started[1]?.end();
    const [two, one] = await Promise.all(all);
    expect(two?.logits).toEqual(sequences(2, 3).map(({ ids }) => fakeLogits(ids)));
    expect(one?.logits).toEqual(sequences(4).map(({ ids }) => fakeLogits(ids)));
    expect(queue.load).toBe(0);
  });

  it('gives an idle engine what comes in one turn as one batch', async () => {
    const all = [infer([1]), infer([2]), infer([3])];
    await settle();
    expect(host.started.map(({ sequences: { length } }) => length)).toEqual([3]);
    host.started[0]?.end();
    await Promise.all(all);
  });

  it('runs a long list in parts, and puts them together in order', async () => {
    const lengths = [9, 8, 30, 5, 5, 5, 5, 5, 40, 1];
    const whole = infer(lengths);
    for (let batch = 0; batch < 10 && queue.load > 0; batch++) {
      for (const each of host.started) each.end();
      await settle();
    }
    expect((await whole).logits).toEqual(sequences(...lengths).map(({ ids }) => fakeLogits(ids)));
    expect(host.started.length).toBeGreaterThan(3);
    for (const { sequences: inputs } of host.started) {
      expect(inputs.length).toBeLessThanOrEqual(4);
      expect(inputs.reduce((sum, { ids }) => sum + ids.length, 0)).toBeLessThanOrEqual(40);
    }
  });

  it('never mixes two versions of a model, and runs each request on its own', async () => {
    const next = fakeModel('m', 'ffffffffffff');
    const first = infer([1]);
    await settle();
    const all = [infer([2]), queue.infer(next, sequences(3), { client: 'a' }), infer([4])];
    queue.serve([next]);
    for (let batch = 0; batch < 3; batch++) {
      host.started[batch]?.end();
      await settle();
    }
    await Promise.all([first, ...all]);
    expect(
      host.started.map(({ model, sequences: inputs }) => [model.id, inputs.map(({ ids }) => ids.length)]),
    ).toEqual([
      [MODEL.id, [1]],
      [next.id, [3]],
      [MODEL.id, [2, 4]],
    ]);
  });

  it('answers a request for nothing', async () => {
    expect((await infer([])).logits).toEqual([]);
    expect(host.started).toHaveLength(0);
  });

  it('refuses with busy, and tells whoever loses a place', async () => {
    const loud = Array.from({ length: 20 }, () => infer([1], { client: 'loud' }));
    expect(() => queue.admit('loud', 1)).toThrow(expect.objectContaining({ code: 'busy' }));
    expect(await failure(infer([1], { client: 'loud' }))).toBe('busy');
    void infer([1], { client: 'shy' });
    expect(await failure(loud[19]!)).toBe('busy');
    expect(queue.load).toBe(20);
  });

  it('gives up what waits when it is asked to, and what runs as well', async () => {
    const stop = new Cancel();
    const running = infer([1], { cancel: stop });
    await settle();
    const other = new Cancel();
    const waiting = infer([1], { cancel: other });
    stop.ask();
    other.ask();
    expect(await failure(running)).toBe('cancelled');
    expect(await failure(waiting)).toBe('cancelled');
    expect(await failure(infer([1], { cancel: stop }))).toBe('cancelled');
    expect(queue.load).toBe(1);
    host.started[0]?.end();
    await settle();
    expect(queue.load).toBe(0);
    expect(host.started).toHaveLength(1);
  });

  it('ends a request at its deadline, also where nothing else happens', async () => {
    void infer([1]);
    await settle();
    const begin = performance.now();
    const late = infer([1], { deadline: begin + 40 });
    expect(await failure(late)).toBe('expired');
    expect(performance.now() - begin).toBeGreaterThanOrEqual(39);
    host.started[0]?.end();
    await settle();
    expect(host.started).toHaveLength(1);
  });

  it('cancels the other parts of a request that lost one', async () => {
    const whole = infer([5, 5, 5, 5, 5, 5]);
    await settle();
    expect(host.started).toHaveLength(1);
    host.started[0]?.fail(codedError('device-fault', 'bad tile'));
    expect(await failure(whole)).toBe('device-fault');
    await settle();
    expect(queue.load).toBe(0);
    expect(host.started).toHaveLength(1);
  });

  it('waits while there is no engine, and goes on when there is', async () => {
    host.ready = false;
    const one = infer([1]);
    expect(host.started).toHaveLength(0);
    host.ready = true;
    queue.pump();
    host.started[0]?.end();
    expect((await one).logits).toHaveLength(1);
  });

  it('runs again, each by itself, what was under an engine process that died; who kills it twice more is refused', async () => {
    const first = infer([1]);
    await settle();
    const [poison, innocent] = [infer([2]), infer([3])];
    host.started[0]?.end();
    await first;
    await settle();
    host.ready = false;
    host.started[1]?.fail(codedError('worker-lost', 'SIGABRT'));
    await settle();
    host.ready = true;
    queue.pump();
    expect(host.started[2]?.sequences.map(({ ids }) => ids.length)).toEqual([2]);
    host.ready = false;
    host.started[2]?.fail(codedError('worker-lost', 'SIGABRT'));
    await settle();
    host.ready = true;
    queue.pump();
    // Its turn again comes behind the other's.
    expect(host.started[3]?.sequences.map(({ ids }) => ids.length)).toEqual([3]);
    host.started[3]?.end();
    expect((await innocent).logits).toHaveLength(1);
    await settle();
    expect(host.started[4]?.sequences.map(({ ids }) => ids.length)).toEqual([2]);
    host.ready = false;
    host.started[4]?.fail(codedError('worker-lost', 'SIGABRT'));
    expect(await failure(poison)).toBe('worker-lost');
    expect(queue.load).toBe(0);
    expect(trace.map(({ kind, reason }) => `${kind} ${reason}`)).toContain('batch suspect');
  });

  it('fails what is under way when no engine will ever be there', async () => {
    const one = infer([1]);
    await settle();
    host.ready = false;
    host.lost = true;
    host.started[0]?.fail(codedError('worker-lost', 'given up'));
    expect(await failure(one)).toBe('worker-lost');
  });
});
