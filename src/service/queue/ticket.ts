/** What the queue knows of a piece of work, and what it says about it. */

import type { Priority } from '../../client/wire.js';

/** Sequences of one request that run together. Times are milliseconds of one clock that the caller chooses. */
export interface Ticket {
  /** Digest id: what was tokenised for one version of a model never runs with, or on, another. */
  readonly model: string;
  /** Whom the answer goes to: fairness is between these. */
  readonly client: string;
  readonly priority: Priority;
  readonly sequences: number;
  readonly tokens: number;
  readonly arrived: number;
  /** After this nobody waits for the answer. */
  readonly deadline: number | undefined;
  /** It was in a batch that took the engine down: it runs alone now, so that it takes nobody with it. */
  readonly suspect: boolean;
}

/** Why a batch starts when it does. */
export type BatchReason =
  /** No more fits. */
  | 'full'
  /** The engine has nothing to do. */
  | 'idle'
  /** Its oldest ticket has waited as long as it may for company. */
  | 'delay'
  /** One that may have taken the engine down, by itself. */
  | 'suspect';

/** Everything the queue ever decides, with the reason. */
export type Decision =
  | { readonly kind: 'accepted'; readonly ticket: Ticket; readonly reason: 'room' | 'displacing' | 'again' }
  | { readonly kind: 'refused'; readonly ticket: Ticket; readonly reason: 'full' }
  /** Gave its place to a client that holds less of the queue. */
  | { readonly kind: 'displaced'; readonly ticket: Ticket; readonly reason: 'largest-share' }
  | { readonly kind: 'expired'; readonly ticket: Ticket; readonly reason: 'deadline' }
  | { readonly kind: 'cancelled'; readonly ticket: Ticket; readonly reason: 'asked' }
  | {
      readonly kind: 'batch';
      readonly model: string;
      readonly tickets: readonly Ticket[];
      readonly sequences: number;
      readonly tokens: number;
      readonly reason: BatchReason;
    };
