/**
 * The queue's decisions, and nothing else: no clock, no timer, no promise, so every one of them can be replayed in a test. Who uses it
 * (dispatcher.ts) says what time it is and what the engine does.
 */
import { PRIORITIES, type Priority } from '../../client/wire.js';
import { ClientRing, FairShare, type Flow } from './fair.js';
import { Fifo } from './fifo.js';
import type { BatchReason, Decision, Ticket } from './ticket.js';

export interface QueueLimits {
  /** Sequences accepted and not yet answered. */
  readonly queue: number;
  /** A batch holds no more of either, unless one ticket alone does. */
  readonly batchSequences: number;
  readonly batchTokens: number;
  /** Longest wait of an idle engine for company for a ticket, milliseconds. */
  readonly maxDelayMs: number;
}

export type Batch = Extract<Decision, { kind: 'batch' }>;

/** What to do now. */
export type Next =
  | Batch
  /** Nothing to run before this time, unless something arrives or the engine finishes. */
  | { readonly kind: 'wait'; readonly until: number }
  | { readonly kind: 'nothing' };

/** Claims of the priorities on an engine that has more work than time: none starves. */
const WEIGHT: Readonly<Record<Priority, number>> = { low: 1, normal: 4, high: 16 };
/** Batches given to the engine at once: one that runs and, if it is full anyway, the one behind it. */
const AHEAD = 2;

class Class implements Flow {
  readonly weight: number;
  served = 0;
  readonly ring = new ClientRing();

  constructor(weight: number) {
    this.weight = weight;
  }
}

class ModelQueue implements Flow {
  readonly weight = 1;
  served = 0;
  readonly id: string;
  readonly share = new FairShare();
  readonly classes = new Map(PRIORITIES.map((priority) => [priority, new Class(WEIGHT[priority])]));
  /** In order of arrival; those that left are skipped when they come to the front. */
  readonly #arrivals = new Fifo<Ticket>();

  constructor(id: string) {
    this.id = id;
  }

  get active(): Class[] {
    return [...this.classes.values()].filter(({ ring }) => !ring.empty);
  }

  get sequences(): number {
    return this.active.reduce((sum, { ring }) => sum + ring.sequences, 0);
  }

  get tokens(): number {
    return this.active.reduce((sum, { ring }) => sum + ring.tokens, 0);
  }

  push(ticket: Ticket): void {
    const own = this.classes.get(ticket.priority)!;
    if (own.ring.empty) this.share.wake(own);
    own.ring.push(ticket);
    this.#arrivals.push(ticket);
  }

  /** Arrival of the ticket that has waited longest. */
  oldest(isWaiting: (ticket: Ticket) => boolean): number | undefined {
    for (let first = this.#arrivals.first; first; first = this.#arrivals.first) {
      if (isWaiting(first)) return first.arrived;
      this.#arrivals.shift();
    }
    return undefined;
  }
}

export class QueuePolicy {
  readonly #limits: QueueLimits;
  readonly #trace: (decision: Decision) => void;
  readonly #share = new FairShare();
  readonly #models = new Map<string, ModelQueue>();
  readonly #suspects = new Fifo<Ticket>();
  readonly #waiting = new Set<Ticket>();
  /** Sequences of each client that wait. */
  readonly #held = new Map<string, number>();
  #waitingSequences = 0;
  #runningSequences = 0;
  #runningBatches = 0;

  /** `trace` is told of every decision. */
  constructor(limits: QueueLimits, trace: (decision: Decision) => void = () => undefined) {
    this.#limits = limits;
    this.#trace = trace;
  }

  /** Sequences that wait. */
  get waiting(): number {
    return this.#waitingSequences;
  }

  /** Sequences that wait or run. */
  get load(): number {
    return this.#waitingSequences + this.#runningSequences;
  }

  get running(): number {
    return this.#runningBatches;
  }

