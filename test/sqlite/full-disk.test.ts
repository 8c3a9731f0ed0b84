// What a full filesystem does to reading: SQLite says that it can't read, and does not say why. And what is not its doing.
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  copyFileSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { describe, expect, onTestFinished, test } from 'vitest';
import { translateSqlite } from '../../sqlite/errors.js';
import { readLiveFacts } from '../../sqlite/live.js';
import type { LiveFacts } from '../../sqlite/live.js';
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

interface FullDisk {
  /** A tmpfs with a database in WAL mode, `a.db`, whose index is to be made anew. */
  readonly memory: string;
  readonly look: () => Promise<readonly LiveFacts[]>;
}

function makeDisk(options: string): FullDisk {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-full-'));
  const memory = mkdtempSync(join(tmpdir(), 'holdfast-full-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'none', memory]);
  onTestFinished(() => {
    execFileSync('umount', [memory]);
    for (const path of [directory, memory]) rmSync(path, { recursive: true });
  });
  const source = new Database(join(directory, 'a.db'));
  source.pragma('journal_mode = wal');
  source.exec('CREATE TABLE t (x); INSERT INTO t VALUES (1)');
  for (const suffix of ['', '-wal']) copyFileSync(join(directory, `a.db${suffix}`), join(memory, `a.db${suffix}`));
  source.close();
  const request = { requiredTables: [], sequences: [], appendOnly: [], migrations: null, foreignKeys: false };
  const limits = { pinSecondsMax: 60, walGrowthBytesMax: 1024 ** 3 };
  return { memory, look: () => readLiveFacts([{ ...request, path: join(memory, 'a.db') }], limits) };
}

describe.skipIf(requires('mount'))('on a full filesystem (needs root)', () => {
  test('no_space: the index of a log finds no room', async () => {
    const { memory, look } = makeDisk('size=256k');
    fill(join(memory, 'rest'));
    expect(await look()).toMatchObject([{ unreadable: 'no_space' }]);
    rmSync(join(memory, 'rest'));
    expect(await look()).toMatchObject([{ facts: { tables: [{ name: 't', rows: 1 }] } }]);
  });

  test('no_space: the index of a log finds no inode, however many blocks are free', async () => {
    const { memory, look } = makeDisk('nr_inodes=4');
    writeFileSync(join(memory, 'rest'), '');
    expect(await look()).toMatchObject([{ unreadable: 'no_space', details: { sqlite: 'SQLITE_CANTOPEN' } }]);
    expect(readdirSync(memory).sort()).toEqual(['a.db', 'a.db-wal', 'rest']);
  });

  test('io_error: what can not be read is not for want of room', () => {
    const { memory } = makeDisk('size=256k');
    fill(join(memory, 'rest'));
    // Address 0 of a process is not there: the kernel answers EIO
    const path = join(memory, 'broken.db');
    symlinkSync('/proc/self/mem', path);
    let met: unknown;
    try {
      new Database(path, { readonly: true }).close();
    } catch (error) {
      met = translateSqlite(error, path);
    }
    expect(met).toMatchObject({
      code: 'io_error',
      details: { sqlite: expect.stringContaining('SQLITE_IOERR') as unknown },
    });
  });
});
