// One database within a cut: its two connections, and the rules that keep the live file as it is (DESIGN "The cut",
// steps 0 to 3). Every call is synchronous, prepared and warmed: what it does happens while writers wait.
import Database from 'better-sqlite3';
import { Stop } from '../domain/stop.js';
import type { CutDatabase } from './cut.js';
import { isBusy, isHotJournal, translateSqlite } from './errors.js';
import { CHEAP_READ, HOT_JOURNAL_SIGHTINGS, identityOf, openSource } from './source.js';
import type { Source } from './source.js';

type Command = Database.Statement<[]>;

export class CutMember {
  readonly database: CutDatabase;
  readonly source: Source;
  readonly isWal: boolean;
  /** Refusals of the lock and of the read, for the STOP that names the busiest database. */
  lockRefusals = 0;
  readRefusals = 0;
  #hotSightings = 0;
  readonly #writable: Database.Database | null;
  readonly #begin: Command;
  readonly #read: Command;
  readonly #endRead: Command;
  readonly #journalMode: Command;
  readonly #beginImmediate: Command | null;
  readonly #endWrite: Command | null;

  /**
   * The writable connection is never used unless the read-only one holds SHARED on the file (a WAL connection always
   * does once it has read; a rollback-journal one while pinned). Rolling back a hot journal needs EXCLUSIVE, so even a
   * writer that crashes between our steps leaves us busy, never changing the live file.
   */
  private constructor(database: CutDatabase, source: Source, lockWrites: boolean) {
    this.database = database;
    this.source = source;
    this.isWal = source.journalMode === 'wal';
    this.#begin = source.connection.prepare('BEGIN');
    this.#read = source.connection.prepare(CHEAP_READ);
    this.#endRead = source.connection.prepare('ROLLBACK');
    this.#journalMode = source.connection.prepare<[]>('PRAGMA journal_mode').pluck();
    this.#writable = lockWrites && database.locking === 'sqlite' ? openWritable(database.source) : null;
    this.#beginImmediate = this.#writable?.prepare('BEGIN IMMEDIATE') ?? null;
    this.#endWrite = this.#writable?.prepare('ROLLBACK') ?? null;
  }

  static async open(database: CutDatabase, lockWrites: boolean, timeoutMillis: number): Promise<CutMember> {
    const source = await openSource(database.source, timeoutMillis);
    try {
      return new CutMember(database, source, lockWrites);
    } catch (error) {
      source.connection.close();
      throw translateSqlite(error, database.source);
    }
  }

  get path(): string {
    return this.database.source;
  }

  get takesLock(): boolean {
    return this.#writable !== null;
  }

  get connection(): Database.Database {
    return this.source.connection;
  }

  /** Reads once through the writable connection, so that its first BEGIN IMMEDIATE opens no log and no shared memory. */
  warm(): void {
    if (this.pin() && this.#writable !== null) {
      try {
        this.#writable.prepare(CHEAP_READ).get();
      } catch (error) {
        if (!isBusy(error)) throw translateSqlite(error, this.path);
      }
    }
    this.unpin();
  }

  /** Starts the read transaction; false when busy. Errors: `hot_journal` when one stays, `source_changed`. */
  pin(): boolean {
    if (this.connection.inTransaction) return true;
    try {
      this.#begin.run();
      this.#read.get();
      this.#hotSightings = 0;
      return true;
    } catch (error) {
      this.unpin();
      if (isHotJournal(error) && ++this.#hotSightings < HOT_JOURNAL_SIGHTINGS) return false;
      if (isBusy(error)) {
        this.readRefusals += 1;
        return false;
      }
      throw translateSqlite(error, this.path);
    }
  }

  unpin(): void {
    if (this.connection.inTransaction) this.#endRead.run();
  }

  /** Tries the write lock, and never waits for it; true also where none is to be taken. */
  lock(): boolean {
    // Without SHARED of our own, BEGIN IMMEDIATE could roll back a journal that has just become hot.
    if (!this.isWal && this.takesLock && !this.pin()) return false;
    if (this.#beginImmediate === null) return true;
    try {
      this.#beginImmediate.run();
      return true;
    } catch (error) {
      if (!isBusy(error)) throw translateSqlite(error, this.path);
      this.lockRefusals += 1;
      return false;
    }
  }

  unlock(): void {
    if (this.#writable?.inTransaction === true) this.#endWrite?.run();
  }

  release(): void {
    this.unlock();
    this.unpin();
  }

  /** The path must still name what was opened, in the journal mode that was found. Error: `source_changed`. */
  verifyUnchanged(): void {
    if (identityOf(this.path) !== this.source.identity) {
      throw new Stop('source_changed', 'the path names another file than was opened', { path: this.path });
    }
    const journalMode = String(this.#journalMode.get());
    if ((journalMode === 'wal') !== this.isWal) {
      throw new Stop('source_changed', 'the database changed its journal mode', { path: this.path, journalMode });
    }
  }

  /** Always before the read-only one: the last connection to close would checkpoint the live log if it can write. */
  closeWritable(): void {
    if (this.#writable?.open !== true) return;
    this.unlock();
    this.#writable.close();
  }

  close(): void {
    this.closeWritable();
    if (!this.connection.open) return;
    this.unpin();
    this.connection.close();
  }
}

function openWritable(path: string): Database.Database {
  return new Database(path, { fileMustExist: true, timeout: 0 });
}