  /** Whether a request of so many sequences would be taken now: asked before its texts are made into tokens, which costs more. */
  admits(client: string, sequences: number): boolean {
    const missing = this.load + sequences - this.#limits.queue;
    return missing <= 0 || this.#victims(client, sequences, missing) !== undefined;
  }

  /**
   * Takes the tickets of one request, all or none. A full queue takes places back from the client that holds most of it, if that is
   * more than this client would hold then; `displaced` are those that have to be told. `accepted` false: the queue is full.
   */
  offer(tickets: readonly Ticket[]): { readonly accepted: boolean; readonly displaced: readonly Ticket[] } {
    const [first] = tickets;
    if (!first) return { accepted: true, displaced: [] };
    const size = tickets.reduce((sum, { sequences }) => sum + sequences, 0);
    const displaced: Ticket[] = [];
    const missing = this.load + size - this.#limits.queue;
    if (missing > 0) {
      const victims = this.#victims(first.client, size, missing);
      if (!victims) {
        this.#trace({ kind: 'refused', ticket: first, reason: 'full' });
        return { accepted: false, displaced };
      }
      for (const ticket of victims) {
        this.#take(ticket);
        displaced.push(ticket);
        this.#trace({ kind: 'displaced', ticket, reason: 'largest-share' });
      }
    }
    for (const ticket of tickets) {
      this.#add(ticket);
      this.#trace({ kind: 'accepted', ticket, reason: displaced.length > 0 ? 'displacing' : 'room' });
    }
    return { accepted: true, displaced };
  }

  /** Tickets of a batch that took the engine down, to be run again by themselves; they have their place already. */
  again(tickets: readonly Ticket[]): void {
    for (const ticket of tickets) {
      this.#add(ticket);
      this.#trace({ kind: 'accepted', ticket, reason: 'again' });
    }
  }

