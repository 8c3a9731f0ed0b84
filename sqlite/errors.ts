// What SQLite and lstat say, in the language of the STOP table; and how a STOP crosses a process or a thread, where
// classes are lost. Serves every file of this room (SM-10).
import { accessSync, closeSync, constants, fsyncSync, lstatSync, openSync, statfsSync, writeFileSync } from 'node:fs';
import type { BigIntStats } from 'node:fs';
import { dirname } from 'node:path';
import Database from 'better-sqlite3';
import { hasErrno, stopCodeOf, translateErrno } from '../domain/errno.js';
import { Stop } from '../domain/stop.js';
import type { StopCode, StopDetails } from '../domain/stop.js';

/** A result or a refusal that can be cloned between threads and processes. */
export type Outcome<Result> =
  | { readonly type: 'done'; readonly result: Result }
  | { readonly type: 'stop'; readonly code: StopCode; readonly message: string; readonly details: StopDetails };

/**
 * Turns a refusal into data, a failed system call too, because a clone would lose its errno; a programming error is
 * thrown on, since it must not look like one.
 */
export function stopOutcome(error: unknown): Outcome<never> {
  const stop = translateErrno(error);
  if (!(stop instanceof Stop)) throw stop;
  return { type: 'stop', code: stop.code, message: stop.message, details: stop.details };
}

export function outcomeResult<Result>(outcome: Outcome<Result>): Result {
  if (outcome.type === 'done') return outcome.result;
  throw new Stop(outcome.code, outcome.message, outcome.details);
}

/** The extended result code (`SQLITE_BUSY_RECOVERY`), or undefined for an error that is not SQLite's. */
export function sqliteCode(error: unknown): string | undefined {
  return error instanceof Database.SqliteError ? error.code : undefined;
}

/** Somebody else holds what is wanted; PROTOCOL is a lost race for the WAL's shared memory. */
export function isBusy(error: unknown): boolean {
  const code = sqliteCode(error);
  return code !== undefined && (code.startsWith('SQLITE_BUSY') || code === 'SQLITE_PROTOCOL');
}

/** Read-only eyes see a journal that SQLite would roll back. May be false for a moment: see source.ts. */
export function isHotJournal(error: unknown): boolean {
  return sqliteCode(error) === 'SQLITE_READONLY_ROLLBACK';
}

const STOP_BY_SQLITE: readonly (readonly [prefix: string, code: StopCode, fact: string])[] = [
  ['SQLITE_READONLY_ROLLBACK', 'hot_journal', 'the database has a hot journal'],
  ['SQLITE_BUSY', 'database_busy', 'the database is busy'],
  ['SQLITE_PROTOCOL', 'database_busy', 'the database is busy'],
  ['SQLITE_NOTADB', 'not_a_database', 'the file is not a SQLite database'],
  ['SQLITE_CORRUPT', 'integrity_failed', 'the database is malformed'],
  ['SQLITE_FULL', 'no_space', 'the filesystem is full'],
  ['SQLITE_READONLY', 'permission_denied', 'the database cannot be opened as is needed'],
  ['SQLITE_PERM', 'permission_denied', 'the database cannot be opened as is needed'],
  ['SQLITE_AUTH', 'permission_denied', 'the database cannot be opened as is needed'],
  ['SQLITE_CANTOPEN', 'io_error', 'the database cannot be opened'],
  ['SQLITE_IOERR', 'io_error', 'the database cannot be read or written'],
  ['SQLITE_NOMEM', 'io_error', 'memory is exhausted'],
];

/** Translates what SQLite threw about the database at `path`; anything unknown comes back as it was. */
export function translateSqlite(error: unknown, path: string): unknown {
  // better-sqlite3 looks for the directory itself, and has no code for its absence
  if (error instanceof TypeError && error.message.endsWith('the directory does not exist'))
    return new Stop('io_error', 'the directory of the database is gone', { path }, { cause: error });
  const sqlite = sqliteCode(error);
  if (sqlite === undefined) return error;
  const row = STOP_BY_SQLITE.find(([prefix]) => sqlite.startsWith(prefix));
  if (row === undefined) return error;
  // CANTOPEN does not say why; access(2) does, and opens nothing, which would drop locks.
  const denied = row[1] === 'io_error' && sqlite === 'SQLITE_CANTOPEN' && !mayRead(path);
  if (denied) return new Stop('permission_denied', row[2], { path, sqlite }, { cause: error });
  const full = MAY_BE_FULL.has(sqlite) && isFull(dirname(path));
  return new Stop(
    full ? 'no_space' : row[1],
    full ? 'the filesystem is full' : row[2],
    { path, sqlite, reason: (error as Error).message },
    { cause: error },
  );
}

