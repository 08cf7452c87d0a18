/** The queue's decisions, one at a time: time is an argument, so nothing here waits. */
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { PRIORITIES } from '../../../src/client/wire.js';
import { type Batch, type QueueLimits, QueuePolicy } from '../../../src/service/queue/policy.js';
import type { Decision, Ticket } from '../../../src/service/queue/ticket.js';

const LIMITS: QueueLimits = { queue: 100, batchSequences: 4, batchTokens: 40, maxDelayMs: 0 };
let trace: Decision[];
let policy: QueuePolicy;

beforeEach(() => {
  trace = [];
  policy = new QueuePolicy(LIMITS, (decision) => trace.push(decision));
});

const ticket = (changes: Partial<Ticket> = {}): Ticket => ({
  model: 'm',
  client: 'a',
  priority: 'normal',
  sequences: 1,
  tokens: 10,
  arrived: 0,
  deadline: undefined,
  suspect: false,
  ...changes,
});
const offer = (...tickets: Ticket[]) => tickets.map((each) => policy.offer([each]).accepted);
const many = (count: number, changes: Partial<Ticket> = {}) =>
  Array.from({ length: count }, () => ticket(changes));

function batch(now = 0, from = policy): Batch {
  const next = from.next(now);
  if (next.kind !== 'batch') throw new Error(`no batch but ${JSON.stringify(next)}`);
  return next;
}
/** Runs everything, batch after batch. */
function drain(from = policy): Batch[] {
  const batches: Batch[] = [];
  for (let next = from.next(0); next.kind === 'batch'; next = from.next(0)) {
    batches.push(next);
    from.done(next);
  }
  return batches;
}

describe('batches', () => {
  it('start at once on an idle engine, and gather while it is busy', () => {
    offer(...many(3));
    const first = batch();
    expect(first).toMatchObject({ reason: 'idle', sequences: 3, tokens: 30 });
    offer(...many(2));
    expect(policy.next(0)).toEqual({ kind: 'nothing' });
    offer(ticket());
    policy.done(first);
    expect(batch()).toMatchObject({ reason: 'idle', sequences: 3 });
  });

  it('are given ahead only where they are full already, and only one', () => {
    offer(...many(13));
    expect(batch()).toMatchObject({ reason: 'full', sequences: 4 });
    expect(batch()).toMatchObject({ reason: 'full', sequences: 4 });
    expect(policy.next(0)).toEqual({ kind: 'nothing' });
    expect(policy.running).toBe(2);
    expect(policy.load).toBe(13);
  });

  it('hold at most so many tokens, and what is larger than that runs alone', () => {
    offer(ticket({ tokens: 25 }), ticket({ tokens: 25 }), ticket({ tokens: 90 }), ticket());
    expect(drain().map(({ tokens }) => tokens)).toEqual([25, 25, 90, 10]);
  });

  it('wait for company as long as they may, and no longer', () => {
    policy = new QueuePolicy({ ...LIMITS, maxDelayMs: 5 });
    offer(ticket({ arrived: 100 }), ticket({ arrived: 103 }));
    expect(policy.next(103)).toEqual({ kind: 'wait', until: 105 });
    expect(batch(105)).toMatchObject({ reason: 'delay', sequences: 2 });
  });

  it('do not wait once they are full', () => {
    policy = new QueuePolicy({ ...LIMITS, maxDelayMs: 5 });
    offer(...many(4, { arrived: 100 }));
    expect(batch(100)).toMatchObject({ reason: 'full' });
  });

  it('are of one model', () => {
    offer(ticket(), ticket({ model: 'n' }), ticket());
    expect(drain().map(({ model, sequences }) => [model, sequences])).toEqual([
      ['m', 2],
      ['n', 1],
    ]);
  });

  it('keep a suspect to itself, and first', () => {
    offer(ticket());
    policy.again([ticket({ suspect: true }), ticket({ suspect: true })]);
    expect(drain().map(({ reason, sequences }) => [reason, sequences])).toEqual([
      ['suspect', 1],
      ['suspect', 1],
      ['idle', 1],
    ]);
  });
});

