// lock.db: the lock, the operations and their journals, the rollback points and the witnesses of one store, in its
// control directory. One critical section is one BEGIN IMMEDIATE held across the check of the fencing token and the
// effect. SQLite with synchronous=EXTRA: what a COMMIT said is on disk, the directory entry included.
import Database from 'better-sqlite3';
import { existsSync, mkdirSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FormerState, JournalEvent } from '../domain/journal.js';
import { LIMITS } from '../domain/limits.js';
import type { LockGrant } from '../domain/protocol.js';
import type { Witness } from '../domain/sequence.js';
import { assert, Stop } from '../domain/stop.js';
import { translateErrno } from '../files/errors.js';
import { translateSqlite } from '../sqlite/errors.js';
import type { AuditHead } from './audit.js';
import type { ProcessIdentity } from './clock.js';
import { now } from './clock.js';
import { ensureControlDirectory } from './store-room.js';

/** Longest wait for another critical section of the same store; sections are short, exchanges of many entries included. */
const SECTION_WAIT_MILLIS = 60_000;

const DAY_MILLIS = 24 * 3600 * 1000;

/**
 * What grows: `operations` and `backups` by a row each, which are kept, because an operation happens once and a backup
 * is known by its manifest for ever. Journals and verdicts are forgotten; witnesses and points are as many as the store has.
 */
const SCHEMA = `
  CREATE TABLE IF NOT EXISTS lock (slot INTEGER PRIMARY KEY CHECK (slot = 1), token INTEGER NOT NULL, owner TEXT);
  INSERT OR IGNORE INTO lock VALUES (1, 0, NULL);
  CREATE TABLE IF NOT EXISTS identity (slot INTEGER PRIMARY KEY CHECK (slot = 1), id TEXT NOT NULL);
  INSERT OR IGNORE INTO identity VALUES (1, lower(hex(randomblob(16))));
  CREATE TABLE IF NOT EXISTS audit_head (
    slot INTEGER PRIMARY KEY CHECK (slot = 1), number INTEGER NOT NULL, sha256 TEXT NOT NULL, end_bytes INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS operations (
    operation TEXT PRIMARY KEY, protocol TEXT NOT NULL, workflow_id TEXT NOT NULL, run_id TEXT NOT NULL,
    began_at TEXT NOT NULL, ended_at TEXT, outcome TEXT);
  CREATE TABLE IF NOT EXISTS journal (
    id INTEGER PRIMARY KEY AUTOINCREMENT, operation TEXT NOT NULL REFERENCES operations, at TEXT NOT NULL, event TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS rollback_points (
    id TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE, created_at TEXT NOT NULL, protocol TEXT NOT NULL, roots TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS witnesses (
    root TEXT NOT NULL, path TEXT NOT NULL, "table" TEXT NOT NULL, "column" TEXT NOT NULL, value TEXT NOT NULL, seen_in TEXT NOT NULL,
    PRIMARY KEY (root, path, "table", "column"));
  CREATE TABLE IF NOT EXISTS backups (backup_id TEXT PRIMARY KEY, manifest_sha256 TEXT NOT NULL, artefact TEXT NOT NULL, created_at TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS verdicts (sha256 TEXT PRIMARY KEY, checked_at TEXT NOT NULL);
`;

export interface LockOwner extends ProcessIdentity {
  readonly operation: string;
  readonly protocol: string;
  readonly workflowId: string;
  readonly runId: string;
  /** Identity of the engine that knows the run; `none` for commands that work without one. */
  readonly namespaceId: string;
  readonly host: string;
  readonly acquiredAt: string;
}

export interface LockState {
  readonly token: number;
  readonly owner: LockOwner | null;
}

export interface RollbackPoint {
  readonly id: string;
  readonly number: number;
  readonly createdAt: string;
  readonly protocol: string;
  /** `tree` holds the state whole; `former` tells whether it still is what was put there. */
  readonly roots: readonly (FormerState & { readonly tree: string })[];
}

export interface OperationRecord {
  readonly operation: string;
  readonly protocol: string;
  readonly runId: string;
  readonly workflowId: string;
  readonly beganAt: string;
  readonly endedAt: string | null;
  readonly outcome: string | null;
}

/** One open lock.db; short-lived: a connection a critical section. */
export class ControlDatabase {
  readonly controlDirectory: string;
  readonly #database: Database.Database;

  private constructor(controlDirectory: string, database: Database.Database) {
    this.controlDirectory = controlDirectory;
    this.#database = database;
  }

