// Foreign keys that the application itself has violated: SQLite enforces them only where a connection asks for it, so
// live databases hold such rows. They are backed up, said, and restored; what was not recorded is refused (SM-6).
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { alterConsistently, damagedCopy } from '../support/artefact.js';
import { stopOf, useEngine } from '../support/engine.js';
import type { TestEngine } from '../support/engine.js';
import { requires } from '../support/requires.js';
import { ITEMS, column, makeStore, sql } from '../support/store.js';
import type { StoreOptions, TestStore } from '../support/store.js';

const OFF = 'PRAGMA foreign_keys = OFF;';
/** Two rows without their parent, and a table whose key refers to what is not unique. */
const VIOLATING = `${OFF} ${ITEMS}
  CREATE TABLE "o'f" (item REFERENCES item (id)); INSERT INTO "o'f" VALUES (1), (77), (78);
  CREATE TABLE wrong (v REFERENCES item (v));`;
const SUM = { violations: 2, mismatchedTables: 1 };

function makeViolating(engine: TestEngine, purpose: string, options: StoreOptions = {}): TestStore {
  const databases = [{ path: 'a.db' }, { path: 'b.db' }];
  return makeStore(engine, purpose, { databases, contents: { 'a.db': VIOLATING, 'b.db': ITEMS }, ...options });
}

describe.skipIf(requires('temporal'))('violated foreign keys', () => {
  const engine = useEngine();
  const verify = async ({ name }: TestStore, backup: string) =>
    (await engine().holdfast.verify(name, backup, { requestedBy: 'test' })).result();

  test('backup.validate: they are recorded, however often the same bytes are backed up, and verified', async () => {
    const store = makeViolating(engine(), 'recorded');
    const first = await store.backup();
    expect(first.foreignKeys).toEqual(SUM);
    const second = await store.backup();
    expect(second.foreignKeys).toEqual(SUM);
    const [violating, clean] = store.manifest(second.artefact).databases;
    expect(violating?.foreignKeys).toEqual({ violations: 2, mismatchedTables: ['wrong'] });
    expect(clean).not.toHaveProperty('foreignKeys');
    expect((await verify(store, 'latest')).foreignKeys).toEqual(SUM);
  });

  test('request.plan, restore.validate: the plan says in its sentence that they come back, and then they do', async () => {
    const store = makeViolating(engine(), 'returning');
    await store.backup();
    sql(store.path('a.db'), `${OFF} DELETE FROM "o'f"`);
    const { plan } = await store.plan();
    expect(plan.source.foreignKeys).toMatchObject({ ...SUM, databases: { count: 1, first: ['data/a.db'] } });
    expect(plan.sentence).toContain(
      "data/a.db comes back with 2 rows that violate foreign keys, 1 table whose foreign keys can't be checked",
    );
    await store.restore();
    expect(column(store.path('a.db'), `SELECT item FROM "o'f"`)).toEqual([1, 77, 78]);
    store.addItem('four');
    await store.rollback();
    expect(column(store.path('a.db'), `SELECT count(*) FROM "o'f"`)).toEqual([0]);
  });

  test('restore.validate, verify.databases: one more than was recorded, or another table, is foreign_keys_violated', async () => {
    const store = makeViolating(engine(), 'more');
    const { artefact } = await store.backup();
    const before = await store.digest();
    for (const [more, details] of [
      [`${OFF} INSERT INTO "o'f" VALUES (79)`, { violations: 3, violationsRecorded: 2 }],
      ['CREATE TABLE worse (v REFERENCES item (v))', { mismatchedTables: ['worse'] }],
    ] as const) {
      const copy = damagedCopy(artefact, store.directory, (place) =>
        alterConsistently(place, 'a.db', (path) => sql(path, more)),
      );
      const restored = await stopOf(store.restore({ kind: 'backup', backup: copy }));
      expect(restored).toMatchObject({ code: 'foreign_keys_violated', details });
      expect(restored.details['step']).toBe('restore.validate');
      expect((await stopOf(verify(store, copy))).code).toBe('foreign_keys_violated');
    }
    expect(await store.digest()).toBe(before);
  });

  test('restore.verify: after a migrate hook the recorded ones are accepted, and new ones put the old state back', async () => {
    const store = makeViolating(engine(), 'migrated', { hooks: ['detach', 'attach', 'migrate'] });
    await store.backup();
    const program = (statement: string) =>
      `exec "${process.execPath}" -e "const D = require('${join(process.cwd(), 'node_modules/better-sqlite3')}'); const d = new D('${store.path('a.db')}'); d.pragma('foreign_keys = OFF'); d.exec('${statement}')"`;
    store.scriptHook('migrate', program('INSERT INTO item (id) VALUES (77)'));
    await store.restore();
    store.scriptHook('migrate', program('DELETE FROM item'));
    const before = store.items();
    expect((await stopOf(store.restore())).details).toMatchObject({ step: 'restore.verify', violations: 3 });
    expect(store.items()).toEqual(before);
  });
});
