// What the application of the demo writes: its tables, and files that are durable before anybody hears of them. And what
// it has written before the demo begins.
import { createHash, randomBytes, randomInt } from 'node:crypto';
import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import Database from 'better-sqlite3';
import { TREE } from './house.js';
import type { DATABASES, House } from './house.js';

export type DatabaseName = (typeof DATABASES)[number];

const TABLES: Readonly<Record<DatabaseName, string>> = {
  'a.db': 'CREATE TABLE IF NOT EXISTS entry (id INTEGER PRIMARY KEY AUTOINCREMENT, value TEXT NOT NULL)',
  'b.db': 'CREATE TABLE IF NOT EXISTS entry (id INTEGER PRIMARY KEY, value TEXT NOT NULL)',
  'c.db':
    'CREATE TABLE IF NOT EXISTS file (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, size_bytes INTEGER NOT NULL, sha256 TEXT NOT NULL)',
};

/** Opens a database for writing, in WAL mode, with its table. */
export function openDatabase(house: House, name: DatabaseName): Database.Database {
  const database = new Database(join(house.root, name), { timeout: 10_000 });
  database.pragma('journal_mode = WAL');
  database.exec(TABLES[name]);
  return database;
}

export type FileRow = readonly [name: string, sizeBytes: number, sha256: string];

export const INSERT_ENTRY = 'INSERT INTO entry (value) VALUES (?)';
export const INSERT_COPY = 'INSERT INTO entry (id, value) VALUES (?, ?)';
export const INSERT_FILE = 'INSERT INTO file (name, size_bytes, sha256) VALUES (?, ?, ?)';

export const newValue = (): string => randomBytes(24).toString('hex');

/**
 * Writes a file outside the tree, makes it durable, and renames it in.
 * @returns its row, which may be committed from now on
 */
export function addFile(house: House): FileRow {
  const content = randomBytes(randomInt(1, 32 * 1024));
  // A name of its own: a file that a restore finds without its row is never written over
  const id = randomBytes(8).toString('hex');
  const name = `${id.slice(0, 1)}/${id}.bin`;
  const target = join(house.root, TREE, name);
  const incoming = join(house.application, 'incoming', id);
  mkdirSync(dirname(target), { recursive: true });
  const file = openSync(incoming, 'wx');
  writeSync(file, content);
  fsyncSync(file);
  closeSync(file);
  renameSync(incoming, target);
  const parent = openSync(dirname(target), 'r');
  fsyncSync(parent);
  closeSync(parent);
  return [name, content.length, createHash('sha256').update(content).digest('hex')];
}

/** Fills a fresh store with what an application has after some time. */
export function seed(house: House, entries: number, files: number): void {
  const [a, b, c] = [openDatabase(house, 'a.db'), openDatabase(house, 'b.db'), openDatabase(house, 'c.db')];
  const values = Array.from({ length: entries }, newValue);
  a.transaction(() => values.forEach((value) => a.prepare(INSERT_ENTRY).run(value)))();
  b.transaction(() => values.forEach((value, index) => b.prepare(INSERT_COPY).run(index + 1, value)))();
  const rows = Array.from({ length: files }, () => addFile(house));
  c.transaction(() => rows.forEach((row) => c.prepare(INSERT_FILE).run(...row)))();
  for (const database of [a, b, c]) database.close();
}