  /** Creates the control directory (0700) and lock.db when they are absent. */
  static open(controlDirectory: string): ControlDatabase {
    mkdirSync(controlDirectory, { recursive: true, mode: 0o700 });
    const database = new Database(join(controlDirectory, 'lock.db'), { timeout: 5_000 });
    database.pragma('journal_mode = DELETE');
    database.pragma('synchronous = EXTRA');
    database.pragma('foreign_keys = ON');
    const known = database.prepare("SELECT 1 FROM sqlite_schema WHERE name IN ('identity', 'audit_head')").all();
    // Only a new lock.db, or one from before it had all of these, is written to here: opening must never wait for a
    // section that another holds
    if (known.length < 2) database.exec(`BEGIN EXCLUSIVE; ${SCHEMA} COMMIT;`);
    return new ControlDatabase(controlDirectory, database);
  }

  close(): void {
    this.#database.close();
  }

  /**
   * One critical section: no other process or activity is in one of this store while `effect` runs. Tried with a timer
   * instead of SQLite's busy handler, which would block the event loop against a section of this very process.
   * @throws Stop store_locked when another section is held for too long
   */
  async section<T>(effect: () => T | Promise<T>): Promise<T> {
    this.#database.pragma('busy_timeout = 0');
    for (let waited = 0; ; waited += 10) {
      try {
        this.#database.exec('BEGIN IMMEDIATE');
        break;
      } catch (error) {
        if (!(error instanceof Database.SqliteError) || !error.code.startsWith('SQLITE_BUSY')) throw error;
        if (waited >= SECTION_WAIT_MILLIS)
          throw new Stop('store_locked', 'another critical section of the store does not end', {
            waitedMillis: waited,
          });
        await sleep(10);
      }
    }
    // Readers may be passing by when the section commits: that wait is short, and failing it would lose the record
    this.#database.pragma('busy_timeout = 10000');
    try {
      const result = await effect();
      this.#database.exec('COMMIT');
      return result;
    } catch (error) {
      if (this.#database.inTransaction) this.#database.exec('ROLLBACK');
      throw error;
    }
  }

  lock(): LockState {
    const row = this.#database
      .prepare<[], { token: number; owner: string | null }>('SELECT token, owner FROM lock WHERE slot = 1')
      .get();
    if (row === undefined) throw new Error('defect: lock.db without its row');
    return { token: row.token, owner: row.owner === null ? null : (JSON.parse(row.owner) as LockOwner) };
  }

  /** Gives the lock to `owner` with the next token. Only inside a section. */
  grant(owner: LockOwner): LockGrant {
    const token = this.lock().token + 1;
    this.#database.prepare('UPDATE lock SET token = ?, owner = ? WHERE slot = 1').run(token, JSON.stringify(owner));
    return { operation: owner.operation, runId: owner.runId, token, lockId: this.identity() };
  }

  /** Random, made with the file: tells this lock.db from that of every other machine. */
  identity(): string {
    const id = this.#database.prepare<[], string>('SELECT id FROM identity WHERE slot = 1').pluck().get();
    if (typeof id !== 'string') throw new Error('defect: lock.db without its identity');
    return id;
  }

  /** Records that the owner now lives in another process: a worker that was started again. */
  moveOwner(owner: LockOwner): void {
    this.#database.prepare('UPDATE lock SET owner = ? WHERE slot = 1').run(JSON.stringify(owner));
  }

  free(): void {
    this.#database.prepare('UPDATE lock SET owner = NULL WHERE slot = 1').run();
  }

  /**
   * A clone of this machine has the identity as well; it has not the operations that began after it was made.
   * @throws Stop host_ambiguous when another lock.db gave `grant`
   */
  assertGivenHere(grant: LockGrant): void {
    this.#assertIdentity(grant);
    if (this.operation(grant.operation) === undefined) throw givenElsewhere(grant);
  }

  #assertIdentity(grant: LockGrant): void {
    if (grant.lockId !== this.identity()) throw givenElsewhere(grant);
  }

  /** @throws Stop host_ambiguous; lock_lost when `grant` is not the present one */
  assertHeld(grant: LockGrant): LockOwner {
    this.#assertIdentity(grant);
    const { token, owner } = this.lock();
    if (owner === null || token !== grant.token || owner.operation !== grant.operation) {
      throw new Stop('lock_lost', `token ${grant.token} of operation ${grant.operation} is not the present one`, {
        token: grant.token,
        presentToken: token,
        presentOperation: owner?.operation ?? null,
      });
    }
    return owner;
  }

