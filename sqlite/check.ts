// Integrity and facts of STAGED copies and artefacts (DESIGN "The cut", step 6; "Restore", validation), in threads:
// integrity_check blocks its thread for as long as it takes. Never for live databases: see live.ts.
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { Piscina } from 'piscina';
import type { DatabaseFacts } from '../domain/manifest.js';
import { outcomeResult } from './errors.js';
import type { Outcome } from './errors.js';
import type { FactsRequest } from './facts.js';

export interface CheckRequest extends FactsRequest {
  /** Runs integrity_check; without it only the facts are read. */
  readonly integrity: boolean;
}

/** Long enough that the databases of one store share their threads; then others want the memory. */
const IDLE_MILLIS = 500;

let pool: Piscina<CheckRequest, Outcome<DatabaseFacts>> | null = null;

function checkPool(): Piscina<CheckRequest, Outcome<DatabaseFacts>> {
  pool ??= new Piscina<CheckRequest, Outcome<DatabaseFacts>>({
    filename: fileURLToPath(new URL('./check-thread.js', import.meta.url)),
    name: 'check',
    minThreads: 0,
    maxThreads: availableParallelism(),
    idleTimeout: IDLE_MILLIS,
    concurrentTasksPerWorker: 1,
  });
  return pool;
}

/**
 * Checks one database file, and leaves its bytes and its directory as they were. An aborted check may leave an empty
 * `-wal` and a `-shm` behind; the next one removes them.
 * Errors: `member_missing`, `symlink_found`, `special_file_found`, `not_a_database`, `file_extra` (a log or journal that
 * is not empty lies beside it), `integrity_failed`, `foreign_keys_violated`, `required_table_missing`,
 * `definition_invalid`, `permission_denied`, `io_error`; an AbortError by `signal`.
 */
export async function checkDatabase(request: CheckRequest, signal?: AbortSignal): Promise<DatabaseFacts> {
  signal?.throwIfAborted();
  return outcomeResult(await checkPool().run(request, signal === undefined ? {} : { signal }));
}

/** Ends the threads; the next check starts new ones. */
export async function closeCheckPool(): Promise<void> {
  const closing = pool;
  pool = null;
  await closing?.destroy();
}
