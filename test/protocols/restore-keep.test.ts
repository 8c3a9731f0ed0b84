// Step restore.keep: the backup of what a restore is about to replace, and what becomes of the restore without one.
import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { rot } from '../support/artefact.js';
import { stopOf, useEngine } from '../support/engine.js';
import { startProgram } from '../support/processes.js';
import { requires } from '../support/requires.js';
import { ITEMS, LATEST, makeStore, sql } from '../support/store.js';
import type { StoreOptions, TestStore } from '../support/store.js';

describe.skipIf(requires('temporal'))('restore.keep', () => {
  const engine = useEngine();
  let made = 0;

  /** With a backup, and one item more since. */
  async function keeping(purpose: string, options: StoreOptions = {}): Promise<{ store: TestStore; kept: string }> {
    made += 1;
    const kept = join(engine().directory, `kept-${made}`);
    const store = makeStore(engine(), purpose, { rollback: { destination: kept }, ...options });
    await store.backup();
    store.addItem('four');
    return { store, kept };
  }
  const namesIn = (directory: string): string[] => readdirSync(directory).sort();

  test('makes a backup of the present state, which can be restored', async () => {
    const { store, kept } = await keeping('whole');
    const report = await store.restore();
    expect(report.kept).toBe(join(kept, namesIn(kept)[0] ?? ''));
    expect(store.items()).toEqual(['one', 'two', 'three']);
    await store.restore({ kind: 'backup', backup: report.kept ?? '' });
    expect(store.items()).toEqual(['one', 'two', 'three', 'four']);
    expect(namesIn(kept)).toHaveLength(2);
  });

  test('names the destination in the plan that is approved', async () => {
    const { store, kept } = await keeping('planned');
    const { plan } = await store.plan();
    expect(plan.sentence).toContain(`and as a backup in ${kept} unless it is damaged`);
    const stop = await (async () => {
      const { digest } = await store.plan();
      store.define({ rollback: { destination: `${kept}-elsewhere` } });
      return stopOf(
        engine()
          .holdfast.restore(store.name, LATEST, digest, { requestedBy: 'test' })
          .then((run) => run.result()),
      );
    })();
    expect(stop.code).toBe('plan_stale');
  });

  test('never asks an application that has let go to hold still: a tree that changes is a STOP', async () => {
    const { store } = await keeping('restless', { hooks: ['quiesce', 'resume', 'detach', 'attach'] });
    store.hooksRun();
    // So that the plan covers what comes and goes
    store.write('files/one', 'changed');
    // Renamed in and out, never opened: a program that holds a file open would rightly be STOP store_in_use
    const outside = join(engine().directory, 'fleeting');
    writeFileSync(outside, '');
    const comeAndGo = `const { renameSync } = require('node:fs');
      const [outside, inside] = process.argv.slice(1);
      console.log('begun');
      for (;;) { renameSync(outside, inside); renameSync(inside, outside); }`;
    const program = await startProgram(process.execPath, '-e', comeAndGo, '--', outside, store.path('files/fleeting'));
    const stop = await stopOf(store.restore());
    await program.stop();
    expect(stop).toMatchObject({ code: 'source_changed', details: { step: 'restore.keep' } });
    expect(store.hooksRun()).toEqual(['detach', 'attach']);
    expect(store.items()).toHaveLength(4);
    expect(store.leftovers()).toEqual([]);
  });

  test.each([
    ['a damaged database', 'integrity_failed', (store: TestStore) => rot(store.path('a.db'))],
    ['no database', 'not_a_database', (store: TestStore) => writeFileSync(store.path('a.db'), 'x'.repeat(8192))],
  ] as const)(
    'of a state with %s is none, told with its code, and half of it is gone at once',
    async (_what, code, spoil) => {
      const { store, kept } = await keeping('damaged', {
        hooks: ['detach', 'attach', 'caches'],
        contents: { 'a.db': `${ITEMS} INSERT INTO item (v) SELECT hex(zeroblob(500)) FROM item, item AS b, item AS c` },
      });
      sql(store.path('a.db'), 'PRAGMA wal_checkpoint(TRUNCATE)');
      spoil(store);
      const held = store.holdHook('caches');
      const run = await store.startRestore();
      await held.held();
      expect(namesIn(kept)).toEqual([]);
      held.letGo();
      expect(await run.result()).toMatchObject({ kept: null, notKeptBecause: code });
      await store.rollback();
    },
  );

  test.each([
    [
      'a link in the store',
      'symlink_found',
      (store: TestStore) => symlinkSync('/etc/hostname', store.path('files/link')),
    ],
    [
      'a number that none can follow in the destination',
      'manifest_invalid',
      (_store: TestStore, kept: string) =>
        mkdirSync(join(kept, '999999999999999-20260101T000000Z-00000000'), { recursive: true }),
    ],
  ] as const)('that %s prevents ends the restore, with nothing replaced', async (_what, code, prevent) => {
    const { store, kept } = await keeping('prevented');
    prevent(store, kept);
    expect((await stopOf(store.restore())).code).toBe(code);
    expect(store.items()).toHaveLength(4);
    expect(store.epochCounter()).toBe(0);
    expect(store.leftovers()).toEqual([]);
  });
});
