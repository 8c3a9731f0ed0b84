// The index: which chunks a vault is known to hold, and what was last written of each file, so that neither is read or
// written again. A SQLite file of this host, outside the vault; without it the next backup is a full one. Every row carries a
// checksum that binds it to the vault (docs/vault-format.md "The index").
import { chmodSync, statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import { crc32 } from 'node:zlib';
import Database from 'better-sqlite3';
import { Stop } from '../domain/stop.js';
import type { ObjectFact, RunTuple } from '../domain/vault.js';

const VERSION = 1;
const DIGEST_BYTES = 32;
/** A packer numbers its packs by itself: each gets as many as 16 TiB need. */
const PACKS_RESERVED = 2 ** 20;
/** Twelve bytes of numbers follow the digest in each row of addPack. */
export const CHUNK_ROW_BYTES = DIGEST_BYTES + 12;

/** Where a chunk is: number of its pack in the index, then bytes of the pack's plaintext, then of the chunk. */
export type ChunkPlace = readonly [pack: number, offset: number, length: number, size: number];

/** What was written of a file, by the runs that its last backup has; pack numbers are those of the index. */
export interface KnownFile {
  /** What its stat was: docs in activities. */
  readonly stamp: string;
  readonly sha256: string;
  readonly sizeBytes: number;
  readonly runs: readonly RunTuple[];
  /** JSON of what else is known of exactly these bytes; '' for nothing. */
  readonly facts: string;
}

export interface FilePlace {
  readonly root: string;
  readonly path: string;
}

const SCHEMA = `
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE pack (number INTEGER PRIMARY KEY, sha256 TEXT NOT NULL, sizeBytes INTEGER NOT NULL, pendingOf TEXT, mark INTEGER NOT NULL);
CREATE TABLE chunk (sha256 BLOB PRIMARY KEY, pack INTEGER NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL, size INTEGER NOT NULL, mark INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE file (store TEXT NOT NULL, root TEXT NOT NULL, path TEXT NOT NULL, stamp TEXT NOT NULL, sha256 TEXT NOT NULL, sizeBytes INTEGER NOT NULL, runs TEXT NOT NULL, facts TEXT NOT NULL, mark INTEGER NOT NULL, PRIMARY KEY (store, root, path)) WITHOUT ROWID;
`;

/** Looks chunks up, and nothing else: each thread has one of its own. */
export class ChunkLookup {
  readonly #database: Database.Database;
  readonly #get: Database.Statement<[Uint8Array]>;
  readonly #path: string;
  readonly #vault: string;

  constructor(path: string, vault: string) {
    this.#path = path;
    this.#vault = vault;
    this.#database = new Database(path, { readonly: true, fileMustExist: true });
    this.#get = this.#database
      .prepare<[Uint8Array]>('SELECT pack, offset, length, size, mark FROM chunk WHERE sha256 = ?')
      .raw(true);
  }

  /** @throws Stop index_corrupt */
  find(sha256: Uint8Array): ChunkPlace | null {
    const row = translating(this.#path, () => this.#get.get(sha256)) as [...ChunkPlace, number] | undefined;
    if (row === undefined) return null;
    const [pack, offset, length, size, mark] = row;
    const place = [pack, offset, length, size] as const;
    if (markOf(this.#vault, sha256, ...place) !== mark) throw corrupt(this.#path, 'a chunk does not check');
    return place;
  }

  close(): void {
    this.#database.close();
  }
}

/** The whole index, for the one who writes it. */
export class ChunkIndex {
  readonly path: string;
  readonly #vault: string;
  readonly #database: Database.Database;

  /**
   * Opens or makes the index of a vault; its directory exists.
   * @throws Stop index_corrupt, also for the index of another vault
   */
  constructor(path: string, vault: string) {
    this.path = path;
    this.#vault = vault;
    this.#database = translating(path, () => {
      const database = new Database(path);
      chmodSync(path, 0o600);
      // Losing the last transactions to a power cut loses knowledge, and no backup
      database.pragma('journal_mode = wal');
      database.pragma('synchronous = normal');
      return database;
    });
    translating(path, () => this.#database.transaction(() => this.#prepareSchema()).immediate());
  }

  #prepareSchema(): void {
    const version = this.#database.pragma('user_version', { simple: true });
    if (version === 0) {
      this.#database.exec(SCHEMA);
      this.#setMeta('vault', this.#vault);
      this.#setMeta('nextPack', '1');
      this.#database.pragma(`user_version = ${VERSION}`);
    } else if (version !== VERSION) throw corrupt(this.path, `it has version ${String(version)}`);
    if (this.#meta('vault') !== this.#vault) throw corrupt(this.path, 'it is of another vault');
  }

  close(): void {
    this.#database.close();
  }

  /** The packs that may be reused, by number. */
  packs(): ReadonlyMap<number, ObjectFact> {
    const rows = this.#all('SELECT number, sha256, sizeBytes, mark FROM pack WHERE pendingOf IS NULL') as readonly [
      number,
      string,
      number,
      number,
    ][];
    return new Map(
      rows.map(([number, sha256, sizeBytes, mark]) => {
        if (markOf(this.#vault, number, sha256, sizeBytes) !== mark) throw corrupt(this.path, 'a pack does not check');
        return [number, { sha256, sizeBytes }];
      }),
    );
  }

  /**
   * A backup of a store begins: what its predecessors left unfinished is forgotten.
   * @returns the first of the pack numbers that are its own
   */
  begin(store: string): number {
    return this.#write(() => {
      const pending = this.#all('SELECT number FROM pack WHERE pendingOf = ?', store).length;
      if (pending > 0) {
        this.#run('DELETE FROM chunk WHERE pack IN (SELECT number FROM pack WHERE pendingOf = ?)', store);
        this.#run('DELETE FROM pack WHERE pendingOf = ?', store);
      }
      const first = Number(this.#meta('nextPack'));
      this.#setMeta('nextPack', String(first + PACKS_RESERVED));
      return first;
    });
  }

  /** @param chunks rows of CHUNK_ROW_BYTES: digest, then offset, length and size as 32-bit numbers, little-endian */
  addPack(store: string, number: number, { sha256, sizeBytes }: ObjectFact, chunks: Buffer): void {
    this.#write(() => {
      this.#run(
        'INSERT INTO pack (number, sha256, sizeBytes, pendingOf, mark) VALUES (?, ?, ?, ?, ?)',
        number,
        sha256,
        sizeBytes,
        store,
        markOf(this.#vault, number, sha256, sizeBytes),
      );
      // Of a chunk that is there already, as two threads may have met it, or a pack is not to be reused, the newest counts
      const insert = this.#database.prepare(
        'INSERT OR REPLACE INTO chunk (sha256, pack, offset, length, size, mark) VALUES (?, ?, ?, ?, ?, ?)',
      );
      for (let at = 0; at < chunks.length; at += CHUNK_ROW_BYTES) {
        const digest = chunks.subarray(at, at + DIGEST_BYTES);
        const offset = chunks.readUInt32LE(at + DIGEST_BYTES);
        const length = chunks.readUInt32LE(at + DIGEST_BYTES + 4);
        const size = chunks.readUInt32LE(at + DIGEST_BYTES + 8);
        insert.run(digest, number, offset, length, size, markOf(this.#vault, digest, number, offset, length, size));
      }
    });
  }

  /** The backup exists: its packs may be reused, and `files` are what the store consists of now. */
  commit(store: string, files: Iterable<FilePlace & KnownFile>): void {
    this.#write(() => {
      this.#run('UPDATE pack SET pendingOf = NULL WHERE pendingOf = ?', store);
      this.#database.exec(
        'CREATE TEMP TABLE IF NOT EXISTS present (root TEXT, path TEXT, PRIMARY KEY (root, path)) WITHOUT ROWID',
      );
      this.#run('DELETE FROM present');
      const present = this.#database.prepare('INSERT INTO present VALUES (?, ?)');
      // With its digest: bytes that were read again may have changed behind their stamp
      const known = this.#database.prepare('SELECT mark FROM file WHERE store = ? AND root = ? AND path = ?').pluck();
      const put = this.#database.prepare(
        'INSERT OR REPLACE INTO file (store, root, path, stamp, sha256, sizeBytes, runs, facts, mark) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)',
      );
      for (const { root, path, stamp, sha256, sizeBytes, runs, facts } of files) {
        present.run(root, path);
        const row = [store, root, path, stamp, sha256, sizeBytes, JSON.stringify(runs), facts] as const;
        const mark = markOf(this.#vault, ...row);
        if (known.get(store, root, path) !== mark) put.run(...row, mark);
      }
      this.#run(
        'DELETE FROM file WHERE store = ? AND NOT EXISTS (SELECT 1 FROM present WHERE present.root = file.root AND present.path = file.path)',
        store,
      );
    });
  }

  /**
   * What was last written of a file.
   * @throws Stop index_corrupt
   */
  file(store: string, { root, path }: FilePlace): KnownFile | null {
    this.#fileOf ??= this.#database
      .prepare('SELECT stamp, sha256, sizeBytes, runs, facts, mark FROM file WHERE store = ? AND root = ? AND path = ?')
      .raw(true);
    const statement = this.#fileOf;
    const row = translating(this.path, () => statement.get(store, root, path)) as
      | [string, string, number, string, string, number]
      | undefined;
    if (row === undefined) return null;
    const [stamp, sha256, sizeBytes, runs, facts, mark] = row;
    if (markOf(this.#vault, store, root, path, stamp, sha256, sizeBytes, runs, facts) !== mark)
      throw corrupt(this.path, 'a file does not check');
    return { stamp, sha256, sizeBytes, runs: JSON.parse(runs) as RunTuple[], facts };
  }
  #fileOf: Database.Statement | undefined;

  /** Packs that are about to be deleted, or are gone: nothing may refer to them again. */
  forgetPacks(sha256s: Iterable<string>): void {
    this.#write(() => {
      const numbers = [...sha256s].flatMap((sha256) => this.#all('SELECT number FROM pack WHERE sha256 = ?', sha256));
      // One scan of the chunks, however many packs
      const list = JSON.stringify(numbers.flat());
      this.#run('DELETE FROM chunk WHERE pack IN (SELECT value FROM json_each(?))', list);
      this.#run('DELETE FROM pack WHERE number IN (SELECT value FROM json_each(?))', list);
      // Which files have runs in them is not indexed: all are read once more
      this.#run('DELETE FROM file');
    });
  }

  #write<T>(work: () => T): T {
    return translating(this.path, () => this.#database.transaction(work).immediate());
  }

  #meta(key: string): string | undefined {
    return this.#database.prepare('SELECT value FROM meta WHERE key = ?').pluck().get(key) as string | undefined;
  }

  #setMeta(key: string, value: string): void {
    this.#run('INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)', key, value);
  }

  #run(sql: string, ...values: readonly unknown[]): void {
    this.#database.prepare(sql).run(...values);
  }

  #all(sql: string, ...values: readonly unknown[]): readonly unknown[][] {
    return translating(this.path, () =>
      this.#database
        .prepare(sql)
        .raw(true)
        .all(...values),
    ) as unknown[][];
  }
}

