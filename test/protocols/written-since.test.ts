// Whether a live database was written to since its backup: what the plan of a restore says of it, and that the
// execution holds it until the application is asked to let go. Clauses F-29, L-4.
import { statSync, utimesSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { describe, expect, onTestFinished, test } from 'vitest';
import { stopOf, useEngine } from '../support/engine.js';
import { requires } from '../support/requires.js';
import { ITEMS, LATEST, makeStore, sql } from '../support/store.js';

const APPLICATION = `echo '{"version":"1.0.0","modules":[]}'`;

describe.skipIf(requires('temporal'))('a live database that was written to since', () => {
  const engine = useEngine();

  test('request.plan: a database that came back by a rollback is not the one that was backed up before it', async () => {
    const store = makeStore(engine(), 'came-back', {
      contents: { 'sub/a.db': ITEMS },
      databases: [{ path: 'sub/a.db' }],
    });
    await store.backup();
    sql(store.path('sub/a.db'), "UPDATE item SET v = 'precious'");
    await store.restore();
    await delay(50);
    const { backupId: backup } = await store.backup();
    expect((await store.plan()).plan.bounds.databasesChanged.count).toBe(0);
    await store.rollback();
    // Its files are older than the backup: the exchange renamed the directory alone
    expect(store.items('sub/a.db')).toEqual(['precious', 'precious', 'precious']);
    expect((await store.plan({ kind: 'backup', backup })).plan.bounds.databasesChanged.count).toBe(1);
  });

  test('request.plan: a database whose times were set back is not the one that was backed up', async () => {
    const store = makeStore(engine(), 'set-back', {});
    await delay(50);
    await store.backup();
    const { atime, mtime } = statSync(store.path('a.db'));
    sql(store.path('a.db'), "UPDATE item SET v = 'changed'");
    utimesSync(store.path('a.db'), atime, mtime);
    expect((await store.plan()).plan.bounds.databasesChanged.count).toBe(1);
  });

  test('restore.detach: a database that was written to after restore.plan is more than was approved', async () => {
    const store = makeStore(engine(), 'meanwhile', { hooks: ['detach', 'attach', 'version'] });
    store.scriptHook('version', APPLICATION);
    await delay(50);
    await store.backup();
    const { plan, digest } = await store.plan();
    expect(plan.bounds.databasesChanged.count).toBe(0);
    store.hooksRun();
    const hold = store.holdHook('version');
    const run = await engine().holdfast.restore(store.name, LATEST, digest, { requestedBy: 'test' });
    await hold.held();
    sql(store.path('a.db'), "UPDATE item SET v = 'written after the approval'");
    hold.letGo();
    const stop = await stopOf(run.result());
    expect([stop.code, stop.details['step']]).toEqual(['plan_stale', 'restore.detach']);
    expect(store.hooksRun()).toEqual(['version']);
    expect(new Set(store.items())).toEqual(new Set(['written after the approval']));
    expect(store.leftovers()).toEqual([]);
  });

  test('restore.detach: an application that moves its log into its database as it lets go has written nothing new', async () => {
    const store = makeStore(engine(), 'lets-go', { contents: { 'a.db': `PRAGMA journal_mode = WAL; ${ITEMS}` } });
    const application = new Database(store.path('a.db'));
    onTestFinished(() => void application.close());
    application.exec("UPDATE item SET v = 'in the log'");
    await delay(50);
    await store.backup();
    const { plan, digest } = await store.plan();
    expect([plan.bounds.databasesChanged.count, statSync(store.path('a.db-wal')).size > 0]).toEqual([0, true]);
    const hold = store.holdHook('detach');
    const run = await engine().holdfast.restore(store.name, LATEST, digest, { requestedBy: 'test' });
    await hold.held();
    application.close();
    hold.letGo();
    await run.result();
    expect(new Set(store.items())).toEqual(new Set(['in the log']));
  });
});
