// Settling: what compensation and `holdfast recover` do. Each debt is paid once it is owed, in an order that never
// shows the application a store in between, and settling that is killed is simply begun again (SM-9, T-7).
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { withControlDatabase } from '../../control/control-database.js';
import { raiseFence, readFence } from '../../control/fence.js';
import { formerDigest } from '../../control/former.js';
import { acquireLock, critical, journal } from '../../control/lock.js';
import { recoverStore, settleOperation } from '../../control/recovery.js';
import { treeOf, treesOf } from '../../control/store-room.js';
import type { JournalEvent } from '../../domain/journal.js';
import type { LockGrant } from '../../domain/protocol.js';
import { performExchange, planExchange } from '../../files/exchange.js';
import { claimant, codeOf, eventually, makeTestRoom, saysRun, startChild } from './room.js';
import type { TestRoom } from './room.js';

const HOOKS = { detach: '', attach: 'sleep 0.4', quiesce: '', resume: '' } as const;

/** Brings a store to the middle of a restore: detached, fenced, exchanged, not committed. */
async function exchangeUncommitted(tested: TestRoom, owner = claimant()): Promise<LockGrant> {
  const { room } = tested;
  const grant = await acquireLock(room, owner, saysRun('unknown'));
  const [root] = room.roots;
  if (root === undefined) throw new Error('no root');
  await journal(room, grant, { event: 'staging', directories: [treesOf(root, grant.operation)] });
  const staged = treeOf(root, grant.operation);
  mkdirSync(join(staged, 'files'), { recursive: true });
  writeFileSync(join(staged, 'files', 'one'), 'new');
  await journal(room, grant, { event: 'detaching' });
  await journal(room, grant, { event: 'fencing' });
  await raiseFence(room.controlDirectory, grant.operation, 'restore');
  const exchange = await planExchange([
    { root: 'data', mode: 'root', livePath: root.definition.path, stagedPath: staged, untouched: [] },
  ]);
  const former = [
    { root: 'data', sha256: await formerDigest(root.definition.path, root.definition), definition: root.definition },
  ];
  await journal(room, grant, { event: 'exchanging', exchange, former });
  await critical(room, grant, async (database) => {
    await performExchange(exchange);
    database.journal(grant.operation, { event: 'exchanged' });
  });
  return grant;
}

const content = ({ root }: TestRoom): string => readFileSync(join(root, 'files', 'one'), 'utf8');

async function eventsOf({ room }: TestRoom, operation: string): Promise<readonly JournalEvent[]> {
  return withControlDatabase(room.controlDirectory, (database) => database.events(operation));
}

async function assertSettled(tested: TestRoom): Promise<void> {
  const { room } = tested;
  expect(await readFence(room.controlDirectory)).toBeUndefined();
  await withControlDatabase(room.controlDirectory, (database) => {
    expect(database.lock().owner).toBeNull();
    expect(database.openOperations()).toEqual([]);
  });
  const trees = join(room.controlDirectory, 'trees');
  expect(existsSync(trees) ? readdirSync(trees) : []).toEqual([]);
}