/** Tells a damaged row, and one of another vault; nobody is kept from forging one, who could as well write to the store. */
function markOf(vault: string, ...values: readonly (string | number | Uint8Array)[]): number {
  let mark = crc32(vault);
  for (const value of values) mark = crc32(value instanceof Uint8Array ? value : `\0${value}`, mark);
  return mark;
}

function corrupt(path: string, why: string, cause?: unknown): Stop {
  return new Stop('index_corrupt', `the index ${path} is damaged: ${why}`, { path }, { cause });
}

/** What a lack of room may be called where the index of its log is made or grows: SQLite does not tell the errno. */
const MAY_BE_FULL = /^SQLITE_(?:CANTOPEN|IOERR_(?:WRITE|FSYNC|TRUNCATE|SHM))/;
const ROOM_BYTES_MIN = 128 * 1024;

function isFull(path: string): boolean {
  const { bavail, bsize } = statfsSync(dirname(path));
  return bavail * bsize < ROOM_BYTES_MIN;
}

/** What SQLite says of a file that is no database, or a damaged one. A full disk is not damage. */
function translating<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof Database.SqliteError)) throw error;
    if (error.code === 'SQLITE_FULL' || (MAY_BE_FULL.test(error.code) && isFull(path)))
      throw new Stop('no_space', `no space for the index ${path}`, { path }, { cause: error });
    if (/^SQLITE_(CORRUPT|NOTADB)/.test(error.code)) throw corrupt(path, error.message, error);
    throw new Stop('io_error', `the index ${path}: ${error.message}`, { path, sqlite: error.code }, { cause: error });
  }
}
