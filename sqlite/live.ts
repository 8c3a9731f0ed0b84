// Facts of LIVE databases, for plans and gates (DESIGN "Restore": against the live state). Read-only, in a process of
// its own that exits after, because closing a file descriptor of a database drops its process's locks on it.
import type { DatabaseFacts } from '../domain/manifest.js';
import type { StopCode } from '../domain/stop.js';
import { callChild } from './child.js';
import type { FactsRequest } from './facts.js';

/** What could not be read says why: a plan may go on with it, so it is an answer and not a refusal. */
export type LiveFacts = { readonly facts: DatabaseFacts } | { readonly unreadable: StopCode };

/**
 * Reads each database in a read transaction of its own; they are not one instant. Order is that of the requests.
 * Errors: the reason of `signal`; `io_error` when the process can't be started or the kernel ends it.
 */
export async function readLiveFacts(
  requests: readonly FactsRequest[],
  signal?: AbortSignal,
): Promise<readonly LiveFacts[]> {
  if (requests.length === 0) return [];
  return callChild<readonly FactsRequest[], never, readonly LiveFacts[]>({
    program: new URL('./live-process.js', import.meta.url),
    request: requests,
    onEvent: () => undefined,
    signal,
  });
}
