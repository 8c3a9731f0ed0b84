// The journal of an operation on a host: events in the order they were made durable. What an operation owes when it
// ends early is a pure function of its events; compensation and `holdfast recover` settle exactly those debts.

import type { RootDefinition } from './definition.js';
import type { ExchangePlan } from './exchange.js';

/** What lay at a root before an exchange: its digest by its looks, and the definition that the digest was made with. */
export interface FormerState {
  readonly root: string;
  readonly sha256: string;
  readonly definition: RootDefinition;
}

/**
 * Each `…ing` event is written before its effect, its partner after it, so a crash between them is seen as a debt.
 * `exchanging` carries the plan of the exchange; inode identity decides how far it came (domain/exchange.ts).
 */
export type JournalEvent =
  | { readonly event: 'staging'; readonly directories: readonly string[] }
  | { readonly event: 'staging-dropped' }
  | { readonly event: 'quiescing' }
  | { readonly event: 'resumed'; readonly by: 'protocol' | 'guard' | 'settle' }
  | { readonly event: 'detaching' }
  | { readonly event: 'attached'; readonly by: 'protocol' | 'settle' }
  | { readonly event: 'fencing' }
  | { readonly event: 'unfenced' }
  | { readonly event: 'exchanging'; readonly exchange: ExchangePlan; readonly former: readonly FormerState[] }
  | { readonly event: 'exchanged' }
  | { readonly event: 'undone' }
  | { readonly event: 'committed'; readonly rollbackPoint: string };

export interface Debts {
  /** The exchange began and was not committed: put the former state back. */
  readonly undoExchange: boolean;
  readonly liftFence: boolean;
  readonly attach: boolean;
  readonly resume: boolean;
  /** Directories to remove; empty once dropped, or once they have become the rollback point. */
  readonly dropStaging: readonly string[];
  readonly committed: boolean;
}

/** What is owed after these events; nothing is owed by an operation that ran to its end. */
export function debtsOf(events: readonly JournalEvent[]): Debts {
  let undoExchange = false;
  let liftFence = false;
  let attach = false;
  let resume = false;
  let dropStaging: readonly string[] = [];
  let committed = false;
  for (const entry of events) {
    if (entry.event === 'staging') dropStaging = [...dropStaging, ...entry.directories];
    else if (entry.event === 'staging-dropped') dropStaging = [];
    else if (entry.event === 'quiescing') resume = true;
    else if (entry.event === 'resumed') resume = false;
    else if (entry.event === 'detaching') attach = true;
    else if (entry.event === 'attached') attach = false;
    else if (entry.event === 'fencing') liftFence = true;
    else if (entry.event === 'unfenced') liftFence = false;
    else if (entry.event === 'exchanging') undoExchange = true;
    else if (entry.event === 'undone') undoExchange = false;
    else if (entry.event === 'committed') {
      undoExchange = false;
      committed = true;
      dropStaging = [];
    }
  }
  return { undoExchange, liftFence, attach, resume, dropStaging, committed };
}

/** At rest: nothing of the live store is in between, so a lock whose process is dead may be taken over. */
export function isAtRest(debts: Debts): boolean {
  return !debts.undoExchange && !debts.liftFence;
}