/**
 * What a lack of room may be called where something is made or grows. Reading a WAL database makes its index anew, too.
 * A sector that can't be read is none of them, however full the filesystem is.
 */
const MAY_BE_FULL: ReadonlySet<string> = new Set([
  'SQLITE_CANTOPEN',
  'SQLITE_IOERR_WRITE',
  'SQLITE_IOERR_FSYNC',
  'SQLITE_IOERR_DIR_FSYNC',
  'SQLITE_IOERR_TRUNCATE',
  'SQLITE_IOERR_SHMOPEN',
  'SQLITE_IOERR_SHMSIZE',
  'SQLITE_IOERR_SHMMAP',
]);

/** An index of a log has 32 KiB, and a log begins with as much. */
const ROOM_BYTES_MIN = 128 * 1024;

/** A file without a name: nobody sees it, and the directory does not change. Node has no name for the flag. */
const NAMELESS = 0o20000000 | constants.O_DIRECTORY | constants.O_WRONLY;

/** Asks the system by writing, because SQLite does not tell its errno, and free blocks tell of neither inodes nor quotas. */
function isFull(directory: string): boolean {
  return !hasRoomForLog(directory, fsyncSync);
}

/** @param flush where the system may promise more than it has, and says so only when it writes */
export function hasRoomForLog(directory: string, flush: (file: number) => void = () => undefined): boolean {
  try {
    const file = openSync(directory, NAMELESS, 0o600);
    try {
      writeFileSync(file, Buffer.alloc(ROOM_BYTES_MIN));
      flush(file);
      return true;
    } finally {
      closeSync(file);
    }
  } catch (error) {
    // Not every directory may be written to, and not every filesystem has such files
    return !hasErrno(error, 'ENOSPC', 'EDQUOT') && !hasNoBlocks(directory);
  }
}

function hasNoBlocks(directory: string): boolean {
  try {
    const { bavail, bfree, bsize } = statfsSync(directory);
    return (process.geteuid?.() === 0 ? bfree : bavail) * bsize < ROOM_BYTES_MIN;
  } catch {
    return false; // the caller reports what SQLite met
  }
}

function mayRead(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false; // the caller reports the refusal
  }
}

/** False only where writing is what is denied: an absent directory is for the caller to meet. */
export function mayWrite(directory: string): boolean {
  try {
    accessSync(directory, constants.W_OK);
    return true;
  } catch (error) {
    return !hasErrno(error, 'EACCES', 'EPERM', 'EROFS');
  }
}

/** lstat of a member. Errors: `member_missing`, `permission_denied`, `symlink_found`, `special_file_found`, `io_error`. */
export function lstatMember(path: string): BigIntStats {
  let stats: BigIntStats;
  try {
    stats = lstatSync(path, { bigint: true });
  } catch (error) {
    const errno = (error as NodeJS.ErrnoException).code ?? 'unknown';
    const isAbsent = errno === 'ENOENT' || errno === 'ENOTDIR';
    const code = isAbsent ? 'member_missing' : stopCodeOf(errno);
    throw new Stop(code, 'the file cannot be examined', { path, errno }, { cause: error });
  }
  if (stats.isSymbolicLink()) throw new Stop('symlink_found', 'the path is a symbolic link', { path });
  if (!stats.isFile()) throw new Stop('special_file_found', 'the path is not a regular file', { path });
  return stats;
}

/** better-sqlite3 trims the names it is given: such a path would silently open another file. */
export function requireNameable(path: string): void {
  if (path !== path.trim()) {
    throw new Stop('path_unsafe', 'a database path that begins or ends with white space cannot be opened', { path });
  }
}
