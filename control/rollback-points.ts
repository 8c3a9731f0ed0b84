// Rollback points: the states that restores and rollbacks replaced, kept whole in the control directories. The newest
// few are kept for some days; a record goes before its trees, so that no record ever names a tree that is not whole.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { readdir } from 'node:fs/promises';
import { debtsOf } from '../domain/journal.js';
import type { LockGrant } from '../domain/protocol.js';
import { Stop } from '../domain/stop.js';
import { removeTree } from '../files/durable.js';
import type { RollbackPoint } from './control-database.js';
import { withPresentControlDatabase } from './control-database.js';
import { now } from './clock.js';
import { formerDigest } from './former.js';
import { critical } from './lock.js';
import type { StoreRoom } from './store-room.js';

const DAY_MILLIS = 24 * 3600 * 1000;

export async function rollbackPointsOf(room: StoreRoom): Promise<readonly RollbackPoint[]> {
  return withPresentControlDatabase<readonly RollbackPoint[]>(
    room.controlDirectory,
    (database) => database.rollbackPoints(),
    () => [],
  );
}

/**
 * Finds a rollback point by `latest`, its id, or a unique prefix of it.
 * @throws Stop rollback_missing, ambiguous_intent
 */
export async function resolveRollbackPoint(room: StoreRoom, reference: string): Promise<RollbackPoint> {
  const points = await rollbackPointsOf(room);
  const found = reference === 'latest' ? points.slice(0, 1) : points.filter((point) => point.id.startsWith(reference));
  const [first, second] = found;
  if (first === undefined)
    throw new Stop('rollback_missing', `store ${room.definition.store} has no rollback point ${reference}`, {
      reference,
      points: points.map((point) => point.id),
    });
  if (second !== undefined)
    throw new Stop('ambiguous_intent', `${reference} names ${found.length} rollback points`, {
      reference,
      candidates: found.map((point) => point.id),
    });
  return first;
}

/** True while every tree of it is there. */
export function isThere(point: RollbackPoint): boolean {
  return point.roots.every(({ tree, sha256 }) => sha256 === 'absent' || existsSync(tree));
}

/**
 * Asks whether a point is still what was put there, by the looks of its files.
 * @throws Stop rollback_missing, checksum_mismatch
 */
export async function assertPointKept(point: RollbackPoint): Promise<void> {
  for (const { tree, sha256, definition } of point.roots) {
    const found = await formerDigest(tree, definition);
    if (found === sha256) continue;
    if (found === 'absent')
      throw new Stop('rollback_missing', `the tree of rollback point ${point.id} is gone`, { id: point.id, tree });
    throw new Stop('checksum_mismatch', `the tree of rollback point ${point.id} is not what was kept`, {
      tree,
      expected: sha256,
      found,
    });
  }
}

/** Removes what is beyond the policy, and trees that no record names. Under the lock. */
export async function pruneRollbackPoints(room: StoreRoom, grant: LockGrant): Promise<void> {
  const { pointsMax, daysMax } = room.definition.rollback;
  await critical(room, grant, async (database) => {
    const oldest = Date.parse(now()) - daysMax * DAY_MILLIS;
    for (const [index, point] of database.rollbackPoints().entries()) {
      // The newest stays whatever its age says: the clock of a machine that has just been started may have been wrong
      const isTooOld = index > 0 && Date.parse(point.createdAt) < oldest;
      if (index >= pointsMax || isTooOld) database.removeRollbackPoint(point.id);
    }
  });
  await removeUnnamedTrees(room, grant);
}

/** Removes trees that no rollback point and no unsettled operation names. Under the lock. */
export async function removeUnnamedTrees(room: StoreRoom, grant: LockGrant): Promise<void> {
  await critical(room, grant, async (database) => {
    const kept = new Set(database.rollbackPoints().flatMap((point) => point.roots.map((root) => root.tree)));
    for (const { operation } of database.openOperations()) {
      const events = database.events(operation);
      for (const directory of debtsOf(events).dropStaging) kept.add(`${directory}/`);
      for (const event of events)
        if (event.event === 'exchanging') for (const root of event.exchange.roots) kept.add(root.stagedPath);
    }
    for (const root of room.roots) {
      const trees = join(root.controlDirectory, 'trees');
      for (const operation of await namesIn(trees)) {
        const directory = join(trees, operation);
        if (![...kept].some((tree) => tree.startsWith(`${directory}/`))) await removeTree(directory);
      }
    }
  });
}

async function namesIn(directory: string): Promise<readonly string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
