// A backend whose truth is numbered by global_seq, on the definition of docs/guides/storage-manager.md. Clauses SM-1 to
// SM-7; what holds of any store (SM-8 to SM-10) is proved in test/acceptance/first-light/ and test/crash/.
import { cpSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import type { StoreDefinitionInput } from '../../../domain/schema/definition.js';
import type { StopDetails } from '../../../domain/stop.js';
import { alterConsistently, damagedCopy, editManifest } from '../../support/artefact.js';
import { stopOf, useEngine } from '../../support/engine.js';
import { requires } from '../../support/requires.js';
import { column, makeStore, sql } from '../../support/store.js';
import type { TestStore } from '../../support/store.js';

const GUIDE = readFileSync('docs/guides/storage-manager.md', 'utf8');
const { roots } = parse(/```yaml\n(.*?)```/s.exec(GUIDE)?.[1] ?? '') as StoreDefinitionInput;
const DATABASES = roots['data']?.databases ?? [];
const BACKEND = `
  CREATE TABLE schema_migrations (version TEXT PRIMARY KEY, applied_at TEXT);
  INSERT INTO schema_migrations VALUES ('001', '2026-01-01'), ('002', '2026-02-01');
  CREATE TABLE identities (id INTEGER PRIMARY KEY, name TEXT);
  INSERT INTO identities (name) VALUES ('ada'), ('grace');
  CREATE TABLE operations (global_seq INTEGER PRIMARY KEY, body TEXT NOT NULL);
  INSERT INTO operations (body) VALUES ('one'), ('two'), ('three');
  CREATE TABLE app_notes (id INTEGER PRIMARY KEY, text TEXT);
  INSERT INTO app_notes (text) VALUES ('a note');
  CREATE TABLE app_tasks (id INTEGER PRIMARY KEY, text TEXT);`;

/** Every table with its definition and all of its rows. */
function contentsOf(path: string): unknown {
  const tables = column(path, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name") as string[];
  return tables.map((name) => [
    name,
    column(path, `SELECT sql FROM sqlite_schema WHERE name = '${name}'`),
    column(path, `SELECT count(*) FROM "${name}"`),
    column(path, `SELECT json_array(${columnsOf(path, name)}) FROM "${name}" ORDER BY 1`),
  ]);
}

const columnsOf = (path: string, table: string): string =>
  column(path, `SELECT name FROM pragma_table_info('${table}')`)
    .map((name) => `"${String(name)}"`)
    .join(', ');

describe.skipIf(requires('temporal'))('a storage manager', () => {
  const engine = useEngine();
  const makeBackend = (purpose: string): TestStore =>
    makeStore(engine(), purpose, { contents: { 'backend.db': BACKEND }, files: {}, databases: DATABASES, trees: [] });
  const live = (store: TestStore): string => store.path('backend.db');
  const accept = (store: TestStore, body: string): void =>
    sql(live(store), `INSERT INTO operations (body) VALUES ('${body}')`);
  const operations = (store: TestStore): unknown[] =>
    column(live(store), 'SELECT body FROM operations ORDER BY global_seq');

  /** The refusal, with the proof that nothing was done. */
  async function refusal(store: TestStore, backup: string): Promise<StopDetails> {
    const before = [await store.digest(), store.epochCounter(), store.rollbackPoints().length];
    const stop = await stopOf(store.restore({ kind: 'backup', backup }));
    expect([await store.digest(), store.epochCounter(), store.rollbackPoints().length]).toEqual(before);
    expect(store.leftovers()).toEqual([]);
    return { code: stop.code, ...stop.details };
  }

  test('SM-1, SM-2: a backup beside an open transaction holds every table and every row, and changes nothing', async () => {
    const store = makeBackend('whole');
    const [before, contents] = [await store.digest(), contentsOf(live(store))];
    const { artefact } = await store.backup();
    expect(contentsOf(join(artefact, 'data/data/backend.db'))).toEqual(contents);
    expect(await store.digest()).toBe(before);
    const application = new Database(live(store));
    application.exec("BEGIN; INSERT INTO operations (body) VALUES ('not accepted yet')");
    const during = await store.backup();
    application.exec('COMMIT');
    application.close();
    expect(contentsOf(join(during.artefact, 'data/data/backend.db'))).toEqual(contents);
    expect(operations(store)).toHaveLength(4);
  });

  test.each(['operations', 'identities', 'schema_migrations', 'app_notes; DROP TABLE app_tasks'])(
    'SM-2, SM-6: a backup without %s is refused, and nothing is published',
    async (table) => {
      const store = makeBackend('lacking');
      sql(live(store), `DROP TABLE ${table}`);
      expect((await stopOf(store.backup())).code).toBe('required_table_missing');
      expect(store.published()).toEqual([]);
      expect(store.leftovers()).toEqual([]);
    },
  );

  test('SM-3: a copied artefact is restored by a machine that has neither the store nor a record of it', async () => {
    const [first, second] = [makeBackend('first'), makeBackend('second')];
    const contents = contentsOf(live(first));
    const { artefact } = await first.backup();
    const copy = join(second.directory, 'carried');
    cpSync(artefact, copy, { recursive: true, preserveTimestamps: true });
    // The second store stands for the first one on that machine: a bare root, and a backup that says whose it is
    editManifest(copy, (text) => text.replaceAll(`"store":"${first.name}"`, `"store":"${second.name}"`));
    rmSync(second.root, { recursive: true });
    expect(existsSync(second.controlDirectory)).toBe(false);
    await second.restore({ kind: 'backup', backup: copy });
    expect(contentsOf(live(second))).toEqual(contents);
  });

  test.each(['"os":"linux"', '"endianness":"LE"'])(
    'SM-3: a backup of another family of platforms, not %s, is refused',
    async (fact) => {
      const store = makeBackend('platform');
      const { artefact } = await store.backup();
      const other = fact.replace(/"(linux|LE)"$/, (_whole, value) => (value === 'LE' ? '"BE"' : '"plan9"'));
      const copy = damagedCopy(artefact, store.directory, (path) =>
        editManifest(path, (text) => text.replace(fact, other)),
      );
      expect(await refusal(store, copy)).toMatchObject({ code: 'platform_differs', step: 'restore.gates' });
    },
  );

  test('SM-4: global_seq never goes back below the live database, and comes back from the newest backup', async () => {
    const store = makeBackend('floor');
    const { backupId } = await store.backup();
    accept(store, 'four');
    expect(await refusal(store, backupId)).toMatchObject({
      code: 'sequence_rewind',
      step: 'restore.compare',
      floor: '4',
      wouldBe: '3',
    });
    const newest = await store.backup();
    await store.restore({ kind: 'backup', backup: newest.backupId });
    expect(operations(store)).toEqual(['one', 'two', 'three', 'four']);
  });

  test('SM-4: the floor holds when the live database is damaged or gone: by the newest backup', async () => {
    const store = makeBackend('witnessed');
    const older = await store.backup();
    accept(store, 'four');
    const newer = await store.backup();
    writeFileSync(live(store), Buffer.alloc(20_000, 7));
    const expected = {
      code: 'sequence_rewind',
      step: 'restore.compare',
      floor: '4',
      wouldBe: '3',
      seenIn: newer.backupId,
    };
    expect(await refusal(store, older.backupId)).toMatchObject(expected);
    rmSync(live(store));
    expect(await refusal(store, older.backupId)).toMatchObject(expected);
    await store.restore({ kind: 'backup', backup: newer.backupId });
    expect(operations(store)).toEqual(['one', 'two', 'three', 'four']);
  });

  test('SM-4: a live database that a refused restore has seen is a witness, also after it is gone', async () => {
    const store = makeBackend('seen');
    const { backupId } = await store.backup();
    accept(store, 'four');
    await refusal(store, backupId);
    rmSync(live(store));
    expect(await refusal(store, backupId)).toMatchObject({
      code: 'sequence_rewind',
      step: 'restore.compare',
      floor: '4',
      seenIn: 'the live database',
    });
  });

  test('SM-4: the way below the floor is a restore as a new store, which leaves the old one and its floor alone', async () => {
    const [store, fresh] = [makeBackend('old'), makeBackend('fresh')];
    const { artefact, backupId } = await store.backup();
    accept(store, 'four');
    const source = { kind: 'backup', backup: artefact, from: store.name } as const;
    expect((await stopOf(fresh.plan(source))).code).toBe('target_exists');
    rmSync(fresh.root, { recursive: true });
    expect((await stopOf(fresh.plan({ kind: 'backup', backup: artefact }))).code).toBe('store_differs');
    expect((await stopOf(fresh.plan({ ...source, from: 'another' }))).code).toBe('store_differs');
    const before = await store.digest();
    const { plan } = await fresh.plan(source);
    expect(plan.sentence).toContain(`anew from backup ${backupId}`);
    expect(plan.sentence).toContain(`whatever ${store.name} has given out since`);
    await fresh.restore(source);
    expect(operations(fresh)).toEqual(['one', 'two', 'three']);
    expect([fresh.epochCounter(), store.epochCounter(), await store.digest()]).toEqual([1, 0, before]);
    expect(await refusal(store, backupId)).toMatchObject({ code: 'sequence_rewind' });
    // From now on the new store has a floor of its own
    const { backupId: own } = await fresh.backup();
    accept(fresh, 'another four');
    expect(await refusal(fresh, own)).toMatchObject({ code: 'sequence_rewind', step: 'restore.compare', floor: '4' });
    expect((await stopOf(fresh.plan(source))).code).toBe('target_exists');
  });

  test('SM-5: a backup from before a migration is compatible; the tables that it lacks then are a refusal of their own', async () => {
    const store = makeBackend('migrated');
    const { backupId } = await store.backup();
    sql(live(store), "INSERT INTO schema_migrations VALUES ('003', '2026-03-01')");
    await store.restore({ kind: 'backup', backup: backupId });
    expect(column(live(store), 'SELECT version FROM schema_migrations ORDER BY 1')).toEqual(['001', '002']);
  });

  test.each([
    ['rewritten', "UPDATE schema_migrations SET applied_at = 'then' WHERE version = '001'", 1],
    ['reordered', "UPDATE schema_migrations SET version = '000' WHERE version = '002'", 1],
    ['left out', "DELETE FROM schema_migrations WHERE version = '001'", 1],
    ['replaced', "UPDATE schema_migrations SET version = '002b' WHERE version = '002'", 2],
  ])('SM-5: a live history in which an entry was %s is migrations_diverged', async (_how, change, entry) => {
    const store = makeBackend('diverged');
    const { backupId } = await store.backup();
    sql(live(store), change);
    expect(await refusal(store, backupId)).toMatchObject({
      code: 'migrations_diverged',
      step: 'restore.compare',
      entry,
    });
  });

  test('SM-5, SM-6: a backup that has lost a required table behind its manifest is refused before anything is touched', async () => {
    const store = makeBackend('stripped');
    const { artefact } = await store.backup();
    for (const table of ['identities', 'app_notes; DROP TABLE app_tasks']) {
      const copy = damagedCopy(artefact, store.directory, (path) =>
        alterConsistently(path, 'backend.db', (database) => sql(database, `DROP TABLE ${table}`, 'delete')),
      );
      expect(await refusal(store, copy)).toMatchObject({ code: 'required_table_missing', step: 'restore.validate' });
    }
  });

  test.each([
    ['a body was changed', "UPDATE operations SET body = 'TWO' WHERE global_seq = 2", 'history_rewritten'],
    ['a type was changed', "UPDATE operations SET body = x'74776f' WHERE global_seq = 2", 'history_rewritten'],
    ['the last number was raised', 'UPDATE operations SET global_seq = 30 WHERE global_seq = 3', 'sequence_rewind'],
  ])('SM-7: accepted operations of which %s are not those of the backup', async (_how, change, code) => {
    const store = makeBackend('rewritten');
    const { backupId } = await store.backup();
    sql(live(store), change);
    expect(await refusal(store, backupId)).toMatchObject({ code, step: 'restore.compare' });
  });

  test('SM-7: operations that the live database has lost at its end come back, those in the middle are history_rewritten', async () => {
    const store = makeBackend('lost');
    const { backupId } = await store.backup();
    sql(live(store), 'DELETE FROM operations WHERE global_seq = 2');
    expect(await refusal(store, backupId)).toMatchObject({ code: 'history_rewritten', step: 'restore.compare' });
    const other = makeBackend('short');
    await other.backup();
    sql(live(other), 'DELETE FROM operations WHERE global_seq = 3');
    await other.restore();
    expect(operations(other)).toEqual(['one', 'two', 'three']);
  });
});
