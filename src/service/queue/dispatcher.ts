/**
 * The queue's mechanism: requests in, batches to the engine, results back to the requests they belong to. Every choice is the policy's;
 * here are the clock, the promises and the timer.
 */
import { performance } from 'node:perf_hooks';
import { setImmediate as turn } from 'node:timers/promises';
import type { Priority } from '../../client/wire.js';
import type { BatchResult, InferenceHost, ServedModel, TokenSequence } from '../engine.js';
import { RequestFailure } from '../failure.js';
import { type Batch, type QueueLimits, QueuePolicy } from './policy.js';
import type { Decision, Ticket } from './ticket.js';

/** A request's way out. An AbortSignal would do, at the price of a large part of what a request costs. */
export class Cancel {
  #asked = false;
  /** Called when the request is taken back. */
  onAsked: () => void = () => undefined;

  get asked(): boolean {
    return this.#asked;
  }

  ask(): void {
    if (this.#asked) return;
    this.#asked = true;
    this.onAsked();
  }
}

export interface Ask {
  /** Whom the answer goes to. */
  readonly client: string;
  readonly priority?: Priority | undefined;
  /** performance.now() after which nobody waits for the answer. */
  readonly deadline?: number | undefined;
  /** Gives the request up: it rejects with `cancelled`. */
  readonly cancel?: Cancel | undefined;
}

export interface Inference {
  /** What the head gives for each sequence, row-major: OutputShape. */
  readonly logits: readonly Float32Array[];
  readonly timings: {
    /** From arrival to the start of the (last) batch. */
    readonly queueMs: number;
    /** The forward passes of the batches it was in. */
    readonly computeMs: number;
    /** Sequences in the (last) batch, other requests' included. */
    readonly batch: number;
  };
}

export interface DispatcherOptions {
  readonly host: InferenceHost;
  readonly limits: QueueLimits;
  /** Told of every decision of the queue, and of every batch that came back. */
  readonly trace?: (event: Decision) => void;
  readonly onBatch?: (
    batch: Batch,
    ran: { readonly times: BatchResult['times']; readonly started: number },
  ) => void;
}

/** A part of a request that fits into one batch. */
interface Part {
  readonly request: Request;
  /** Number of its first sequence within the request. */
  readonly first: number;
}

interface Request {
  readonly model: ServedModel;
  readonly sequences: readonly TokenSequence[];
  readonly logits: Float32Array[];
  readonly tickets: Set<Ticket>;
  queueMs: number;
  computeMs: number;
  batch: number;
  settled: boolean;
  readonly resolve: (inference: Inference) => void;
  readonly reject: (error: unknown) => void;
}

const LATER = 'try again later, or another node';
/** How often waiting requests are looked through for those whose time is over, milliseconds. */
const EXPIRE_MS = 25;
/** Requests of a batch that are answered in one turn of the event loop: others wait for it too. */
const SLICE = 16;
/** Engine processes that may die under one request before it is refused: one in company, which proves nothing, and two alone. */
const CRASHES = 3;

export class Dispatcher {
  readonly #host: InferenceHost;
  readonly #limits: QueueLimits;
  readonly #policy: QueuePolicy;
  readonly #onBatch: DispatcherOptions['onBatch'];
  readonly #parts = new Map<Ticket, Part>();
  readonly #crashes = new WeakMap<Request, number>();
  #timer: NodeJS.Timeout | undefined;
  #due = Number.POSITIVE_INFINITY;
  #pumping = false;
  #deadlines = 0;
  #expired = 0;

  constructor({ host, limits, trace, onBatch }: DispatcherOptions) {
    this.#host = host;
    this.#limits = limits;
    this.#policy = new QueuePolicy(limits, trace);
    this.#onBatch = onBatch;
  }

  /** Sequences accepted and not yet answered. */
  get load(): number {
    return this.#policy.load;
  }

  /** Sequences that wait for the engine. */
  get waiting(): number {
    return this.#policy.waiting;
  }

  /** Batches that the engine has. */
  get running(): number {
    return this.#policy.running;
  }

