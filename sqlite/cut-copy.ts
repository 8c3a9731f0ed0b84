// One database, from its pinned snapshot into its target: DESIGN "The cut", step 5.
import { lstatSync } from 'node:fs';
import { SIDECAR_SUFFIXES } from '../domain/exchange.js';
import { Stop, assert } from '../domain/stop.js';
import type { CutMember } from './cut-member.js';
import type { DatabaseCopied } from './cut.js';
import { requireNameable, sqliteCode, translateSqlite } from './errors.js';

/** Large enough to be fast, small enough that the loop sees the parent's end and the limits of the pin. */
const STEP_BYTES = 4 * 1024 * 1024;

/**
 * Copies the member's snapshot; `onStep` may throw, which ends the copy and removes the target.
 * Errors: `target_exists`, `no_space`, `permission_denied`, `io_error`, `integrity_failed`.
 */
export async function copyMember(member: CutMember, onStep: (bytesDone: number) => void): Promise<DatabaseCopied> {
  const { target } = member.database;
  const { pageSizeBytes, journalMode } = member.source;
  requireNameable(target);
  for (const path of [target, ...sidecarsOf(target)]) {
    if (exists(path)) throw new Stop('target_exists', 'the target of the copy exists', { path });
  }
  assert(member.connection.inTransaction, 'a snapshot is pinned while it is copied');
  const stepPages = Math.max(1, Math.floor(STEP_BYTES / pageSizeBytes));
  const { totalPages } = await member.connection
    .backup(target, {
      progress: (info) => {
        onStep((info.totalPages - info.remainingPages) * pageSizeBytes);
        return stepPages;
      },
    })
    .catch((error: unknown) => {
      // better-sqlite3 names the result but not the file; only a malformed source is the source's fault.
      throw translateSqlite(error, sqliteCode(error)?.startsWith('SQLITE_CORRUPT') === true ? member.path : target);
    });
  assert(member.connection.inTransaction, 'the snapshot stayed pinned until it was copied');
  const sizeBytes = lstatSync(target, { throwIfNoEntry: false })?.size;
  const expectedBytes = totalPages * pageSizeBytes;
  if (sizeBytes !== expectedBytes) {
    throw new Stop('io_error', 'the copy does not have the size of its source', { target, sizeBytes, expectedBytes });
  }
  for (const path of sidecarsOf(target)) assert(!exists(path), `the copy left ${path}`);
  return { source: member.path, target, sizeBytes, pageSizeBytes, journalMode };
}

function sidecarsOf(path: string): readonly string[] {
  return SIDECAR_SUFFIXES.map((suffix) => path + suffix);
}

function exists(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}
