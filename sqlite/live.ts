// Facts of LIVE databases, for plans and gates (DESIGN "Restore": against the live state). Read-only, in a process of
// its own that exits after, because closing a file descriptor of a database drops its process's locks on it.
import type { DatabaseFacts } from '../domain/manifest.js';
import { callChild } from './child.js';
import { CHECK_INTERVAL_MILLIS, PinWatch } from './cut-watch.js';
import type { PinLimits } from './cut-watch.js';
import type { FactsRequest } from './facts.js';
import type { Unreadable } from './source.js';

export type LiveFacts = { readonly facts: DatabaseFacts } | Unreadable;

/** The snapshot of this database is about to be pinned, and no other is. */
export interface LiveEvent {
  readonly pinning: string;
}

/**
 * Reads each database in a read transaction of its own; they are not one instant. Order is that of the requests. Each
 * pin has the limits of a cut, which are watched from here: the process itself is deaf while SQLite reads a table.
 * Errors: `pin_too_long`, `wal_growth`; the reason of `signal`; `io_error` when the process can't be started or the kernel ends it.
 */
export async function readLiveFacts(
  requests: readonly FactsRequest[],
  limits: PinLimits,
  signal?: AbortSignal,
): Promise<readonly LiveFacts[]> {
  if (requests.length === 0) return [];
  const exceeded = new AbortController();
  let watch: PinWatch | null = null;
  const timer = setInterval(() => {
    try {
      watch?.check();
    } catch (error) {
      exceeded.abort(error);
    }
  }, CHECK_INTERVAL_MILLIS);
  try {
    return await callChild<readonly FactsRequest[], LiveEvent, readonly LiveFacts[]>({
      program: new URL('./live-process.js', import.meta.url),
      request: requests,
      onEvent: ({ pinning }) => {
        // Without a log there is nothing that could grow
        watch = new PinWatch([{ path: pinning, isWal: true }], process.hrtime.bigint(), limits);
      },
      signal: AbortSignal.any([exceeded.signal, ...(signal === undefined ? [] : [signal])]),
    });
  } finally {
    clearInterval(timer);
  }
}