  operation(id: string): OperationRecord | undefined {
    return this.#database
      .prepare<[string], OperationRecord>(
        `SELECT operation, protocol, run_id AS runId, workflow_id AS workflowId, began_at AS beganAt, ended_at AS endedAt, outcome FROM operations WHERE operation = ?`,
      )
      .get(id);
  }

  openOperations(): readonly OperationRecord[] {
    return this.#database
      .prepare<[], OperationRecord>(
        `SELECT operation, protocol, run_id AS runId, workflow_id AS workflowId, began_at AS beganAt, ended_at AS endedAt, outcome FROM operations WHERE ended_at IS NULL ORDER BY began_at`,
      )
      .all();
  }

  /** Every operation that ever took the lock, oldest first. */
  operations(): readonly Pick<OperationRecord, 'operation' | 'endedAt'>[] {
    return this.#database
      .prepare<[], Pick<OperationRecord, 'operation' | 'endedAt'>>(
        'SELECT operation, ended_at AS endedAt FROM operations ORDER BY began_at',
      )
      .all();
  }

  /** null: nothing has been logged yet. */
  auditHead(): AuditHead | null {
    return (
      this.#database
        .prepare<[], AuditHead>('SELECT number, sha256, end_bytes AS endBytes FROM audit_head WHERE slot = 1')
        .get() ?? null
    );
  }

