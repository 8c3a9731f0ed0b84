// The protocol restore, step by step, against a real engine, worker, SQLite and filesystem: what comes back, what stays,
// and what is left. What is refused is in restore-refusals.test.ts. Clauses F-1, F-21, SM-8, SM-9, P-15.
import { execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { RestoreReport } from '../../domain/protocol.js';
import { STEPS } from '../../domain/steps.js';
import { Stop } from '../../domain/stop.js';
import { eventually, stopOf, useEngine } from '../support/engine.js';
import { startProgram, startWriter } from '../support/processes.js';
import { requires } from '../support/requires.js';
import { ITEMS, column, makeStore, sql } from '../support/store.js';
import type { TestStore } from '../support/store.js';

const isRoot = process.geteuid?.() === 0;

/** Between the two plans the writer may exceed a bound of the first; then somebody reads the next one. */
async function restoreUnderWriter(store: TestStore): Promise<RestoreReport> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await store.restore();
    } catch (error) {
      if (!(error instanceof Stop) || error.code !== 'approval_mismatch' || tries === 5) throw error;
    }
  }
}

describe.skipIf(requires('temporal'))('restore', () => {
  const engine = useEngine();

  test('restore.compare, restore.verify, rollback.compare: what is read while nobody is at work has no limit of a cut', async () => {
    const store = makeStore(engine(), 'large', {
      hooks: ['detach', 'attach', 'migrate'],
      contents: {
        'a.db': `CREATE TABLE ledger (seq INTEGER PRIMARY KEY, v REFERENCES ledger (seq));
          WITH RECURSIVE c (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM c WHERE i < 600000) INSERT INTO ledger SELECT i, i FROM c`,
      },
      databases: [{ path: 'a.db', appendOnly: [{ table: 'ledger', column: 'seq' }] }],
    });
    await store.backup();
    // Enough to count the rows for the plan, not to read them
    store.define({ backup: { pinSecondsMax: 0.5 } });
    await store.restore();
    await store.rollback();
    expect(store.epochCounter()).toBe(2);
  });

  test('restore.lock to restore.release: every step once, in order, and the replaced state is kept', async () => {
    const store = makeStore(engine(), 'whole', {
      hooks: ['quiesce', 'resume', 'detach', 'attach', 'migrate', 'caches', 'verify', 'version'],
      rollback: { destination: join(engine().directory, 'whole-kept') },
    });
    store.scriptHook('version', 'echo \'{"version": "1", "modules": []}\'');
    const { backupId } = await store.backup();
    store.hooksRun();
    store.addItem('newer');
    const report = await store.restore();
    expect([...report.steps.map(({ step }) => step), 'restore.release']).toEqual(STEPS.restore.map(({ id }) => id));
    expect(report).toMatchObject({
      protocol: 'restore',
      store: store.name,
      files: 3,
      rollbackPoint: report.operation,
      epoch: { counter: 1 },
    });
    // The version is asked for while the application runs, and once
    expect(store.hooksRun()).toEqual(['version', 'detach', 'migrate', 'caches', 'verify', 'attach']);
    expect(store.manifest(report.kept ?? '').application).toEqual({ version: '1', modules: [] });
    expect(store.items()).toEqual(['one', 'two', 'three']);
    expect(store.leftovers()).toEqual([]);
    expect(store.rollbackPoints().map(({ id, protocol }) => [id, protocol])).toEqual([[report.operation, 'restore']]);
    expect(column(join(store.rollbackPoints()[0]?.roots[0]?.tree ?? '', 'a.db'), 'SELECT count(*) FROM item')).toEqual([
      4,
    ]);
    // The next backup says in which epoch it was taken
    const next = await store.backup();
    expect(store.manifest(next.artefact).epoch).toEqual(report.epoch);
    expect(next.backupId).not.toBe(backupId);
  });

  test('restore.stage, restore.verify: contents, modes, owners, times to the nanosecond, attributes and empty directories come back', async () => {
    const store = makeStore(engine(), 'exact', {
      files: { 'files/one': 'one', 'files/deep/er/two': 'two', 'files/new\nline': '', 'files/ünï': 'ü' },
    });
    mkdirSync(store.path('files/empty/inner'), { recursive: true });
    chmodSync(store.path('files/one'), 0o4751);
    chmodSync(store.path('files/empty'), 0o1700);
    chmodSync(store.path('a.db'), 0o640);
    if (isRoot) chownSync(store.path('files/deep/er/two'), 1234, 5678);
    execFileSync('setfattr', ['-n', 'user.origin', '-v', 'a test', store.path('files/one')]);
    execFileSync('setfattr', ['-n', 'user.kind', '-v', 'empty', store.path('files/empty')]);
    for (const path of [
      'files/one',
      'files/deep/er/two',
      'files/empty/inner',
      'files/empty',
      'files/deep/er',
      'files/deep',
      'files',
    ]) {
      execFileSync('touch', ['-d', '2001-02-03 04:05:06.123456789', store.path(path)]);
    }
    const before = await store.digest('a.db');
    const time = statSync(store.path('a.db'), { bigint: true }).mtimeNs;
    await store.backup();
    rmSync(store.path('files'), { recursive: true });
    store.write('files/one', 'another');
    writeFileSync(store.path('a.db'), 'no database any more');
    await store.restore();
    expect(await store.digest('a.db')).toBe(before);
    expect(store.items()).toEqual(['one', 'two', 'three']);
    expect([
      statSync(store.path('a.db')).mode & 0o7777,
      statSync(store.path('a.db'), { bigint: true }).mtimeNs,
    ]).toEqual([0o640, time]);
    expect(lstatSync(store.path('files/empty/inner'), { bigint: true }).mtimeNs % 1_000_000_000n).toBe(123_456_789n);
    const attributes = execFileSync('getfattr', ['-d', store.path('files/one'), store.path('files/empty')], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    expect(attributes.match(/user\..*/g)).toEqual(['user.origin="a test"', 'user.kind="empty"']);
  });

  test('restore.stage: the same backup restored twice is the same tree', async () => {
    const store = makeStore(engine(), 'twice');
    await store.backup();
    await store.restore();
    const first = await store.digest();
    store.addItem('later');
    store.write('files/more', 'more');
    await store.restore();
    expect(await store.digest()).toBe(first);
    expect(store.epochCounter()).toBe(2);
  });

  test('restore.carry-over: what is outside the members stays, by hard link; what drop names stays behind', async () => {
    const store = makeStore(engine(), 'carried', {
      drop: ['*.pid', 'scratch'],
      files: { 'files/one': 'one', 'tls/server.key': 'key', '.env': 'SECRET=1', 'run.pid': '1', 'scratch/x': 'x' },
    });
    mkdirSync(store.path('tls/empty'));
    chmodSync(store.path('tls/server.key'), 0o600);
    const { artefact } = await store.backup();
    expect(readdirSync(join(artefact, 'data/data')).sort()).toEqual(['a.db', 'files']);
    const inodes = ['tls/server.key', '.env'].map((path) => statSync(store.path(path)).ino);
    const report = await store.restore();
    expect(['tls/server.key', '.env'].map((path) => statSync(store.path(path)).ino)).toEqual(inodes);
    expect(statSync(store.path('tls/server.key')).mode & 0o7777).toBe(0o600);
    expect(
      readdirSync(store.root)
        .filter((name) => !name.startsWith('a.db'))
        .sort(),
    ).toEqual(['.env', 'files', 'tls']);
    expect(existsSync(store.path('tls/empty'))).toBe(true);
    const former = store.rollbackPoints().find(({ id }) => id === report.rollbackPoint)?.roots[0]?.tree ?? '';
    expect([readFileSync(join(former, 'run.pid'), 'utf8'), readFileSync(join(former, 'scratch/x'), 'utf8')]).toEqual([
      '1',
      'x',
    ]);
  });

  test('restore.carry-over: a log of the database that is replaced never comes beside the new one', async () => {
    const store = makeStore(engine(), 'sidecars');
    await store.backup();
    const other = join(store.directory, 'other.db');
    // A log that fits the database by its name, and would be replayed into it
    sql(other, `${ITEMS} UPDATE item SET v = 'from the old log'`);
    const script = `const D=require('better-sqlite3');const d=new D(process.argv[1]);d.pragma('wal_autocheckpoint=0');d.exec("UPDATE item SET v='from the old log'");process.kill(process.pid,'SIGKILL')`;
    await new Promise((resolve) => spawn(process.execPath, ['-e', script, other]).once('exit', resolve));
    cpSync(`${other}-wal`, store.path('a.db-wal'));
    writeFileSync(store.path('a.db-journal'), 'an old journal');
    writeFileSync(store.path('a.db'), 'destroyed');
    await store.restore();
    expect(existsSync(store.path('a.db-journal'))).toBe(false);
    expect(existsSync(store.path('a.db-wal')) && statSync(store.path('a.db-wal')).size > 0).toBe(false);
    expect(store.items()).toEqual(['one', 'two', 'three']);
  });

  test('restore.detach, restore.attach: the hooks stop and start the application that writes', async () => {
    const store = makeStore(engine(), 'served', {
      contents: {},
      files: {},
      databases: ['a.db', 'b.db', 'c.db'].map((path) => ({ path })),
      trees: [{ path: 'files', policy: 'immutable' }],
    });
    const writer = await startWriter(store.root, join(store.directory, 'pause'));
    await store.backup();
    // The detach hook does nothing yet: the writer is seen
    const stop = await stopOf(restoreUnderWriter(store));
    expect([stop.code, stop.details['step']]).toEqual(['store_in_use', 'restore.in-use']);
    expect(stop.details['users']).toContainEqual(expect.objectContaining({ pid: writer.pid, what: 'open file' }));
    expect(store.hooksRun()).toEqual(['detach', 'attach']);
    expect(store.leftovers()).toEqual([]);
    store.scriptHook('detach', `kill ${writer.pid}; while kill -0 ${writer.pid} 2>/dev/null; do sleep 0.02; done`);
    store.scriptHook('attach', `: > '${store.directory}/started'`);
    await restoreUnderWriter(store);
    await writer.stop();
    expect(existsSync(join(store.directory, 'started'))).toBe(true);
    const rows = ['a.db', 'b.db'].map((name) => column(store.path(name), 'SELECT id FROM item ORDER BY id'));
    expect(rows[0]?.slice(0, rows[1]?.length)).toEqual(rows[1]);
    expect(store.leftovers()).toEqual([]);
  });

  test('restore.in-use: an open file in the root is store_in_use; without a detach hook already before anything is staged', async () => {
    const store = makeStore(engine(), 'used');
    await store.backup();
    const before = await store.digest();
    const user = await startProgram('/bin/sh', '-c', `exec 3<'${store.path('files/one')}'; echo open; exec sleep 60`);
    expect((await stopOf(store.restore())).code).toBe('store_in_use');
    store.define({ hooks: [] });
    const stop = await stopOf(store.restore());
    expect([stop.code, stop.details['step']]).toEqual(['store_in_use', 'restore.plan']);
    await user.stop();
    expect(await store.digest()).toBe(before);
    expect(store.leftovers()).toEqual([]);
  });

  test('restore.fence, restore.rebuild, restore.commit: the fence stands until the new state is validated', async () => {
    const store = makeStore(engine(), 'fenced', { hooks: ['detach', 'attach', 'caches', 'verify'] });
    await store.backup();
    const seen = (name: string): string => join(store.directory, `fence-at-${name}`);
    const fence = join(store.controlDirectory, 'fence.json');
    for (const hook of ['detach', 'caches', 'verify', 'attach'] as const)
      store.scriptHook(hook, `[ -e '${fence}' ] && : > '${seen(hook)}'; true`);
    await store.restore();
    expect(['detach', 'caches', 'verify', 'attach'].map((hook) => existsSync(seen(hook)))).toEqual([
      false,
      true,
      true,
      false,
    ]);
    expect(store.isFenced()).toBe(false);
  });

  test('restore.exchange: a root that is gone altogether comes back', async () => {
    const store = makeStore(engine(), 'gone');
    const before = await store.digest('a.db');
    await store.backup();
    rmSync(store.root, { recursive: true });
    await store.restore();
    expect(await store.digest('a.db')).toBe(before);
    expect(store.items()).toEqual(['one', 'two', 'three']);
    expect(store.leftovers()).toEqual([]);
  });

  test.each(['detach', 'caches'] as const)(
    'settle: a restore that is cancelled in the hook %s is undone altogether',
    async (hook) => {
      const store = makeStore(engine(), 'cancelled', { hooks: ['detach', 'attach', 'caches'] });
      await store.backup();
      store.addItem('newer');
      const before = await store.digest();
      const hold = store.holdHook(hook);
      const running = await store.startRestore();
      await hold.held();
      expect(store.isFenced()).toBe(hook === 'caches');
      // The execution, not the request that waits for it
      expect(await engine().holdfast.cancel(store.name)).toEqual({ workflowId: `holdfast/${store.name}` });
      expect(await stopOf(running.result())).toMatchObject({
        code: 'cancelled',
        details: { settled: hook === 'caches' ? 'undone' : 'ended', hooksRun: ['attach'], stagingDropped: 1 },
      });
      hold.letGo();
      expect(await store.digest()).toBe(before);
      expect(store.hooksRun().at(-1)).toBe('attach');
      expect(store.leftovers()).toEqual([]);
      expect(store.rollbackPoints()).toEqual([]);
    },
  );

  test('settle: a restore that is cancelled once it has committed comes to its end', async () => {
    const store = makeStore(engine(), 'late', { hooks: ['detach', 'attach'] });
    await store.backup();
    store.addItem('newer');
    const hold = store.holdHook('attach');
    const running = await store.startRestore();
    await hold.held();
    await running.cancel();
    hold.letGo();
    expect(await running.result()).toMatchObject({ protocol: 'restore' });
    expect(store.items()).toHaveLength(3);
    expect(store.leftovers()).toEqual([]);
  });

  test('settle: a request that is cancelled takes its execution along', async () => {
    const store = makeStore(engine(), 'abandoned', { hooks: ['detach', 'attach', 'caches'] });
    await store.backup();
    const before = await store.digest();
    const hold = store.holdHook('caches');
    const running = await store.startRestore();
    await hold.held();
    await running.cancel();
    expect(await stopOf(running.result())).toMatchObject({ code: 'cancelled', details: { settled: 'undone' } });
    hold.letGo();
    await eventually('the execution is undone', async () => (await engine().holdfast.running(store.name)).length === 0);
    expect(await store.digest()).toBe(before);
    expect(store.leftovers()).toEqual([]);
  });
});
