/**
 * Fairness in two classic forms. Between few flows (models, priorities): the one with the least service for its weight goes next
 * (start-time fair queueing). Between many (clients): turns in a ring, each worth a quantum of tokens (deficit round robin), in
 * constant time however many there are.
 */
import { Fifo } from './fifo.js';
import type { Ticket } from './ticket.js';

/** A flow with its share: service counts as tokens divided by `weight`. */
export interface Flow {
  readonly weight: number;
  served: number;
}

/** Who goes next among some flows. Its time is the service of whoever went last: a flow that was idle starts there, for idleness earns no claim. */
export class FairShare {
  #time = 0;

  wake(flow: Flow): void {
    flow.served = Math.max(flow.served, this.#time);
  }

  /** The flow with the least service; the first of equals. */
  choose<F extends Flow>(flows: Iterable<F>): F | undefined {
    let best: F | undefined;
    for (const flow of flows) if (best === undefined || flow.served < best.served) best = flow;
    if (best) this.#time = Math.max(this.#time, best.served);
    return best;
  }
}

/** Tokens of one client's turn: a few short sentences, or one long one over some turns. */
const QUANTUM = 128;

interface Turn {
  readonly tickets: Fifo<Ticket>;
  credit: number;
}

/** The waiting tickets of many clients, each in order of arrival. */
export class ClientRing {
  /** A Map keeps insertion order: its first key has the turn, and whoever had it is put at the end. */
  readonly #turns = new Map<string, Turn>();
  #sequences = 0;
  #tokens = 0;

  get sequences(): number {
    return this.#sequences;
  }

  get tokens(): number {
    return this.#tokens;
  }

  get empty(): boolean {
    return this.#turns.size === 0;
  }

  push(ticket: Ticket): void {
    let turn = this.#turns.get(ticket.client);
    if (!turn) {
      turn = { tickets: new Fifo(), credit: QUANTUM };
      this.#turns.set(ticket.client, turn);
    }
    turn.tickets.push(ticket);
    this.#count(ticket, 1);
  }

  /** The ticket whose turn it is, still in place. Whoever cannot pay for theirs gets a quantum and waits for the next round. */
  peek(): Ticket | undefined {
    for (;;) {
      const next = this.#turns.entries().next();
      if (next.done) return undefined;
      const [client, turn] = next.value;
      const ticket = turn.tickets.first!;
      if (turn.credit >= ticket.tokens || this.#turns.size === 1) return ticket;
      turn.credit += QUANTUM;
      this.#turns.delete(client);
      this.#turns.set(client, turn);
    }
  }

  /** Takes what peek() gave. */
  shift(): Ticket | undefined {
    const ticket = this.peek();
    if (!ticket) return undefined;
    const turn = this.#turns.get(ticket.client)!;
    turn.credit = Math.max(0, turn.credit - ticket.tokens);
    turn.tickets.shift();
    this.#taken(ticket, turn);
    return ticket;
  }

  remove(ticket: Ticket): boolean {
    const turn = this.#turns.get(ticket.client);
    if (!turn?.tickets.remove(ticket)) return false;
    this.#taken(ticket, turn);
    return true;
  }

  /** The ticket that came last of a client's. */
  newest(client: string): Ticket | undefined {
    return this.#turns.get(client)?.tickets.last;
  }

  #taken(ticket: Ticket, turn: Turn): void {
    this.#count(ticket, -1);
    if (turn.tickets.length === 0) this.#turns.delete(ticket.client);
  }

  #count({ sequences, tokens }: Ticket, sign: 1 | -1): void {
    this.#sequences += sign * sequences;
    this.#tokens += sign * tokens;
  }
}