describe('fairness', () => {
  it('gives every client a turn, however much another one sends', () => {
    offer(...many(40, { client: 'loud' }), ticket({ client: 'shy' }));
    const place = drain()
      .flatMap(({ tickets }) => tickets)
      .findIndex(({ client }) => client === 'shy');
    // A turn is worth 128 tokens.
    expect(place).toBeLessThan(14);
  });

  it('counts tokens, not requests', () => {
    for (let i = 0; i < 50; i++)
      offer(ticket({ client: 'long', tokens: 32 }), ticket({ client: 'short', tokens: 4 }));
    const order = drain().flatMap(({ tickets }) => tickets);
    const half = order.slice(0, 40);
    const tokens = (name: string) =>
      half.filter(({ client }) => client === name).reduce((sum, each) => sum + each.tokens, 0);
    expect(Math.abs(tokens('long') - tokens('short'))).toBeLessThan(2 * 128);
  });

  it('forgets what a model had that is served no longer, but not what waits for it', () => {
    offer(ticket({ model: 'old', sequences: 4 }), ticket({ model: 'old' }), ticket({ model: 'new' }));
    policy.serve(new Set(['new']));
    expect(drain().map(({ model }) => model)).toEqual(['old', 'new', 'old']);
    policy.serve(new Set(['new']));
    // It comes back as if it had never been served: no other goes before it for that.
    offer(ticket({ model: 'old' }), ticket({ model: 'other' }));
    expect(drain().map(({ model }) => model)).toEqual(['old', 'other']);
  });

  it('gives models equal shares of the engine', () => {
    offer(...many(40, { model: 'm' }), ...many(8, { model: 'n' }));
    const models = drain().map(({ model }) => model);
    expect(models.slice(0, 4).sort()).toEqual(['m', 'm', 'n', 'n']);
  });

  it('owes nothing to a model that was idle', () => {
    offer(...many(40, { model: 'm' }));
    for (let i = 0; i < 5; i++) policy.done(batch());
    offer(...many(20, { model: 'n' }));
    const models = drain().map(({ model }) => model);
    expect(models.slice(0, 6).filter((model) => model === 'n')).toHaveLength(3);
  });

  it('lets priorities claim their shares, and starves none', () => {
    for (let i = 0; i < 30; i++)
      offer(...PRIORITIES.map((priority) => ticket({ priority, client: priority })));
    const order = drain().flatMap(({ tickets }) => tickets.map(({ priority }) => priority));
    const share = (name: string) => order.slice(0, 21).filter((each) => each === name).length;
    expect([share('high'), share('normal'), share('low')]).toEqual([16, 4, 1]);
  });

  it('keeps the order of one client', () => {
    const tickets = many(10);
    offer(...tickets);
    expect(drain().flatMap((each) => each.tickets)).toEqual(tickets);
  });
});

describe('a full queue', () => {
  it('refuses what does not fit, whole', () => {
    offer(...many(98));
    expect(policy.admits('a', 3)).toBe(false);
    expect(policy.offer(many(3))).toEqual({ accepted: false, displaced: [] });
    expect(policy.load).toBe(98);
    expect(policy.admits('a', 2)).toBe(true);
    expect(policy.offer(many(2)).accepted).toBe(true);
    expect(trace.at(-3)).toMatchObject({ kind: 'refused', reason: 'full' });
  });

  it('counts what runs', () => {
    offer(...many(100));
    const first = batch();
    expect(offer(ticket())).toEqual([false]);
    policy.done(first);
    expect(offer(ticket())).toEqual([true]);
  });

  it('takes the newest places of the client that holds most for one that holds less', () => {
    const loud = many(100, { client: 'loud' });
    offer(...loud);
    expect(policy.admits('shy', 2)).toBe(true);
    const { accepted, displaced } = policy.offer(many(2, { client: 'shy' }));
    expect(accepted).toBe(true);
    expect(displaced).toEqual([loud[99], loud[98]]);
    expect(policy.load).toBe(100);
    // But never for a client that would hold more itself then.
    expect(policy.offer(many(50, { client: 'new' })).accepted).toBe(false);
    expect(policy.offer([ticket({ client: 'loud' })]).accepted).toBe(false);
  });
});

describe('leaving early', () => {
  it('a cancelled ticket does not run, and one that runs cannot be cancelled', () => {
    const [one, two] = many(2) as [Ticket, Ticket];
    offer(one, two);
    expect(policy.cancel(one)).toBe(true);
    expect(policy.cancel(one)).toBe(false);
    expect(batch().tickets).toEqual([two]);
    expect(policy.cancel(two)).toBe(false);
  });

  it('an expired ticket is given back once, at its time', () => {
    const late = ticket({ deadline: 50 });
    offer(late, ticket({ deadline: 60 }), ticket());
    expect(policy.expire(49)).toEqual([]);
    expect(policy.expire(50)).toEqual([late]);
    expect(policy.expire(50)).toEqual([]);
    expect(policy.load).toBe(2);
    expect(trace.at(-1)).toMatchObject({ kind: 'expired', ticket: late });
  });
});

