// Rollback points: found by a unique name, pruned by number and by age, and never a tree that somebody still needs.
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { withControlDatabase } from '../../control/control-database.js';
import { acquireLock, critical, journal } from '../../control/lock.js';
import {
  pruneRollbackPoints,
  removeUnnamedTrees,
  resolveRollbackPoint,
  rollbackPointsOf,
} from '../../control/rollback-points.js';
import type { StoreRoom } from '../../control/store-room.js';
import type { LockGrant } from '../../domain/protocol.js';
import { claimant, codeOf, makeTestRoom, saysRun } from './room.js';

const DAY = 24 * 3600 * 1000;

async function withPoints(
  daysOld: readonly number[],
  rollback?: { pointsMax?: number; daysMax?: number },
): Promise<{ room: StoreRoom; grant: LockGrant; trees: () => string[] }> {
  const { room } = await makeTestRoom({}, rollback === undefined ? {} : { rollback });
  const grant = await acquireLock(room, claimant(), saysRun('unknown'));
  const [root] = room.roots;
  if (root === undefined) throw new Error('no root');
  for (const [index, days] of daysOld.entries()) {
    const tree = join(room.controlDirectory, 'trees', `point-${index}`, 'data');
    mkdirSync(tree, { recursive: true });
    writeFileSync(join(tree, 'kept'), String(index));
    const point = {
      id: `point-${index}`,
      createdAt: new Date(Date.now() - days * DAY).toISOString(),
      protocol: 'restore',
      roots: [{ root: 'data', sha256: 'x', definition: root.definition, tree }],
    };
    await critical(room, grant, (database) => database.addRollbackPoint(point));
  }
  return { room, grant, trees: () => readdirSync(join(room.controlDirectory, 'trees')).sort() };
}

describe('pruning', () => {
  test('keeps the newest two by default', async () => {
    const { room, grant, trees } = await withPoints([0, 0, 0, 0]);
    await pruneRollbackPoints(room, grant);
    expect((await rollbackPointsOf(room)).map(({ id }) => id)).toEqual(['point-3', 'point-2']);
    expect(trees()).toEqual(['point-2', 'point-3']);
  });

  test('removes what is too old, even if there is room', async () => {
    const { room, grant, trees } = await withPoints([31, 29], { pointsMax: 5, daysMax: 30 });
    await pruneRollbackPoints(room, grant);
    expect(trees()).toEqual(['point-1']);
  });

  test('keeps the newest whatever its age: it may have been made while the clock was wrong', async () => {
    const { room, grant, trees } = await withPoints([40, 20_000], { pointsMax: 5, daysMax: 30 });
    await pruneRollbackPoints(room, grant);
    expect(trees()).toEqual(['point-1']);
  });

  test('removes trees that no record names, but not those of operations that are not settled', async () => {
    const { room, grant, trees } = await withPoints([0]);
    for (const name of ['unnamed', 'staged', 'exchanged'])
      mkdirSync(join(room.controlDirectory, 'trees', name, 'data'), { recursive: true });
    await journal(room, grant, { event: 'staging', directories: [join(room.controlDirectory, 'trees', 'staged')] });
    const stagedPath = join(room.controlDirectory, 'trees', 'exchanged', 'data');
    await journal(room, grant, {
      event: 'exchanging',
      exchange: { roots: [{ root: 'data', mode: 'root', livePath: '/x', stagedPath, steps: [] }] },
      former: [],
    });
    await removeUnnamedTrees(room, grant);
    expect(trees()).toEqual(['exchanged', 'point-0', 'staged']);
  });

  test('does nothing without the lock', async () => {
    const { room, grant, trees } = await withPoints([0, 0, 0]);
    await acquireLock(room, claimant(), saysRun('closed'));
    expect(await codeOf(pruneRollbackPoints(room, grant))).toBe('lock_lost');
    expect(trees()).toHaveLength(3);
  });
});

describe('finding one', () => {
  test('by latest, id, or a unique beginning', async () => {
    const { room } = await withPoints([0, 0]);
    expect((await resolveRollbackPoint(room, 'latest')).id).toBe('point-1');
    expect((await resolveRollbackPoint(room, 'point-0')).id).toBe('point-0');
    expect(await codeOf(resolveRollbackPoint(room, 'point-'))).toBe('ambiguous_intent');
    expect(await codeOf(resolveRollbackPoint(room, 'none'))).toBe('rollback_missing');
  });

  test('latest of none is rollback_missing', async () => {
    const { room } = await makeTestRoom();
    expect(await codeOf(resolveRollbackPoint(room, 'latest'))).toBe('rollback_missing');
    expect(await withControlDatabase(room.controlDirectory, (database) => database.rollbackPoints())).toEqual([]);
  });
});
