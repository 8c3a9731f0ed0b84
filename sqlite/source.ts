// Opening a LIVE database without changing it: DESIGN "The cut", steps 0 and 1. Used in processes that were forked for
// it, because closing any other file descriptor of a database drops the locks that its process holds (POSIX).
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { Stop } from '../domain/stop.js';
import type { StopCode, StopDetails } from '../domain/stop.js';
import { isBusy, isHotJournal, lstatMember, requireNameable, translateSqlite } from './errors.js';

export interface Source {
  readonly path: string;
  /** Read-only, busy timeout 0, outside a transaction. */
  readonly connection: Database.Database;
  readonly journalMode: string;
  readonly pageSizeBytes: number;
  /** Device and inode of the path before it was opened. */
  readonly identity: string;
}

/** Why a database could not be read, as an answer: whoever looks at several goes on with the others. */
export interface Unreadable {
  readonly unreadable: StopCode;
  readonly message: string;
  readonly details: StopDetails;
}

/** One that begins a read transaction where BEGIN alone does not: it reads the header of page 1, and no schema. */
export const CHEAP_READ = 'PRAGMA schema_version';

/**
 * A read-only connection that meets a writer just deleting its journal sees a hot one (SQLite ticket 3883), so only a
 * journal that stays is hot.
 */
export const HOT_JOURNAL_SIGHTINGS = 12;
const SIGHTING_INTERVAL_MILLIS = 8;
const BUSY_INTERVAL_MILLIS = 5;

export function identityOf(path: string): string {
  const { dev, ino } = lstatMember(path);
  return `${dev}:${ino}`;
}

/**
 * Opens the database at `path` for reading, and proves that it can be read.
 * Errors: `member_missing`, `symlink_found`, `special_file_found`, `not_a_database`, `hot_journal`,
 * `database_exclusive` (reading itself was refused for `timeoutMillis`, which ordinary writers never do),
 * `permission_denied`, `integrity_failed`, `io_error`, `path_unsafe`.
 */
export async function openSource(path: string, timeoutMillis: number): Promise<Source> {
  requireNameable(path);
  const stats = lstatMember(path);
  // SQLite takes an empty file for an empty database, and would delete a journal beside it.
  if (stats.size === 0n) throw new Stop('not_a_database', 'the file is empty', { path });
  const identity = `${stats.dev}:${stats.ino}`;
  const deadline = performance.now() + timeoutMillis;
  for (let sightings = 0; ;) {
    try {
      return { ...openOnce(path), path, identity };
    } catch (error) {
      if (isHotJournal(error)) {
        sightings += 1;
        if (sightings >= HOT_JOURNAL_SIGHTINGS) throw translateSqlite(error, path);
        await sleep(SIGHTING_INTERVAL_MILLIS);
      } else if (isBusy(error)) {
        sightings = 0;
        if (performance.now() >= deadline) {
          throw new Stop(
            'database_exclusive',
            'reading the database was refused all the time',
            { path, timeoutMillis },
            { cause: error },
          );
        }
        await sleep(BUSY_INTERVAL_MILLIS);
      } else {
        throw translateSqlite(error, path);
      }
    }
  }
}

/** What `read` finds in the database at `path`, closed afterwards; a refusal, of opening or of reading, is an answer. */
export async function readSource<Result>(
  path: string,
  timeoutMillis: number,
  read: (source: Source) => Result | Promise<Result>,
): Promise<Result | Unreadable> {
  try {
    const source = await openSource(path, timeoutMillis);
    try {
      source.connection.pragma(`busy_timeout = ${timeoutMillis}`);
      return await read(source);
    } finally {
      source.connection.close();
    }
  } catch (error) {
    const translated = translateSqlite(error, path);
    if (!(translated instanceof Stop)) throw translated;
    return { unreadable: translated.code, message: translated.message, details: translated.details };
  }
}

function openOnce(path: string): Pick<Source, 'connection' | 'journalMode' | 'pageSizeBytes'> {
  const connection = new Database(path, { readonly: true, fileMustExist: true, timeout: 0 });
  try {
    connection.exec('BEGIN');
    connection.prepare(CHEAP_READ).get();
    const journalMode = String(connection.pragma('journal_mode', { simple: true }));
    const pageSizeBytes = Number(connection.pragma('page_size', { simple: true }));
    connection.exec('ROLLBACK');
    return { connection, journalMode, pageSizeBytes };
  } catch (error) {
    connection.close();
    throw error;
  }
}
