// Integrity and facts of STAGED copies and artefacts (DESIGN "The cut", step 6; "Restore", validation), in threads:
// integrity_check blocks its thread for as long as it takes. Never for live databases: see live.ts.
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Piscina } from 'piscina';
import type { DatabaseFacts } from '../domain/manifest.js';
import { mayWrite, outcomeResult } from './errors.js';
import type { Outcome } from './errors.js';
import type { FactsRequest } from './facts.js';

export interface CheckRequest extends FactsRequest {
  /** Runs integrity_check; without it only the facts are read. */
  readonly integrity: boolean;
}

export interface CheckTask extends CheckRequest {
  /** Where a copy may be put: SQLite reads a WAL database only where it may write beside it. null: there it may. */
  readonly scratch: string | null;
}

/** Long enough that the databases of one store share their threads; then others want the memory. */
const IDLE_MILLIS = 500;

let pool: Piscina<CheckTask, Outcome<DatabaseFacts>> | null = null;

function checkPool(): Piscina<CheckTask, Outcome<DatabaseFacts>> {
  pool ??= new Piscina<CheckTask, Outcome<DatabaseFacts>>({
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
 * Checks one database file, and leaves its bytes and what lies beside it as they were. An aborted check may leave an
 * empty `-wal` and a `-shm` behind; the next one removes them. Where nothing may be written (a read-only medium, another
 * user's directory) a WAL database is copied into the temporary directory and checked there.
 * Errors: `member_missing`, `symlink_found`, `special_file_found`, `not_a_database`, `file_extra` (a log or journal that
 * is not empty lies beside it), `integrity_failed`, `required_table_missing`,
 * `definition_invalid`, `permission_denied`, `no_space` (for such a copy), `io_error`; an AbortError by `signal`.
 */
export async function checkDatabase(request: CheckRequest, signal?: AbortSignal): Promise<DatabaseFacts> {
  signal?.throwIfAborted();
  const run = async (scratch: string | null): Promise<DatabaseFacts> =>
    outcomeResult(await checkPool().run({ ...request, scratch }, signal === undefined ? {} : { signal }));
  if (mayWrite(dirname(request.path))) return run(null);
  const scratch = await mkdtemp(join(tmpdir(), 'holdfast-check-'));
  try {
    return await run(scratch);
  } finally {
    // The thread of an aborted check may still be at it
    await rm(scratch, { recursive: true, maxRetries: 3 });
  }
}

/** Ends the threads; the next check starts new ones. */
export async function closeCheckPool(): Promise<void> {
  const closing = pool;
  pool = null;
  await closing?.destroy();
}
