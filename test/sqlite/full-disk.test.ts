// What a full filesystem does to reading: SQLite says that it can't read, and does not say why. And what is not its doing.
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { describe, expect, onTestFinished, test } from 'vitest';
import { Stop } from '../../domain/stop.js';
import { checkDatabase } from '../../sqlite/check.js';
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

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return 'done';
  } catch (error) {
    if (error instanceof Stop) return error.code;
    throw error;
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

const RESERVE_BYTES = 256 * 1024;

/** An ext4 whose blocks are smaller than a page of memory, with a database in WAL mode; full. */
function makeSmallBlocks(): { readonly database: string; readonly leave: (freeBytes: number) => void } {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-full-'));
  const [image, disk] = [join(directory, 'image'), join(directory, 'disk')];
  mkdirSync(disk);
  execFileSync('truncate', ['-s', '16M', image]);
  execFileSync('mkfs.ext4', ['-q', '-b', '1024', '-m', '0', '-J', 'size=4', image]);
  execFileSync('mount', ['-o', 'loop', image, disk]);
  onTestFinished(() => {
    execFileSync('umount', [disk]);
    rmSync(directory, { recursive: true });
  });
  const database = join(disk, 'a.db');
  const source = new Database(database);
  source.pragma('journal_mode = wal');
  source.exec('CREATE TABLE t (x); INSERT INTO t VALUES (1)');
  source.close();
  const reserve = join(disk, 'reserve');
  writeFileSync(reserve, Buffer.alloc(RESERVE_BYTES, 1));
  // The second one takes what the system gives only when it has written the first
  for (const name of ['first', 'second']) {
    fill(join(disk, name));
    execFileSync('sync', [disk]);
  }
  const leave = (freeBytes: number): void => {
    truncateSync(reserve, RESERVE_BYTES - freeBytes);
    execFileSync('sync', [disk]);
  };
  return { database, leave };
}

describe.skipIf(requires('mount'))('on a full filesystem (needs root)', () => {
  test('no_space: the index of a log finds no room', async () => {
    const { memory, look } = makeDisk('size=256k');
    fill(join(memory, 'rest'));
    expect(await look()).toMatchObject([{ unreadable: 'no_space' }]);
    rmSync(join(memory, 'rest'));
    expect(await look()).toMatchObject([{ facts: { tables: [{ name: 't', rows: 1 }] } }]);
  });

  test('no_space: a check of a copy ends no process, however little room there is for the index of its log', async () => {
    const { database, leave } = makeSmallBlocks();
    const request = { requiredTables: [], sequences: [], appendOnly: [], migrations: null, foreignKeys: false };
    const codes = new Set<string>();
    for (let freeKib = 0; freeKib < 256; freeKib += freeKib < 48 ? 1 : 16) {
      leave(freeKib * 1024);
      codes.add(await codeOf(checkDatabase({ ...request, path: database, integrity: true })));
    }
    expect([...codes]).toEqual(['no_space', 'done']);
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
