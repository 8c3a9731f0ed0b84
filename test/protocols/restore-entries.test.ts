// Exchange mode `entries`: the root is a mount point, as in a container, so each entry at its top is exchanged under the
// journal. The whole cycle, with the control directory inside the root. Clauses F-21, SM-8, SM-9, H-13.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { stopOf, useEngine } from '../support/engine.js';
import { requires } from '../support/requires.js';
import { ITEMS, makeStore, sql } from '../support/store.js';
import type { StoreOptions, TestStore } from '../support/store.js';

describe.skipIf(requires('temporal', 'mount'))('restore into a root that is a mount point', () => {
  const engine = useEngine();

  /** The root is bound over itself: a mount point for everybody in this mount namespace. */
  function mounted(purpose: string, options: StoreOptions = {}): TestStore {
    const store = makeStore(engine(), purpose, {
      hooks: ['detach', 'attach', 'caches', 'verify'],
      files: { 'files/one': 'one', 'tls/key': 'key', 'both/member': 'member', 'both/outside': 'outside' },
      trees: [{ path: 'files' }, { path: 'both', include: ['member'] }],
      ...options,
    });
    const disk = join(store.directory, 'disk');
    execFileSync('mv', [store.root, disk]);
    mkdirSync(store.root);
    execFileSync('mount', ['--bind', disk, store.root]);
    onTestFinished(() => void execFileSync('umount', ['-l', store.root]));
    return store;
  }

  test('restore.exchange, rollback.exchange: backup, restore and rollback go round, and untouched entries are never touched', async () => {
    const store = mounted('cycle', {
      contents: { 'a.db': ITEMS, 'b.db': ITEMS },
      databases: [{ path: 'a.db' }, { path: 'b.db' }],
    });
    await store.backup();
    rmSync(store.path('b.db'));
    writeFileSync(store.path('a.db'), 'destroyed');
    writeFileSync(store.path('a.db-wal'), 'an old log');
    rmSync(store.path('files'), { recursive: true });
    mkdirSync(store.path('files'));
    store.write('files/added', 'added');
    const before = await store.digest();
    const untouched = () => [
      statSync(store.path('tls')).ino,
      statSync(store.path('tls'), { bigint: true }).ctimeNs,
      statSync(store.path('tls/key')).ino,
    ];
    const key = untouched();
    const { plan } = await store.plan();
    expect(plan.roots).toEqual([{ root: 'data', path: store.root, mode: 'entries', why: 'the root is a mount point' }]);
    await store.restore();
    expect([store.items(), store.items('b.db')]).toEqual([
      ['one', 'two', 'three'],
      ['one', 'two', 'three'],
    ]);
    expect(readdirSync(store.path('files'))).toEqual(['one']);
    expect(readdirSync(store.path('both')).sort()).toEqual(['member', 'outside']);
    expect(existsSync(store.path('a.db-wal')) && readFileSync(store.path('a.db-wal'), 'utf8')).not.toBe('an old log');
    expect(untouched()).toEqual(key);
    expect(store.controlDirectory).toBe(store.path('.holdfast'));
    expect(store.leftovers()).toEqual([]);
    await store.rollback();
    expect(await store.digest()).toBe(before);
    expect(readFileSync(store.path('a.db-wal'), 'utf8')).toBe('an old log');
    expect(untouched()).toEqual(key);
    expect(store.epochCounter()).toBe(2);
    expect(store.leftovers()).toEqual([]);
  });

  test('restore.verify: a failing validation puts every entry back', async () => {
    const store = mounted('undone');
    await store.backup();
    store.addItem('newer');
    store.write('files/newer', 'newer');
    const before = await store.digest();
    store.scriptHook('verify', `[ -e '${store.path('.holdfast/fence.json')}' ] || exit 0; exit 1`);
    const stop = await stopOf(store.restore());
    expect([stop.code, stop.details['step']]).toEqual(['hook_failed', 'restore.verify']);
    expect(await store.digest()).toBe(before);
    expect(store.leftovers()).toEqual([]);
    expect(store.hooksRun().at(-1)).toBe('attach');
  });

  test('backup.snapshot: the control directory inside the root is no part of a backup', async () => {
    const store = mounted('inside', { trees: [{ path: '.' }] });
    await store.backup();
    await store.restore();
    const { artefact } = await store.backup();
    expect(store.manifest(artefact).entries.filter(({ path }) => path.includes('.holdfast'))).toEqual([]);
    expect(existsSync(join(artefact, 'data/data/.holdfast'))).toBe(false);
    sql(store.path('a.db'), 'DELETE FROM item');
    await store.restore();
    expect(store.items()).toHaveLength(3);
  });
});
