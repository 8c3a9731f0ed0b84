// A live store is backed up while it is written to without rest, and restored in place. Clause SM-1.
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { describe, expect, onTestFinished, test } from 'vitest';
import { useEngine } from '../../support/engine.js';
import { startWriter } from '../../support/processes.js';
import { requires } from '../../support/requires.js';
import { ITEMS, column, makeStore, sql } from '../../support/store.js';

/** Proves the invariant of writer.ts in a root that nobody writes to. @returns rows of a.db */
function assertInvariant(root: string): number {
  const [a = [], b = [], files = []] = ['a.db', 'b.db', 'c.db'].map(
    (name) => column(join(root, name), 'SELECT id FROM item ORDER BY id') as number[],
  );
  expect(a).toEqual(Array.from({ length: a.length }, (_, index) => index + 1));
  expect(a.slice(0, b.length)).toEqual(b);
  expect(a.length - b.length).toBeLessThanOrEqual(1);
  for (const n of files) expect(readFileSync(join(root, 'files', String(n)), 'utf8')).toBe(`file ${n}`);
  // Every fifth row has its file; the last one may not be committed yet
  expect([Math.floor(b.length / 5), Math.floor(b.length / 5) - 1]).toContain(files.length);
  const lines = readFileSync(join(root, 'log.txt'), 'utf8').length / 8;
  expect([a.length, a.length + 1]).toContain(lines);
  return a.length;
}

describe.skipIf(requires('temporal'))('first light', () => {
  const engine = useEngine();
  const MEMBERS = {
    contents: {},
    files: {},
    databases: ['a.db', 'b.db', 'c.db'].map((path) => ({ path, requiredTables: ['item'] })),
    trees: [
      { path: '.', include: ['log.txt'], policy: 'append' as const },
      { path: 'files', policy: 'immutable' as const },
    ],
  };

  test('SM-1: backups under writers are states that existed at one instant, and the writers go on', async () => {
    const store = makeStore(engine(), 'live', MEMBERS);
    const writer = await startWriter(store.root, join(store.directory, 'pause'));
    let before = 0;
    for (let round = 0; round < 4; round += 1) {
      const { artefact, cut } = await store.backup();
      const rows = assertInvariant(join(artefact, 'data', 'data'));
      expect(rows).toBeGreaterThan(before);
      before = rows;
      expect(cut.pauseMillis).toBeGreaterThan(0);
      expect(Date.parse(cut.instant)).toBeLessThanOrEqual(Date.now());
    }
    await writer.stop();
    expect(assertInvariant(store.root)).toBeGreaterThan(before);
    await store.restore();
    expect(assertInvariant(store.root)).toBe(before);
  });

  test('SM-1: a backup of an idle store changes neither a database nor its log', async () => {
    const store = makeStore(engine(), 'idle', {
      contents: { 'closed.db': ITEMS },
      databases: [{ path: 'a.db' }, { path: 'left.db' }, { path: 'closed.db' }, { path: 'rollback.db' }],
    });
    // An application that is there and rests, one that left its log behind, and one without a log
    const live = new Database(store.path('a.db'));
    onTestFinished(() => void live.close());
    live.pragma('journal_mode = WAL');
    live.pragma('wal_autocheckpoint = 0');
    live.exec(ITEMS);
    sql(store.path('rollback.db'), ITEMS, 'delete');
    const copied = store.path('left.db');

    for (const suffix of ['', '-wal']) copyFileSync(store.path(`a.db${suffix}`), `${copied}${suffix}`);
    const names = ['a.db', 'a.db-wal', 'left.db', 'left.db-wal', 'closed.db', 'rollback.db'];
    const looks = () =>
      names.map((name) => {
        const { size, mtimeNs, ino } = statSync(store.path(name), { bigint: true });
        return [
          name,
          size,
          mtimeNs,
          ino,
          createHash('sha256')
            .update(readFileSync(store.path(name)))
            .digest('hex'),
        ];
      });
    const before = looks();
    expect(statSync(store.path('left.db-wal')).size).toBeGreaterThan(0);
    const { artefact } = await store.backup();
    expect(looks()).toEqual(before);
    for (const name of ['a.db', 'left.db', 'closed.db', 'rollback.db']) {
      expect(column(join(artefact, 'data/data', name), 'SELECT v FROM item')).toEqual(['one', 'two', 'three']);
    }
    expect(readdirSync(join(artefact, 'data/data')).sort()).toEqual([
      'a.db',
      'closed.db',
      'files',
      'left.db',
      'rollback.db',
    ]);
    expect(existsSync(store.path('rollback.db-journal'))).toBe(false);
  });
});
