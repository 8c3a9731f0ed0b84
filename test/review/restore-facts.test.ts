// What a restore or rollback may replace is what was approved, at the moment when nobody writes any more, not when it
// was planned: rows, files, databases that can't be read, and whole databases that the source does not have. F-29, SM-4.
import { chmodSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { nameDatabases } from '../../activities/measure.js';
import { setXattr } from '../../files/system-calls.js';
import { stopOf, useEngine } from '../support/engine.js';
import { requires } from '../support/requires.js';
import { ITEMS, LATEST, LATEST_POINT, makeStore, sql } from '../support/store.js';

const SEQUENCES = [{ table: 'item', column: 'id' }];
const OPTIONS = { requestedBy: 'test' };

describe.skipIf(requires('temporal'))('what a restore replaces', () => {
  const engine = useEngine();

  test('restore.compare: rows written until the application let go count against the approved bounds', async () => {
    const store = makeStore(engine(), 'late-rows');
    await store.backup();
    // It writes up to the moment in which it is stopped
    store.scriptHook(
      'detach',
      `'${process.execPath}' -e "
      const d = new (require('${process.cwd()}/node_modules/better-sqlite3'))('${store.path('a.db')}');
      for (let i = 0; i < 50; i += 1) d.exec('INSERT INTO item (v) VALUES (1)');
      d.close();"`,
    );
    const stop = await stopOf(store.restore());
    expect([stop.code, stop.details['step']]).toEqual(['plan_stale', 'restore.compare']);
    expect(store.items()).toHaveLength(53);
    expect(store.hooksRun()).toEqual(['detach', 'attach']);
    expect(store.leftovers()).toEqual([]);
  });

  test('restore.compare: a database that can not be read any more once the application is stopped was not approved', async () => {
    const store = makeStore(engine(), 'late-damage');
    await store.backup();
    store.scriptHook('detach', `printf destroyed > '${store.path('a.db')}'`);
    const stop = await stopOf(store.restore());
    expect([stop.code, stop.details['step']]).toEqual(['plan_stale', 'restore.compare']);
    expect(readFileSync(store.path('a.db'), 'utf8')).toBe('destroyed');
  });

  test('request.plan: rows of a live database that the backup does not have are rows that would be lost', async () => {
    const store = makeStore(engine(), 'vanishing', { databases: [{ path: '*.db' }] });
    await store.backup();
    sql(store.path('b.db'), ITEMS);
    const { plan } = await store.plan();
    expect(plan.bounds.rowsFewerMax).toBe(10);
    expect(plan.bounds.filesNewerMax).toBe(10);
  });

  test('restore.compare: a sequence does not go back because its whole database is not in the backup', async () => {
    const store = makeStore(engine(), 'vanishing-floor', { databases: [{ path: '*.db', sequences: SEQUENCES }] });
    await store.backup();
    sql(store.path('b.db'), ITEMS);
    const stop = await stopOf(store.restore());
    expect([stop.code, stop.details['path'], stop.details['floor']]).toEqual(['sequence_rewind', 'b.db', '3']);
    expect(store.items('b.db')).toHaveLength(3);
  });

  test('restore.compare: nor when the database is gone but was seen by a backup', async () => {
    const store = makeStore(engine(), 'witnessed', { databases: [{ path: '*.db', sequences: SEQUENCES }] });
    const { backupId } = await store.backup();
    sql(store.path('b.db'), ITEMS);
    await store.backup();
    renameSync(store.path('b.db'), `${store.directory}/b.db`);
    const stop = await stopOf(store.restore({ kind: 'backup', backup: backupId }));
    expect([stop.code, stop.details['path'], stop.details['floor']]).toEqual(['sequence_rewind', 'b.db', '3']);
  });

  test('restore.compare: accepted rows that were lost at the end come back, and those that are left are still compared', async () => {
    const store = makeStore(engine(), 'truncated', { databases: [{ path: 'a.db', appendOnly: SEQUENCES }] });
    await store.backup();
    for (const loss of ['DELETE FROM item WHERE id > 1', 'DELETE FROM item']) {
      sql(store.path('a.db'), loss);
      await store.restore();
      expect(store.items()).toEqual(['one', 'two', 'three']);
    }
    // The state without the rows comes back as well: it has nothing that differs
    await store.rollback();
    expect(store.items()).toEqual([]);
    await store.restore();
    sql(store.path('a.db'), "DELETE FROM item WHERE id > 2; UPDATE item SET v = 'rewritten' WHERE id = 2");
    expect((await stopOf(store.restore())).code).toBe('history_rewritten');
    expect(store.items()).toEqual(['one', 'rewritten']);
  });

  test('request.plan: a live database without the table of a sequence is said to be replaced unseen', async () => {
    const store = makeStore(engine(), 'dropped-table', { databases: [{ path: 'a.db', appendOnly: SEQUENCES }] });
    await store.backup();
    sql(store.path('a.db'), 'DROP TABLE item');
    const { plan } = await store.plan();
    expect(plan.bounds.databasesUnreadable).toEqual(nameDatabases(['data/a.db']));
    await store.restore();
    expect(store.items()).toHaveLength(3);
  });

  test('backup.package: rows that are ordered by texts are backed up, verified and restored', async () => {
    const store = makeStore(engine(), 'texts', {
      contents: {
        'a.db': "CREATE TABLE entry (id TEXT PRIMARY KEY, v); INSERT INTO entry VALUES ('01AR', 1), ('01AS', 2)",
      },
      databases: [{ path: 'a.db', appendOnly: [{ table: 'entry', column: 'id' }] }],
    });
    const { artefact } = await store.backup();
    expect(store.manifest(artefact).databases[0]?.appendOnly).toMatchObject([{ upTo: '01AS', rows: 2 }]);
    await (await engine().holdfast.verify(store.name, 'latest', OPTIONS)).result();
    sql(store.path('a.db'), "INSERT INTO entry VALUES ('01AT', 3)");
    await store.restore();
    sql(store.path('a.db'), "UPDATE entry SET v = 9 WHERE id = '01AR'");
    expect((await stopOf(store.restore())).code).toBe('history_rewritten');
  });

  test('request.plan: of many databases that can not be read a few are named, and all of them are approved', async () => {
    const paths = Array.from({ length: 14 }, (_, index) => `${String(index).padStart(2, '0')}.db`);
    const store = makeStore(engine(), 'many-damaged', {
      databases: paths.map((path) => ({ path })),
      contents: Object.fromEntries(paths.map((path) => [path, ITEMS])),
    });
    await store.backup();
    const [last = '', ...damaged] = paths.toReversed();
    for (const path of damaged) writeFileSync(store.path(path), 'destroyed');
    const before = await store.plan();
    expect(before.plan.bounds.databasesUnreadable).toMatchObject({ count: 13 });
    expect(before.plan.bounds.databasesUnreadable.first).toHaveLength(10);
    expect(before.plan.sentence).toContain("data/09.db and 3 more can't be read");
    // Another one is not among those that were approved, although it is not named either
    writeFileSync(store.path(last), 'destroyed');
    const late = await engine().holdfast.restore(store.name, LATEST, before.digest, OPTIONS);
    expect((await stopOf(late.result())).code).toBe('plan_stale');
    await store.restore();
    expect(paths.map((path) => store.items(path).length)).toEqual(paths.map(() => 3));
    const { plan } = await store.plan(LATEST_POINT);
    expect(plan.source.databasesUnreadable).toEqual(nameDatabases(paths.map((path) => `data/${path}`)));
    await store.rollback();
    expect(readFileSync(store.path(last), 'utf8')).toBe('destroyed');
  });

  test('request.plan: a file that is only named like a journal counts as the file that it is', async () => {
    const store = makeStore(engine(), 'named', { files: { 'files/one': 'one' } });
    await store.backup();
    store.write('files/2024-journal', 'dear diary');
    expect((await store.plan()).plan.bounds.filesNewerMax).toBe(10);
  });

  test('rollback.plan: a log outside the members that goes on growing does not make the plan stale', async () => {
    const store = makeStore(engine(), 'growing', { files: { 'files/one': 'one', 'app.log': 'begun\n' } });
    await store.backup();
    await store.restore();
    const { digest } = await store.plan(LATEST_POINT);
    writeFileSync(store.path('app.log'), 'more\n', { flag: 'a' });
    const operation = await engine().holdfast.restore(store.name, LATEST_POINT, digest, OPTIONS);
    expect((await operation.result()).protocol).toBe('rollback');
  });

  test('restore.verify: a directory with another mode, or an attribute that is gone, is not the state of the backup', async () => {
    const store = makeStore(engine(), 'attributes', { hooks: ['detach', 'attach', 'caches'] });
    setXattr(store.path('files/one'), 'user.kind', Buffer.from('document'));
    await store.backup();
    store.addItem('newer');
    const systemCalls = new URL('../../files/system-calls.js', import.meta.url).href;
    for (const [deed, place] of [
      [`chmod 700 '${store.path('files/deep')}'`, store.path('files/deep')],
      [
        `'${process.execPath}' --input-type=module -e "
          import { removeXattr } from '${systemCalls}';
          removeXattr('${store.path('files/one')}', 'user.kind');"`,
        store.path('files/one'),
      ],
    ] as const) {
      store.scriptHook('caches', deed);
      const stop = await stopOf(store.restore());
      expect([stop.code, stop.details['step'], stop.details['path']]).toEqual([
        'checksum_mismatch',
        'restore.verify',
        place,
      ]);
      expect(store.items()).toContain('newer');
    }
    expect(store.leftovers()).toEqual([]);
  });

  /** In mode `entries` the control directory is in the root. */
  test.each([
    ['root', 0o755],
    ['entries', 0o750],
  ] as const)('restore.verify: mode %s leaves the root with mode %o', async (mode, expected) => {
    const store = makeStore(engine(), 'own-mode');
    chmodSync(store.root, 0o755);
    if (mode === 'entries') {
      mkdirSync(store.path('.holdfast'), { mode: 0o700 });
      writeFileSync(store.path('.holdfast/lock.db'), '');
    }
    await store.backup();
    chmodSync(store.root, 0o750);
    await store.restore();
    expect(statSync(store.root).mode & 0o7777).toBe(expected);
  });

  test('every step: a definition that was changed after the approval is not carried out', async () => {
    const store = makeStore(engine(), 'redefined', { files: { 'files/one': 'one', 'tls/key': 'key' } });
    await store.backup();
    const detach = store.holdHook('detach');
    const { digest } = await store.plan(LATEST);
    const operation = await engine().holdfast.restore(store.name, LATEST, digest, OPTIONS);
    await detach.held();
    store.define({ drop: ['tls/**'] });
    detach.letGo();
    expect((await stopOf(operation.result())).code).toBe('plan_stale');
    expect(store.read('tls/key')).toBe('key');
    expect(store.leftovers()).toEqual([]);
  });
});