  /** Throws RequestFailure `busy` where a request of so many sequences would be refused. */
  admit(client: string, sequences: number): void {
    if (!this.#policy.admits(client, sequences)) throw this.#busy(LATER);
  }

  /** Runs the sequences. Rejects with RequestFailure `busy`, `expired`, `cancelled`, or with the engine's error. */
  infer(model: ServedModel, sequences: readonly TokenSequence[], ask: Ask): Promise<Inference> {
    return new Promise((resolve, reject) => {
      const request: Request = {
        model,
        sequences,
        logits: new Array(sequences.length),
        tickets: new Set(),
        queueMs: 0,
        computeMs: 0,
        batch: 0,
        settled: false,
        resolve,
        reject,
      };
      if (ask.cancel?.asked) {
        this.#settle(request, cancelled());
        return;
      }
      const parts = this.#split(request, ask);
      const { accepted, displaced } = this.#policy.offer([...parts.keys()]);
      for (const ticket of displaced)
        this.#drop(ticket, this.#busy('a client with less in it needed the place'));
      if (!accepted) {
        this.#settle(request, this.#busy(LATER));
        return;
      }
      for (const [ticket, part] of parts) {
        this.#parts.set(ticket, part);
        request.tickets.add(ticket);
      }
      if (ask.deadline !== undefined) this.#deadlines += parts.size;
      if (ask.cancel) ask.cancel.onAsked = () => this.#settle(request, cancelled());
      if (parts.size === 0) this.#finish(request);
      else this.#pumpSoon();
    });
  }

  /** Requests that come in one turn of the event loop go to an idle engine together, not the first of them alone. */
  #pumpSoon(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    setImmediate(() => {
      this.#pumping = false;
      this.pump();
    });
  }

  /** Looks for something to run: called when the engine is there again; everything else is noticed here. */
  pump(): void {
    if (!this.#host.ready) return;
    const now = performance.now();
    if (this.#deadlines > 0 && now - this.#expired >= EXPIRE_MS) {
      this.#expired = now;
      for (const ticket of this.#policy.expire(now)) this.#drop(ticket, expired());
    }
    for (;;) {
      const next = this.#policy.next(now);
      if (next.kind === 'batch') {
        void this.#run(next, now);
        continue;
      }
      this.#wakeAt(next.kind === 'wait' ? next.until : Number.POSITIVE_INFINITY, now);
      return;
    }
  }

  /** These models are served now. */
  serve(models: Iterable<ServedModel>): void {
    this.#policy.serve(new Set(Array.from(models, ({ id }) => id)));
  }

  /** The request as parts of at most a batch: a long list must not hold up everybody for its whole length. */
  #split(request: Request, ask: Ask): Map<Ticket, Part> {
    const { batchSequences, batchTokens } = this.#limits;
    const { client, priority = 'normal', deadline } = ask;
    const arrived = performance.now();
    const parts = new Map<Ticket, Part>();
    let first = 0;
    let tokens = 0;
    const cut = (end: number) => {
      if (end === first) return;
      const sequences = end - first;
      const ticket: Ticket = {
        model: request.model.id,
        client,
        priority,
        sequences,
        tokens,
        arrived,
        deadline,
        suspect: false,
      };
      parts.set(ticket, { request, first });
      first = end;
      tokens = 0;
    };
    request.sequences.forEach(({ ids }, index) => {
      if (index - first >= batchSequences || tokens + ids.length > batchTokens) cut(index);
      tokens += ids.length;
    });
    cut(request.sequences.length);
    return parts;
  }

  async #run(batch: Batch, started: number): Promise<void> {
    const { model } = this.#parts.get(batch.tickets[0]!)!.request;
    const inputs = batch.tickets.flatMap((ticket) => {
      const { request, first } = this.#parts.get(ticket)!;
      return request.sequences.slice(first, first + ticket.sequences);
    });
    try {
      const { logits, times } = await this.#host.infer(model, inputs);
      this.#policy.done(batch);
      this.#onBatch?.(batch, { times, started });
      // The engine first: it works on the next batch while this one is answered.
      this.pump();
      let at = 0;
      let given = 0;
      for (const ticket of batch.tickets) {
        if (++given % SLICE === 0) await turn();
        const { request, first } = this.#part(ticket);
        for (let i = 0; i < ticket.sequences; i++) request.logits[first + i] = logits[at++]!;
        request.queueMs = Math.max(request.queueMs, started - ticket.arrived);
        request.computeMs += times.total;
        request.batch = batch.sequences;
        if (request.tickets.size === 0) this.#finish(request);
      }
    } catch (error) {
      this.#policy.done(batch);
      if ((error as { code?: unknown }).code === 'worker-lost' && !this.#host.lost) this.#again(batch, error);
      else for (const ticket of batch.tickets) this.#drop(ticket, error);
      this.pump();
    }
  }

  /** The engine process died under this batch: everyone in it gets another run, by themselves. */
  #again({ tickets }: Batch, error: unknown): void {
    const again: Ticket[] = [];
    for (const ticket of tickets) {
      const { request, first } = this.#part(ticket);
      if (request.settled) continue;
      const crashes = (this.#crashes.get(request) ?? 0) + 1;
      this.#crashes.set(request, crashes);
      if (crashes >= CRASHES) {
        this.#settle(request, error);
        continue;
      }
      const copy = { ...ticket, suspect: true };
      this.#parts.set(copy, { request, first });
      request.tickets.add(copy);
      if (copy.deadline !== undefined) this.#deadlines++;
      again.push(copy);
    }
    this.#policy.again(again);
  }

  /** The part of a ticket that is through. */
  #part(ticket: Ticket): Part {
    const part = this.#parts.get(ticket)!;
    this.#parts.delete(ticket);
    part.request.tickets.delete(ticket);
    if (ticket.deadline !== undefined) this.#deadlines--;
    return part;
  }

  /** A ticket that will not be run (any more) ends its request. */
  #drop(ticket: Ticket, error: unknown): void {
    this.#settle(this.#part(ticket).request, error);
  }

  #finish(request: Request): void {
    if (request.settled) return;
    request.settled = true;
    const { logits, queueMs, computeMs, batch } = request;
    request.resolve({ logits, timings: { queueMs, computeMs, batch } });
  }

  /** Ends a request with an error, and takes back what of it still waits. */
  #settle(request: Request, error: unknown): void {
    if (request.settled) return;
    request.settled = true;
    for (const ticket of [...request.tickets]) if (this.#policy.cancel(ticket)) this.#part(ticket);
    request.reject(error);
  }

  #busy(advice: string): RequestFailure {
    const { queue } = this.#limits;
    return new RequestFailure('busy', `${this.load} of ${queue} sequences are waiting; ${advice}`);
  }

  /** One timer, for whatever is due first. */
  #wakeAt(until: number, now: number): void {
    const due = Math.min(until, this.#deadlines > 0 ? now + EXPIRE_MS : Number.POSITIVE_INFINITY);
    if (this.#timer && due >= this.#due) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#due = due;
    if (due === Number.POSITIVE_INFINITY) return;
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.#due = Number.POSITIVE_INFINITY;
        this.pump();
      },
      Math.max(0, due - now),
    );
    this.#timer.unref();
  }
}

const expired = () =>
  new RequestFailure('expired', 'the message expired before the engine was free; nothing was computed');
const cancelled = () => new RequestFailure('cancelled', 'the request was taken back');