describe('settling', () => {
  test('puts the former state back, lifts the fence, attaches, drops staging, and releases', async () => {
    const tested = await makeTestRoom(HOOKS);
    const grant = await exchangeUncommitted(tested);
    expect(content(tested)).toBe('new');
    const settled = await settleOperation(tested.room, grant.operation, grant.runId, 'stopped');
    expect(settled).toMatchObject({ undone: true, finished: false, hooks: ['attach'], stagingDropped: 1 });
    expect(content(tested)).toBe('old');
    expect(tested.ran()).toEqual(['attach']);
    await assertSettled(tested);
  });

  test('is no work the second time', async () => {
    const tested = await makeTestRoom(HOOKS);
    const grant = await exchangeUncommitted(tested);
    await settleOperation(tested.room, grant.operation, grant.runId, 'stopped');
    expect(await settleOperation(tested.room, grant.operation, grant.runId, 'stopped')).toBeNull();
    expect((await recoverStore(tested.room, 'test')).settled).toEqual([]);
    expect(tested.ran()).toEqual(['attach']);
  });

  test('ends a detach hook that outlived its worker before it attaches: it would stop the application again', async () => {
    const tested = await makeTestRoom({ detach: 'sleep 1', attach: '' });
    const worker = startChild({ room: tested.room, does: 'guard', claimant: claimant(), hook: 'detach' });
    await worker.line();
    await sleep(150);
    await worker.kill();
    expect((await recoverStore(tested.room, 'test')).settled).toMatchObject([{ hooks: ['attach'] }]);
    await sleep(1_200);
    expect(tested.ran()).toEqual(['attach']);
  });

  test('leaves alone what another run holds', async () => {
    const tested = await makeTestRoom(HOOKS);
    const grant = await exchangeUncommitted(tested);
    expect(await settleOperation(tested.room, grant.operation, 'another run', 'stopped')).toBeNull();
    expect(content(tested)).toBe('new');
  });

  test('killed while it attaches, it is begun again and the fence stays down', async () => {
    const tested = await makeTestRoom(HOOKS);
    const owner = claimant();
    const grant = await exchangeUncommitted(tested, owner);
    const child = startChild({ room: tested.room, does: 'settle', claimant: owner });
    await eventually('the exchange is undone in the child', async () =>
      (await eventsOf(tested, grant.operation)).some((entry) => entry.event === 'unfenced'),
    );
    await child.kill();
    expect(tested.ran()).toEqual([]);
    expect(content(tested)).toBe('old');
    const { settled } = await recoverStore(tested.room, 'test');
    expect(settled).toMatchObject([
      { operation: grant.operation, undone: false, hooks: ['attach'], stagingDropped: 1 },
    ]);
    await assertSettled(tested);
  });

  test('an operation that was committed is finished: the new state stays, only the fence and the application are owed', async () => {
    const tested = await makeTestRoom(HOOKS);
    const grant = await exchangeUncommitted(tested);
    await critical(tested.room, grant, (database) => {
      database.addRollbackPoint({
        id: grant.operation,
        createdAt: new Date().toISOString(),
        protocol: 'restore',
        roots: [],
      });
      database.journal(grant.operation, { event: 'committed', rollbackPoint: grant.operation });
    });
    const settled = await settleOperation(tested.room, grant.operation, grant.runId, 'stopped');
    expect(settled).toMatchObject({ undone: false, finished: true, hooks: ['attach'], stagingDropped: 0 });
    expect(content(tested)).toBe('new');
  });

  test('a hook that fails keeps the lock, and settling is tried again', async () => {
    const tested = await makeTestRoom({ ...HOOKS, attach: 'exit 1' });
    const grant = await exchangeUncommitted(tested);
    expect(await codeOf(settleOperation(tested.room, grant.operation, grant.runId, 'stopped'))).toBe('hook_failed');
    expect(content(tested)).toBe('old');
    expect(
      (await withControlDatabase(tested.room.controlDirectory, (database) => database.lock())).owner?.operation,
    ).toBe(grant.operation);
    const mended = {
      ...tested.room,
      definition: {
        ...tested.room.definition,
        hooks: { ...tested.room.definition.hooks, attach: { argv: ['/bin/true'], timeoutSeconds: 5 } },
      },
    };
    expect(await settleOperation(mended, grant.operation, grant.runId, 'stopped')).toMatchObject({ hooks: ['attach'] });
    await assertSettled(tested);
  });

  test('a former state that somebody altered is undo_failed: the fence stays up and both trees are kept', async () => {
    const tested = await makeTestRoom(HOOKS);
    const grant = await exchangeUncommitted(tested);
    const [root] = tested.room.roots;
    if (root === undefined) throw new Error('no root');
    writeFileSync(join(treeOf(root, grant.operation), 'files', 'one'), 'altered');
    expect(await codeOf(settleOperation(tested.room, grant.operation, grant.runId, 'stopped'))).toBe('undo_failed');
    expect(await readFence(tested.room.controlDirectory)).toMatchObject({ operation: grant.operation });
    expect([content(tested), readFileSync(join(treeOf(root, grant.operation), 'files', 'one'), 'utf8')].sort()).toEqual(
      ['altered', 'new'],
    );
    expect(tested.ran()).toEqual([]);
  });

  test('a late step makes no effect once its operation is being settled', async () => {
    const tested = await makeTestRoom(HOOKS);
    const grant = await exchangeUncommitted(tested);
    const settling = settleOperation(tested.room, grant.operation, grant.runId, 'stopped');
    await eventually(
      'the token is raised',
      async () =>
        (await withControlDatabase(tested.room.controlDirectory, (database) => database.lock())).token > grant.token,
    );
    expect(await codeOf(journal(tested.room, grant, { event: 'committed', rollbackPoint: grant.operation }))).toBe(
      'lock_lost',
    );
    await settling;
    expect(content(tested)).toBe('old');
  });

  test('what a kill in the middle of writing fence or epoch left is removed; other files stay', async () => {
    const tested = await makeTestRoom(HOOKS);
    const grant = await acquireLock(tested.room, claimant(), saysRun('unknown'));
    for (const name of [
      '.fence.json.0123456789ab.tmp',
      '.epoch.json.0123456789ab.tmp',
      '.keep.json.0123456789ab.tmp',
    ]) {
      writeFileSync(join(tested.room.controlDirectory, name), 'torn');
    }
    await settleOperation(tested.room, grant.operation, grant.runId, 'stopped');
    expect(readdirSync(tested.room.controlDirectory).filter((name) => name.endsWith('.tmp'))).toEqual([
      '.keep.json.0123456789ab.tmp',
    ]);
  });

  test('a tree that nothing names any more goes with the next settling: a release was killed while it pruned', async () => {
    const tested = await makeTestRoom(HOOKS);
    const grant = await acquireLock(tested.room, claimant(), saysRun('unknown'));
    mkdirSync(join(tested.room.controlDirectory, 'trees', 'unnamed', 'data'), { recursive: true });
    await settleOperation(tested.room, grant.operation, grant.runId, 'stopped');
    await assertSettled(tested);
  });

  test('a store that was never worked on is recovered without a trace', async () => {
    const tested = await makeTestRoom();
    expect((await recoverStore(tested.room, 'test')).settled).toEqual([]);
    expect(existsSync(tested.room.controlDirectory)).toBe(false);
  });
});
