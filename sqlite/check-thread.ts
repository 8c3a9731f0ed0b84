// A thread of the check pool: one request, one staged database (check.ts).
import { closeSync, constants, copyFileSync, lstatSync, openSync, readSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import Database from 'better-sqlite3';
import type { DatabaseFacts } from '../domain/manifest.js';
import { Stop } from '../domain/stop.js';
import type { CheckRequest, CheckTask } from './check.js';
import { hasRoomForLog, lstatMember, requireNameable, sqliteCode, stopOutcome, translateSqlite } from './errors.js';
import type { Outcome } from './errors.js';
import { readFacts } from './facts.js';

const MESSAGES_MAX = 5;

export function check(task: CheckTask): Outcome<DatabaseFacts> {
  try {
    return { type: 'done', result: checkFile(task) };
  } catch (error) {
    return stopOutcome(error);
  }
}

function checkFile({ scratch, ...request }: CheckTask): DatabaseFacts {
  const { path } = request;
  requireNameable(path);
  if (lstatMember(path).size === 0n) throw new Stop('not_a_database', 'the file is empty', { path });
  requireAlone(path);
  const isWal = isMarkedWal(path);
  const place = scratch !== null && isWal ? copyInto(scratch, path) : path;
  try {
    if (isWal) requireRoom(dirname(place));
    return checkOpen(request, place);
  } catch (error) {
    throw translateSqlite(error, path);
  } finally {
    // A copy of a WAL database is marked so, and reading it makes an empty log and shared memory.
    requireAlone(place);
    if (scratch === null) for (const suffix of ['-wal', '-shm']) rmSync(`${path}${suffix}`, { force: true });
  }
}

/** The read version of the header (byte 19) is 2: SQLite reads no page before it has a log and shared memory. */
function isMarkedWal(path: string): boolean {
  const header = Buffer.alloc(20);
  const file = openSync(path, 'r');
  try {
    readSync(file, header, 0, header.length, 0);
  } finally {
    closeSync(file);
  }
  return header[19] === 2;
}

/**
 * The index of a log is mapped into memory, and SQLite makes sure of one byte in each 4 KiB of it: where blocks are
 * smaller and run out, the system ends the process (SIGBUS), which is the worker. @throws Stop no_space
 */
function requireRoom(directory: string): void {
  if (!hasRoomForLog(directory)) throw new Stop('no_space', 'the filesystem is full', { path: directory });
}

function copyInto(scratch: string, path: string): string {
  const copy = join(scratch, 'copy.db');
  copyFileSync(path, copy, constants.COPYFILE_FICLONE);
  return copy;
}

/** What a log or journal holds would be read as the database's, while the manifest speaks of the main file alone. */
function requireAlone(path: string): void {
  for (const suffix of ['-wal', '-journal']) {
    const sizeBytes = lstatSync(`${path}${suffix}`, { throwIfNoEntry: false })?.size ?? 0;
    if (sizeBytes > 0)
      throw new Stop('file_extra', 'a log lies beside the copy of a database', { path: `${path}${suffix}`, sizeBytes });
  }
}

/** @param place of the bytes; errors speak of the path of the request */
function checkOpen(request: CheckRequest, place: string): DatabaseFacts {
  const connection = new Database(place, { readonly: true, fileMustExist: true, timeout: 0 });
  try {
    // Another's artefact may hold a hostile schema: none of its expressions gets at functions with effects.
    connection.pragma('trusted_schema = OFF');
    if (request.integrity) requireIntegrity(connection, request.path);
    return readFacts(connection, request);
  } finally {
    connection.close();
  }
}

/** SQLITE_NOMEM and SQLITE_IOERR: a page that the system did not give is reported like one that is damaged. */
const MACHINE_CODES: readonly number[] = [7, 10];

function tellsOfTheMachine(message: unknown): boolean {
  const code = /error code[ =]+(\d+)/.exec(String(message))?.[1];
  return code !== undefined && MACHINE_CODES.includes(Number(code) & 0xff);
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
    if (messages.some(tellsOfTheMachine))
      throw new Stop('io_error', 'the database cannot be read to its end', { path, messages });
    throw new Stop('integrity_failed', 'the database fails its integrity check', { path, messages });
  }
}