/** Whatever happens in whatever order: every accepted ticket leaves exactly once, the bounds hold, and the trace tells all of it. */
it('loses and doubles nothing (random schedules)', () => {
  const step = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constant('offer' as const),
        model: fc.constantFrom('m', 'n'),
        client: fc.constantFrom('a', 'b', 'c'),
        priority: fc.constantFrom(...PRIORITIES),
        parts: fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 4 }),
        tokens: fc.integer({ min: 1, max: 50 }),
        patience: fc.option(fc.integer({ min: 0, max: 20 }), { nil: undefined }),
      }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('next' as const) }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('done' as const), crash: fc.boolean() }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('cancel' as const), which: fc.nat(50) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('time' as const), by: fc.nat(10) }) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const told: Decision[] = [];
      const queue = new QueuePolicy({ ...LIMITS, queue: 20 }, (decision) => told.push(decision));
      const alive = new Set<Ticket>();
      const running: Batch[] = [];
      let now = 0;
      const leave = (each: Ticket) => {
        if (!alive.delete(each)) throw new Error('a ticket left twice, or was never there');
      };
      for (const action of steps) {
        if (action.do === 'time') {
          now += action.by;
          queue.expire(now).forEach(leave);
        } else if (action.do === 'offer') {
          const { model, client, priority, tokens, parts, patience } = action;
          const deadline = patience === undefined ? undefined : now + patience;
          const tickets = parts.map((sequences) =>
            ticket({ model, client, priority, tokens, sequences, arrived: now, deadline }),
          );
          const size = parts.reduce((sum, each) => sum + each, 0);
          const promised = queue.admits(client, size);
          const { accepted, displaced } = queue.offer(tickets);
          expect(accepted).toBe(promised);
          displaced.forEach(leave);
          if (accepted) for (const each of tickets) alive.add(each);
        } else if (action.do === 'next') {
          const next = queue.next(now);
          if (next.kind === 'batch') {
            running.push(next);
            for (const each of next.tickets) if (!alive.has(each)) throw new Error('a ticket runs twice');
            if (next.tickets.length > 1) {
              expect(next.sequences).toBeLessThanOrEqual(LIMITS.batchSequences);
              expect(next.tokens).toBeLessThanOrEqual(LIMITS.batchTokens);
            }
            expect(running.length).toBeLessThanOrEqual(2);
          } else expect(running.length > 0 || queue.waiting === 0).toBe(true);
        } else if (action.do === 'done') {
          const ended = running.shift();
          if (!ended) continue;
          queue.done(ended);
          ended.tickets.forEach(leave);
          if (action.crash) {
            const again = ended.tickets.map((each) => ({ ...each, suspect: true }));
            queue.again(again);
            for (const each of again) alive.add(each);
          }
        } else {
          const all = [...alive];
          const chosen = all[action.which % Math.max(1, all.length)];
          if (chosen && queue.cancel(chosen)) leave(chosen);
        }
        const sum = [...alive].reduce((total, { sequences }) => total + sequences, 0);
        expect(queue.load).toBe(sum);
        expect(queue.load).toBeLessThanOrEqual(20);
      }
      const left = told.filter(
        ({ kind }) => kind === 'displaced' || kind === 'expired' || kind === 'cancelled',
      );
      const ran = told.flatMap((each) => (each.kind === 'batch' ? each.tickets : []));
      const accepted = told.filter(({ kind }) => kind === 'accepted').length;
      expect(left.length + ran.length + stillWaiting(told, left, ran)).toBe(accepted);
    }),
    { numRuns: 300 },
  );
});

/** Tickets that still wait, by the trace alone. */
function stillWaiting(told: readonly Decision[], left: readonly Decision[], ran: readonly Ticket[]): number {
  const gone = new Set([...left.map((each) => (each as { ticket: Ticket }).ticket), ...ran]);
  return told.filter((each) => each.kind === 'accepted' && !gone.has(each.ticket)).length;
}
