// The protocol backup, step by step, against a real engine, worker, SQLite and filesystem: what is captured, at which
// instant, and what is left when it is refused. Clauses F-18, SM-1, SM-2.
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { describe, expect, onTestFinished, test } from 'vitest';
import { listArtefacts } from '../../artefacts/catalogue.js';
import { STEPS } from '../../domain/steps.js';
import { eventually, stopOf, useEngine } from '../support/engine.js';
import { startProgram, startWriter } from '../support/processes.js';
import { requires } from '../support/requires.js';
import { ITEMS, column, makeStore, sql } from '../support/store.js';

describe.skipIf(requires('temporal'))('backup', () => {
  const engine = useEngine();

  test('backup.lock to backup.release: every step once, in order, and nothing is left but the artefact', async () => {
    const store = makeStore(engine(), 'whole', { hooks: ['quiesce', 'resume'] });
    const before = await store.digest();
    const report = await store.backup();
    expect([...report.steps.map(({ step }) => step), 'backup.release']).toEqual(STEPS.backup.map(({ id }) => id));
    expect(report).toMatchObject({ protocol: 'backup', store: store.name, files: 3, databases: 1 });
    expect(store.published()).toEqual([report.artefact.split('/').at(-1)]);
    expect(readdirSync(report.artefact).sort()).toEqual(['data', 'manifest.json']);
    expect(store.leftovers()).toEqual([]);
    expect(store.hooksRun()).toEqual(['quiesce', 'resume']);
    expect(await store.digest()).toBe(before);
  });

  test('backup.package: a backup that was made while the clock was ahead is not the latest once there is a next one', async () => {
    const store = makeStore(engine(), 'ahead');
    const { artefact, backupId } = await store.backup();
    const ahead = { ...store.manifest(artefact), createdAt: '2099-01-01T00:00:00.000Z' };
    writeFileSync(join(artefact, 'manifest.json'), JSON.stringify(ahead));
    const name = `000001-20990101T000000Z-${backupId.slice(0, 8)}`;
    renameSync(artefact, join(store.destination, name));
    store.addItem('newer');
    const next = await store.backup();
    expect(store.manifest(next.artefact).number).toBe(2);
    expect((await store.plan()).plan.source.id).toBe(next.backupId);
    store.addItem('lost');
    await store.restore();
    expect(store.items().at(-1)).toBe('newer');
    const listed = await listArtefacts(store.destination, store.name);
    expect(listed.map(({ name: each }) => each)).toEqual([name, next.artefact.split('/').at(-1)]);
  });

  test('backup.plan: where no number can follow the highest it is refused before anything is copied', async () => {
    const store = makeStore(engine(), 'numbered', { hooks: ['quiesce', 'resume'] });
    mkdirSync(join(store.destination, '999999999999999-20260102T030405Z-0b6f1f8e'), { recursive: true });
    const stop = await stopOf(store.backup());
    expect([stop.code, stop.details['step']]).toEqual(['manifest_invalid', 'backup.plan']);
    expect(store.hooksRun()).toEqual([]);
    expect(store.leftovers()).toEqual([]);
  });

  test('backup.plan: a link, a FIFO, an absent member and a file without the header are refused, each by its code', async () => {
    const store = makeStore(engine(), 'planned', {
      hooks: ['quiesce', 'resume'],
      databases: [{ path: 'a.db' }],
      trees: [{ path: 'files' }],
    });
    symlinkSync('one', store.path('files/link'));
    expect((await stopOf(store.backup())).code).toBe('symlink_found');
    rmSync(store.path('files/link'));
    execFileSync('mkfifo', [store.path('files/pipe')]);
    expect((await stopOf(store.backup())).code).toBe('special_file_found');
    rmSync(store.path('files/pipe'));
    store.define({ trees: [{ path: 'elsewhere' }] });
    expect((await stopOf(store.backup())).code).toBe('member_missing');
    store.define({ trees: [{ path: 'files' }], databases: [{ path: 'files/one' }] });
    expect((await stopOf(store.backup())).code).toBe('not_a_database');
    rmSync(store.root, { recursive: true });
    const stop = await stopOf(store.backup());
    expect([stop.code, stop.details['step']]).toEqual(['member_missing', 'backup.plan']);
    // What can be known beforehand costs the application nothing
    expect(store.hooksRun()).toEqual([]);
    expect(store.published()).toEqual([]);
    expect(store.leftovers()).toEqual([]);
  });

  test('backup.plan: a name that is not UTF-8 is path_not_utf8', async () => {
    const store = makeStore(engine(), 'names');
    writeFileSync(Buffer.concat([Buffer.from(`${store.path('files')}/`), Buffer.from([0x61, 0xff])]), '');
    expect((await stopOf(store.backup())).code).toBe('path_not_utf8');
  });

  test('backup.quiesce: a hook that fails ends the backup, the application goes on, nothing is left', async () => {
    const store = makeStore(engine(), 'unquiet', { hooks: ['quiesce', 'resume'] });
    store.failHook('quiesce');
    store.failHook('resume', 1);
    const stop = await stopOf(store.backup());
    expect(stop.code).toBe('hook_failed');
    expect(stop.details).toMatchObject({ hook: 'quiesce', step: 'backup.quiesce', lastOutput: 'told to fail\n' });
    // Compensation is tried again until it has come about
    expect(store.hooksRun()).toEqual(['quiesce', 'resume', 'resume']);
    expect(store.leftovers()).toEqual([]);
  });

  test('backup.quiesce: a hook that does not end is killed with its children', async () => {
    const store = makeStore(engine(), 'endless', { hooks: ['quiesce', 'resume'], hookTimeoutSeconds: 1 });
    const marker = `${store.directory}/child`;
    store.scriptHook('quiesce', `(sleep 3; : > '${marker}') & sleep 60`);
    expect((await stopOf(store.backup())).code).toBe('hook_failed');
    await new Promise((resolve) => setTimeout(resolve, 3_500));
    expect(existsSync(marker)).toBe(false);
  });

  test('backup.snapshot: a tree that never rests is source_changed after the last try', async () => {
    const store = makeStore(engine(), 'restless', { backup: { cutTriesMax: 3 } });
    const timer = setInterval(() => writeFileSync(store.path('files/one'), `${performance.now()}`), 1);
    const stop = await stopOf(store.backup()).finally(() => clearInterval(timer));
    expect(stop.code).toBe('source_changed');
    expect(stop.details).toMatchObject({ step: 'backup.snapshot' });
    expect(store.published()).toEqual([]);
    expect(store.leftovers()).toEqual([]);
  });

  test.each([
    ['verify', 'altered', "echo changed > 'ROOT/files/one'"],
    ['verify', 'added', ": > 'ROOT/files/new'"],
    ['verify', 'removed', "rm 'ROOT/files/one'"],
    ['verify', 'added as an empty directory', "mkdir 'ROOT/files/empty'"],
    ['immutable', 'altered', "echo changed > 'ROOT/files/one'"],
    ['immutable', 'removed', "rm 'ROOT/files/one'"],
    ['append', 'shortened', ": > 'ROOT/files/one'"],
  ] as const)(
    'backup.snapshot: policy %s, a file %s once while the store is read: the second cut has it',
    async (policy, what, script) => {
      const store = makeStore(engine(), 'once', { hooks: ['quiesce', 'resume'], trees: [{ path: 'files', policy }] });
      // At the instant of the first cut, once: for the second one the application is held still until it is read
      store.scriptHook('resume', `[ -e once ] || { : > once; ${script.replaceAll('ROOT', store.root)}; }`);
      const report = await store.backup();
      expect(report.cut.cutTries, what).toBe(2);
      execFileSync('diff', ['-r', store.path('files'), join(report.artefact, 'data/data/files')]);
      expect(store.published()).toHaveLength(1);
    },
  );

  test('backup.snapshot: policy immutable, a file added while the store is read needs no second cut', async () => {
    const store = makeStore(engine(), 'grown', {
      hooks: ['quiesce', 'resume'],
      trees: [{ path: 'files', policy: 'immutable' }],
    });
    store.scriptHook('resume', `: > '${store.path('files/new')}'`);
    const report = await store.backup();
    expect(report.cut.cutTries).toBe(1);
    expect(existsSync(join(report.artefact, 'data/data/files/one'))).toBe(true);
  });

  test('backup.snapshot: policy append, a log that is written all the time is captured up to the cut and no further', async () => {
    const store = makeStore(engine(), 'logged', {
      contents: {},
      files: {},
      databases: ['a.db', 'b.db', 'c.db'].map((path) => ({ path })),
      trees: [
        { path: '.', include: ['log.txt'], policy: 'append' },
        { path: 'files', policy: 'immutable' },
      ],
    });
    const writer = await startWriter(store.root, join(store.directory, 'pause'));
    for (let round = 0; round < 2; round += 1) {
      const { artefact } = await store.backup();
      const log = readFileSync(join(artefact, 'data/data/log.txt'), 'utf8');
      const rows = column(join(artefact, 'data/data/a.db'), 'SELECT id FROM item ORDER BY id').length;
      expect(log.length % 8).toBe(0);
      // The line comes before the row, and the lock of the cut stops the writer at the row
      expect([rows, rows + 1]).toContain(log.length / 8);
      expect(readFileSync(store.path('log.txt'), 'utf8').startsWith(log)).toBe(true);
    }
    await writer.stop();
  });

  test('backup.snapshot: policy append without a database, logs that are written one after the other are of one instant', async () => {
    const store = makeStore(engine(), 'logs', {
      contents: {},
      files: { first: '', second: '' },
      databases: [],
      trees: [{ path: '.', policy: 'append' }],
    });
    const append = `cd '${store.root}'; echo begun; while :; do echo x >> first; echo x >> second; sleep 0.002; done`;
    const writer = await startProgram('/bin/sh', '-c', append);
    for (let round = 0; round < 3; round += 1) {
      const { artefact } = await store.backup();
      const [first = 0, second = 0] = ['first', 'second'].map(
        (name) => statSync(join(artefact, 'data/data', name)).size,
      );
      expect(first).toBeGreaterThan(0);
      expect([first, first - 2]).toContain(second);
    }
    await writer.stop();
  });

  test('backup.resume: policy quiesced, the hook holds the application until its tree is read', async () => {
    const store = makeStore(engine(), 'held', {
      contents: {},
      files: {},
      databases: ['a.db', 'b.db', 'c.db'].map((path) => ({ path })),
      trees: [{ path: '.', include: ['log.txt', 'files/**'], policy: 'quiesced' }],
      hooks: ['quiesce', 'resume'],
      backup: { cutTriesMax: 1 },
    });
    const pause = join(store.directory, 'pause');
    store.scriptHook('quiesce', `: > '${pause}'; while [ ! -e '${pause}.still' ]; do sleep 0.01; done`);
    store.scriptHook('resume', `rm -f '${pause}'`);
    const writer = await startWriter(store.root, pause);
    const report = await store.backup();
    const rows = column(join(report.artefact, 'data/data/a.db'), 'SELECT id FROM item').length;
    expect(readFileSync(join(report.artefact, 'data/data/log.txt'), 'utf8')).toHaveLength(rows * 8);
    expect(column(join(report.artefact, 'data/data/c.db'), 'SELECT count(*) FROM item')).toEqual([
      readdirSync(join(report.artefact, 'data/data/files')).length,
    ]);
    expect(report.cut.quiescedMillis).toBeGreaterThan(report.cut.pauseMillis);
    await eventually('the writer goes on', () => statSync(store.path('log.txt')).size > rows * 8);
    await writer.stop();
  });

  test('backup.snapshot: an unlisted database in a tree is captured as a database, with its log and without sidecars', async () => {
    const store = makeStore(engine(), 'unlisted', { files: { 'files/notes.db-wal': 'no sidecar of anything' } });
    const live = new Database(store.path('files/hidden.bin'));
    onTestFinished(() => void live.close());
    live.pragma('journal_mode = WAL');
    live.exec(ITEMS);
    expect(statSync(store.path('files/hidden.bin-wal')).size).toBeGreaterThan(0);
    const { artefact } = await store.backup();
    const manifest = store.manifest(artefact);
    expect(manifest.entries.filter(({ type }) => type === 'database').map(({ path }) => path)).toEqual([
      'a.db',
      'files/hidden.bin',
    ]);
    expect(readdirSync(join(artefact, 'data/data/files')).sort()).toEqual(['hidden.bin', 'notes.db-wal']);
    expect(column(join(artefact, 'data/data/files/hidden.bin'), 'SELECT v FROM item')).toEqual(['one', 'two', 'three']);
  });

  test('backup.snapshot: a database that is created during the cut is in it', async () => {
    const store = makeStore(engine(), 'late', {
      hooks: ['quiesce', 'resume'],
      databases: [{ path: '*.db' }],
      contents: { 'a.db': ITEMS, 'b.db': ITEMS },
    });
    sql(join(store.directory, 'made.db'), "CREATE TABLE item (v); INSERT INTO item VALUES ('late')", 'delete');
    store.scriptHook('resume', `cp '${store.directory}/made.db' '${store.path('c.db')}'`);
    const report = await store.backup();
    expect([report.cut.cutTries, report.databases]).toEqual([2, 3]);
    expect(column(join(report.artefact, 'data/data/c.db'), 'SELECT v FROM item')).toEqual(['late']);
  });

  test('backup.plan: a glob that matches no database is member_missing, unless it is optional', async () => {
    const tenants = { path: 'tenants/*/tenant.db' };
    const store = makeStore(engine(), 'unmounted', { databases: [{ path: 'a.db' }, tenants] });
    const stop = await stopOf(store.backup());
    expect([stop.code, stop.details['path']]).toEqual(['member_missing', tenants.path]);
    expect([store.published(), store.leftovers()]).toEqual([[], []]);
    const absent = { path: 'b.db', optional: true };
    const other = makeStore(engine(), 'young', {
      databases: [{ path: 'a.db' }, { ...tenants, optional: true }, absent],
    });
    expect((await other.backup()).databases).toBe(1);
  });

  test('backup.snapshot: a database of which a writer died in a transaction is hot_journal, and is left as it is', async () => {
    const store = makeStore(engine(), 'hot', { contents: {} });
    sql(store.path('a.db'), ITEMS, 'delete');
    const program =
      "const D=require('better-sqlite3');const d=new D(process.argv[1]);d.pragma('cache_size=1');d.exec('BEGIN IMMEDIATE');d.exec(\"WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<5000) INSERT INTO item (v) SELECT randomblob(500) FROM c\");process.kill(process.pid,'SIGKILL')";
    try {
      execFileSync(process.execPath, ['-e', program, store.path('a.db')], { stdio: 'pipe' });
      expect.fail('the writer did not die');
    } catch (error) {
      expect(error).toMatchObject({ signal: 'SIGKILL' });
    }
    const before = await store.digest();
    expect((await stopOf(store.backup())).code).toBe('hot_journal');
    expect(await store.digest()).toBe(before);
    expect(store.leftovers()).toEqual([]);
  });

  test('backup.validate: a required table that is missing is refused before anything is published', async () => {
    const store = makeStore(engine(), 'checked', { databases: [{ path: 'a.db', requiredTables: ['item', 'app_*'] }] });
    const stop = await stopOf(store.backup());
    expect([stop.code, stop.details['step']]).toEqual(['required_table_missing', 'backup.validate']);
    expect(store.published()).toEqual([]);
    expect(store.leftovers()).toEqual([]);
  });

  test('backup.package: until its one rename the artefact is hidden and has no manifest', async () => {
    const store = makeStore(engine(), 'packed', { hooks: ['version'] });
    store.scriptHook('version', 'echo \'{"version": "1.2.3", "modules": ["b", "a"]}\'');
    const hold = store.holdHook('version');
    const running = store.backup();
    await hold.held();
    const [partial, ...more] = store.published();
    expect([partial?.startsWith('.partial-'), more]).toEqual([true, []]);
    expect(existsSync(join(store.destination, partial ?? '', 'manifest.json'))).toBe(false);
    expect(
      (
        await stopOf(
          engine()
            .holdfast.verify(store.name, 'latest', { requestedBy: 'test' })
            .then((run) => run.result()),
        )
      ).code,
    ).toBe('artefact_missing');
    hold.letGo();
    const { artefact } = await running;
    expect(store.published()).toEqual([artefact.split('/').at(-1)]);
    expect(store.manifest(artefact).application).toEqual({ version: '1.2.3', modules: ['b', 'a'] });
  });

  test('backup.lock: a definition that others can write, a bad one, and none are refused, each by its code', async () => {
    const store = makeStore(engine(), 'defined');
    const path = join(engine().definitionsDirectory, `${store.name}.yaml`);
    chmodSync(path, 0o666);
    expect((await stopOf(store.backup())).code).toBe('definition_untrusted');
    chmodSync(path, 0o644);
    writeFileSync(path, readFileSync(path, 'utf8').replace('"holdfast":1', '"holdfast":1,"unknown":1'));
    expect((await stopOf(store.backup())).code).toBe('definition_invalid');
    store.define({ backup: { destination: store.path('inside') } });
    expect((await stopOf(store.backup())).code).toBe('roots_overlap');
    store.forget();
    expect((await stopOf(store.backup())).code).toBe('definition_missing');
  });

  test('settle: a backup that is cancelled while the application holds still lets it go on and leaves nothing', async () => {
    const store = makeStore(engine(), 'cancelled', { hooks: ['quiesce', 'resume'] });
    mkdirSync(store.destination);
    const hold = store.holdHook('quiesce');
    const running = await engine().holdfast.backup(store.name, { requestedBy: 'test' });
    await hold.held();
    expect(await engine().holdfast.cancel(store.name)).toEqual({ workflowId: running.workflowId });
    expect((await stopOf(running.result())).code).toBe('cancelled');
    hold.letGo();
    expect(store.hooksRun()).toEqual(['quiesce', 'resume']);
    expect(store.published()).toEqual([]);
    expect(store.leftovers()).toEqual([]);
    expect((await stopOf(engine().holdfast.cancel(store.name))).code).toBe('operation_missing');
  });
});
