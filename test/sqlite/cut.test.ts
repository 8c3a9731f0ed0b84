// The cut's promise: one instant across databases, whoever writes meanwhile, and a live store that stays as it was.
import { existsSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { takeCut } from '../../sqlite/cut.js';
import type { CutInstant, CutProgress, DatabaseCopied } from '../../sqlite/cut.js';
import { QUIET, Stage, chainLength, childrenRunning, cutRequest, sha256Of } from './support/actors.js';

let stage: Stage;
beforeEach(() => {
  stage = new Stage();
});
afterEach(() => stage.end());

describe('one instant', () => {
  test.each([
    { databases: 3, cuts: 6 },
    { databases: 61, cuts: 3 },
  ])('$databases WAL databases under a writer are copied at one instant, $cuts times', async ({ databases, cuts }) => {
    // The first copied is the largest: without pins the others would be far ahead of it.
    const paths = Array.from({ length: databases }, (_, index) => stage.database(`${index}.db`));
    const filler = new Database(paths[0]);
    filler.exec('CREATE TABLE filler (b BLOB)');
    filler.exec(
      'WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 8000) INSERT INTO filler SELECT randomblob(2000) FROM c',
    );
    filler.close();
    const writer = stage.actor();
    await writer.startChain(paths);
    let movedOn = 0;
    for (let cut = 0; cut < cuts; cut += 1) {
      const request = cutRequest(paths, {}, String(cut));
      const result = await takeCut(request, QUIET);
      const live = chainLength(paths[0] ?? '');
      const lengths = request.databases.map(({ target }) => chainLength(target));
      expect(lengths).toEqual(lengths.toSorted((a, b) => b - a));
      expect((lengths[0] ?? 0) - (lengths.at(-1) ?? 0)).toBeLessThanOrEqual(1);
      movedOn += live - (lengths[0] ?? 0);
      expect(result.pauseMillis).toBeGreaterThan(0);
      expect(result.databases.map(({ target }) => statSync(target).size)).toEqual(
        result.databases.map(({ sizeBytes }) => sizeBytes),
      );
    }
    await writer.stopChain();
    expect(movedOn).toBeGreaterThan(cuts); // writers did go on while copies were made
  });

  test('the pinned snapshot is copied, not what was written and checkpointed since', async () => {
    const [first, second] = [stage.database('a.db', { rows: 20_000 }), stage.database('b.db', { rows: 10 })];
    const writer = stage.actor();
    const request = cutRequest([first, second]);
    const checkpoints: boolean[] = [];
    await takeCut(request, {
      ...QUIET,
      onInstant: async () => {
        await frozen(async () => {
          await writer.call({ do: 'insert', path: second, rows: 50 });
          checkpoints.push(await writer.call({ do: 'truncate', path: second }));
          await writer.call({ do: 'insert', path: second, rows: 50 });
        });
      },
    });
    expect(checkpoints).toEqual([false]); // TRUNCATE had to give way to the pin, and the application went on
    expect(request.databases.map(({ target }) => chainLength(target))).toEqual([20_000, 10]);
    expect(chainLength(second)).toBe(110);
    expect(await writer.call({ do: 'truncate', path: second })).toBe(true);
  });

  test('an application that checkpoints all the time goes on, and the copies are right', async () => {
    const paths = [stage.database('a.db', { rows: 5000 }), stage.database('b.db', { rows: 5000 })];
    const [writer, other] = [stage.actor(), stage.actor()];
    const request = cutRequest(paths);
    const busy = (async () => {
      for (let turn = 0; turn < 40; turn += 1) {
        for (const path of paths) {
          await writer.call({ do: 'insert', path, rows: 1 });
          await other.call({ do: 'truncate', path });
        }
      }
    })();
    await takeCut(request, QUIET);
    await busy;
    const [a = 0, b = 0] = request.databases.map(({ target }) => chainLength(target));
    expect([0, 1]).toContain(a - b);
    expect(paths.map(chainLength)).toEqual([5040, 5040]);
  });

  test('rollback-journal and WAL databases are cut together, and the manifest says how long the former waited', async () => {
    const paths = [
      stage.database('wal.db'),
      stage.database('delete.db', { journalMode: 'delete' }),
      stage.database('truncate.db', { journalMode: 'truncate' }),
    ];
    const writer = stage.actor();
    await writer.startChain(paths);
    for (let cut = 0; cut < 4; cut += 1) {
      const request = cutRequest(paths, {}, String(cut));
      const result = await takeCut(request, QUIET);
      const lengths = request.databases.map(({ target }) => chainLength(target));
      expect(lengths).toEqual(lengths.toSorted((a, b) => b - a));
      expect((lengths[0] ?? 0) - (lengths[2] ?? 0)).toBeLessThanOrEqual(1);
      expect(result.rollbackJournalPauseMillis).toBeGreaterThan(0);
      expect(result.databases.map(({ journalMode }) => journalMode === 'wal')).toEqual([true, false, false]);
    }
    await writer.stopChain();
  });

  test('one database without trees is cut by its read transaction alone, without a pause, even while a writer holds the lock', async () => {
    const path = stage.database('a.db', { rows: 10 });
    const writer = stage.actor();
    await writer.call({ do: 'begin', path, rows: 5 });
    const request = cutRequest([path], { lockWrites: false });
    const result = await takeCut(request, QUIET);
    expect(result).toMatchObject({ pauseMillis: 0, rollbackJournalPauseMillis: 0, lockTries: 1 });
    expect(chainLength(`${path}.copy`)).toBe(10);
  });

  test('a database whose writer takes no locks is copied without taking its write lock', async () => {
    const path = stage.database('a.db', { rows: 10 });
    await stage.actor().call({ do: 'begin', path, rows: 5 });
    const databases = [{ source: path, target: `${path}.copy`, locking: 'none' as const }];
    expect((await takeCut({ ...cutRequest([]), databases }, QUIET)).pauseMillis).toBe(0);
    expect(chainLength(`${path}.copy`)).toBe(10);
  });
});

describe('what is reported', () => {
  test('the instant lies between call and copy, and append-only files are measured at it', async () => {
    const path = stage.database('a.db', { rows: 2000 });
    const log = stage.path('events.log');
    writeFileSync(log, 'twelve bytes');
    const before = Date.now();
    const instants: CutInstant[] = [];
    const copies: DatabaseCopied[] = [];
    const progress: CutProgress[] = [];
    const result = await takeCut(cutRequest([path], { statAtCut: [log] }), {
      onInstant: (instant) => void instants.push(instant),
      onCopied: (copy) => void copies.push(copy),
      onProgress: (step) => void progress.push(step),
    });
    expect(copies).toEqual(result.databases);
    const [instant] = instants;
    expect(instants).toHaveLength(1);
    expect(instant?.statAtCut).toEqual([{ path: log, sizeBytes: 12, inode: String(statSync(log).ino) }]);
    expect(instant?.instant).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
    expect(Date.parse(instant?.instant ?? '')).toBeGreaterThanOrEqual(before - 50);
    expect(Date.parse(instant?.instant ?? '')).toBeLessThanOrEqual(Date.now() + 50);
    expect(result).toMatchObject({
      instant: instant?.instant,
      lockTries: 1,
      databases: [{ source: path, target: `${path}.copy`, pageSizeBytes: 4096, journalMode: 'wal' }],
    });
    expect(result.pinMillis).toBeGreaterThan(0);
    const size = statSync(`${path}.copy`).size;
    expect(progress.at(-1)).toEqual({ bytesDone: size, bytesTotal: size, databasesDone: 1, databasesTotal: 1 });
  });

  test.each([512, 1024, 65_536])(
    'a database of %i-byte pages is copied whole, as one private file',
    async (pageSize) => {
      const path = stage.database('a.db', { pageSize, rows: 300 });
      const result = await takeCut(cutRequest([path]), QUIET);
      expect(result.databases[0]?.pageSizeBytes).toBe(pageSize);
      expect(readdirSync(stage.directory).filter((name) => name.startsWith('a.db.copy'))).toEqual(['a.db.copy']);
      expect(statSync(`${path}.copy`).mode & 0o777).toBe(0o600);
      expect(chainLength(`${path}.copy`)).toBe(300);
    },
  );

  test('the process of a cut is gone when the cut returns', async () => {
    await takeCut(cutRequest([stage.database('a.db')]), QUIET);
    expect(childrenRunning('cut-process.js')).toEqual([]);
  });
});

describe('the live store stays as it was', () => {
  test('a log left over by a stopped application is neither checkpointed nor removed', async () => {
    const path = stage.database('a.db', { rows: 100 });
    const writer = stage.actor();
    await writer.call({ do: 'insertOpen', path, rows: 100 });
    await writer.kill();
    const before = [sha256Of(path), sha256Of(`${path}-wal`)];
    expect(before[1]).not.toBeNull();
    await takeCut(cutRequest([path]), QUIET);
    expect([sha256Of(path), sha256Of(`${path}-wal`)]).toEqual(before);
    expect(chainLength(`${path}.copy`)).toBe(200);
  });

  test('a running application finds its file and its log unchanged', async () => {
    const path = stage.database('a.db', { rows: 100 });
    const writer = stage.actor();
    await writer.call({ do: 'insertOpen', path, rows: 100 });
    const before = [sha256Of(path), sha256Of(`${path}-wal`)];
    await takeCut(cutRequest([path]), QUIET);
    expect([sha256Of(path), sha256Of(`${path}-wal`)]).toEqual(before);
    await writer.call({ do: 'insert', path, rows: 1 });
    expect(chainLength(path)).toBe(201);
  });

  test('databases without sidecars keep their bytes, and new sidecars have the mode of the database', async () => {
    const [wal, rollback] = [
      stage.database('a.db', { rows: 10 }),
      stage.database('b.db', { rows: 10, journalMode: 'delete' }),
    ];
    const before = [wal, rollback].map(sha256Of);
    await takeCut(cutRequest([wal, rollback]), QUIET);
    expect([wal, rollback].map(sha256Of)).toEqual(before);
    expect(existsSync(`${rollback}-journal`)).toBe(false);
    for (const sidecar of [`${wal}-wal`, `${wal}-shm`]) {
      expect(statSync(sidecar, { throwIfNoEntry: false })?.mode ?? statSync(wal).mode).toBe(statSync(wal).mode);
    }
    expect(statSync(`${wal}-wal`, { throwIfNoEntry: false })?.size ?? 0).toBe(0);
  });
});

/** Holds the process of the cut still, so that what happens beside it is certain to happen beside it. */
async function frozen(during: () => Promise<void>): Promise<void> {
  const [pid] = childrenRunning('cut-process.js');
  if (pid === undefined) throw new Error('the cut had ended already');
  process.kill(pid, 'SIGSTOP');
  await sleep(20);
  await during();
  process.kill(pid, 'SIGCONT');
}
