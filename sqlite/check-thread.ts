// A thread of the check pool: one request, one staged database (check.ts).
import { lstatSync, rmSync } from 'node:fs';
import Database from 'better-sqlite3';
import type { DatabaseFacts } from '../domain/manifest.js';
import { Stop } from '../domain/stop.js';
import type { CheckRequest } from './check.js';
import { lstatMember, requireNameable, sqliteCode, stopOutcome, translateSqlite } from './errors.js';
import type { Outcome } from './errors.js';
import { readFacts } from './facts.js';

const MESSAGES_MAX = 5;

export function check(request: CheckRequest): Outcome<DatabaseFacts> {
  try {
    return { type: 'done', result: checkFile(request) };
  } catch (error) {
    return stopOutcome(error);
  }
}

function checkFile(request: CheckRequest): DatabaseFacts {
  const { path } = request;
  requireNameable(path);
  if (lstatMember(path).size === 0n) throw new Stop('not_a_database', 'the file is empty', { path });
  requireAlone(path);
  try {
    return checkOpen(request);
  } catch (error) {
    throw translateSqlite(error, path);
  } finally {
    // A copy of a WAL database is marked so, and reading it makes an empty log and shared memory.
    requireAlone(path);
    for (const suffix of ['-wal', '-shm']) rmSync(`${path}${suffix}`, { force: true });
  }
}

/** What a log or journal holds would be read as the database's, while the manifest speaks of the main file alone. */
function requireAlone(path: string): void {
  for (const suffix of ['-wal', '-journal']) {
    const sizeBytes = lstatSync(`${path}${suffix}`, { throwIfNoEntry: false })?.size ?? 0;
    if (sizeBytes > 0)
      throw new Stop('file_extra', 'a log lies beside the copy of a database', { path: `${path}${suffix}`, sizeBytes });
  }
}

function checkOpen(request: CheckRequest): DatabaseFacts {
  const connection = new Database(request.path, { readonly: true, fileMustExist: true, timeout: 0 });
  try {
    // Another's artefact may hold a hostile schema: none of its expressions gets at functions with effects.
    connection.pragma('trusted_schema = OFF');
    if (request.integrity) requireIntegrity(connection, request.path);
    return readFacts(connection, request);
  } finally {
    connection.close();
  }
}

function requireIntegrity(connection: Database.Database, path: string): void {
  let messages: readonly unknown[];
  try {
    messages = connection.prepare(`PRAGMA integrity_check(${MESSAGES_MAX})`).pluck().all();
  } catch (error) {
    // What SQLite can't check (an unknown collation, say) has not been found whole.
    if (sqliteCode(error) !== 'SQLITE_ERROR') throw error;
    throw new Stop(
      'integrity_failed',
      'the integrity check could not run',
      { path, reason: (error as Error).message },
      { cause: error },
    );
  }
  if (messages.length !== 1 || messages[0] !== 'ok') {
    throw new Stop('integrity_failed', 'the database fails its integrity check', { path, messages });
  }
}