  /** Takes back what waits; false if it runs or has run. */
  cancel(ticket: Ticket): boolean {
    if (!this.#waiting.has(ticket)) return false;
    this.#take(ticket);
    this.#trace({ kind: 'cancelled', ticket, reason: 'asked' });
    return true;
  }

  /** Takes out what nobody waits for any more. */
  expire(now: number): Ticket[] {
    const late = [...this.#waiting].filter(({ deadline }) => deadline !== undefined && deadline <= now);
    for (const ticket of late) {
      this.#take(ticket);
      this.#trace({ kind: 'expired', ticket, reason: 'deadline' });
    }
    return late;
  }

  /** The next batch, if it is time for one. */
  next(now: number): Next {
    if (this.#waiting.size === 0 || this.#runningBatches >= AHEAD) return { kind: 'nothing' };
    const idle = this.#runningBatches === 0;
    const suspect = this.#suspects.first;
    if (suspect) return idle ? this.#batch(suspect.model, [suspect], 'suspect') : { kind: 'nothing' };
    const reasons = new Map<ModelQueue, BatchReason>();
    let until = Number.POSITIVE_INFINITY;
    for (const model of this.#active()) {
      const due = this.#due(model);
      if (this.#isFull(model)) reasons.set(model, 'full');
      else if (idle && due <= now) reasons.set(model, this.#limits.maxDelayMs > 0 ? 'delay' : 'idle');
      else if (idle) until = Math.min(until, due);
    }
    const model = this.#share.choose(reasons.keys());
    if (!model) return until < Number.POSITIVE_INFINITY ? { kind: 'wait', until } : { kind: 'nothing' };
    return this.#batch(model.id, this.#fill(model), reasons.get(model)!);
  }

  /** A batch came to its end, whatever that was. */
  done({ sequences }: Batch): void {
    this.#runningBatches--;
    this.#runningSequences -= sequences;
  }

  /** These models are served now: the history of others goes, but for those that something still waits for. */
  serve(models: ReadonlySet<string>): void {
    for (const { id, sequences } of this.#models.values())
      if (sequences === 0 && !models.has(id)) this.#models.delete(id);
  }

  #active(): ModelQueue[] {
    return [...this.#models.values()].filter(({ sequences }) => sequences > 0);
  }

  #due(model: ModelQueue): number {
    const oldest = model.oldest((ticket) => this.#waiting.has(ticket)) ?? Number.POSITIVE_INFINITY;
    return oldest + this.#limits.maxDelayMs;
  }

  #isFull({ sequences, tokens }: ModelQueue): boolean {
    return sequences >= this.#limits.batchSequences || tokens >= this.#limits.batchTokens;
  }

  /** The tickets of a model's next batch: priorities and clients by their shares, until one does not fit. */
  #fill(model: ModelQueue): Ticket[] {
    const { batchSequences, batchTokens } = this.#limits;
    const tickets: Ticket[] = [];
    let sequences = 0;
    let tokens = 0;
    for (;;) {
      const next = model.share.choose(model.active);
      const ticket = next?.ring.peek();
      if (!next || !ticket) break;
      const fits = sequences + ticket.sequences <= batchSequences && tokens + ticket.tokens <= batchTokens;
      if (tickets.length > 0 && !fits) break;
      next.ring.shift();
      next.served += ticket.tokens / next.weight;
      model.served += ticket.tokens;
      sequences += ticket.sequences;
      tokens += ticket.tokens;
      tickets.push(ticket);
      this.#forget(ticket);
    }
    return tickets;
  }

  #batch(model: string, tickets: readonly Ticket[], reason: BatchReason): Batch {
    for (const ticket of tickets) if (this.#waiting.has(ticket)) this.#take(ticket);
    const sequences = tickets.reduce((sum, ticket) => sum + ticket.sequences, 0);
    const tokens = tickets.reduce((sum, ticket) => sum + ticket.tokens, 0);
    this.#runningBatches++;
    this.#runningSequences += sequences;
    const batch: Batch = { kind: 'batch', model, tickets, sequences, tokens, reason };
    this.#trace(batch);
    return batch;
  }

  #add(ticket: Ticket): void {
    this.#waiting.add(ticket);
    this.#waitingSequences += ticket.sequences;
    this.#held.set(ticket.client, (this.#held.get(ticket.client) ?? 0) + ticket.sequences);
    if (ticket.suspect) {
      this.#suspects.push(ticket);
      return;
    }
    let model = this.#models.get(ticket.model);
    if (!model) {
      model = new ModelQueue(ticket.model);
      this.#models.set(ticket.model, model);
    }
    if (model.sequences === 0) this.#share.wake(model);
    model.push(ticket);
  }

  #take(ticket: Ticket): void {
    if (ticket.suspect) this.#suspects.remove(ticket);
    else this.#models.get(ticket.model)?.classes.get(ticket.priority)?.ring.remove(ticket);
    this.#forget(ticket);
  }

  #forget(ticket: Ticket): void {
    this.#waiting.delete(ticket);
    this.#waitingSequences -= ticket.sequences;
    const left = this.#held.get(ticket.client)! - ticket.sequences;
    if (left > 0) this.#held.set(ticket.client, left);
    else this.#held.delete(ticket.client);
  }

  /** The newest waiting tickets of the client with the largest share, worth `missing` sequences; undefined if that is no fairer. */
  #victims(client: string, size: number, missing: number): Ticket[] | undefined {
    let largest: string | undefined;
    let most = 0;
    for (const [holder, held] of this.#held) {
      if (held > most) {
        most = held;
        largest = holder;
      }
    }
    const own = this.#held.get(client) ?? 0;
    if (largest === undefined || largest === client || own + size > most - missing) return undefined;
    const theirs = [...this.#waiting].filter((ticket) => ticket.client === largest && !ticket.suspect);
    const victims: Ticket[] = [];
    let freed = 0;
    for (const ticket of theirs.reverse()) {
      if (freed >= missing) break;
      victims.push(ticket);
      freed += ticket.sequences;
    }
    return freed >= missing ? victims : undefined;
  }
}
