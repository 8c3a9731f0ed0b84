// The protocol rollback, step by step: the state that a restore replaced comes back byte for byte, whatever state that
// was, and is itself replaced by rollback. Clauses H-13, F-34, SM-4, SM-8, SM-9.
import { existsSync, readFileSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { nameDatabases } from '../../activities/measure.js';
import { examineStore } from '../../control/doctor.js';
import { readStatus } from '../../control/status.js';
import { openStoreRoom } from '../../control/store-room.js';
import { loadDefinition } from '../../definitions/load.js';
import { STEPS } from '../../domain/steps.js';
import { stopOf, useEngine } from '../support/engine.js';
import { requires } from '../support/requires.js';
import { ITEMS, LATEST_POINT, makeStore, sql } from '../support/store.js';

const HOOKS = ['detach', 'attach', 'caches', 'verify'] as const;

describe.skipIf(requires('temporal'))('rollback', () => {
  const engine = useEngine();

  test('rollback.lock to rollback.release: every step once, in order, and the former state is back byte for byte', async () => {
    const store = makeStore(engine(), 'whole', { hooks: HOOKS, files: { 'files/one': 'one', 'tls/key': 'key' } });
    await store.backup();
    store.addItem('newer');
    store.write('files/newer', 'newer');
    const before = await store.digest();
    await store.restore();
    const restored = await store.digest();
    expect(restored).not.toBe(before);
    store.hooksRun();
    const report = await store.rollback();
    expect([...report.steps.map(({ step }) => step), 'rollback.release']).toEqual(STEPS.rollback.map(({ id }) => id));
    expect(report).toMatchObject({ protocol: 'rollback', store: store.name, epoch: { counter: 2 } });
    expect(store.hooksRun()).toEqual(['detach', 'verify', 'attach']);
    expect(await store.digest()).toBe(before);
    expect(store.leftovers()).toEqual([]);
    // What the rollback replaced is now the only rollback point: rolling back again restores again
    expect(store.rollbackPoints().map(({ id, protocol }) => [id, protocol])).toEqual([[report.operation, 'rollback']]);
    await store.rollback();
    expect(await store.digest()).toBe(restored);
  });

  test.each(['a.db', '*'])(
    'rollback.verify: a state with a destroyed database, listed as %s, comes back as destroyed as it was, and the plan says so',
    async (path) => {
      const sequences = [{ table: 'item', column: 'id' }];
      const store = makeStore(engine(), 'destroyed', { hooks: HOOKS, databases: [{ path, sequences }] });
      await store.backup();
      writeFileSync(store.path('a.db'), Buffer.alloc(5000, 7));
      writeFileSync(store.path('a.db-wal'), Buffer.alloc(100, 7));
      rmSync(store.path('files/one'));
      const before = await store.digest();
      const { plan } = await store.plan();
      expect(plan.bounds.databasesUnreadable).toEqual(nameDatabases(['data/a.db']));
      expect(plan.sentence).toMatch(/data\/a\.db can't be read, or .*, so whatever it holds is replaced unseen/);
      await store.restore();
      expect(store.items()).toEqual(['one', 'two', 'three']);
      const back = await store.plan(LATEST_POINT);
      expect(back.plan).toMatchObject({
        protocol: 'rollback',
        source: { databasesUnreadable: { count: 1, first: ['data/a.db'] } },
      });
      expect(back.plan.sentence).toContain('data/a.db comes back damaged, as it was');
      await store.rollback();
      expect(await store.digest()).toBe(before);
      expect(readFileSync(store.path('a.db'))).toEqual(Buffer.alloc(5000, 7));
    },
  );

  test('rollback.commit, rollback.release: rollback points beyond pointsMax go, records and trees', async () => {
    const store = makeStore(engine(), 'pruned', { rollback: { pointsMax: 2 } });
    await store.backup();
    const points: string[] = [];
    for (let round = 0; round < 3; round += 1) points.unshift((await store.restore()).rollbackPoint);
    expect(store.rollbackPoints().map(({ id }) => id)).toEqual(points.slice(0, 2));
    expect(readdirSync(join(store.controlDirectory, 'trees')).sort()).toEqual(points.slice(0, 2).sort());
    expect((await stopOf(store.restore({ kind: 'rollback', point: points[2] ?? '' }))).code).toBe('rollback_missing');
    // The older of the two is still to be had
    await store.restore({ kind: 'rollback', point: points[1] ?? '' });
  });

  test('request.plan: a rollback point that somebody has been at is checksum_mismatch, and nothing happens', async () => {
    const store = makeStore(engine(), 'touched');
    await store.backup();
    await store.restore();
    const tree = store.rollbackPoints()[0]?.roots[0]?.tree ?? '';
    writeFileSync(join(tree, 'files/one'), 'two');
    utimesSync(join(tree, 'files/one'), 1, 1);
    const before = await store.digest();
    const stop = await stopOf(store.rollback());
    expect([stop.code, stop.details['step']]).toEqual(['checksum_mismatch', 'request.plan']);
    expect(await store.digest()).toBe(before);
    expect(store.leftovers()).toEqual([]);
    expect(store.rollbackPoints()).toHaveLength(1);
    rmSync(tree, { recursive: true });
    expect((await stopOf(store.plan(LATEST_POINT))).code).toBe('rollback_missing');
    const { rollbackPoints } = await readStatus(await openStoreRoom(engine().definitionsDirectory, store.name));
    expect(rollbackPoints).toMatchObject([{ isThere: false }]);
    const definition = await loadDefinition(engine().definitionsDirectory, store.name);
    const found = await examineStore(definition, join(engine().directory, 'state'), engine().definitionsDirectory);
    expect(found.find(({ check }) => check === 'rollback points')).toMatchObject({
      state: 'stop',
      what: expect.stringContaining('rollback_missing'),
    });
  });

  test('rollback.compare: a rollback point that somebody is at while the application lets go is checksum_mismatch', async () => {
    const store = makeStore(engine(), 'meanwhile');
    await store.backup();
    await store.restore();
    const tree = store.rollbackPoints()[0]?.roots[0]?.tree ?? '';
    const before = await store.digest();
    store.scriptHook('detach', `printf two > '${join(tree, 'files/one')}'; touch -d @1 '${join(tree, 'files/one')}'`);
    const stop = await stopOf(store.rollback());
    expect([stop.code, stop.details['step']]).toEqual(['checksum_mismatch', 'rollback.compare']);
    expect(await store.digest()).toBe(before);
    expect(store.leftovers()).toEqual([]);
  });

  test.each(['ledger.db', 'l*.db'])(
    'rollback.compare: a sequence of a database that is listed as %s does not go back below the live one',
    async (path) => {
      const sequences = [{ table: 'item', column: 'id' }];
      const store = makeStore(engine(), 'floor', {
        contents: { 'ledger.db': ITEMS },
        databases: [{ path, sequences }],
      });
      await store.backup();
      await store.restore();
      store.addItem('four', 'ledger.db');
      const before = await store.digest();
      const stop = await stopOf(store.rollback());
      expect([stop.code, stop.details['step'], stop.details['floor']]).toEqual([
        'sequence_rewind',
        'rollback.compare',
        '4',
      ]);
      expect(await store.digest()).toBe(before);
      expect(store.leftovers()).toEqual([]);
    },
  );

  test('rollback.detach, rollback.in-use, rollback.attach: a store in use is refused, and the application goes on', async () => {
    const store = makeStore(engine(), 'used');
    await store.backup();
    await store.restore();
    store.hooksRun();
    store.scriptHook('detach', `exec 8< '${store.path('files/one')}'; sleep 30 >/dev/null 2>&1 & echo $! > pid`);
    store.scriptHook('attach', 'kill "$(cat pid)"');
    const stop = await stopOf(store.rollback());
    expect([stop.code, stop.details['step']]).toEqual(['store_in_use', 'rollback.in-use']);
    expect(store.hooksRun()).toEqual(['detach', 'attach']);
    expect(store.leftovers()).toEqual([]);
  });

  test('rollback.plan, rollback.fence, rollback.exchange: a failing validation brings the restored state back and lifts the fence', async () => {
    const store = makeStore(engine(), 'refused', { hooks: HOOKS });
    await store.backup();
    store.addItem('newer');
    await store.restore();
    const before = await store.digest();
    const fenced = join(store.directory, 'fenced');
    store.scriptHook('verify', `[ -e '${store.controlDirectory}/fence.json' ] && : > '${fenced}'; exit 1`);
    const stop = await stopOf(store.rollback());
    expect([stop.code, stop.details['step'], stop.details['hook']]).toEqual([
      'hook_failed',
      'rollback.verify',
      'verify',
    ]);
    expect(existsSync(fenced)).toBe(true);
    expect(await store.digest()).toBe(before);
    expect(store.leftovers()).toEqual([]);
    expect(store.rollbackPoints()).toHaveLength(1);
    expect(store.rollbackPoints()[0]?.protocol).toBe('restore');
    store.scriptHook('verify', 'true');
    await store.rollback();
    sql(store.path('a.db'), 'SELECT 1');
    expect(store.items()).toEqual(['one', 'two', 'three', 'newer']);
  });
});
