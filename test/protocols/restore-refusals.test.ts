// What a restore refuses, each by its own code, and that afterwards the live store is what it was. Clauses F-21, F-31,
// SM-3 to SM-9.
import { chmodSync, chownSync, cpSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { execFileSync, spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { STOPS } from '../../domain/stop.js';
import type { StopCode } from '../../domain/stop.js';
import { alterConsistently, damagedCopy, editManifest, rot } from '../support/artefact.js';
import { eventually, stopOf, useEngine } from '../support/engine.js';
import { requires } from '../support/requires.js';
import { ITEMS, LATEST_POINT, makeStore, sql } from '../support/store.js';
import type { TestStore } from '../support/store.js';

const LEDGER =
  "CREATE TABLE entry (seq INTEGER PRIMARY KEY, v TEXT); INSERT INTO entry VALUES (1, 'a'), (2, 'b'); CREATE TABLE schema_migrations (version TEXT); INSERT INTO schema_migrations VALUES ('001'), ('002');";
const LEDGER_DATABASE = {
  path: 'ledger.db',
  sequences: [{ table: 'entry', column: 'seq' }],
  appendOnly: [{ table: 'entry', column: 'seq' }],
  migrations: { table: 'schema_migrations', orderBy: 'version' },
};

describe.skipIf(requires('temporal'))('a restore that is refused', () => {
  const engine = useEngine();

  /** The refusal, and the proof that it left nothing: the tree as it was, no lock, no fence, no staging, no new epoch. */
  async function refusedFor(store: TestStore, backup = 'latest'): Promise<readonly [StopCode, unknown]> {
    const before = [await store.digest(), store.epochCounter(), store.rollbackPoints().length];
    const stop = await stopOf(store.restore({ kind: 'backup', backup }));
    expect([await store.digest(), store.epochCounter(), store.rollbackPoints().length]).toEqual(before);
    expect(store.leftovers()).toEqual([]);
    return [stop.code, stop.details['step']];
  }

  const TAMPERED: readonly (readonly [StopCode, string, string, (copy: string) => void])[] = [
    [
      'checksum_mismatch',
      'restore.stage',
      'a byte of a file was altered',
      (copy) => writeFileSync(join(copy, 'data/data/files/one'), 'onE'),
    ],
    [
      'checksum_mismatch',
      'restore.stage',
      'a known manifest was edited',
      (copy) => {
        const path = join(copy, 'manifest.json');
        writeFileSync(
          path,
          `${String(JSON.stringify({ ...(JSON.parse(readFileSync(path, 'utf8')) as object), createdBy: 'nobody' }))}\n`,
        );
      },
    ],
    ['file_missing', 'restore.stage', 'a file is missing', (copy) => rmSync(join(copy, 'data/data/files/deep/two'))],
    ['file_extra', 'restore.stage', 'a file was added', (copy) => writeFileSync(join(copy, 'data/data/added'), '')],
    [
      'integrity_failed',
      'restore.validate',
      'a database is damaged behind a manifest from elsewhere',
      (copy) => alterConsistently(copy, 'a.db', rot),
    ],
    [
      'required_table_missing',
      'restore.validate',
      'a database lacks a required table',
      (copy) => alterConsistently(copy, 'a.db', (path) => sql(path, 'DROP TABLE item')),
    ],
    [
      'foreign_keys_violated',
      'restore.validate',
      'a database violates its foreign keys',
      (copy) =>
        alterConsistently(copy, 'a.db', (path) =>
          sql(path, 'PRAGMA foreign_keys = OFF; CREATE TABLE x (i REFERENCES item(id)); INSERT INTO x VALUES (99)'),
        ),
    ],
    [
      'platform_differs',
      'restore.gates',
      'it is of another platform',
      (copy) => editManifest(copy, (text) => text.replace('"os":"linux"', '"os":"plan9"')),
    ],
    ['manifest_missing', 'request.plan', 'it has no manifest', (copy) => rmSync(join(copy, 'manifest.json'))],
    [
      'manifest_invalid',
      'request.plan',
      'the manifest says nothing of a file',
      (copy) => editManifest(copy, (text) => text.replace('"files":', '"file":').replace('"entries":', '"entry":')),
    ],
    [
      'path_unsafe',
      'request.plan',
      'a path leaves the root',
      (copy) => editManifest(copy, (text) => text.replace('"files/one"', '"files/../../one"')),
    ],
    [
      'store_differs',
      'request.plan',
      'it has other roots',
      (copy) => editManifest(copy, (text) => text.replaceAll('"root":"data"', '"root":"date"')),
    ],
  ];
  test.each(TAMPERED)(
    'restore.stage, restore.validate, restore.gates: %s by %s where %s',
    async (code, step, _what, tamper) => {
      const store = makeStore(engine(), 'tampered', { databases: [{ path: 'a.db', requiredTables: ['item'] }] });
      const { artefact } = await store.backup();
      store.addItem('newer');
      expect(await refusedFor(store, damagedCopy(artefact, store.directory, tamper))).toEqual([code, step]);
    },
  );

  test('request.plan: a backup of another store is store_differs', async () => {
    const [store, other] = [makeStore(engine(), 'mine'), makeStore(engine(), 'other')];
    const { artefact } = await other.backup();
    expect(await refusedFor(store, artefact)).toEqual(['store_differs', 'request.plan']);
  });

  test('request.plan: no backup, and the beginning of two, are artefact_missing and ambiguous_intent', async () => {
    const store = makeStore(engine(), 'unclear');
    expect(await refusedFor(store)).toEqual(['artefact_missing', 'request.plan']);
    const { artefact } = await store.backup();
    for (const name of ['kept-a', 'kept-b']) cpSync(artefact, join(store.destination, name), { recursive: true });
    expect(await refusedFor(store, 'kept')).toEqual(['ambiguous_intent', 'request.plan']);
    expect((await stopOf(store.restore(LATEST_POINT))).code).toBe('rollback_missing');
  });

  test('restore.gates: version and modules are held against what the application says now', async () => {
    const store = makeStore(engine(), 'gated', {
      hooks: ['detach', 'attach', 'version'],
      gates: { version: 'not-newer', modules: 'exact' },
    });
    const says = (version: string, modules: readonly string[]): void =>
      store.scriptHook('version', `echo '${JSON.stringify({ version, modules })}'`);
    says('1.10.0', ['maps', 'users']);
    await store.backup();
    says('1.9.0', ['maps', 'users']);
    expect(await refusedFor(store)).toEqual(['version_refused', 'restore.gates']);
    says('1.10.1', ['maps']);
    expect(await refusedFor(store)).toEqual(['modules_refused', 'restore.gates']);
    says('1.10.1', ['users', 'maps']);
    expect((await store.restore()).epoch.counter).toBe(1);
  });

  test('restore.compare: a sequence never goes back below the live one, nor below what any backup has seen', async () => {
    const store = makeStore(engine(), 'floor', {
      contents: { 'a.db': ITEMS, 'ledger.db': LEDGER },
      databases: [{ path: 'a.db' }, LEDGER_DATABASE],
    });
    const first = await store.backup();
    await store.restore();
    sql(store.path('ledger.db'), "INSERT INTO entry VALUES (3, 'c')");
    expect(await refusedFor(store)).toEqual(['sequence_rewind', 'restore.compare']);
    const second = await store.backup();
    // The live database is lost; the second backup has witnessed 3
    writeFileSync(store.path('ledger.db'), 'destroyed');
    expect(await refusedFor(store, first.artefact)).toEqual(['sequence_rewind', 'restore.compare']);
    expect((await store.restore({ kind: 'backup', backup: second.backupId })).epoch.counter).toBe(2);
  });

  test('restore.compare: a rewritten or reordered migration history is migrations_diverged', async () => {
    const store = makeStore(engine(), 'migrated', { contents: { 'ledger.db': LEDGER }, databases: [LEDGER_DATABASE] });
    await store.backup();
    sql(store.path('ledger.db'), "INSERT INTO schema_migrations VALUES ('003')");
    // A prefix is compatible
    await store.restore();
    sql(store.path('ledger.db'), "UPDATE schema_migrations SET version = '001b' WHERE version = '001'");
    expect(await refusedFor(store)).toEqual(['migrations_diverged', 'restore.compare']);
  });

  test('restore.compare: accepted rows that differ are history_rewritten', async () => {
    const store = makeStore(engine(), 'rewritten', { contents: { 'ledger.db': LEDGER }, databases: [LEDGER_DATABASE] });
    await store.backup();
    sql(store.path('ledger.db'), "UPDATE entry SET v = 'B' WHERE seq = 2");
    expect(await refusedFor(store)).toEqual(['history_rewritten', 'restore.compare']);
  });

  test.skipIf(requires('setpriv'))(
    'restore.stage: files of another user are owner_differs where the worker is not root',
    async () => {
      const user = '65534';
      const store = makeStore(engine(), 'owned', {});
      const state = join(engine().directory, 'unprivileged');
      mkdirSync(state);
      chownSync(state, Number(user), Number(user));
      const worker = spawn(
        'setpriv',
        [
          `--reuid=${user}`,
          `--regid=${user}`,
          '--clear-groups',
          process.execPath,
          fileURLToPath(new URL('../../workers/main.js', import.meta.url)),
          '--address',
          engine().session.address,
        ],
        {
          env: {
            ...engine().environment,
            HOLDFAST_HOST: 'unprivileged',
            HOME: '/nonexistent',
            HOLDFAST_STATE_DIRECTORY: state,
          },
          stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
        },
      );
      onTestFinished(async () => {
        worker.kill('SIGTERM');
        await eventually('the worker has ended', () => worker.exitCode !== null || worker.signalCode !== null);
      });
      await new Promise((resolve, reject) =>
        worker.once('message', resolve).once('exit', () => reject(new Error('the worker ended'))),
      );
      await store.backup();
      // The user may do everything here but give files to root
      rmSync(join(store.directory, '.holdfast'), { recursive: true });
      for (const path of [store.directory, store.root]) chmodSync(path, 0o777);
      execFileSync('chmod', ['-R', 'a+rX', store.destination]);
      expect(statSync(store.path('files/one')).uid).toBe(0);
      const before = await store.digest();
      const stop = await stopOf(store.restore(undefined, { host: 'unprivileged' }));
      expect([stop.code, stop.details['step'], STOPS[stop.code].exit]).toEqual(['owner_differs', 'restore.stage', 77]);
      expect(await store.digest()).toBe(before);
    },
  );
});
