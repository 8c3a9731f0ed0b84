// Files outside the members stay as they are at a rollback, as they do at a restore: keys that were renewed since, and the
// logs of databases that the store does not speak of. Clauses P-15, H-13.
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { stopOf, useEngine } from '../support/engine.js';
import { requires } from '../support/requires.js';
import { makeStore } from '../support/store.js';
import type { TestStore } from '../support/store.js';

const FILES = {
  'files/one': 'one',
  'tls/key': 'old key',
  'cache.db': 'pages',
  'cache.db-wal': 'frames of then',
  'deep/inside/log': 'log',
};

describe.skipIf(requires('temporal'))('files outside the members, at a rollback', () => {
  const engine = useEngine();

  /** Restored once; since then a key was renewed, a log was checkpointed away, a file was added. */
  async function movedOn(store: TestStore): Promise<void> {
    await store.backup();
    store.write('files/one', 'former');
    await store.restore();
    writeFileSync(store.path('tls/new'), 'new key');
    renameSync(store.path('tls/new'), store.path('tls/key'));
    rmSync(store.path('cache.db-wal'));
    writeFileSync(store.path('cache.db'), 'pages and frames');
    mkdirSync(store.path('added'));
    writeFileSync(store.path('added/since'), 'since');
  }

  /** In mode `entries` the control directory is in the root. */
  test.each(['root', 'entries'])(
    'mode %s: they are those of now, whatever was there when the point was made',
    async (mode) => {
      const store = makeStore(engine(), 'outside', {
        files: FILES,
        trees: [{ path: 'files' }, { path: 'deep', include: ['*.txt'] }],
      });
      if (mode === 'entries') {
        mkdirSync(store.path('.holdfast'), { mode: 0o700 });
        writeFileSync(store.path('.holdfast/lock.db'), '');
      }
      await movedOn(store);
      const inode = statSync(store.path('deep/inside/log')).ino;
      await store.rollback();
      expect(store.read('files/one')).toBe('former');
      expect(store.read('tls/key')).toBe('new key');
      expect(store.read('added/since')).toBe('since');
      expect(existsSync(store.path('cache.db-wal'))).toBe(false);
      expect([store.read('cache.db'), statSync(store.path('deep/inside/log')).ino]).toEqual([
        'pages and frames',
        inode,
      ]);
      // And back again
      await store.rollback();
      expect([store.read('files/one'), store.read('tls/key')]).toEqual(['one', 'new key']);
      expect(store.leftovers()).toEqual([]);
    },
  );

  test('what the rollback point alone had of them is set aside, not removed', async () => {
    const store = makeStore(engine(), 'aside', { files: FILES });
    await movedOn(store);
    await store.rollback();
    const trees = join(store.controlDirectory, 'trees');
    const found = readdirSync(trees, { recursive: true, encoding: 'utf8' }).filter(
      (path) => path.endsWith('tls/key') || path.endsWith('cache.db-wal'),
    );
    expect(found.map((path) => readFileSync(join(trees, path), 'utf8')).sort()).toEqual([
      'frames of then',
      'new key',
      'old key',
    ]);
  });

  test('a rollback that is undone can be tried again', async () => {
    const store = makeStore(engine(), 'twice', { files: FILES, hooks: ['detach', 'attach', 'verify'] });
    await movedOn(store);
    const before = await store.digest();
    store.failHook('verify');
    expect((await stopOf(store.rollback())).code).toBe('hook_failed');
    expect(await store.digest()).toBe(before);
    store.mendHook('verify');
    await store.rollback();
    expect([store.read('files/one'), store.read('tls/key')]).toEqual(['former', 'new key']);
  });
});