  /** Only inside a section, which commits the line with its effect. */
  recordAuditHead({ number, sha256, endBytes }: AuditHead): void {
    assert(this.#database.inTransaction, 'lines are appended to the audit log inside a section');
    this.#database.prepare('INSERT OR REPLACE INTO audit_head VALUES (1, ?, ?, ?)').run(number, sha256, endBytes);
  }

  beginOperation(owner: LockOwner): void {
    this.#database
      .prepare('INSERT INTO operations (operation, protocol, workflow_id, run_id, began_at) VALUES (?, ?, ?, ?, ?)')
      .run(owner.operation, owner.protocol, owner.workflowId, owner.runId, now());
  }

  /** Ends it, and forgets the journals of those that ended long ago: nothing is owed by them, nobody asks for them. */
  endOperation(operation: string, outcome: string): void {
    this.#database
      .prepare('UPDATE operations SET ended_at = ?, outcome = ? WHERE operation = ? AND ended_at IS NULL')
      .run(now(), outcome, operation);
    const oldest = new Date(Date.parse(now()) - LIMITS.journalDaysMax * DAY_MILLIS).toISOString();
    this.#database
      .prepare('DELETE FROM journal WHERE operation IN (SELECT operation FROM operations WHERE ended_at < ?)')
      .run(oldest);
  }

  journal(operation: string, event: JournalEvent): void {
    this.#database
      .prepare('INSERT INTO journal (operation, at, event) VALUES (?, ?, ?)')
      .run(operation, now(), JSON.stringify(event));
  }

  events(operation: string): readonly JournalEvent[] {
    return this.#database
      .prepare<[string], { event: string }>('SELECT event FROM journal WHERE operation = ? ORDER BY id')
      .all(operation)
      .map((row) => JSON.parse(row.event) as JournalEvent);
  }

  /** When an event of an operation was last journaled, RFC 3339. */
  timeOf(operation: string, event: JournalEvent['event']): string | undefined {
    return this.#database
      .prepare<[string, string], { at: string }>(
        "SELECT at FROM journal WHERE operation = ? AND json_extract(event, '$.event') = ? ORDER BY id DESC LIMIT 1",
      )
      .get(operation, event)?.at;
  }

  addRollbackPoint(point: Omit<RollbackPoint, 'number'>): void {
    this.#database
      .prepare('INSERT INTO rollback_points SELECT ?, COALESCE(MAX(number), 0) + 1, ?, ?, ? FROM rollback_points')
      .run(point.id, point.createdAt, point.protocol, JSON.stringify(point.roots));
  }

  removeRollbackPoint(id: string): void {
    this.#database.prepare('DELETE FROM rollback_points WHERE id = ?').run(id);
  }

  /** Newest first. */
  rollbackPoints(): readonly RollbackPoint[] {
    return this.#database
      .prepare<[], { id: string; number: number; createdAt: string; protocol: string; roots: string }>(
        'SELECT id, number, created_at AS createdAt, protocol, roots FROM rollback_points ORDER BY number DESC',
      )
      .all()
      .map((row) => ({ ...row, roots: JSON.parse(row.roots) as RollbackPoint['roots'] }));
  }

  witnesses(): readonly Witness[] {
    return this.#database
      .prepare<[], Witness>('SELECT root, path, "table", "column", value, seen_in AS seenIn FROM witnesses')
      .all();
  }

  /** Keeps the highest value ever seen of each sequence (SM-4). */
  raiseWitness(witness: Witness): void {
    const known = this.witnesses().find(
      (entry) =>
        entry.root === witness.root &&
        entry.path === witness.path &&
        entry.table === witness.table &&
        entry.column === witness.column,
    );
    if (known !== undefined && BigInt(known.value) >= BigInt(witness.value)) return;
    this.#database
      .prepare('INSERT OR REPLACE INTO witnesses VALUES (?, ?, ?, ?, ?, ?)')
      .run(witness.root, witness.path, witness.table, witness.column, witness.value, witness.seenIn);
  }

  recordBackup(backupId: string, manifestSha256: string, artefact: string): void {
    this.#database.prepare('INSERT INTO backups VALUES (?, ?, ?, ?)').run(backupId, manifestSha256, artefact, now());
  }

  /** The digest of the manifest of a backup that was made here; undefined for one of another host. */
  manifestWitness(backupId: string): string | undefined {
    return this.#database
      .prepare<[string], { sha256: string }>('SELECT manifest_sha256 AS sha256 FROM backups WHERE backup_id = ?')
      .get(backupId)?.sha256;
  }

  /** When integrity_check last passed on exactly these bytes. */
  verdict(sha256: string): string | undefined {
    return this.#database
      .prepare<[string], { at: string }>('SELECT checked_at AS at FROM verdicts WHERE sha256 = ?')
      .get(sha256)?.at;
  }

  /** Keeps the verdicts on the databases of the newest backup, and no others: what changed since is checked anyway. */
  recordVerdicts(verdicts: readonly { readonly sha256: string; readonly checkedAt: string }[]): void {
    this.#database.prepare('DELETE FROM verdicts').run();
    const record = this.#database.prepare('INSERT OR REPLACE INTO verdicts VALUES (?, ?)');
    for (const { sha256, checkedAt } of verdicts) record.run(sha256, checkedAt);
  }
}

/** Of a grant that the lock.db of this machine, or of this place, did not give. */
export function givenElsewhere({ operation, token }: LockGrant): Stop {
  return new Stop(
    'host_ambiguous',
    `the lock of operation ${operation} was not given by the lock.db that is here: another machine goes by the same host name, or the control directory was removed`,
    { operation, token, machine: hostname() },
  );
}

/**
 * Opens lock.db for one use and closes it whatever happens. The control directory is made durable first: SQLite only
 * syncs the directory that its file is in. What the system refuses is a STOP, whatever of the control directory it is
 * about: no crash of one store's recovery may keep the next store from being recovered.
 * @throws Stop no_space, permission_denied, io_error, lock_damaged and those of `use`
 */
export async function withControlDatabase<T>(
  controlDirectory: string,
  use: (database: ControlDatabase) => T | Promise<T>,
): Promise<T> {
  await ensureControlDirectory(controlDirectory);
  return opened(controlDirectory, use);
}

/**
 * The same where there is a lock.db, else `absent`: what follows from a lock that was given never makes another lock,
 * nor a control directory that somebody has just removed.
 */
export async function withPresentControlDatabase<T>(
  controlDirectory: string,
  use: (database: ControlDatabase) => T | Promise<T>,
  absent: () => T | Promise<T>,
): Promise<T> {
  return existsSync(join(controlDirectory, 'lock.db')) ? opened(controlDirectory, use) : absent();
}

async function opened<T>(controlDirectory: string, use: (database: ControlDatabase) => T | Promise<T>): Promise<T> {
  try {
    const database = ControlDatabase.open(controlDirectory);
    try {
      return await use(database);
    } finally {
      database.close();
    }
  } catch (error) {
    throw translateErrno(translated(error, join(controlDirectory, 'lock.db')), { controlDirectory });
  }
}

/** What is wrong with lock.db is no store's database, and nothing that the definition or a backup would mend. */
function translated(error: unknown, path: string): unknown {
  const stop = translateSqlite(error, path);
  if (stop === error || !(stop instanceof Stop)) return stop;
  if (stop.code !== 'not_a_database' && stop.code !== 'integrity_failed') return stop;
  return new Stop('lock_damaged', `${path} is no sound database`, stop.details, { cause: error });
}
