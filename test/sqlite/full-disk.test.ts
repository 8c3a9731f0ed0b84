// What a full filesystem does to reading: SQLite says that it can't read, and does not say why.
import { execFileSync } from 'node:child_process';
import { closeSync, copyFileSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { expect, onTestFinished, test } from 'vitest';
import { readLiveFacts } from '../../sqlite/live.js';
import { requires } from '../support/requires.js';

function fill(path: string): void {
  const file = openSync(path, 'w');
  try {
    for (;;) writeSync(file, Buffer.alloc(4096));
  } catch (error) {
    expect((error as NodeJS.ErrnoException).code).toBe('ENOSPC');
  } finally {
    closeSync(file);
  }
}

test.skipIf(requires('mount'))('no_space: the index of a log finds no room (needs root)', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-full-'));
  const memory = mkdtempSync(join(tmpdir(), 'holdfast-full-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'none', memory]);
  onTestFinished(() => {
    execFileSync('umount', [memory]);
    for (const path of [directory, memory]) rmSync(path, { recursive: true });
  });
  const source = new Database(join(directory, 'a.db'));
  source.pragma('journal_mode = wal');
  source.exec('CREATE TABLE t (x); INSERT INTO t VALUES (1)');
  for (const suffix of ['', '-wal']) copyFileSync(join(directory, `a.db${suffix}`), join(memory, `a.db${suffix}`));
  source.close();
  fill(join(memory, 'rest'));
  const request = { requiredTables: [], sequences: [], appendOnly: [], migrations: null, foreignKeys: false };
  const limits = { pinSecondsMax: 60, walGrowthBytesMax: 1024 ** 3 };
  const look = () => readLiveFacts([{ ...request, path: join(memory, 'a.db') }], limits);
  expect(await look()).toMatchObject([{ unreadable: 'no_space' }]);
  rmSync(join(memory, 'rest'));
  expect(await look()).toMatchObject([{ facts: { tables: [{ name: 't', rows: 1 }] } }]);
});
